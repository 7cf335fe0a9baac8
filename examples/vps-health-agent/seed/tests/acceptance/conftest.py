"""A made-up /proc in a temporary folder, so that no result depends on the machine.

The modules under test are imported inside the tests: files whose feature is not built yet
must still be collected.
"""

from pathlib import Path

import pytest

MEMINFO = """\
MemTotal:        2000000 kB
MemFree:          100000 kB
MemAvailable:    1500000 kB
Buffers:           50000 kB
Cached:           300000 kB
SwapTotal:       1000000 kB
SwapFree:         750000 kB
HugePages_Total:       0
"""
STAT = """\
cpu  10 0 10 1000 0 0 0 0 0 0
cpu0 5 0 5 500 0 0 0 0 0 0
cpu1 5 0 5 500 0 0 0 0 0 0
intr 12345
ctxt 6789
"""
#: No device of the real machine: a full disk there must not change a result here.
MOUNTS = "proc /proc proc rw 0 0\ntmpfs /run tmpfs rw 0 0\n"


class FakeProc:
    """A proc folder at `root`; every method replaces one part of it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.write("meminfo", MEMINFO)
        self.write("stat", STAT)
        self.write("loadavg", "0.50 0.40 0.30 1/100 4242\n")
        self.write("uptime", "3661.25 7000.00\n")
        self.write("mounts", MOUNTS)
        self.write("sys/kernel/hostname", "web-1\n")
        self.process(1, "init", "S", rss_pages=100)

    def write(self, name: str, text: str) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    def remove(self, name: str) -> None:
        (self.root / name).unlink()

    def process(self, pid: int, name: str, state: str, rss_pages: int = 0) -> None:
        """Writes /proc/PID/stat with the 52 fields of proc(5); field 24 is the resident set."""
        middle = ["0"] * 20  # fields 4 to 23
        middle[0] = "1"
        middle[18] = "777"  # start time, so that neighbours of rss are not all zero
        middle[19] = "8192"  # virtual memory size in bytes
        tail = ["0"] * 28
        fields = [str(pid), f"({name})", state, *middle, str(rss_pages), *tail]
        self.write(f"{pid}/stat", " ".join(fields) + "\n")

    def memory(self, used_percent: int) -> None:
        self.write(
            "meminfo",
            f"MemTotal: 1000 kB\nMemFree: 0 kB\nMemAvailable: {10 * (100 - used_percent)} kB\n"
            "SwapTotal: 0 kB\nSwapFree: 0 kB\n",
        )


@pytest.fixture
def proc(tmp_path: Path) -> FakeProc:
    return FakeProc(tmp_path / "proc")
