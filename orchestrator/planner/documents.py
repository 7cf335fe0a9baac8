"""A planning document as a value: one version of what a role wrote, and what was said to it."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from orchestrator.registry import Kind, author
from orchestrator.reporting.wording import markdown, one_line
from orchestrator.values import Usage


@dataclass(frozen=True, slots=True)
class Comment:
    """What a reviewer says to one version; `by` is `checks` or a person's name."""

    by: str
    text: str


@dataclass(frozen=True, slots=True)
class Document:
    """One version, from 1. `parent` names the version it works out further, such as
    `system_design v1`; empty for the first. `reply` holds the author's answer as the Messages API
    has it, `content` what could be read from it, None when that is nothing. A version with
    comments was sent back. `cost_usd` and `usage` None are unknown, never zero.
    """

    kind: Kind
    version: int
    author: str
    parent: str
    reply: tuple[Mapping[str, Any], ...]
    content: Mapping[str, Any] | None
    comments: tuple[Comment, ...] = ()
    model: str = ""
    source: str = ""
    usage: Usage | None = None
    cost_usd: float | None = None

    @property
    def name(self) -> str:
        return f"{self.kind} v{self.version}"

    @property
    def accepted(self) -> bool:
        return self.content is not None and not self.comments


def to_json(document: Document) -> dict[str, Any]:
    return asdict(document)


def from_json(data: Mapping[str, Any]) -> Document:
    """Raises `ValueError`, `TypeError` or `KeyError` when it is none."""
    usage = data["usage"]
    return Document(
        **{
            **data,
            "reply": tuple(data["reply"]),
            "comments": tuple(Comment(**comment) for comment in data["comments"]),
            "usage": None if usage is None else Usage(**usage),
        }
    )


def to_markdown(document: Document) -> str:
    """For people: heading, lineage, content, comments. Nothing in it can be markup of its author:
    texts are quoted, files are fenced."""
    title = document.kind.replace("_", " ")
    lines = [f"# {title[0].upper()}{title[1:]}, version {document.version}", ""]
    after = f", after {document.parent}" if document.parent else ""
    standing = "accepted" if document.accepted else "sent back"
    lines += [f"By the {author(document.kind).title}{after}; {standing}.", ""]
    if document.content is None:
        lines += ["Nothing could be read from the answer.", ""]
    else:
        lines += _section(document.content, 2)
    if document.comments:
        lines += ["## Review", ""]
        lines += [f"- {markdown(c.by, 80)}: {markdown(c.text, 600)}" for c in document.comments]
    return "\n".join(lines).rstrip() + "\n"


def _section(content: Mapping[str, Any], depth: int) -> list[str]:
    lines: list[str] = []
    for key, value in content.items():
        if value in (None, [], ""):
            continue
        heading = key.replace("_", " ")
        if isinstance(value, list) and isinstance(value[0], Mapping):
            lines += [f"{'#' * depth} {heading[0].upper()}{heading[1:]}", ""]
            for entry in value:
                lines += [*_entry(entry, depth + 1), ""]
        elif isinstance(value, list):
            lines += [f"**{heading}**", "", *(f"- {markdown(str(v), 4_000)}" for v in value), ""]
        elif isinstance(value, Mapping):
            lines += [f"{'#' * depth} {heading[0].upper()}{heading[1:]}", ""]
            lines += _section(value, depth + 1)
        elif "\n" in str(value):
            lines += [f"**{heading}**", "", *_fenced(str(value)), ""]
        else:
            lines += [f"**{heading}**: {markdown(str(value), 4_000)}", ""]
    return lines


def _entry(entry: Mapping[str, Any], depth: int) -> list[str]:
    """Its first value is its heading."""
    (_, first), *rest = entry.items()
    return [f"{'#' * depth} {markdown(str(first), 120)}", "", *_section(dict(rest), depth + 1)]


def _fenced(text: str) -> list[str]:
    """A fence longer than any run of backticks in the text."""
    longest = max((len(run) for run in _runs(text)), default=0)
    fence = "`" * max(3, longest + 1)
    return [fence, *text.rstrip("\n").split("\n"), fence]


def _runs(text: str) -> Iterable[str]:
    return ("`" * len(part) for part in "".join(c if c == "`" else " " for c in text).split())


def shown(document: Document) -> str:
    """As later roles read it: its content as JSON, which quotes itself."""
    body = json.dumps(document.content, indent=1, ensure_ascii=False)
    # No text of its author can close the mark around it.
    body = body.replace("</document", "<\\/document")
    return f'<document name="{one_line(document.name)}">\n{body}\n</document>'
