"""Finds what a ticket links to that may be read: blobs of its own repository, and attachments.

Nothing else is ever asked for: an address is taken apart here and put together anew from parts of
known shape, on the host that the ticket is on.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from posixpath import normpath
from urllib.parse import unquote

#: Of one ticket. A ticket that needs more files to be understood is none for a machine.
MOST_FILES = 5
#: Characters that are quoted of one file.
MOST_TEXT = 12_000

_BLOB = re.compile(
    r"/blob/(?P<ref>[\w.\-]{1,100})/(?P<path>[^\s#?<>()\"'`]{1,300})"
    r"(?:#L(?P<first>\d{1,6})(?:C\d+)?(?:-L(?P<last>\d{1,6})(?:C\d+)?)?)?"
)
_FILE = re.compile(r"/files/(?P<id>\d{1,15})/(?P<name>[\w\-](?:[\w.\-]{0,98}[\w\-])?)(?![\w\-/])")


@dataclass(frozen=True, slots=True)
class Link:
    """`blob`: a file of the repository at `ref`, its lines `first` to `last` (from 1; 0 is all of
    them). Otherwise an attachment at `path` on the host, called `name`."""

    name: str
    path: str
    blob: bool
    ref: str = ""
    first: int = 0
    last: int = 0


def links(texts: Iterable[str], repo: str, server: str) -> tuple[Link, ...]:
    """Each once, in the order of the texts. `server`: the host's address, `https://github.com`."""
    own = re.compile(rf"{re.escape(server)}/(?:{re.escape(repo)}|user-attachments)", re.IGNORECASE)
    found: dict[Link, None] = {}
    for text in texts:
        for match in own.finditer(text):
            link = _link(text, match.end(), repo, attached=match[0].endswith("user-attachments"))
            if link is not None:
                found.setdefault(link)
    return tuple(found)[:MOST_FILES]


def _link(text: str, at: int, repo: str, *, attached: bool) -> Link | None:
    file = _FILE.match(text, at)
    if file is not None:
        owner = "user-attachments" if attached else repo
        return Link(file["name"], f"/{owner}/files/{file['id']}/{file['name']}", blob=False)
    blob = None if attached else _BLOB.match(text, at)
    if blob is None:
        return None
    path = unquote(blob["path"]).rstrip(".,;:!")
    # Whatever climbs, or is spelt in two ways, is no path of a repository.
    if path.startswith(("/", "..")) or normpath(path) != path or not path.isprintable():
        return None
    first = int(blob["first"] or 0)
    return Link(path, path, True, blob["ref"], first, int(blob["last"] or first))


def part(text: str, link: Link) -> str:
    """The lines that the link names, at most `MOST_TEXT` characters."""
    if link.first:
        text = "\n".join(text.splitlines()[link.first - 1 : link.last])
    return text if len(text) <= MOST_TEXT else text[:MOST_TEXT] + "\n(cut here: too long)"


def readable(data: bytes) -> str | None:
    """As text; None for what is none."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        return None
    return None if "\0" in text else text
