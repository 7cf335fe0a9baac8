"""Attempts to use up what the machine has. Each ends with a record that says which limit it met,
in the way the provider declares (`Capabilities`), and the next command runs as if nothing had been.

FIBREFLOW_ESCAPE_GB=10 sends that much output; 1 by default, for time.
"""

import asyncio
import contextlib
import os
import resource
import secrets
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from harness.ports import Base, ExecResult, Sandbox, SandboxLimits
from harness.sandboxes.local import LocalSandboxProvider
from harness.sandboxes.workspace import LocalSandbox
from tests.harness.sandboxes.test_local import alive, until

pytestmark = pytest.mark.isolation

GIGABYTES = int(os.environ.get("FIBREFLOW_ESCAPE_GB", "1"))
LIMITS = SandboxLimits(
    memory_mb=96, processes=40, open_files=256, file_mb=64, disk_mb=48, inodes=2000, cpu_seconds=60
)


@pytest.fixture
async def small(provider: LocalSandboxProvider, base: Base) -> AsyncIterator[Sandbox]:
    """A sandbox with little of everything; whatever the attacker did, it still works afterwards,
    and so does the runner."""
    box = await provider.create(base, "small", limits=LIMITS)
    yield box
    await box.exec("rm -rf /work/* /tmp/* /home/agent/*")
    assert (await box.exec("echo alive > proof; cat proof")).text == "alive\n"


async def attack(box: Sandbox, script: str, timeout: float = 60) -> ExecResult:
    """Runs `script` in Python; it must not come to its time-out, the limit has to end it."""
    result = await box.exec(["python", "-c", script], timeout=timeout)
    assert not result.timed_out, result.err[-300:]
    return result


@pytest.mark.long
async def test_ten_gigabytes_of_output(box: Sandbox) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    heard = 0

    def listen(data: bytes) -> None:
        nonlocal heard
        heard += len(data)

    # Concurrently, something else: the event loop must stay free.
    flood = asyncio.ensure_future(
        box.exec(f"head -c {GIGABYTES}G /dev/zero", timeout=300, limit=100_000, on_output=listen)
    )
    turns = 0
    while not flood.done():
        await asyncio.sleep(0)
        turns += 1
    result = await flood
    assert heard == GIGABYTES << 30
    assert result.truncated
    assert len(result.out) <= 100_000
    assert turns > 100
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 64 * 1024, f"{grown} kB more"


MEMORY = {
    "one process": "kept = [bytearray(1 << 20) for _ in range(4096)]; import time; time.sleep(600)",
    "many small ones": (
        "import os, time\n"
        "for _ in range(30):\n"
        "    if os.fork() == 0:\n"
        "        kept = bytearray(os.urandom(1 << 20) * 12); time.sleep(600)\n"
        "time.sleep(600)"
    ),
    "files nobody can name": (
        "import os, time\n"
        "for n in range(8):\n"
        "    fd = os.memfd_create('m')\n"
        "    for _ in range(40): os.write(fd, b'x' * (1 << 20))\n"
        "time.sleep(600)"
    ),
}


@pytest.mark.parametrize("script", MEMORY.values(), ids=MEMORY)
async def test_memory(small: Sandbox, script: str) -> None:
    result = await attack(small, script)
    assert result.exit == 137
    assert b"killed: over " in result.err


async def test_shared_memory_is_bounded(box: Sandbox) -> None:
    fill = "head -c 400M /dev/zero > /dev/shm/x; stat -c %s /dev/shm/x"
    result = await box.exec(fill, timeout=60)
    assert int(result.text) <= 256 << 20
    assert (await box.exec("ls -A /dev/shm")).text == ""  # nor does it last


DISK = {
    "one file after another": (
        "n = 0\nwhile True:\n    n += 1\n    open(str(n), 'wb').write(b'x' * (1 << 20))\n"
    ),
    "a file without a name": (
        "import os, time\nf = open('gone', 'wb'); os.unlink('gone')\n"
        "for _ in range(60): f.write(b'x' * (1 << 20))\nf.flush(); time.sleep(600)"
    ),
    "space asked for, not written": (
        "import os, time\n"
        "for n in range(3):\n    os.posix_fallocate(os.open(str(n), 66), 0, 60 << 20)\n"
        "time.sleep(600)"
    ),
    "home and temporary files": (
        "import time\n"
        "for p in ('/tmp/a', '/home/agent/a'): open(p, 'wb').write(b'x' * (30 << 20))\n"
        "time.sleep(600)"
    ),
}


@pytest.mark.parametrize("script", DISK.values(), ids=DISK)
async def test_disk(small: Sandbox, script: str) -> None:
    result = await attack(small, script)
    assert result.exit == 137
    assert f"killed: over {LIMITS.disk_mb} MB of files".encode() in result.err


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("head -c 15M /dev/zero > f{}", f"over {LIMITS.disk_mb} MB of files"),
        ("mkdir d{0}; cd d{0}; touch {{1..500}}", f"over {LIMITS.inodes} files and folders"),
    ],
)
async def test_many_short_commands_together(small: Sandbox, line: str, says: str) -> None:
    """None of them runs for so long that it is watched."""
    for number in range(10):
        result = await small.exec(["bash", "-c", line.format(number)])
        if not result.ok:
            break
    assert result.exit == 137
    assert f"killed: {says}".encode() in result.err


