"""Control groups: what is written where, in both versions, and what this kernel takes."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.ports import SandboxLimits
from harness.sandboxes import cgroup

LIMITS = SandboxLimits(memory_mb=64, processes=10, cpus=0.5)


def test_settings_of_version_2(tmp_path: Path) -> None:
    (tmp_path / "cgroup.controllers").write_text("cpu memory pids")
    (tmp_path / "cgroup.subtree_control").touch()
    parent = tmp_path / "own"
    parent.mkdir()
    (parent / "cgroup.controllers").touch()
    made = cgroup.Groups(dict.fromkeys(cgroup.CONTROLLERS, parent)).group(LIMITS)
    assert made is not None
    (folder,) = made.folders
    assert {f.name: f.read_text() for f in folder.iterdir()} == {
        "memory.max": str(64 << 20), "pids.max": "13", "cpu.max": "50000 100000",
    }  # fmt: skip
    (folder / "memory.events").write_text("low 0\nmax 3\noom 2\noom_kill 2\n")
    events = made.memory_events()
    assert events is not None
    assert events.kills() == 2
    events.close()
    made.enter(4711)
    assert (folder / "cgroup.procs").read_text() == "4711"


def test_settings_of_version_1_are_in_a_hierarchy_each(tmp_path: Path) -> None:
    parents = {name: tmp_path / name for name in cgroup.CONTROLLERS}
    for parent in parents.values():
        parent.mkdir()
    made = cgroup.Groups(parents).group(LIMITS)
    assert made is not None
    written = (file for folder in made.folders for file in folder.iterdir())
    assert {f"{file.parent.parent.name}/{file.name}": file.read_text() for file in written} == {
        "memory/memory.limit_in_bytes": str(64 << 20), "pids/pids.max": "13",
        "cpu/cpu.cfs_quota_us": "50000",
    }  # fmt: skip


def test_no_group_where_nothing_is_asked_or_nothing_can_be_had(tmp_path: Path) -> None:
    nothing = SandboxLimits(memory_mb=None, processes=None)
    assert cgroup.Groups({"pids": tmp_path}).group(nothing) is None
    assert cgroup.groups(mount=tmp_path).controllers == frozenset()
    assert cgroup.Groups({"pids": tmp_path / "missing"}).group(LIMITS) is None


@pytest.fixture
def real() -> cgroup.Groups:
    found = cgroup.groups()
    if not found.controllers:
        pytest.skip("no control group can be made by this user")
    return found


def test_the_kernel_holds_them_and_nothing_is_left(real: cgroup.Groups) -> None:
    made = real.group(LIMITS)
    assert made is not None
    program = subprocess.Popen(["sleep", "600"])
    try:
        made.enter(program.pid)
        for folder in made.folders:
            assert str(program.pid) in (folder / "cgroup.procs").read_text().split()
        real.remove()  # not what is in use
        assert all(folder.is_dir() for folder in made.folders)
        events = made.memory_events()
        assert events is None or events.kills() == 0
    finally:
        program.kill()
        program.wait()
        real.remove()
    assert not any(folder.parent.exists() for folder in made.folders)


def test_what_a_dead_process_left_is_swept(real: cgroup.Groups) -> None:
    made = real.group(LIMITS)
    assert made is not None
    dead = subprocess.Popen(["true"])
    dead.wait()
    left = made.folders[0].parent.with_name(f"fibreflow-{dead.pid}-abcd")
    left.mkdir()
    try:
        again = cgroup.groups()
        assert not left.exists()
        assert made.folders[0].exists()  # this process lives
        again.remove()
    finally:
        real.remove()
    assert os.getpid() != dead.pid


@pytest.fixture
def sleeper() -> Iterator["subprocess.Popen[bytes]"]:
    with subprocess.Popen(["sleep", "600"]) as program:
        yield program
        program.kill()


def test_the_group_of_a_process_until_it_has_ended(
    real: cgroup.Groups, sleeper: "subprocess.Popen[bytes]"
) -> None:
    made = real.group(SandboxLimits(memory_mb=64, processes=None))
    if made is None:
        pytest.skip("memory is not among the control groups of this user")
    try:
        made.enter(sleeper.pid)
        found = cgroup.memory_group(sleeper.pid)
        assert found is not None
        assert set(made.folders) <= set(found.folders)
        sleeper.kill()
        os.waitid(os.P_PID, sleeper.pid, os.WEXITED | os.WNOWAIT)
        # Nobody has waited for it: version 1 would say that it is in the root's group.
        assert cgroup.memory_group(sleeper.pid) is None
        sleeper.wait()
        assert cgroup.memory_group(sleeper.pid) is None
    finally:
        real.remove()


def test_a_process_in_the_group_of_the_root_has_a_group(
    sleeper: "subprocess.Popen[bytes]",
) -> None:
    mount = Path("/sys/fs/cgroup")
    root = mount / "memory" if (mount / "memory").is_dir() else mount
    try:
        cgroup.Group((root,)).enter(sleeper.pid)
    except OSError as error:
        pytest.skip(f"this user may put no process there: {error}")
    found = cgroup.memory_group(sleeper.pid)
    assert found is not None
    assert root in found.folders
