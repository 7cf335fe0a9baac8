"""From an event to a draft pull request: both jobs, the real spine, git, and an emulated GitHub."""

import json

import pytest

from tests.emulators.messages_api import MessagesServer
from tests.harness.tickets.shop import BOT, Shop, mends

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