async def test_no_space_is_taken_without_writing_it(small: Sandbox) -> None:
    """A loop of it would fill the machine's disk within the time between two looks."""
    result = await small.exec("fallocate -l 60M big; stat -c %b big")
    assert "not supported" in result.err.decode()
    assert result.text == "0\n"


async def test_a_file_cannot_be_larger_than_its_limit(small: Sandbox) -> None:
    result = await attack(small, f"open('big', 'wb').truncate({(64 << 20) + 1})")
    assert result.exit != 0
    assert (await small.exec("stat -c %s big")).text == "0\n"


INODES = {
    "files": "for n in range(100_000): open(f'f{n}', 'w').close()\ninput()",
    # Fewer: each takes a block of the disk, which has a limit of its own.
    "folders": "import os\nfor n in range(4_000): os.mkdir(f'd{n}')\ninput()",
    "links": "import os\nfor n in range(100_000): os.symlink('x', f'l{n}')\ninput()",
}


@pytest.mark.long
@pytest.mark.parametrize("script", INODES.values(), ids=INODES)
async def test_inodes(small: Sandbox, script: str) -> None:
    result = await attack(small, script.replace("input()", "import time; time.sleep(600)"))
    assert result.exit == 137
    assert f"killed: over {LIMITS.inodes} files and folders".encode() in result.err


async def test_a_hundred_thousand_open_files(small: Sandbox) -> None:
    script = (
        "import os\nkept = []\n"
        "try:\n    for _ in range(100_000): kept.append(os.open('file', os.O_RDONLY))\n"
        "except OSError as e:\n    print(len(kept) + 3, e.strerror)"
    )
    result = await attack(small, script)
    assert result.text == f"{LIMITS.open_files} Too many open files\n"
    raised = "import resource as r; r.setrlimit(r.RLIMIT_NOFILE, (512, 512))"
    assert (await attack(small, raised)).exit != 0


FORKS = {
    "forks": "import os\nwhile True:\n    try: os.fork()\n    except OSError: pass\n",
    "threads": (
        "import threading, time\n"
        "for _ in range(400): threading.Thread(target=time.sleep, args=(600,)).start()\n"
    ),
    "programs that leave their parents": (
        "import subprocess\nwhile True:\n    subprocess.Popen(['setsid', '-f', 'sleep', '600'])\n"
    ),
}


@pytest.mark.parametrize("script", FORKS.values(), ids=FORKS)
async def test_processes(small: Sandbox, script: str) -> None:
    began = time.monotonic()
    result = await small.exec(["timeout", "-k1", "1", "python", "-c", script], timeout=3)
    # Held by the kernel, it only fails; watched, it is killed, and the record says why.
    assert result.exit != 0
    held = result.exit in {1, 124, 137} or result.timed_out
    assert held, (result, time.monotonic() - began)


async def test_processor_time_of_many(provider: LocalSandboxProvider, base: Base) -> None:
    box = await provider.create(base, "busy", limits=SandboxLimits(cpu_seconds=1))
    result = await box.exec("for i in 1 2 3 4; do while :; do :; done & done; wait", timeout=60)
    assert not result.timed_out
    assert result.exit != 0
    assert b"killed: over 1 s of processor time" in result.err


HOLDERS = {
    "holds the pipe": "sleep 600 & echo done",
    "leaves the session": "setsid sleep 600 & echo done",
    "daemonizes": (
        "python -c 'import os, time\n"
        "if os.fork() == 0:\n"
        "    os.setsid()\n"
        "    if os.fork(): os._exit(0)\n"
        '    os.chdir("/"); time.sleep(600)\n\'; echo done'
    ),
    "ignores signals": "sh -c 'trap \"\" TERM HUP INT QUIT; sleep 600; sleep 600' & echo done",
    "stopped": "sh -c 'kill -STOP $$' & echo done",
}


@pytest.mark.parametrize("script", HOLDERS.values(), ids=HOLDERS)
async def test_nothing_outlives_its_command(box: Sandbox, script: str) -> None:
    marker = f"marker-{secrets.token_hex(8)}"
    result = await box.exec(["sh", "-c", f"exec 3>&1 4>&2; {script}", marker], timeout=60)
    assert result.text == "done\n"
    assert result.exit == 0
    assert result.seconds < 60
    assert alive(marker) == []
    assert (await box.exec("ls /proc | grep -c '^[0-9]*$'")).exit == 0
    assert not [p for p in alive("sleep\x00600") if _in(box, p)]


def _in(box: Sandbox, pid: int) -> bool:
    """Whether a process of the machine has that sandbox's folders mounted."""
    assert isinstance(box, LocalSandbox)
    with contextlib.suppress(OSError):
        return str(box.folder) in Path(f"/proc/{pid}/mountinfo").read_text(encoding="utf-8")
    return False


async def test_an_orphan_that_fills_a_pipe_for_ever_is_cut_off(box: Sandbox) -> None:
    result = await box.exec("yes & yes & echo done >&2", timeout=60, limit=10_000)
    assert result.err == b"done\n"
    assert result.exit == 0


async def test_kill_everything_one_sees(
    provider: LocalSandboxProvider, base: Base, box: Sandbox
) -> None:
    other = await provider.create(base, "other")
    running = asyncio.ensure_future(other.exec("touch begun; sleep 1; echo lived", timeout=60))
    begun = (await provider.workspaces()) / "other" / "upper" / "begun"
    await until(begun.exists)
    await box.exec("for p in $(seq 1 70000); do kill -9 $p; done 2>/dev/null; kill -9 -1")
    assert (await running).text == "lived\n"
    assert provider.guard.alive
