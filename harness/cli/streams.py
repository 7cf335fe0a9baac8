"""Stand-ins for this process's standard streams, for a command in a sandbox: a pseudo-terminal or
pipes, with all that passes carried over.

The streams themselves are never handed over. Who has them can open the file behind one anew and
write to it, type into the terminal, and signal the programs that share its session.
"""

import contextlib
import os
import select
import signal
import termios
import threading
import tty
from collections.abc import Callable, Iterator

_CHUNK = 64 * 1024
_IN, _OUT, _ERR = 0, 1, 2


def opened() -> None:
    """Let no other file take the number of a standard stream that is closed."""
    while (fd := os.open(os.devnull, os.O_RDWR)) <= _ERR:
        os.set_inheritable(fd, True)
    os.close(fd)


@contextlib.contextmanager
def lent() -> Iterator[tuple[int, int, int]]:
    """Input and outputs for a command. All that it said has been passed on when the block ends,
    in which everybody who has them must have ended."""
    with contextlib.ExitStack() as stack:
        if os.isatty(_IN) and os.isatty(_OUT):
            theirs = stack.enter_context(_terminal())
            err = theirs if os.isatty(_ERR) else stack.enter_context(_output(_ERR))
            yield theirs, theirs, err
        else:
            out, err = (stack.enter_context(_output(fd)) for fd in (_OUT, _ERR))
            yield stack.enter_context(_input()), out, err


@contextlib.contextmanager
def _terminal() -> Iterator[int]:
    """A terminal of its size and settings in place of this process's, which only carries what is
    typed and shown until then. Afterwards it is as it was, whatever the command did to its own."""
    ours, theirs = os.openpty()
    before = termios.tcgetattr(_IN)
    termios.tcsetattr(theirs, termios.TCSANOW, before)

    def resize(*_: object) -> None:
        termios.tcsetwinsize(ours, termios.tcgetwinsize(_IN))

    resize()
    resized = signal.signal(signal.SIGWINCH, resize)
    tty.setraw(_IN, termios.TCSANOW)
    try:
        with _carried(ours, _OUT), _typed(ours, lambda: os.kill(os.getpid(), signal.SIGHUP)):
            try:
                yield theirs
            finally:
                os.close(theirs)  # what was said is read to its end, which comes with this
    finally:
        signal.signal(signal.SIGWINCH, resized)
        termios.tcsetattr(_IN, termios.TCSADRAIN, before)
        os.close(ours)


@contextlib.contextmanager
def _output(target: int) -> Iterator[int]:
    ours, theirs = os.pipe()
    with _carried(ours, target, lambda: os.close(ours)):
        try:
            yield theirs
        finally:
            os.close(theirs)


@contextlib.contextmanager
def _input() -> Iterator[int]:
    theirs, ours = os.pipe()
    closed = threading.Event()

    def close() -> None:
        if not closed.is_set():
            closed.set()
            os.close(ours)

    try:
        with _typed(ours, close):
            try:
                yield theirs
            finally:
                os.close(theirs)  # so that who still writes to it ends
    finally:
        close()


@contextlib.contextmanager
def _carried(source: int, target: int, then: Callable[[], None] = lambda: None) -> Iterator[None]:
    """What comes from `source` goes to `target` until it ends or nobody wants it, `then` after."""

    def carry() -> None:
        with contextlib.suppress(OSError):  # EIO: nobody has the terminal any more
            while data := os.read(source, _CHUNK):
                _write(target, data)
        then()

    thread = threading.Thread(target=carry, daemon=True)
    thread.start()
    try:
        yield
    finally:
        thread.join()


@contextlib.contextmanager
def _typed(target: int, ended: Callable[[], None]) -> Iterator[None]:
    """What this process is told goes to `target`, until then: what is typed later is not ours.
    `ended` is called when nothing more can come."""
    wake, waker = os.pipe()

    def carry() -> None:
        with contextlib.suppress(OSError):  # nobody listens any more
            while wake not in select.select([_IN, wake], [], [])[0]:
                if not (data := _read()):
                    ended()
                    return
                _write(target, data)

    thread = threading.Thread(target=carry, daemon=True)
    thread.start()
    try:
        yield
    finally:
        os.close(waker)
        thread.join()
        os.close(wake)


def _read() -> bytes:
    try:
        return os.read(_IN, _CHUNK)
    except OSError:  # EIO: the terminal was closed
        return b""


def _write(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(fd, view) :]
        except BlockingIOError:  # whoever else has the terminal made it so
            select.select([], [fd], [])
