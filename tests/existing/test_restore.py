"""Existing projects nobody here wrote: what was deleted from them is restored by the whole spine.

The packages come from the index that pip is configured for, as they were released. Another one
is tried by hand with `python -m tests.existing.try_package`.
"""

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from harness.sandboxes.local import LocalSandboxProvider
from orchestrator.errors import SandboxUnavailableError
from tests.existing.packages import IndexUnreachableError, Package, git
from tests.existing.spine import BRANCH, Restored, agents_own_check, passed, restore

#: Each with its seed; no mutant of these runs for ever.
PACKAGES = (
    (  # One flat package, its tests beside it at the root.
        Package(
            "inflection",
            "0.5.1",
            "1a29730d366e996aaacffb2f1f1cb9593dc38e2ddd30c91250c6dde09ea9b417",
            test="python -m pytest -q",
        ),
        1,
    ),
    (  # A src layout that must be installed, tested by unittest.
        Package(
            "cachetools",
            "8.0.0",
            "5ed01bd676800d51f0025605e4fd8ad0891550513e7b0a4c3da478463764e5c3",
            test="python -m unittest discover -s tests -t .",
            tests=("tests",),
            roots=("src",),
            setup="python -m pip install --quiet --editable .",
        ),
        6,
    ),
    (  # A src layout as it is, a folder of tests with a name of its own, options in the manifest.
        Package(
            "iniconfig",
            "2.3.1",
            "67f4b9c50da0dedf52af349e7749a80a9057a5031199791b906c3bb3ae878960",
            test="python -m pytest -q testing",
            tests=("testing",),
            roots=("src",),
        ),
        1,
    ),
)
#: How many functions of each are deleted where only two attempts at a time restore them.
FEW = (1, 2, 1)


@pytest.fixture
def cache(request: pytest.FixtureRequest) -> Path:
    """Where downloads are kept across runs."""
    named = os.environ.get("FIBREFLOW_CACHE")
    if named:
        return Path(named) / "sdists"
    return Path(request.config.cache.mkdir("sdists"))


@pytest.fixture
async def isolated(tmp_path: Path) -> AsyncIterator[None]:
    """Skips where the program would refuse to run."""
    provider = LocalSandboxProvider("existing", state=tmp_path / "state")
    try:
        await provider.reap()
    except SandboxUnavailableError as error:
        pytest.skip(str(error))
    finally:
        await provider.close()
    yield


@pytest.mark.long
@pytest.mark.network
@pytest.mark.isolation
@pytest.mark.usefixtures("isolated")
@pytest.mark.parametrize(
    ("package", "seed", "count", "attempts"),
    [
        *(pytest.param(*one, n, 2, id=one[0].name) for one, n in zip(PACKAGES, FEW, strict=True)),
        *(
            pytest.param(*one, 3, 5, id=f"more-{one[0].name}", marks=pytest.mark.slow)
            for one in PACKAGES
        ),
    ],
)
async def test_deleted_functions_are_restored(
    package: Package, seed: int, cache: Path, tmp_path: Path, count: int, attempts: int
) -> None:
    try:
        found = await restore(package, cache, tmp_path, count=count, seed=seed, attempts=attempts)
    except IndexUnreachableError as error:
        pytest.skip(f"the package index cannot be reached: {error}")
    assert found.errors == (), found.output
    assert found.code == 0, found.output
    _all_merged(found)
    _as_before(found)
    _judged_by_tests_alone(found)


def _all_merged(found: Restored) -> None:
    states = {f["id"]: f["state"] for f in found.report["features"]}
    assert states == {one.id: "merged" for one in found.deleted}
    trailers = git(found.repo, "log", "--format=%(trailers:key=Feature,valueonly)", "autopilot")
    assert sorted(trailers.split()) == sorted(one.id for one in found.deleted)


def _as_before(found: Restored) -> None:
    """Every test of the pristine package passes again, and the user's own branch is untouched."""
    missed = frozenset().union(*(one.tests for one in found.deleted))
    assert missed
    assert missed <= found.before
    assert found.after == found.before
    assert git(found.repo, "symbolic-ref", "--short", "HEAD") == BRANCH
    assert git(found.repo, "rev-parse", BRANCH) == found.base
    assert git(found.repo, "status", "--porcelain") == ""


def _judged_by_tests_alone(found: Restored) -> None:
    """Whatever fails where the agent ran it is refused with a reason, and nothing else is but
    for what it breaks; a mutant that no test notices may pass."""
    verdicts = []
    for folder, evidence in found.attempts.items():
        own = agents_own_check(folder)
        if own is None:
            continue
        verdicts.append(own)
        if own:
            assert passed(evidence) or evidence["regressions"], (folder, evidence)
        else:
            assert not passed(evidence), (folder, evidence)
            assert evidence["problems"], (folder, evidence)
    assert True in verdicts
    assert False in verdicts
