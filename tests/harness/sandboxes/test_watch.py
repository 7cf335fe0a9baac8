"""Counting what a process tree and a folder take."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness.ports import SandboxLimits
from harness.sandboxes.watch import disk_mb, may_have_passed, memory_mb, tree


def test_a_tree_has_its_grandchildren_and_their_memory() -> None:
    script = (
        "import subprocess, sys; x = b'x' * (50 << 20); "
        "p = subprocess.Popen(['sleep', '600']); print(p.pid, flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        grandchild = int(process.stdout.readline())
        try:
            found = tree(os.getpid())
            assert {process.pid, grandchild} <= set(found)
            assert 50 <= memory_mb([process.pid]) < 200
            assert 50 <= memory_mb([process.pid], exact=True) < 200
        finally:
            os.kill(grandchild, 9)
            process.kill()


def test_what_is_gone_counts_nothing() -> None:
    with subprocess.Popen(["true"]) as process:
        process.wait()
    assert memory_mb([process.pid]) == 0
    assert memory_mb([process.pid], exact=True) == 0


def test_disk_counts_files_below_and_follows_no_link(tmp_path: Path) -> None:
    (tmp_path / "here" / "deep").mkdir(parents=True)
    (tmp_path / "here" / "deep" / "file").write_bytes(b"x" * (5 << 20))
    (tmp_path / "there").write_bytes(b"x" * (9 << 20))
    (tmp_path / "here" / "link").symlink_to(tmp_path / "there")
    assert disk_mb([tmp_path / "here", tmp_path / "missing"]) == 5


@pytest.mark.parametrize(
    ("now", "looked_at"),
    [((1000, 50), False), ((1024, 74), False), ((1030, 50), True), ((1000, 76), True)],
)
def test_a_file_system_that_fills_up_is_looked_at_before_its_time(
    now: tuple[int, int], looked_at: bool
) -> None:
    limits = SandboxLimits(disk_mb=100, inodes=100)
    assert may_have_passed((1000, 50), now, limits) is looked_at
    assert not may_have_passed((1000, 50), now, SandboxLimits(disk_mb=None, inodes=None))
