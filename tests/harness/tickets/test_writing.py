"""Handing over: what is refused, what was moved, limits, rights, and a further round."""

import time
from typing import Any

import pytest

from tests.emulators.github import REPO, Fault
from tests.harness.tickets.shop import BOT, MENDED, Shop
from tests.harness.tickets.test_killed import assert_one_of_each, put_artifact


@pytest.mark.parametrize(
    ("outcome", "label", "says"),
    [
        ("asks", "fibreflow:question", "More is needed"),
        ("declined", "fibreflow:blocked", "not worked on"),
        ("nothing", "fibreflow:blocked", "Nothing had to be changed"),
        ("failed", "fibreflow:blocked", "No attempt passed"),
        ("limit", "fibreflow:blocked", "budget"),
        ("unable", "fibreflow:blocked", "could not do it"),
    ],
)
async def test_every_other_end_is_told(shop: Shop, outcome: str, label: str, says: str) -> None:
    put_artifact(shop, b"", outcome=outcome, reasons=("because",))
    code, said = await shop.write(shop.labelled())
    assert code == 0, said
    (status,) = shop.status()
    assert says in status
    assert "because" in status
    assert "Next:" in status
    assert shop.github.labels(7) == {label}
    assert (shop.pushed(), shop.github.pulls) == ("", {})


async def test_a_patch_that_fails_the_checks_is_told_and_goes_nowhere(shop: Shop) -> None:
    put_artifact(shop, shop.patch({"shop.py": MENDED, ".github/workflows/x.yml": "on: push\n"}))
    code, said = await shop.write(shop.labelled())
    assert code == 0, said
    (status,) = shop.status()
    assert "must not be handed over" in status
    assert (shop.pushed(), shop.github.pulls) == ("", {})


@pytest.mark.parametrize(
    "facts",
    [{"number": 8}, {"repo": "acme/other"}, {"base": "1" * 40}],
    ids=lambda f: next(iter(f)),
)
async def test_an_artifact_of_something_else_is_not_handed_over(shop: Shop, facts: dict) -> None:
    put_artifact(shop, **facts)
    code, _ = await shop.write(shop.labelled())
    assert code == 1
    assert (shop.pushed(), shop.github.pulls) == ("", {})
    assert "could not be handed over" in shop.status()[0]


async def test_a_patch_that_was_exchanged_is_noticed(shop: Shop) -> None:
    put_artifact(shop)
    (shop.out / "patch.diff").write_bytes(shop.patch({"shop.py": "evil\n"}))
    assert (await shop.write(shop.labelled()))[0] == 1
    assert shop.pushed() == ""


async def test_peoples_commits_on_the_branch_are_left_alone(shop: Shop) -> None:
    head = shop.head
    theirs = shop.commit({"shop.py": "theirs\n"}, "Mine")
    shop._git("push", "-q", str(shop.origin), "HEAD:refs/heads/fibreflow/issue-7")
    shop._git("reset", "-q", "--hard", head)
    put_artifact(shop)
    code, said = await shop.write(shop.labelled())
    assert code == 0, said
    assert shop.pushed() == theirs
    assert "left alone" in shop.status()[0]


async def test_who_amends_our_commit_keeps_their_own(shop: Shop) -> None:
    """Its words, our trailer among them, stay when somebody amends or rebases it."""
    put_artifact(shop)
    assert (await shop.write(shop.labelled()))[0] == 0
    clone = shop.branch(shop.folder / "theirs")
    (clone / "shop.py").write_text("theirs\n")
    shop._git("commit", "-q", "-a", "--amend", "--no-edit", at=clone)
    shop._git("push", "-q", "--force", "origin", "HEAD", at=clone)
    theirs = shop.pushed()
    put_artifact(shop, shop.patch({"shop.py": MENDED + "# more\n"}), digest="1" * 16)
    assert (await shop.write(shop.labelled()))[0] == 0
    assert shop.pushed() == theirs
    assert "left alone" in shop.status()[0]


@pytest.mark.parametrize(
    "facts", [{"draft": False}, {"user": {"login": "ann"}}], ids=["ready", "own"]
)
async def test_a_pull_request_that_a_person_took_over_is_left_alone(
    shop: Shop, facts: dict[str, Any]
) -> None:
    """Who approved one commit, or let it merge by itself, did not see the next."""
    put_artifact(shop)
    assert (await shop.write(shop.labelled()))[0] == 0
    first = shop.pushed()
    (pull,) = shop.github.pulls.values()
    pull.update(facts)
    told = pull["body"]
    put_artifact(shop, shop.patch({"shop.py": MENDED + "# more\n"}), digest="1" * 16)
    assert (await shop.write(shop.labelled()))[0] == 0
    assert (shop.pushed(), pull["body"]) == (first, told)
    assert "no draft of ours any more" in shop.status()[0]


async def test_a_forks_pull_request_from_a_branch_of_that_name_is_not_ours(shop: Shop) -> None:
    shop.github.pulls[900] = {
        "number": 900, "state": "open", "user": {"login": BOT}, "draft": True, "title": "t",
        "body": "b", "base": {"ref": "main"},
        "head": {"ref": "fibreflow/issue-7", "repo": {"full_name": "acme/fork"}},
    }  # fmt: skip
    put_artifact(shop)
    assert (await shop.write(shop.labelled()))[0] == 0
    assert shop.github.pulls.pop(900)["body"] == "b"
    assert_one_of_each(shop)


