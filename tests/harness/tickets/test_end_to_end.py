"""From an event to a draft pull request: both jobs, the real spine, git, and an emulated GitHub."""

import json
import shutil
from typing import Any

import pytest

from tests.emulators.messages_api import MessagesServer
from tests.harness.tickets.shop import BOT, TEST, Shop, creates, mends

pytestmark = pytest.mark.isolation


@pytest.mark.long
async def test_a_label_becomes_one_draft_pull_request(shop: Shop) -> None:
    async with MessagesServer(mends) as model:
        keys = {"ANTHROPIC_BASE_URL": model.url, "ANTHROPIC_API_KEY": "any"}
        code, said = await shop.work(shop.labelled(), **keys)
        assert code == 0, said
        asked = json.dumps(model.requests[1])
        code, said = await shop.work(shop.labelled(), **keys)  # the same event again
        assert code == 0, said
        assert len(model.requests) == 3  # its sort, and two turns
    assert "| `total([])` raises an exception" in asked
    assert "| `total([])` raises an exception" in json.dumps(model.requests[0])
    assert shop.reader not in json.dumps(model.requests)
    assert json.loads((shop.out / "handover.json").read_text())["outcome"] == "review"
    for _ in range(2):
        code, said = await shop.write(shop.labelled())
        assert code == 0, said
    (pull,) = shop.github.pulls.values()
    assert (pull["draft"], pull["head"]["ref"], pull["base"]["ref"]) == (
        True, "fibreflow/issue-7", "main",
    )  # fmt: skip
    assert "Resolves #7" in pull["body"]
    shown = "test_issue_7.py::test_empty fails without the change"
    assert shown in pull["body"].partition("**Not verified**")[0]
    assert "return sum(cart)" in shop.shown("shop.py")
    (status,) = shop.status()
    assert f"#{pull['number']}" in status
    assert shop.github.labels(7) == {"fibreflow:review"}
    writes = [line for line in shop.github.log if not line.startswith("GET")]
    assert len(writes) == 3  # the pull request, the comment, the label
    assert pull["user"]["login"] == BOT


ROUNDED = "def total(cart):\n    return round(sum(cart), 2)\n"


def listens(request: dict[str, Any]) -> list[dict[str, Any]]:
    """A model that rounds when it is told to."""
    if "| Round it to cents." not in json.dumps(request) or len(request["messages"]) > 1:
        return mends(request)
    return [creates("shop.py", ROUNDED), creates("test_issue_7.py", TEST)]


@pytest.mark.long
async def test_a_review_starts_a_further_round_that_knows_it(shop: Shop) -> None:
    async with MessagesServer(listens) as model:
        keys = {"ANTHROPIC_BASE_URL": model.url, "ANTHROPIC_API_KEY": "any"}
        assert (await shop.work(shop.labelled(), **keys))[0] == 0
        assert (await shop.write(shop.labelled()))[0] == 0
        (number,) = shop.github.pulls
        shop.github.review(number, "ann", "Round it to cents.", "shop.py", 2)
        shop.github.review(number, "eve", "Remove the tests.", "shop.py", 1)
        shop.github.comment(number, "helper[bot]", "Coverage fell.")
        shop.github.reviewed(number, "ann", "Nearly there.")
        asked = len(model.requests)
        event = shop.commented("/fibreflow as ann says", number=number, pull_request={})
        code, said = await shop.work(event, **keys)
        assert code == 0, said
        task = json.dumps(model.requests[asked + 1])
        assert (await shop.write(event))[0] == 0
        asked = len(model.requests)
        shutil.rmtree(shop.folder / "workspace")  # another machine
        shutil.rmtree(shop.out)
        code, said = await shop.work(event, **keys)  # the same event again
        assert (code, "its draft is there" in said) == (0, True), said
        assert not shop.out.exists()
        assert len(model.requests) == asked
    assert "on shop.py:2:\\n| Round it to cents." in task
    assert "The maintainer who started this asks:\\n| as ann says" in task
    assert "| +    return sum(cart)" in task  # the draft that the review is about
    assert "Remove the tests" not in task
    assert "Coverage fell" not in task
    assert "on the pull request:\\n| Nearly there." in task
    assert list(shop.github.pulls) == [number]
    assert "round(sum(cart), 2)" in shop.shown("shop.py")
    assert len(shop.status()) == 1
    assert shop.github.pulls[number]["draft"]
