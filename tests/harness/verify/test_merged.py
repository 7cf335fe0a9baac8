"""Merged commits, by what passed before them."""

from dataclasses import replace

import pytest

from harness.verify.merged import TreeJob, verify_tree
from orchestrator.values import Feature, Verification
from tests.harness.verify.conftest import RIGHT, Edits, Field, git, write

pytestmark = pytest.mark.isolation


async def judge(field: Field, edits: Edits, kept: tuple[Feature, ...] = ()) -> Verification:
    before = await field.base()
    write(field.repo, edits)
    git(field.repo, "add", "-A")
    git(field.repo, "commit", "-qm", "merged")
    return await verify_tree(
        TreeJob(
            provider=field.provider,
            before=before,
            tree=await field.base(),
            feature=field.feature,
            kept=kept,
            seen=None,
            project=field.project,
            folder=field.folder / "merge",
            key="merge",
            timeout=60.0,
        )
    )


async def test_green(field: Field) -> None:
    assert (await judge(field, {"shop/total.py": RIGHT})).passed


async def test_a_verified_tree_is_the_next_base(field: Field) -> None:
    await judge(field, {"shop/total.py": RIGHT})
    tree = await field.base()
    (known,) = tree.folder.glob("suite-*.json")
    assert "tests/test_total.py::test_empty" in known.read_text()


async def test_red_acceptance(field: Field) -> None:
    found = await judge(field, {"shop/total.py": "def total(prices):\n    return 0\n"})
    assert not found.passed
    assert "tests/test_total.py" in found.problems[0]


async def test_earlier_exams_run_side_by_side_and_see_nothing_of_each_other(field: Field) -> None:
    field.start({"README": "An empty project.\n"})
    field.feature = replace(field.feature, acceptance=("true",))
    alone = "test ! -e seen && touch seen && test -s new.txt"
    commands = tuple(f"{alone} # {number}" for number in range(6))
    earlier = Feature("earlier", "Comes first.", acceptance=(*commands, "test -e gone", alone))
    found = await judge(field, {"new.txt": "new\n"}, (earlier,))
    own, *kept = found.acceptance
    assert own.passed
    assert [c.name for c in kept] == list(earlier.acceptance)
    assert [c.name for c in kept if not c.passed] == ["test -e gone"]


@pytest.mark.long
async def test_a_regression(field: Field) -> None:
    found = await judge(
        field, {"shop/total.py": RIGHT, "shop/price.py": "def net(gross):\n    return 1\n"}
    )
    assert not found.usable
    assert "tests/test_price.py::test_net" in found.regressions


@pytest.mark.long
async def test_a_deleted_test_is_put_back(field: Field) -> None:
    found = await judge(
        field,
        {
            "shop/total.py": RIGHT,
            "shop/price.py": "def net(gross):\n    return 1\n",
            "tests/test_price.py": None,
        },
    )
    assert not found.usable
