"""Named limits, and the ways to get the file wrong."""

from pathlib import Path
from typing import get_args

import pytest

from harness.ports import BaseSpec, SandboxLimits
from harness.sandboxes.allowlist import rules
from harness.sandboxes.limited import LimitedProvider
from harness.sandboxes.process import ProcessSandboxProvider
from harness.sandboxes.profiles import of_run, profile
from orchestrator.errors import InputError, SandboxGoneError, SandboxUnavailableError
from orchestrator.values import Profile
from tests.fakes.sandbox import FakeSandboxProvider

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


def test_the_feature_lists_names_are_those_of_the_file() -> None:
    assert set(get_args(Profile)) == set(NAMES)


async def test_a_runs_sandboxes_have_its_profiles_limits(tmp_path: Path) -> None:
    inner = FakeSandboxProvider(tmp_path)
    limits = SandboxLimits(memory_mb=7, wall_seconds=0.0)
    provider = LimitedProvider(inner, limits)
    base = await provider.prepare(BaseSpec(tmp_path, "HEAD"))
    made = [await provider.create(base, "a"), *await provider.fork(base, ["b"])]
    for box in made:
        with pytest.raises(SandboxGoneError):
            await box.exec("true")
    assert (await (await provider.create(base, "c", limits=SandboxLimits())).exec("true")).ok
    assert [s.id for s in await provider.list()] == ["a", "b", "c"]
    assert provider.capabilities is inner.capabilities


def test_a_provider_that_cannot_hold_a_profile_refuses_at_once(tmp_path: Path) -> None:
    process = ProcessSandboxProvider("r", tmp_path / "state", tmp_path / "cache")
    with pytest.raises(SandboxUnavailableError, match="cannot hold allow"):
        LimitedProvider(process, of_run("install"))
    assert of_run("quick").wall_seconds is None
