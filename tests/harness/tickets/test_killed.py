"""Both jobs die between every two steps, and are done again: there is one of each in the end."""

import asyncio
import json
import os
import signal
from collections.abc import Callable

import pytest

from harness.cli.flags import RunOptions
from harness.tickets import artifact
from harness.tickets.artifact import HandOver
from harness.tickets.case import Place
from harness.tickets.work import work
from harness.tickets.writing import write
from orchestrator.tickets.ticket import Trigger
from tests.emulators.github import REPO, Fault
from tests.emulators.messages_api import MessagesServer
from tests.harness.tickets.shop import MENDED, PROGRAM, TEST, TITLE, Shop, mends


def put_artifact(shop: Shop, patch: bytes | None = None, **more: object) -> HandOver:
    """An artifact as the first job leaves it."""
    facts = {
        "repo": REPO, "number": 7, "title": TITLE, "base": shop.head, "digest": "0" * 16,
        "outcome": "review", **more,
    }  # fmt: skip
    handover = HandOver.model_validate(facts)
    files = {"shop.py": MENDED, "test_issue_7.py": TEST}
    artifact.store(shop.out, handover, shop.patch(files) if patch is None else patch)
    return handover


def assert_one_of_each(shop: Shop) -> None:
    assert len(shop.github.pulls) == 1
    assert len(shop.status()) == 1
    assert shop.github.labels(7) == {"fibreflow:review"}
    assert "return sum(cart)" in shop.shown("shop.py")


async def killed_at(shop: Shop, moment: int) -> bool:
    """Whether the job was killed: at the `moment`-th time that something is about to change on
    GitHub or just has."""
    seen = 0
    started: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def on_write(when: str, _what: str) -> bool:
        nonlocal seen
        seen += 1
        if seen == moment:
            os.kill(started.result(), signal.SIGKILL)
            return when == "after"
        return True

    words = [*PROGRAM, *shop.writing(shop.labelled())]
    shop.github.on_write = on_write
    process = await asyncio.create_subprocess_exec(
        *words, env=shop.environment(shop.writer, {}), stdout=asyncio.subprocess.DEVNULL
    )
    started.set_result(process.pid)
    code = await asyncio.wait_for(process.wait(), 60)
    shop.github.on_write = lambda _when, _what: True
    return code == -signal.SIGKILL


@pytest.mark.slow
async def test_killed_around_every_change_on_github(shop: Shop) -> None:
    put_artifact(shop)
    kills = 0
    while await killed_at(shop, kills + 1):
        kills += 1
        assert shop.pushed()
        assert (await shop.write(shop.labelled()))[0] == 0
        assert_one_of_each(shop)
        forget(shop)
    assert kills == 6  # before and after the pull request, the comment and the label
    assert_one_of_each(shop)


def forget(shop: Shop) -> None:
    """As if nothing had been handed over."""
    shop.github.pulls.clear()
    shop.github.comments.clear()
    shop.github.issues[7]["labels"].clear()
    if shop.pushed():
        shop._git("update-ref", "-d", "refs/heads/fibreflow/issue-7", at=shop.origin)


class Died(BaseException):
    pass


def dies_at(number: int, seen: list[str]) -> Callable[[str], None]:
    def noted(point: str) -> None:
        seen.append(point)
        if len(seen) == number:
            raise Died

    return noted


WRITE_POINTS = ["read", "committed", "pushed", "pull request there", "commented", "labelled"]
WORK_POINTS = ["fetched", "sorted", "listed", "run", "judged", "stored"]


async def test_the_job_that_writes_dies_between_every_two_steps(shop: Shop) -> None:
    put_artifact(shop)
    for number in range(1, len(WRITE_POINTS) + 1):
        seen: list[str] = []
        with pytest.raises(Died):
            await write(shop.out, shop.desk(dies_at(number, seen)))
        assert seen == WRITE_POINTS[:number]
        seen = []
        await write(shop.out, shop.desk(seen.append))
        assert seen == WRITE_POINTS
        assert_one_of_each(shop)
        forget(shop)


