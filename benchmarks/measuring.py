"""Measures a whole process tree: CPU, wall time and peak memory of one command.

A sandbox's processes are reaped by their guard, not by the program, so `getrusage` misses them.
A control group counts them all. Where none can be made, the whole machine's CPU is taken and
`Meter.exact` is False: the figure is then right only when nothing else runs.
"""

import contextlib
import os
import platform
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.sandboxes.watch import tree

_CPUACCT = Path("/sys/fs/cgroup/cpuacct")
_UNIFIED = Path("/sys/fs/cgroup")
_TICK = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
#: Memory is looked at this often; a peak between two looks is missed.
_SAMPLE_SECONDS = 0.25


@dataclass(frozen=True, slots=True)
class Cost:
    """`cpu` and `wall` in seconds, `rss` in bytes: the highest sum over the tree that was seen
    (pages shared by several processes count once for each). `exit` is the command's status."""

    cpu: float
    wall: float
    rss: int
    exit: int


@dataclass(frozen=True, slots=True)
class _Group:
    """A control group that counts CPU, of version 1 or 2."""

    path: Path

    def seconds(self) -> float:
        usage = self.path / "cpuacct.usage"
        if usage.exists():
            return int(usage.read_text()) / 1e9
        facts = dict(line.split() for line in (self.path / "cpu.stat").read_text().splitlines())
        return int(facts["usage_usec"]) / 1e6

    def enter(self) -> None:
        (self.path / "cgroup.procs").write_text(str(os.getpid()))


class Meter:
    """Runs commands one after the other and says what each cost."""

    def __init__(self) -> None:
        self._group = _new_group()

    @property
    def exact(self) -> bool:
        """Whether CPU is the command's alone."""
        return self._group is not None

    def run(
        self, command: Sequence[str], *, env: Mapping[str, str] | None = None, log: Path
    ) -> Cost:
        """Run to the end; what it says goes to the file `log`."""
        began, before = time.monotonic(), self._seconds()
        with log.open("wb") as out:
            child = subprocess.Popen(
                self._inside(command),
                stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, env=env,
            )  # fmt: skip
            with _watched(child.pid) as peak:
                code = child.wait()
        wall = time.monotonic() - began
        return Cost(self._seconds() - before, wall, peak[0], code)

    def _inside(self, command: Sequence[str]) -> list[str]:
        """The command, started by a shell that first enters the group."""
        if self._group is None:
            return [*command]
        procs = self._group.path / "cgroup.procs"
        return ["/bin/sh", "-c", 'echo $$ > "$0" && exec "$@"', str(procs), *command]

    def _seconds(self) -> float:
        return self._group.seconds() if self._group is not None else _machine_seconds()

    def close(self) -> None:
        if self._group is not None:
            with contextlib.suppress(OSError):
                self._group.path.rmdir()


def _new_group() -> _Group | None:
    # Version 2 as root: the local provider puts sandboxes into groups beside ours, uncounted.
    roots = [_CPUACCT] if os.getuid() == 0 else [_CPUACCT, _UNIFIED]
    for root in roots:
        made = root / _own_path(root) / f"overhead-{os.getpid()}"
        try:
            made.mkdir()
        except OSError:
            continue
        entered = subprocess.run(
            ["/bin/sh", "-c", 'echo $$ > "$0"', str(made / "cgroup.procs")],
            check=False, capture_output=True,
        )  # fmt: skip
        if entered.returncode == 0:
            return _Group(made)
        made.rmdir()
    return None


def _own_path(root: Path) -> str:
    wanted = "cpuacct" if root == _CPUACCT else ""
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if wanted in controllers.split(",") and (root / path.lstrip("/")).is_dir():
            return path.lstrip("/")
    return ""


def _machine_seconds() -> float:
    """CPU that the whole machine has used: user, nice, system, interrupts, steal left out."""
    words = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
    user, nice, system, _idle, _wait, irq, softirq = map(int, words[:7])
    return (user + nice + system + irq + softirq) / _TICK


@contextlib.contextmanager
def _watched(root: int) -> Iterator[list[int]]:
    peak, over = [0], threading.Event()

    def watch() -> None:
        while not over.wait(_SAMPLE_SECONDS):
            peak[0] = max(peak[0], sum(map(_resident, tree(root))))

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield peak
    finally:
        over.set()
        thread.join()


def _resident(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE
    except (OSError, IndexError):
        return 0


def machine() -> str:
    """The machine in a few words: cores, system, load. No name of a host or a user."""
    cores = len(os.sched_getaffinity(0))
    release = Path("/etc/os-release")
    lines = release.read_text().splitlines() if release.exists() else []
    name = next((li.split("=", 1)[1].strip('"') for li in lines if li.startswith("PRETTY_")), "?")
    load = os.getloadavg()[0]
    python = platform.python_version()
    return f"{cores} cores, {name}, Python {python}, load {load:.1f} before"
