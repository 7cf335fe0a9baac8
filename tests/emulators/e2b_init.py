"""The first process of an emulated E2B sandbox: starts and signals processes for the emulator.

It is PID 1 of the sandbox and talks over the socket whose number it is given: one JSON message
each way at a time, with the standard streams of a new process as descriptors. When the socket
closes it ends, and the kernel ends everything else.
"""

import contextlib
import json
import os
import select
import signal
import socket
import sys


class Init:
    def __init__(self, number: int) -> None:
        self.control = socket.socket(fileno=number)
        self.control.set_inheritable(False)
        self.names: dict[int, str] = {}

    def say(self, **message: object) -> None:
        self.control.send(json.dumps(message).encode())

    def reap(self) -> None:
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    return
                if pid in self.names:
                    self.say(id=self.names.pop(pid), exit=os.waitstatus_to_exitcode(status))

    def serve(self) -> None:
        """A child's end comes over a pipe too: a handler would run late when the signal arrives
        just before the process waits for the next message."""
        heard, told = os.pipe()
        os.set_blocking(told, False)
        signal.set_wakeup_fd(told, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        while True:
            ready, _, _ = select.select([self.control, heard], [], [])
            if heard in ready:
                os.read(heard, 4096)
                self.reap()
            if self.control in ready and not self.message():
                return

    def message(self) -> bool:
        """Do what the next message asks for; False when there will be none."""
        data, descriptors, _, _ = socket.recv_fds(self.control, 1 << 20, 3)
        if not data:
            return False
        message = json.loads(data)
        if message["op"] == "signal":
            with contextlib.suppress(OSError):
                os.kill(message["pid"], message["signal"])
            return True
        pid = start(message, descriptors)
        for descriptor in descriptors:
            os.close(descriptor)
        self.names[pid] = message["id"]
        self.say(id=message["id"], pid=pid)
        return True


def start(message: dict, descriptors: list[int]) -> int:  # type: ignore[type-arg]
    pid = os.fork()
    if pid:
        return pid
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.setsid()
        for number, descriptor in enumerate(descriptors):
            os.dup2(descriptor, number)
        os.chdir(message["cwd"])
        if message["uid"] and os.geteuid() == 0:
            os.setgroups([])
            os.setgid(message["uid"])
            os.setuid(message["uid"])
        os.execvpe(message["argv"][0], message["argv"], message["env"])
    except OSError as error:
        os.write(2, f"{error}\n".encode())
    os._exit(127)


if __name__ == "__main__":
    Init(int(sys.argv[1])).serve()