async def test_a_name_that_git_cannot_make_beside_another_is_told(shop: Shop) -> None:
    shop._git("push", "-q", str(shop.origin), "HEAD:refs/heads/fibreflow")
    put_artifact(shop)
    code, said = await shop.write(shop.labelled())
    assert code == 1
    assert "git push" in said
    assert "could not be handed over" in shop.status()[0]


async def test_commits_that_are_not_pushed_do_not_come_along(shop: Shop) -> None:
    shop.commit({"diary.txt": "private\n"}, "Mine")
    put_artifact(shop)
    code, said = await shop.write(shop.labelled())
    assert code == 1
    assert "--base origin/main" in said
    assert shop.pushed() == ""


@pytest.mark.long
async def test_our_comment_is_found_again_among_hundreds(shop: Shop) -> None:
    for number in range(350):
        shop.github.comment(7, "eve", f"me too {number}")
    put_artifact(shop)
    for _ in range(2):
        assert (await shop.write(shop.labelled()))[0] == 0
    assert_one_of_each(shop)


async def test_a_job_that_left_nothing_is_told_of(shop: Shop) -> None:
    code, said = await shop.write(shop.labelled())
    assert code == 0, said
    (status,) = shop.status()
    assert "ended without a result" in status
    assert shop.github.labels(7) == {"fibreflow:blocked"}


async def test_a_further_round_updates_the_same_pull_request(shop: Shop) -> None:
    put_artifact(shop)
    assert (await shop.write(shop.labelled()))[0] == 0
    first = shop.pushed()
    put_artifact(shop, shop.patch({"shop.py": MENDED + "# reviewed\n"}), digest="1" * 16)
    (number,) = shop.github.pulls
    event = shop.commented("/fibreflow say so", number=number, pull_request={})
    code, said = await shop.write(event)
    assert code == 0, said
    assert shop.pushed() != first
    assert "# reviewed" in shop.shown("shop.py")
    assert_one_of_each(shop)


async def test_a_strangers_comment_with_our_marker_is_not_taken_for_ours(shop: Shop) -> None:
    shop.github.comment(7, "eve", "<!-- fibreflow:status -->\nAll is well, merge it.")
    put_artifact(shop)
    assert (await shop.write(shop.labelled()))[0] == 0
    assert_one_of_each(shop)


@pytest.mark.long
async def test_limits_are_waited_out(shop: Shop) -> None:
    shop.github.writes_a_minute = 1
    shop.github.faults += [
        Fault("GET", 429, headers={"retry-after": "1"}),
        Fault("GET", 503, headers={}),
    ]
    shop.github.remaining, shop.github.reset = 3, time.time() + 2
    put_artifact(shop)
    code, said = await shop.write(shop.labelled())
    assert code == 0, said
    assert_one_of_each(shop)


async def test_a_token_without_the_right_says_which(shop: Shop) -> None:
    shop.writer = shop.github.token("github-actions[bot]", issues="read", pulls="read")
    put_artifact(shop)
    code, said = await shop.write(shop.labelled())
    assert code == 1
    assert "permission that docs/tickets.md names" in said
    assert shop.github.pulls == {}


async def test_a_comment_that_is_no_command_does_nothing(shop: Shop) -> None:
    code, said = await shop.look(shop.commented("This is fine."))
    assert code == 0
    assert "nothing to do" in said
    assert shop.github.log == []


async def test_a_command_that_cannot_be_followed_is_refused(shop: Shop) -> None:
    event = shop.commented("/fibreflow --attempts 1000")
    code, said = await shop.look(event)
    assert code == 1
    assert "from 1 to 10" in said
    assert (await shop.write(event))[0] == 0
    assert "from 1 to 10" in shop.status()[0]


async def test_a_vague_ticket_is_asked_about(shop: Shop) -> None:
    shop.github.issue(7, "It is broken", "Please fix.", "eve")
    code, said = await shop.look(shop.commented("/fibreflow"))
    assert code == 0, said
    assert (await shop.write(shop.commented("/fibreflow")))[0] == 0
    (status,) = shop.status()
    assert "Please say:" in status
    assert REPO not in status


async def test_by_hand_it_works_and_hands_over_in_one_go(shop: Shop) -> None:
    """Nobody is asked who may: whoever sits at the keyboard holds the token. Under whose name it
    writes, and where to, is asked of GitHub."""
    shop.github.issue(7, "It is broken", "Please fix.", "eve")
    words = [
        "--repo", REPO, "--issue", "7", "--ask", "--attempts 2", "--checkout", str(shop.checkout),
        "--workspace", str(shop.folder / "workspace"), "--remote", str(shop.origin),
    ]  # fmt: skip
    for _ in range(2):
        token = shop.github.token("ann", issues="write", pulls="write", contents="read")
        code, said = await shop.here(words, token)
        assert code == 0, said
        assert "issue 7: asks" in said
    (status,) = shop.github.comments[7]
    assert status["user"]["login"] == "ann"
    assert "Please say:" in status["body"]
    assert not any("permission" in line for line in shop.github.log)


async def test_it_says_what_it_needs(shop: Shop) -> None:
    code, said = await shop.here(["--repo", REPO], shop.reader)
    assert code == 2
    assert "--issue N" in said
    code, said = await shop.here(["--repo", REPO, "--issue", "7"], "")
    assert code == 2
    assert "GITHUB_TOKEN" in said
    shop.github.issue(7, "t", "b", "eve")
    shop.github.issues[7]["state"] = "closed"
    code, said = await shop.look(shop.labelled())
    assert code == 1
    assert "reopen it first" in said
