"""Named limits, and the ways to get the file wrong."""

from pathlib import Path

import pytest

from harness.ports import SandboxLimits
from harness.sandboxes.allowlist import rules
from harness.sandboxes.profiles import profile
from orchestrator.errors import InputError

NAMES = ("quick", "standard", "heavy", "install")


@pytest.mark.parametrize("name", NAMES)
def test_every_profile_says_all_that_matters(name: str) -> None:
    limits = profile(name)
    assert limits.cpu_seconds is not None
    assert limits.wall_seconds is not None
    rules(limits.allow)
    assert bool(limits.allow) == (name == "install")


def test_they_are_in_order_and_the_standard_one_is_what_an_attempt_gets() -> None:
    quick, standard, heavy = (profile(name) for name in NAMES[:3])
    for field in ("memory_mb", "processes", "open_files", "file_mb", "disk_mb", "inodes"):
        assert getattr(quick, field) < getattr(standard, field) < getattr(heavy, field)
        assert getattr(standard, field) == getattr(SandboxLimits(), field)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("quick: [", "cannot be read"),
        ("- quick", "no sandbox profile"),
        ("quick: 1", "one limit a line"),
        ("quick: {memory: 1}", "'memory' is not a limit"),
        ("quick: {memory_mb: 0}", "memory_mb: 0"),
        ("quick: {memory_mb: 1.5}", "memory_mb: 1.5"),
        ("quick: {processes: true}", "processes: True"),
        ("quick: {allow: example.org}", "allow: 'example.org'"),
    ],
)
def test_a_wrong_file_is_the_users_error(tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "profiles.yaml"
    file.write_text(text)
    with pytest.raises(InputError, match=says):
        profile("quick", file)
