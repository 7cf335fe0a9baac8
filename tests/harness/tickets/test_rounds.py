"""A bug whose draft shows no bug gets one more round, which knows the draft, within its budget."""

import json
from pathlib import Path
from typing import Any

import pytest

from harness.cli.flags import RunOptions
from harness.tickets import artifact
from harness.tickets.case import Place
from harness.tickets.work import work
from orchestrator.tickets.ticket import Trigger
from tests.emulators.github import REPO
from tests.harness.tickets.shop import MENDED, TEST, Shop
from tests.harness.tickets.test_killed import leave_run
from tests.harness.tickets.test_proof import VAIN

pytestmark = [pytest.mark.isolation, pytest.mark.long]


class Runs:
    """Runs that leave these patches, one after another; a run that is there is not made again."""

    def __init__(self, *patches: bytes, cost_usd: float = 0.4) -> None:
        self.patches = patches
        self.cost_usd = cost_usd
        self.lists: dict[Path, dict[str, Any]] = {}

    def start(self, options: RunOptions) -> int:
        given = json.loads(options.features.read_bytes())
        assert self.lists.setdefault(options.workspace, given) == given
        patch = self.patches[list(self.lists).index(options.workspace)]
        return leave_run(options, patch, self.cost_usd)


def handed_over(shop: Shop, runs: Runs) -> artifact.HandOver:
    place = Place(
        shop.checkout, shop.folder / "workspace", shop.out, shop.github.url, shop.reader
    )  # fmt: skip
    made = [work(Trigger(REPO, 7, "ann", "label"), place, runs.start) for _ in range(2)]
    facts = [m.model_dump(exclude={"seconds"}) for m in made if m]
    assert facts[0] == facts[1]  # as after a kill: the same again
    return made[0]  # type: ignore[return-value]


def test_the_draft_whose_test_shows_the_bug_is_handed_over(shop: Shop) -> None:
    vain = shop.patch({"shop.py": MENDED, "test_issue_7.py": VAIN})
    good = shop.patch({"shop.py": MENDED, "test_issue_7.py": TEST})
    runs = Runs(vain, good)
    made = handed_over(shop, runs)
    assert "fails without the change" in made.evidence[0]
    assert (made.attempt, made.cost_usd) == ("again/r1-a01", 0.8)
    assert artifact.load(shop.out)[1] == good
    first, second = runs.lists.values()
    assert first["defaults"]["budget_usd"] == 1
    assert (second["defaults"]["budget_usd"], second["defaults"]["rounds"]) == (0.6, 1)
    task = second["features"][0]["description"]
    assert "| +def test_two():" in task
    assert "| tests that pass without the change too, and count for nothing: test_issue_7" in task


def test_a_further_round_that_shows_none_either_changes_nothing_but_what_is_said(
    shop: Shop,
) -> None:
    runs = Runs(shop.patch({"shop.py": MENDED}), shop.patch({"shop.py": MENDED + "# more\n"}))
    made = handed_over(shop, runs)
    assert made.unverified[-1].startswith("a further round brought no test")
    assert made.cost_usd == 0.8
    assert b"# more" not in artifact.load(shop.out)[1]


@pytest.mark.parametrize("why", ["money", "rounds", "Python"])
def test_no_further_round_without(shop: Shop, why: str) -> None:
    if why == "rounds":
        shop.commit({".github/fibreflow.yaml": "test: python -m pytest -q\nrounds: 1\n"}, "One")
    name = "shop.js" if why == "Python" else "shop.py"
    runs = Runs(shop.patch({name: MENDED}), cost_usd=1.0 if why == "money" else 0.1)
    made = handed_over(shop, runs)
    assert any("the bug itself" in line for line in made.unverified)
    assert len(runs.lists) == 1
