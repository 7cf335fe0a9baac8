"""Reads a ticket by GitHub's API: the issue, what writers said, its draft and linked files."""

from dataclasses import dataclass
from typing import Any

from harness.tickets import asking
from harness.tickets.github import GitHub
from orchestrator.errors import TicketError
from orchestrator.tickets import ticket as tickets
from orchestrator.tickets.links import MOST_TEXT, Link, links, part, readable
from orchestrator.tickets.text import visible
from orchestrator.tickets.ticket import LABEL, Linked, Said, Ticket

SERVER = "https://github.com"
#: The newest of each kind of comment; strangers can write any number of them.
_MOST_SAID = 100
#: Whose rights are asked about; each is a request, of which a job's token has 1,000 an hour.
_MOST_ASKED = 30


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which issue, on the host `server`. `text`: its title and body as somebody with the right to
    saw them; what they have become since does not count. `author`: whom we comment as."""

    number: int
    server: str = SERVER
    text: tuple[str, str] | None = None
    author: str = "github-actions[bot]"


async def fetch(github: GitHub, wanted: Wanted) -> Ticket:
    """The ticket, with the comments of those who may write and what it links to on the host.
    Raises `TicketError`."""
    number, server = wanted.number, wanted.server
    issue = await github.get(f"/issues/{number}", f"read issue {number}")
    if "pull_request" in issue:
        raise TicketError(f"#{number} is a pull request, not an issue")
    title, body = wanted.text or (str(issue.get("title") or ""), _body(issue))
    pull = await _pull(github, number)
    comments = await github.all(f"/issues/{number}/comments", "read its comments")
    said = await _said(github, comments, pull)
    texts = [visible(text) for text in (body, *(s.text for s in said))]
    files = [await _file(github, link, server) for link in links(texts, github.repo, server)]
    labels = tuple(str(label["name"]) for label in issue.get("labels") or ())
    return Ticket(
        github.repo, number, title, body, _login(issue), str(issue.get("html_url") or ""),
        tuple(name for name in labels if not name.startswith(LABEL)), said,
        issue.get("state") != "closed", tuple(files), await _draft(github, pull),
        next((_body(c) for c in comments if is_status(c, wanted.author)), ""),
    )  # fmt: skip


async def _said(github: GitHub, comments: list[Any], pull: int | None) -> tuple[Said, ...]:
    """What writers commented on the issue, and then on our pull request for it."""
    found = [Said(_login(c), _body(c)) for c in comments[-_MOST_SAID:] if not _our_own(c)]
    for kind in ("pulls/{}/reviews", "pulls/{}/comments", "issues/{}/comments") if pull else ():
        rows = await github.all("/" + kind.format(pull), "read its reviews")
        found += [Said(_login(row), _body(row), _where(row)) for row in rows[-_MOST_SAID:]]
    return await _by_writers(github, [said for said in found if said.text.strip()])


def _where(row: dict[str, Any]) -> str:
    line = row.get("line") or row.get("original_line") or ""
    return f"{row['path']}:{line}" if row.get("path") else "the pull request"


async def _by_writers(github: GitHub, said: list[Said]) -> tuple[Said, ...]:
    """Of those whom GitHub, asked once for each, says to be writers; who spoke last is asked about
    first."""
    authors = dict.fromkeys(s.author for s in reversed(said))
    known = {name: await asking.writes(github, name) for name in [*authors][:_MOST_ASKED]}
    return tuple(s for s in said if known.get(s.author))


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
    pull = await github.pull_of(tickets.branch(number))
    return int(pull["number"]) if pull else None


async def _draft(github: GitHub, pull: int | None) -> str:
    """Our pull request's patch, file by file, as far as the API gives and a task can hold it."""
    if pull is None:
        return ""
    rows = await github.all(f"/pulls/{pull}/files", "read its draft", most=20)
    text = "\n".join(f"{row.get('filename')}\n{row.get('patch') or ''}" for row in rows)
    return text if len(text) <= MOST_TEXT else text[:MOST_TEXT] + "\n(cut here: too long)"


def is_status(comment: dict[str, Any], author: str) -> bool:
    """Whether it is the one status comment of ours: a stranger's with our marker is not."""
    return _login(comment) == author and _body(comment).startswith(tickets.MARKER)


def _login(item: dict[str, Any]) -> str:
    return str((item.get("user") or {}).get("login") or "")


def _body(item: dict[str, Any]) -> str:
    return str(item.get("body") or "")


def _our_own(comment: dict[str, Any]) -> bool:
    return tickets.MARKER in _body(comment)
