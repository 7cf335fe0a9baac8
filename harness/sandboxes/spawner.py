"""Starts cages, as PID 1 of a process namespace of its own: a program, run by `guard.py`.

Two kinds of process run it, each with a socket that ends when the runner does:

- The guard, which every sandbox lives in and with which all die. A socket that it is sent makes it
  start a spawner of it.
- A spawner, which starts one cage at a time and reports when all of it is gone. Nothing else lives
  in its namespace, so "all" is what the kernel says: it kills every other process there and waits
  until none is left, in a system call each, whatever forks how fast.

It imports next to nothing, because it is started for every provider and forked for every cage that
runs at the same time.
"""

import _socket
import contextlib
import functools
import gc
import marshal
import os
import struct
import sys
from errno import EINVAL
from signal import SIG_DFL, SIG_IGN, SIGCHLD, SIGINT, SIGKILL, SIGPIPE, SIGXFSZ, signal

TYPE_CHECKING = False  # as type checkers take it, without the module `typing`
if TYPE_CHECKING:
    import ctypes

#: All sandboxes together; since Linux 6.14 a namespace has a limit of its own. The most that a
#: fork bomb in one of them can take from this machine before it is noticed.
MOST_PROCESSES = 8192
READY = b"ready"
#: errno, and what failed; without one, the wait status.
ANSWER = struct.Struct("ii")
STARTING, MOUNTING = 1, 2
_MOST_FDS = 10
_CLONE_NEWNS, _CLONE_NEWUSER, _CLONE_NEWPID = 0x00020000, 0x10000000, 0x20000000
_MS_NOSUID, _MS_NODEV, _MS_NOEXEC, _MS_REC, _MS_SLAVE = 2, 4, 8, 1 << 14, 1 << 19


def main() -> None:
    """Its argument: the descriptor of the guard's socket."""
    fd = int(sys.argv[1])
    os.set_inheritable(fd, False)
    guard(_socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET, 0, fd))


def guard(sock: _socket.socket) -> None:
    """A spawner for every socket that comes, until `sock` ends."""
    with contextlib.suppress(OSError), open("/proc/sys/kernel/pid_max", "w") as file:  # noqa: PTH123 - no imports
        file.write(str(MOST_PROCESSES))
    signal(SIGCHLD, SIG_IGN)  # the kernel reaps the orphans that become its children
    _library()  # once, before there are many
    gc.disable()  # its looking at every object would make each spawner's memory its own
    gc.freeze()
    sock.send(READY)
    while fds := _receive(sock):
        if os.fork() == 0:
            sock.close()
            _become_spawner(_socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET, 0, fds[0]))
        _close(fds)


def _become_spawner(sock: _socket.socket) -> None:
    """Never returns: its child is the spawner."""
    try:
        # Where the machine runs out of memory, what is in a sandbox goes before all else.
        with open("/proc/self/oom_score_adj", "w") as file:  # noqa: PTH123 - no imports
            file.write("1000")
        _new_namespaces()
        if os.fork() == 0:
            signal(SIGCHLD, SIG_DFL)
            flags = _MS_NOSUID | _MS_NODEV | _MS_NOEXEC
            _ask_kernel("mount", b"proc", b"/proc", b"proc", flags, None)
            spawn_all(sock)
    except OSError as error:
        sock.send(ANSWER.pack(error.errno or EINVAL, STARTING))
    finally:
        os._exit(0)


def _new_namespaces() -> None:
    """Of users, which makes a limit of processes count those in it alone; of processes; and of
    mounts, for a /proc that shows these."""
    uid, gid = os.getuid(), os.getgid()
    _ask_kernel("unshare", _CLONE_NEWUSER | _CLONE_NEWPID | _CLONE_NEWNS)
    maps = {"setgroups": "deny", "uid_map": f"{uid} {uid} 1", "gid_map": f"{gid} {gid} 1"}
    for name, text in maps.items():
        with open(f"/proc/self/{name}", "w") as file:  # noqa: PTH123 - no imports
            file.write(text)
    _ask_kernel("mount", None, b"/", None, _MS_SLAVE | _MS_REC, None)


