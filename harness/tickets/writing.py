"""Hands a checked artifact over: branch, draft pull request, labels, one status comment.

It runs no agent and nothing of the patch. Each step looks at GitHub first, so that it can be
killed and repeated anywhere: the same artifact twice gives one of each.
"""

import base64
import contextlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from harness.git import Repository, open_repository
from harness.tickets import artifact
from harness.tickets.artifact import HandOver
from harness.tickets.checking import checked
from harness.tickets.github import GitHub, opened
from harness.tickets.intake import is_status
from harness.tickets.settings import read_settings
from orchestrator.errors import FibreFlowError, TicketError
from orchestrator.tickets import comments as told
from orchestrator.tickets import ticket as tickets
from orchestrator.tickets.comments import Account

_TRAILER = "FibreFlow-Work"


@dataclass(frozen=True, slots=True)
class Desk:
    """Where it is handed over. `checkout`: the repository; `target`: the branch that pull requests
    go to; `remote`: what git pushes to; `author`: the login that `token` writes as; `noted`
    hears of every point between two steps."""

    repo: str
    number: int
    checkout: Path
    url: str
    token: str | None
    remote: str
    target: str
    author: str
    run_url: str = ""
    noted: Callable[[str], object] = lambda _point: None


async def write(folder: Path, desk: Desk) -> Account:
    """What was told on the issue. Raises `TicketError` for what is not this ticket's artifact, and
    `GitError`; the issue is told then, too."""
    async with opened(desk.repo, desk.token, desk.url) as github:
        try:
            account, pull = await _hand_over(folder, desk, github)
        except FibreFlowError as error:
            with contextlib.suppress(TicketError):  # what went wrong first says more
                await _tell(github, desk, Account("stopped", desk.number, (str(error),),
                                                  run_url=desk.run_url))  # fmt: skip
            raise
        await _tell(github, desk, account, pull)
    return account


async def _hand_over(folder: Path, desk: Desk, github: GitHub) -> tuple[Account, str]:
    """How it ended, and the pull request if there is one, as `#N`."""
    if artifact.missing(folder):
        return Account("lost", desk.number, run_url=desk.run_url), ""
    handover, patch = artifact.load(folder)
    if (handover.repo, handover.number) != (desk.repo, desk.number):
        raise TicketError(
            f"{folder} is about {handover.repo}#{handover.number}, not {desk.repo}#{desk.number}"
        )
    account = _account(handover, desk)
    desk.noted("read")
    if handover.outcome not in told.WITH_PATCH:
        return account, ""
    repository = await open_repository(desk.checkout)
    tip = await _target(repository, desk, handover)
    terms = (await read_settings(repository, tip)).terms
    tree, problems = await checked(repository, handover.base, patch, terms)
    if problems:
        return replace(account, outcome="refused", reasons=problems), ""
    commit = await _commit(repository, desk.number, handover.base, tree, handover.digest)
    desk.noted("committed")
    pull = await github.pull_of(tickets.branch(desk.number))
    if pull and not _our_draft(pull, desk):
        return replace(account, outcome="taken", reasons=()), ""
    if not await _push(repository, desk, commit):
        return replace(account, outcome="moved", reasons=()), ""
    desk.noted("pushed")
    number = await _pull(github, desk, handover, account)
    desk.noted("pull request there")
    return account, f"#{number}"


async def _target(repository: Repository, desk: Desk, handover: HandOver) -> str:
    """The newest commit of the branch that pull requests go to, which must hold the base: else
    somebody's unpushed commits would come along."""
    tip = await _listed(repository, desk, desk.target)
    if not tip:
        raise TicketError(f"{desk.repo} has no branch {desk.target}; name it by --target")
    known = await repository.commit_of(handover.base)
    if known is None or not await repository.is_ancestor(known, tip):
        raise TicketError(
            f"the work's base {handover.base[:12]} is not on {desk.target}; begin at a commit that "
            "is, such as `--base origin/main`"
        )
    return tip


def _account(handover: HandOver, desk: Desk) -> Account:
    return Account(
        handover.outcome, desk.number, handover.reasons, handover.questions, handover.evidence,
        handover.unverified, handover.summary, handover.attempt, handover.cost_usd,
        handover.seconds, desk.run_url, handover.digest, handover.text,
    )  # fmt: skip


# ------------------------------------------------------------------ the branch


async def _commit(repository: Repository, number: int, base: str, tree: str, digest: str) -> str:
    """The commit of a tree on its base, always the same one."""
    date = (await repository.git("show", "-s", "--format=%ct", base)).strip()
    message = (
        f"Resolve issue #{number}\n\nA draft by FibreFlow; see its pull request.\n\n"
        f"{_TRAILER}: {digest}\n"
    )
    commit = await repository.git(
        "commit-tree", tree, "-p", base, "-F", "-",
        stdin=message.encode(),
        env={"GIT_AUTHOR_DATE": f"{date} +0000", "GIT_COMMITTER_DATE": f"{date} +0000"},
    )  # fmt: skip
    return commit.strip()


