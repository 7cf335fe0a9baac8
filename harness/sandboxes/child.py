"""A child process whose output and end arrive on the event loop, without a thread for either."""

import asyncio
import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple

from harness.sandboxes.capture import Capture

_CHUNK = 256 * 1024


@dataclass(frozen=True, slots=True)
class Launch:
    """How a child is started. File descriptors in `pass_fds` keep their numbers. With `streams`,
    those are its input and outputs: nothing of them arrives here, and they stay the giver's."""

    argv: Sequence[str]
    env: Mapping[str, str]
    cwd: str | Path | None = None
    stdin: bytes | BinaryIO | None = None
    pass_fds: tuple[int, ...] = ()
    new_session: bool = False
    limit: int = 1_000_000
    on_output: Callable[[bytes], None] | None = None
    streams: tuple[int, int, int] | None = None


class Streams:
    """The standard streams of a process that is started by somebody: its input, and its outputs
    as they arrive. `drained` is done when both have ended.

    The ends in `theirs` are for the process; `listen` once it has them. `close` at the end.
    """

    def __init__(self, launch: Launch) -> None:
        self._loop = asyncio.get_running_loop()
        self.out, self.err = Capture(launch.limit), Capture(launch.limit)
        self.drained: asyncio.Future[None] = self._loop.create_future()
        self._on_output = launch.on_output
        self._readers: dict[int, Capture] = {}
        self._ends = _streams(launch)

    @property
    def theirs(self) -> tuple[int, int, int]:
        """Input and outputs."""
        return self._ends.stdin, self._ends.out[1], self._ends.err[1]

    def listen(self) -> None:
        _close(*self.theirs)
        for (fd, _), capture in ((self._ends.out, self.out), (self._ends.err, self.err)):
            if fd is None:
                continue
            os.set_blocking(fd, False)
            self._readers[fd] = capture
            self._loop.add_reader(fd, self._on_readable, fd)
        if not self._readers:
            self.drained.set_result(None)

    def _on_readable(self, fd: int) -> None:
        try:
            data = os.read(fd, _CHUNK)
        except BlockingIOError:
            return
        if not data:
            self._forget_stream(fd)
            return
        self._readers[fd].feed(data)
        if self._on_output is not None:
            self._on_output(data)

    def _forget_stream(self, fd: int) -> None:
        self._loop.remove_reader(fd)
        os.close(fd)
        del self._readers[fd]
        if not self._readers and not self.drained.done():
            self.drained.set_result(None)

    def abandon(self) -> None:
        """Nothing was started that has the ends."""
        _close(*self.theirs, self._ends.out[0], self._ends.err[0])

    def close(self) -> None:
        """Stop listening; output not yet read is lost."""
        for fd in tuple(self._readers):
            self._forget_stream(fd)


class Child(Streams):
    """A running process. `exited` yields its wait status as `Popen.returncode` gives it.

    Raises `OSError` when it cannot be started. `close` must be called at the end, when it has
    exited.
    """

    def __init__(self, launch: Launch) -> None:
        super().__init__(launch)
        self.exited: asyncio.Future[int] = self._loop.create_future()
        stdin, out, err = self.theirs
        try:
            self._process = subprocess.Popen(
                launch.argv,
                env=launch.env,
                cwd=launch.cwd,
                pass_fds=launch.pass_fds,
                start_new_session=launch.new_session,
                stdin=stdin,
                stdout=out,
                stderr=err,
            )
        except (OSError, ValueError):
            self.abandon()
            raise
        self.pid = self._process.pid
        self._pidfd = os.pidfd_open(self.pid)
        self._loop.add_reader(self._pidfd, self._on_exit)
        self.listen()

    def _on_exit(self) -> None:
        status = self._process.poll()
        if status is not None:
            self._forget_process()
            if not self.exited.done():
                self.exited.set_result(status)

    def _forget_process(self) -> None:
        if self._pidfd >= 0:
            self._loop.remove_reader(self._pidfd)
            os.close(self._pidfd)
            self._pidfd = -1

    def kill(self) -> None:
        """SIGKILL to this one process; a no-op once it has been waited for."""
        self._process.kill()

    def close(self) -> None:
        super().close()
        self._forget_process()


class _Ends(NamedTuple):
    """Descriptors of the standard streams: the child's input, and for each output ours, where
    there is one, and the child's."""

    stdin: int
    out: tuple[int | None, int]
    err: tuple[int | None, int]


def _streams(launch: Launch) -> _Ends:
    if launch.streams is not None:
        stdin, out, err = (os.dup(fd) for fd in launch.streams)
        return _Ends(stdin, (None, out), (None, err))
    return _Ends(_stdin(launch.stdin), os.pipe(), os.pipe())


def _close(*fds: int | None) -> None:
    for fd in fds:
        if fd is not None:
            os.close(fd)


def _stdin(data: bytes | BinaryIO | None) -> int:
    """A descriptor to read `data` from. A memory file needs no writer, whatever its size; a
    stream is copied, because a child could open the file behind it anew, and write to it."""
    if not data:
        return os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    fd = os.memfd_create("stdin", os.MFD_CLOEXEC)
    chunks = (data,) if isinstance(data, bytes) else iter(lambda: data.read(_CHUNK), b"")
    for chunk in chunks:
        view = memoryview(chunk)
        while view:
            view = view[os.write(fd, view) :]
    os.lseek(fd, 0, os.SEEK_SET)
    return fd