def _ask_kernel(call: str, *args: int | bytes | None) -> None:
    import ctypes  # noqa: PLC0415 - the runner imports this module too, and needs it not

    if getattr(_library(), call)(*args) != 0:
        raise OSError(ctypes.get_errno(), call)


@functools.cache
def _library() -> "ctypes.CDLL":
    import ctypes  # noqa: PLC0415 - as above

    return ctypes.CDLL(None, use_errno=True)


def spawn_all(sock: _socket.socket) -> None:
    """A cage for every message, one after the other, until `sock` ends."""
    signal(SIGINT, SIG_DFL)  # which PID 1 ignores, and the command need not
    sock.send(READY)
    while fds := _receive(sock):
        sock.send(ANSWER.pack(*_run(fds)))


def _run(fds: list[int]) -> tuple[int, int]:
    """The first descriptor holds the request: overlays (folder, its work folder, mount options)
    and a command line. The others become 0, 1, 2, ... of what is started."""
    request = os.pread(fds[0], os.fstat(fds[0]).st_size, 0)
    overlays, words = marshal.loads(request)  # noqa: S302 - the runner's, by the same interpreter
    mounted = []
    try:
        for upper, work, options in overlays:
            _mount_overlay(upper, work, options)
            mounted.append(upper)
        return _spawn(words, fds)
    except OSError as error:
        return error.errno or EINVAL, MOUNTING
    finally:
        for upper in mounted:
            _ask_kernel("umount2", upper, 0)
        _close(fds)


def _mount_overlay(upper: bytes, work: bytes, options: bytes) -> None:
    """Over its own upper folder, in this namespace alone. "volatile": or the kernel would write
    all that waits in the whole file system to the disk at the end of every command."""
    mark = work + b"/work/incompat/volatile"  # of the last time; only the machine's crash says more
    with contextlib.suppress(FileNotFoundError):
        os.unlink(mark + b"/dirty")  # noqa: PTH108 - no imports
        os.rmdir(mark)  # noqa: PTH106
    _ask_kernel("mount", b"overlay", upper, b"overlay", 0, options)


def _spawn(words: list[str], fds: list[int]) -> tuple[int, int]:
    # Each comes from a higher number than it goes to, so none is overwritten before it is used.
    actions = [(os.POSIX_SPAWN_DUP2, fd, number) for number, fd in enumerate(fds[1:])]
    defaults = (SIGPIPE, SIGXFSZ)  # which Python ignores
    try:
        # By its name alone: its path may be in somebody's home, and the command can read it.
        named = [words[0].rpartition("/")[2], *words[1:]]
        pid = os.posix_spawn(words[0], named, {}, file_actions=actions, setsigdef=defaults)
    except OSError as error:
        return error.errno or EINVAL, STARTING
    except ValueError:  # a word that cannot be one, with a zero byte in it
        return EINVAL, STARTING
    _close(fds)
    fds.clear()  # or the streams would not end with the command
    status = os.waitpid(pid, 0)[1]
    with contextlib.suppress(ProcessLookupError):
        os.kill(-1, SIGKILL)
    with contextlib.suppress(ChildProcessError):
        while True:
            os.wait()
    return 0, status


def _receive(sock: _socket.socket) -> list[int]:
    """The descriptors that came; none when the runner is gone."""
    room = _socket.CMSG_SPACE(4 * _MOST_FDS)
    data, told, _, _ = sock.recvmsg(1, room, _socket.MSG_CMSG_CLOEXEC)
    fds = [fd for _, kind, raw in told if kind == _socket.SCM_RIGHTS
           for (fd,) in struct.iter_unpack("i", raw)]  # fmt: skip
    return fds if data else []


def _close(fds: list[int]) -> None:
    for fd in fds:
        os.close(fd)


if __name__ == "__main__":
    main()
