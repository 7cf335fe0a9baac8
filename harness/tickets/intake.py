"""Reads what began the work, and the ticket itself, from an event and GitHub's API."""

import json
from pathlib import Path
from typing import Any

from harness.tickets.github import GitHub
from orchestrator.errors import InputError, TicketError
from orchestrator.tickets import ticket as tickets
from orchestrator.tickets.links import MOST_TEXT, Link, links, part, readable
from orchestrator.tickets.text import visible
from orchestrator.tickets.ticket import LABEL, Kind, Linked, Orders, Said, Ticket, Trigger

SERVER = "https://github.com"

_BRANCH = tickets.branch(0)[:-1]


def read_event(path: Path, name: str) -> dict[str, Any]:
    """The event's JSON with its name under `name`. Raises `InputError`."""
    try:
        body = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise InputError(f"event {path}: cannot be read as JSON: {error}") from error
    if not isinstance(body, dict):
        raise InputError(f"event {path}: is not an object")
    return {**body, "name": name}


def trigger(event: dict[str, Any]) -> Trigger | None:
    """What the event asks for; None when it does not concern us. Raises `TicketError` for a
    command that cannot be followed."""
    try:
        return _trigger(event)
    except (KeyError, TypeError, ValueError) as error:
        if isinstance(error, tickets.OrdersError):
            raise TicketError(f"the command cannot be followed: {error}") from error
        raise TicketError(f"the event lacks what it should have: {error!r}") from error


def _trigger(event: dict[str, Any]) -> Trigger | None:
    name, action = event["name"], event.get("action", "")
    if name == "issues" and action == "labeled" and event["label"]["name"] == LABEL:
        return _made(event, "label", int(event["issue"]["number"]), Orders())
    if name == "issue_comment" and action == "created":
        orders = tickets.orders(event["comment"]["body"])
        kind: Kind = "review" if "pull_request" in event["issue"] else "comment"
        return _made(event, kind, int(event["issue"]["number"]), orders) if orders else None
    if name in ("pull_request_review", "pull_request_review_comment"):
        return _of_review(event)
    if name == "workflow_dispatch":
        given = event.get("inputs") or {}
        orders = tickets.orders(f"{tickets.COMMAND} {given.get('instructions') or ''}")
        return _made(event, "dispatch", int(given["issue"]), orders or Orders())
    return None


def _of_review(event: dict[str, Any]) -> Trigger | None:
    """A review of a pull request of ours, with a command in it."""
    head = event["pull_request"]["head"]
    said = (event.get("review") or event.get("comment") or {}).get("body") or ""
    orders = tickets.orders(said)
    same = (head.get("repo") or {}).get("full_name") == event["repository"]["full_name"]
    number = head["ref"].removeprefix(_BRANCH)
    if orders is None or not same or not head["ref"].startswith(_BRANCH) or not number.isdigit():
        return None
    return _made(event, "comment", int(number), orders)


def _made(event: dict[str, Any], kind: Kind, number: int, orders: Orders) -> Trigger:
    actor = str(event["sender"]["login"])
    return Trigger(str(event["repository"]["full_name"]), number, actor, kind, orders)


async def settle(github: GitHub, given: Trigger) -> Trigger | None:
    """The trigger by its ticket's number: a comment on a pull request of ours means its issue."""
    if given.kind != "review":
        return given
    pull = await github.get(f"/pulls/{given.number}", "read the pull request")
    ref = str(pull["head"]["ref"])
    ours = ref.startswith(_BRANCH) and (pull["head"].get("repo") or {}).get("full_name") == (
        github.repo
    )
    number = ref.removeprefix(_BRANCH)
    if not ours or not number.isdigit():
        return None
    return Trigger(given.repo, int(number), given.actor, "comment", given.orders)


async def fetch(github: GitHub, number: int, server: str = SERVER) -> Ticket:
    """The ticket, with the comments of those who may write and what it links to on `server`.
    Raises `TicketError`."""
    issue = await github.get(f"/issues/{number}", f"read issue {number}")
    if "pull_request" in issue:
        raise TicketError(f"#{number} is a pull request, not an issue")
    trusted: dict[str, bool] = {}
    said = []
    for comment in await github.all(f"/issues/{number}/comments", "read its comments"):
        author = _login(comment)
        if _our_own(comment) or not await _writes(github, author, trusted):
            continue
        said.append(Said(author, _body(comment)))
    pull = await _pull(github, number)
    for comment in await _reviews(github, pull):
        author = _login(comment)
        if await _writes(github, author, trusted):
            line = comment.get("line") or comment.get("original_line") or ""
            where = f"{comment['path']}:{line}" if comment.get("path") else "the pull request"
            said.append(Said(author, _body(comment), where))
    texts = [visible(text) for text in (_body(issue), *(s.text for s in said))]
    files = [await _file(github, link, server) for link in links(texts, github.repo, server)]
    labels = tuple(str(label["name"]) for label in issue.get("labels") or ())
    return Ticket(
        github.repo, number, str(issue.get("title") or ""), _body(issue), _login(issue),
        str(issue.get("html_url") or ""),
        tuple(name for name in labels if not name.startswith(LABEL)),
        tuple(s for s in said if s.text.strip()), issue.get("state") != "closed",
        tuple(files), await _draft(github, pull),
    )  # fmt: skip


async def _file(github: GitHub, link: Link, server: str) -> Linked:
    """What a link leads to; a file that cannot be read is no reason not to begin."""
    try:
        if link.blob:
            data = await github.blob(link.path, link.ref)
        else:
            data = await github.attachment(f"{server}{link.path}")
    except TicketError as error:
        return Linked(link.name, why_not=str(error))
    text = readable(data)
    if text is None:
        return Linked(link.name, why_not="it is not text")
    return Linked(link.name, part(text, link))


async def _pull(github: GitHub, number: int) -> int | None:
    """The number of our open pull request for the ticket."""
    owner = github.repo.partition("/")[0]
    pulls = await github.all(
        f"/pulls?state=open&head={owner}:{tickets.branch(number)}", "look for its pull request"
    )
    return int(pulls[0]["number"]) if pulls else None


async def _reviews(github: GitHub, pull: int | None) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for kind in ("pulls", "issues") if pull is not None else ():
        found += await github.all(f"/{kind}/{pull}/comments", "read its reviews")
    return found


async def _draft(github: GitHub, pull: int | None) -> str:
    """Our pull request's patch, file by file, as far as the API gives and a task can hold it."""
    if pull is None:
        return ""
    rows = await github.all(f"/pulls/{pull}/files", "read its draft", most=20)
    text = "\n".join(f"{row.get('filename')}\n{row.get('patch') or ''}" for row in rows)
    return text if len(text) <= MOST_TEXT else text[:MOST_TEXT] + "\n(cut here: too long)"


async def _writes(github: GitHub, login: str, known: dict[str, bool]) -> bool:
    """Whether the author may write: asked of the API, once for each, and never of a bot."""
    if login not in known:
        bot = login.endswith("[bot]") or not login
        known[login] = not bot and await github.permission(login) in tickets.WRITERS
    return known[login]


def _login(item: dict[str, Any]) -> str:
    return str((item.get("user") or {}).get("login") or "")


def _body(item: dict[str, Any]) -> str:
    return str(item.get("body") or "")


def _our_own(comment: dict[str, Any]) -> bool:
    return tickets.MARKER in _body(comment)