async def _push(repository: Repository, desk: Desk, commit: str) -> bool:
    """Whether the branch holds the commit. One on which others committed is left alone."""
    branch = tickets.branch(desk.number)
    there = await _listed(repository, desk, branch)
    if there == commit:
        return True
    if there and not await _our_commit(repository, desk.number, there):
        return False
    # By the lease nobody's push of the last moment is lost.
    name = f"refs/heads/{branch}"
    await repository.git(
        "push", "--quiet", f"--force-with-lease={name}:{there}", desk.remote, f"{commit}:{name}",
        env=_authorized(desk),
    )  # fmt: skip
    return True


async def _listed(repository: Repository, desk: Desk, branch: str) -> str:
    """The commit of the remote's branch, fetched; empty without such a branch."""
    env = _authorized(desk)
    name = f"refs/heads/{branch}"  # others may end so
    listed = await repository.git("ls-remote", desk.remote, name, env=env)
    rows = (line.split("\t") for line in listed.splitlines())
    commit = next((row[0] for row in rows if row[1:] == [name]), "")
    if commit and await repository.commit_of(commit) is None:
        await repository.git("fetch", "--quiet", "--no-tags", desk.remote, commit, env=env)
    return commit


async def _our_commit(repository: Repository, number: int, commit: str) -> bool:
    """Whether we wrote it, to the bit: who amends or rebases ours keeps its words."""
    said = await repository.git("show", "-s", "--format=%T %P%n%B", commit)
    facts, _, message = said.partition("\n")
    found = re.search(rf"^{_TRAILER}: ([0-9a-f]{{16}})$", message, re.MULTILINE)
    tree, *parents = facts.split()
    if found is None or len(parents) != 1:
        return False
    return await _commit(repository, number, parents[0], tree, found[1]) == commit


def _authorized(desk: Desk) -> Mapping[str, str]:
    """The token as git takes it: in no argument list and in no file."""
    if not desk.token or not desk.remote.startswith("https://"):
        return {}
    given = base64.b64encode(f"x-access-token:{desk.token}".encode()).decode()
    host = "/".join(desk.remote.split("/")[:3])
    return {
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"http.{host}/.extraheader",
        "GIT_CONFIG_VALUE_0": f"AUTHORIZATION: basic {given}",
    }


# ---------------------------------------------------------- what people see


def _our_draft(pull: Mapping[str, Any], desk: Desk) -> bool:
    """A person who marks it ready, or has opened their own, has seen one commit and may merge it
    by a click, or by none: no other one is put there."""
    return bool(pull.get("draft")) and (pull.get("user") or {}).get("login") == desk.author


async def _pull(github: GitHub, desk: Desk, handover: HandOver, account: Account) -> int:
    """The one open pull request of the branch, a draft, brought up to date; its number."""
    head = tickets.branch(desk.number)
    wanted = {
        "title": told.pull_title(desk.number, handover.title),
        "body": told.pull_body(account),
    }
    pull = await github.pull_of(head)
    if pull is None:
        body = {**wanted, "head": head, "base": desk.target, "draft": True}
        pull = dict(await github.post("/pulls", body, "open a draft pull request"))
    elif any(pull.get(key) != value for key, value in wanted.items()):
        await github.patch(f"/pulls/{pull['number']}", wanted, "update the pull request")
    return int(pull["number"])


async def _tell(github: GitHub, desk: Desk, account: Account, pull: str = "") -> None:
    await _comment(github, desk, told.status(account, pull))
    desk.noted("commented")
    await _label(github, desk.number, told.label(account.outcome))
    desk.noted("labelled")


async def _comment(github: GitHub, desk: Desk, text: str) -> None:
    """The one status comment of ours."""
    path = f"/issues/{desk.number}/comments"
    for comment in await github.all(path, "read the comments"):
        if is_status(comment, desk.author):
            if comment["body"] != text:
                where = f"/issues/comments/{comment['id']}"
                await github.patch(where, {"body": text}, "update the status comment")
            return
    await github.post(path, {"body": text}, "comment on the issue")


async def _label(github: GitHub, number: int, wanted: str) -> None:
    labels = await github.all(f"/issues/{number}/labels", "read the labels")
    there = {str(label["name"]) for label in labels}
    for name in sorted(there & told.LABELS - {wanted}):
        await github.delete(f"/issues/{number}/labels/{name}", "remove a label")
    if wanted not in there:
        await github.post(f"/issues/{number}/labels", {"labels": [wanted]}, "add a label")
