"""What an event asks for, by whom, and whether GitHub says that they may.

It imports nothing but the standard library, so that the first job has nothing to install.
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

from orchestrator.errors import InputError, NotPermittedError, TicketError
from orchestrator.tickets import ticket as tickets
from orchestrator.tickets.ticket import LABEL, WRITERS, Kind, Orders, Trigger


class Reads(Protocol):
    """One repository, `owner/name`, asked by API."""

    @property
    def repo(self) -> str: ...

    async def get(self, path: str, what: str) -> Any:
        """The JSON at a path of the repository. Raises `TicketError`; `what` is for its words."""


# ------------------------------------------------------------------ the event


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
    """What the event asks for; None when it does not concern us. Raises `TicketError` for what is
    no event of GitHub."""
    try:
        return _trigger(event)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise TicketError(f"the event lacks what it should have: {error!r}") from error


def _trigger(event: dict[str, Any]) -> Trigger | None:
    name, action = event["name"], event.get("action", "")
    if name == "issues" and action == "labeled" and event["label"]["name"] == LABEL:
        return _made(event, "label", event["issue"]["number"], tickets.COMMAND)
    if name == "issue_comment" and action == "created":
        kind: Kind = "review" if "pull_request" in event["issue"] else "comment"
        return _made(event, kind, event["issue"]["number"], event["comment"]["body"])
    if name in ("pull_request_review", "pull_request_review_comment"):
        return _of_review(event)
    if name == "workflow_dispatch":
        given = event.get("inputs") or {}
        asked = f"{tickets.COMMAND} {given.get('instructions') or ''}"
        return _made(event, "dispatch", given["issue"], asked)
    return None


def _of_review(event: dict[str, Any]) -> Trigger | None:
    """A review of a pull request of ours, or one line of it, with a command in it."""
    if event.get("action") not in ("submitted", "created"):
        return None
    said = (event.get("review") or event.get("comment") or {}).get("body")
    number = _ticket_of(event["pull_request"], event["repository"]["full_name"])
    return None if number is None else _made(event, "comment", number, said)


def _made(event: dict[str, Any], kind: Kind, number: Any, said: str | None) -> Trigger | None:
    """None where nothing is commanded."""
    orders, problem = Orders(), ""
    try:
        found = tickets.orders(said or "")
    except tickets.OrdersError as error:
        found, problem = orders, str(error)
    if found is None:
        return None
    issue = event.get("issue") if kind in ("label", "comment") else None
    text = (str(issue.get("title") or ""), str(issue.get("body") or "")) if issue else None
    return Trigger(
        str(event["repository"]["full_name"]), int(number), str(event["sender"]["login"]), kind,
        found, text, problem,
    )  # fmt: skip


def _ticket_of(pull: dict[str, Any], repo: str) -> int | None:
    """The issue that a pull request of ours is for: its branch is named so, in this repository."""
    same = (pull["head"].get("repo") or {}).get("full_name") == repo
    return tickets.numbered(str(pull["head"]["ref"])) if same else None


# -------------------------------------------------------------------- the API


async def settle(github: Reads, given: Trigger) -> Trigger:
    """The trigger by its ticket's number: a comment on a pull request of ours means its issue.
    Raises `NotPermittedError` for any other pull request."""
    if given.kind != "review":
        return given
    pull = await github.get(f"/pulls/{given.number}", "read the pull request")
    number = _ticket_of(pull, github.repo)
    if number is None:
        raise NotPermittedError(f"#{given.number} is no pull request of ours")
    return replace(given, number=number)


async def permit(github: Reads, given: Trigger, bots: frozenset[str]) -> None:
    """Raises `NotPermittedError` where who asks may not start work."""
    why = tickets.refusal(given, await permission(github, given.actor), bots)
    if why:
        raise NotPermittedError(f"work on #{given.number} does not begin: {why}")


async def writes(github: Reads, login: str) -> bool:
    """Whether a person may write; never of a bot, which says what others told it to."""
    bot = login.endswith("[bot]") or not login
    return not bot and await permission(github, login) in WRITERS


async def permission(github: Reads, login: str) -> str:
    """What the person may do here: admin, write, read or none. A role of an organisation's own
    counts as what it is made from, whatever its name."""
    try:
        path = f"/collaborators/{quote(_name(login))}/permission"
        said = await github.get(path, "ask who may write")
    except TicketError as error:
        if error.status == 404:
            return "none"
        raise
    return str(said.get("permission") or "none")


def _name(login: str) -> str:
    """A login as part of a path; nothing else is one, whatever an event says."""
    plain = login.removesuffix("[bot]")
    if not plain or not plain.isascii() or not all(c.isalnum() or c in "-_" for c in plain):
        raise TicketError(f"{login!r} is not a login")
    return login
