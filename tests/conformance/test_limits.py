"""Limits hold, in whatever way the provider says."""

from pathlib import Path

import pytest

from harness.ports import BaseSpec, Sandbox, SandboxLimits, SandboxProvider


async def test_endless_output_is_cut_in_the_middle(box: Sandbox) -> None:
    result = await box.exec(
        "echo first; yes | head -c 200000000; echo last; echo small >&2", limit=10_000
    )
    assert result.exit == 0
    assert result.truncated
    assert len(result.out) <= 10_000
    assert result.out.startswith(b"first\n")
    assert result.out.endswith(b"last\n")
    assert b"bytes left out" in result.out
    assert result.err == b"small\n"


@pytest.mark.parametrize(
    ("limits", "command", "says"),
    [
        (SandboxLimits(memory_mb=100), "python -c \"x = b'x' * (400 << 20); input()\"", b"memory"),
        (  # Not by bash, which would try a fork that failed again for 15 s.
            SandboxLimits(processes=20),
            "sh -c 'for i in $(seq 60); do sleep 600 & done; wait'",
            b"",
        ),
        (
            SandboxLimits(inodes=1000),
            "mkdir many; for i in $(seq 3000); do : > many/$i; done; sleep 600",
            b"files and folders",
        ),
        (SandboxLimits(cpu_seconds=1), "while :; do :; done & while :; do :; done", b""),
        (SandboxLimits(disk_mb=20), "head -c 60000000 /dev/zero > big; sleep 600", b"of files"),
    ],
)
async def test_watched_limits_end_the_command(
    shells: SandboxProvider, repo: Path, limits: SandboxLimits, command: str, says: bytes
) -> None:
    base = await shells.prepare(BaseSpec(repo, "HEAD"))
    box = await shells.create(base, "a", limits=limits)
    # A process limit held by the kernel makes fork fail; a watched one kills.
    result = await box.exec(f"{command} || exit 9", stdin=b"", timeout=60)
    if "input" in command:
        result = await box.exec(["sh", "-c", f"{command} < /dev/zero"], timeout=60)
    assert not result.timed_out
    assert result.exit != 0
    assert says in result.err


async def test_kernel_limits(shells: SandboxProvider, repo: Path) -> None:
    base = await shells.prepare(BaseSpec(repo, "HEAD"))
    box = await shells.create(base, "a", limits=SandboxLimits(file_mb=1, open_files=64))
    assert (await box.exec("ulimit -n; ulimit -c")).text == "64\n0\n"
    assert (await box.exec("head -c 3000000 /dev/zero > big")).exit != 0
    assert (await box.exec("stat -c %s big")).text == f"{1 << 20}\n"
