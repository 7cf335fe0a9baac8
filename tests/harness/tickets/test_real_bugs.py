"""Real bugs as tickets: an older release is mended, and the fix's own test is the judge.

The packages come from the index that pip is configured for, as they were released.
"""

import asyncio
import json
import os
from pathlib import Path

import pytest

from tests.emulators.github import GitHubServer
from tests.emulators.messages_api import MessagesServer
from tests.existing.packages import IndexUnreachableError, fetch, unpack
from tests.harness.tickets.released import BUGS, Author, Bug, passes
from tests.harness.tickets.shop import Shop

pytestmark = [pytest.mark.network, pytest.mark.isolation, pytest.mark.slow]


@pytest.fixture
def sdists(request: pytest.FixtureRequest) -> Path:
    """Where downloads are kept across runs."""
    named = os.environ.get("FIBREFLOW_CACHE")
    return Path(named) / "sdists" if named else Path(request.config.cache.mkdir("sdists"))


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.old.name)
async def test_the_fix_among_wrong_ones_becomes_the_pull_request(
    bug: Bug, sdists: Path, cache: Path, tmp_path: Path
) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    try:
        for package, folder in ((bug.old, old), (bug.new, new)):
            unpack(await asyncio.to_thread(fetch, package, sdists), folder)
    except IndexUnreachableError as error:
        pytest.skip(f"the package index cannot be reached: {error}")
    assert not passes(bug, new, old)
    settings = f"test: {bug.old.test}\nattempts: 3\nrounds: 3\n"
    (old / ".github").mkdir()
    (old / ".github" / "fibreflow.yaml").write_text(settings)
    with GitHubServer() as github:
        github.issue(7, bug.title, bug.body, "eve")
        shop = Shop(tmp_path / "shop", github, cache, source=old)
        async with MessagesServer(Author(bug, old, new)) as model:
            keys = {"ANTHROPIC_BASE_URL": model.url, "ANTHROPIC_API_KEY": "any"}
            code, said = await shop.work(shop.labelled(), **keys)
            assert (code, model.errors) == (0, []), said
        code, said = await shop.write(shop.labelled())
        assert code == 0, said
        (pull,) = github.pulls.values()
    evidence, _, lacking = pull["body"].partition("**Not verified**")
    handover = json.loads((shop.out / "handover.json").read_text())
    written = shop.written()
    chosen = written[handover["attempt"]]
    assert "harm" not in chosen  # what breaks a test that passed never comes this far
    if "right" not in written.values():  # nobody found it, and that is said
        assert "the bug itself" in lacking
        return
    assert chosen == "right", (written, pull["body"])
    assert "test_issue_7.py::test_" in evidence
    assert "fails without the change" in evidence
    assert "the bug itself" not in lacking
    assert passes(bug, new, shop.branch(tmp_path / "branch"))