@pytest.mark.isolation
def test_the_job_with_the_agent_dies_between_every_two_steps(shop: Shop) -> None:
    """The run within dies elsewhere, in tests/chaos; here it is one that has left its report."""
    runs = []

    def start(options: RunOptions) -> int:
        runs.append(options.features.read_bytes())
        if len(set(runs)) > 1:
            return 2  # another list would be other work
        return leave_run(options, patch)

    patch = shop.patch({"shop.py": MENDED})
    trigger = Trigger(REPO, 7, "ann", "label")
    made = []
    for number in range(1, len(WORK_POINTS) + 2):
        seen: list[str] = []
        place = Place(
            shop.checkout, shop.folder / "workspace", shop.out, shop.github.url, shop.reader,
            noted=dies_at(number, seen),
        )  # fmt: skip
        try:
            made.append(work(trigger, place, start))
        except Died:
            assert seen == WORK_POINTS[:number]
    assert [m.outcome for m in made] == ["review"]
    handover, found = artifact.load(shop.out)
    assert (handover.attempt, found) == ("r1-a01", patch)
    assert len(set(runs)) == 1


def leave_run(options: RunOptions, patch: bytes, cost_usd: float = 1.0) -> int:
    """What a run leaves whose one attempt waits for a person, and its exit code."""
    folder = options.workspace / "logs" / "20260101-000000-0001"
    attempt = folder / "issue-7" / "r1-a01"
    attempt.mkdir(parents=True, exist_ok=True)
    (attempt / "patch.diff").write_bytes(patch)
    (folder / "report.json").write_text(json.dumps({**REPORT, "cost_usd": cost_usd}))
    (folder / "report.md").write_text("fine")
    return 3


REPORT = {
    "limits": [], "cost_complete": True,
    "features": [{
        "id": "issue-7", "state": "review", "attempt": "r1-a01", "commit": None, "reasons": [],
        "refusals": [],
        "attempts": [{
            "name": "r1-a01", "state": "unjudged", "problems": [], "checks": 0,
            "checks_passed": 0, "coverage": None,
        }],
    }],
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.isolation
@pytest.mark.parametrize("number", range(1, len(WORK_POINTS) + 1), ids=WORK_POINTS)
async def test_kill_9_of_the_job_with_the_agent(shop: Shop, number: int) -> None:
    async with MessagesServer(mends) as model:
        keys = {"ANTHROPIC_BASE_URL": model.url, "ANTHROPIC_API_KEY": "any"}
        assert await shop.work_killed(KILLED, number, **keys) == -signal.SIGKILL
        code, said = await shop.work(shop.labelled(), **keys)
        assert code == 0, said
        assert len(model.requests) == 3  # nothing was asked, or paid for, twice
    for _ in range(2):
        assert (await shop.write(shop.labelled()))[0] == 0
    assert_one_of_each(shop)


#: The first job as the script does it, killed at the n-th point.
KILLED = """
import os, signal, sys
from pathlib import Path
from harness import app
from harness.models.endpoints import live_model
from harness.tickets.case import Place
from harness.tickets.work import work
from orchestrator.tickets.ticket import Trigger

left = int(sys.argv[1])
def noted(point):
    global left
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)

checkout, workspace, out = map(Path, sys.argv[2:5])
place = Place(checkout, workspace, out, os.environ["GITHUB_API_URL"], os.environ["GITHUB_TOKEN"],
              connect=live_model, noted=noted)
work(Trigger("acme/shop", 7, "ann", "label"), place, app.start)
"""


@pytest.mark.parametrize("what", ["POST", "PATCH", "DELETE"])
async def test_an_answer_that_was_lost_after_the_work(shop: Shop, what: str) -> None:
    put_artifact(shop)
    shop.github.issues[7]["labels"].append({"name": "fibreflow:blocked"})
    shop.github.faults.append(Fault(what, 502, after=True))
    code, said = await shop.write(shop.labelled())
    assert code == (0 if what == "PATCH" else 1), said
    assert (await shop.write(shop.labelled()))[0] == 0
    assert_one_of_each(shop)
