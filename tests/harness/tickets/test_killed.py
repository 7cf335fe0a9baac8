"""The job that writes is killed before and after everything it changes, and then done again."""

import asyncio
import os
import signal

import pytest

from harness.tickets import artifact
from harness.tickets.artifact import HandOver
from tests.emulators.github import REPO, Fault
from tests.harness.tickets.shop import MENDED, TEST, TITLE, Shop


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

    words = shop.words(shop.labelled(), "--write", str(shop.out), "--remote", str(shop.origin))
    shop.github.on_write = on_write
    process = await asyncio.create_subprocess_exec(
        *words, env=shop.environment(shop.writer, {}), stdout=asyncio.subprocess.DEVNULL
    )
    started.set_result(process.pid)
    code = await asyncio.wait_for(process.wait(), 60)
    shop.github.on_write = lambda _when, _what: True
    return code == -signal.SIGKILL


@pytest.mark.slow
async def test_killed_between_every_two_steps(shop: Shop) -> None:
    put_artifact(shop)
    kills = 0
    while await killed_at(shop, kills + 1):
        kills += 1
        assert shop.pushed()
        assert (await shop.write(shop.labelled()))[0] == 0
        assert_one_of_each(shop)
        shop.github.pulls.clear()
        shop.github.comments.clear()
        shop.github.issues[7]["labels"].clear()
    assert kills == 6  # before and after the pull request, the comment and the label
    assert_one_of_each(shop)


@pytest.mark.long
@pytest.mark.parametrize("what", ["POST", "PATCH", "DELETE"])
async def test_an_answer_that_was_lost_after_the_work(shop: Shop, what: str) -> None:
    put_artifact(shop)
    shop.github.issues[7]["labels"].append({"name": "fibreflow:blocked"})
    shop.github.faults.append(Fault(what, 502, after=True))
    code, said = await shop.write(shop.labelled())
    assert code == (0 if what == "PATCH" else 1), said
    assert (await shop.write(shop.labelled()))[0] == 0
    assert_one_of_each(shop)
