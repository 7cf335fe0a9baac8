"""Hands a checked artifact over: branch, draft pull request, labels, one status comment.

It runs no agent and nothing of the patch. Each step looks at GitHub first, so that it can be
killed and repeated anywhere: the same artifact twice gives one of each.
"""

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from harness.git import Repository, open_repository
from harness.tickets import artifact
from harness.tickets.artifact import HandOver
from harness.tickets.checking import checked
from harness.tickets.github import GitHub, opened
from harness.tickets.settings import TicketSettings, read_settings
from orchestrator.errors import TicketError
from orchestrator.tickets import comments as told
from orchestrator.tickets import ticket as tickets
from orchestrator.tickets.comments import Account

_TRAILER = "FibreFlow-Work"


@dataclass(frozen=True, slots=True)
class Desk:
    """Where it is handed over. `checkout`: the repository, at the branch that pull requests go to
    (`target`); `remote`: what git pushes to; `author`: the login that `token` writes as; `noted`
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
    """What was told on the issue. Raises `TicketError` for what is not this ticket's artifact."""
    handover, patch = artifact.load(folder)
    if (handover.repo, handover.number) != (desk.repo, desk.number):
        raise TicketError(
            f"{folder} is about {handover.repo}#{handover.number}, not {desk.repo}#{desk.number}"
        )
    repository = await open_repository(desk.checkout)
    await _on_target(repository, handover)
    account = _account(handover, desk)
    desk.noted("read")
    pull: dict[str, Any] | None = None
    async with opened(desk.repo, desk.token, desk.url) as github:
        if handover.outcome in told.WITH_PATCH:
            settings = await read_settings(repository, "HEAD")
            account, commit = await _commit(repository, account, handover, patch, settings)
            desk.noted("committed")
            if commit and not await _push(repository, desk, commit):
                account, commit = replace(account, outcome="moved", reasons=()), ""
            desk.noted("pushed")
            if commit:
                pull = await _pull(github, desk, handover, account)
            desk.noted("pull request there")
        await _comment(github, desk, told.status(account, f"#{pull['number']}" if pull else ""))
        desk.noted("commented")
        await _label(github, desk.number, told.label(account.outcome))
    desk.noted("labelled")
    return account


async def _on_target(repository: Repository, handover: HandOver) -> None:
    known = await repository.commit_of(handover.base)
    if known is None or not await repository.is_ancestor(known, "HEAD"):
        raise TicketError(f"the artifact's base {handover.base[:12]} is not on this branch")


def _account(handover: HandOver, desk: Desk) -> Account:
    return Account(
        handover.outcome, desk.number, handover.reasons, handover.questions, handover.evidence,
        handover.unverified, handover.summary, handover.attempt, handover.cost_usd,
        handover.seconds, desk.run_url, handover.digest,
    )  # fmt: skip


# ------------------------------------------------------------------ the branch


async def _commit(
    repository: Repository,
    account: Account,
    handover: HandOver,
    patch: bytes,
    settings: TicketSettings,
) -> tuple[Account, str]:
    """The commit of the patch on its base, always the same one; or why it must not be."""
    tree, problems = await checked(repository, handover.base, patch, settings.terms)
    if problems:
        return replace(account, outcome="refused", reasons=problems), ""
    date = (await repository.git("show", "-s", "--format=%ct", handover.base)).strip()
    message = (
        f"Resolve issue #{account.number}\n\nA draft by FibreFlow; see its pull request.\n\n"
        f"{_TRAILER}: {handover.digest}\n"
    )
    commit = await repository.git(
        "commit-tree", tree, "-p", handover.base, "-F", "-",
        stdin=message.encode(),
        env={"GIT_AUTHOR_DATE": f"{date} +0000", "GIT_COMMITTER_DATE": f"{date} +0000"},
    )  # fmt: skip
    return account, commit.strip()


async def _push(repository: Repository, desk: Desk, commit: str) -> bool:
    """Whether the branch holds the commit. One on which others committed is left alone."""
    name = f"refs/heads/{tickets.branch(desk.number)}"
    env = _authorized(desk)
    listed = (await repository.git("ls-remote", desk.remote, name, env=env)).split()
    there = listed[0] if listed else ""
    if there == commit:
        return True
    if there:
        await repository.git("fetch", "--quiet", "--no-tags", desk.remote, there, env=env)
        message = await repository.git("show", "-s", "--format=%B", there)
        if f"\n{_TRAILER}: " not in message:
            return False
    # By the lease nobody's push of the last moment is lost.
    await repository.git(
        "push", "--quiet", f"--force-with-lease={name}:{there}", desk.remote, f"{commit}:{name}",
        env=env,
    )  # fmt: skip
    return True


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


async def _pull(github: GitHub, desk: Desk, handover: HandOver, account: Account) -> dict[str, Any]:
    """The one open pull request of the branch, a draft, brought up to date."""
    head = tickets.branch(desk.number)
    wanted = {
        "title": told.pull_title(desk.number, handover.title),
        "body": told.pull_body(account),
    }
    owner = desk.repo.partition("/")[0]
    there = await github.all(f"/pulls?state=open&head={owner}:{head}", "look for the pull request")
    if not there:
        body = {**wanted, "head": head, "base": desk.target, "draft": True}
        return dict(await github.post("/pulls", body, "open a draft pull request"))
    pull = dict(there[0])
    if any(pull.get(key) != value for key, value in wanted.items()):
        await github.patch(f"/pulls/{pull['number']}", wanted, "update the pull request")
    return pull


async def _comment(github: GitHub, desk: Desk, text: str) -> None:
    """The one status comment of ours: a stranger's with our marker is not ours."""
    path = f"/issues/{desk.number}/comments"
    for comment in await github.all(path, "read the comments"):
        ours = (comment.get("user") or {}).get("login") == desk.author
        if ours and str(comment.get("body") or "").startswith(tickets.MARKER):
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
