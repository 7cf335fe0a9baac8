"""Everything that is wrong with a scanned feature list, as lines that say where, what, what to do.

Two sources, reported together: the shape of single values (pydantic) and what only the whole
list shows (ids written twice, dependencies that lead nowhere or in a circle). The second looks
at the text's tree, so that one wrong value does not hide the rest.
"""

import json
import math
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from orchestrator.features import models
from orchestrator.features.rules import bounded, shown
from orchestrator.graph import cycles, drawn
from orchestrator.json_lines import Lines, Member, Node, encodable, find, walk
from orchestrator.problems import Problem, nearest, told

_SECTIONS: dict[str, type[BaseModel]] = {
    "project": models.ProjectEntry,
    "defaults": models.DefaultsEntry,
    "features": models.FeatureEntry,
}
#: Looking for the nearest of 10,000 ids takes a tenth of a second.
HINT_LIMIT = 50

Path = tuple[int | str, ...]
_NO_SUCH = "add that feature or remove the dependency"
_EITHER = 'write a list of at least one entry, or an object with "features"'
_FULL_ONLY = set(models.FeatureEntry.model_fields) - set(models.BareEntry.model_fields)


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry as far as it can be read: its id and dependencies where they are strings."""

    node: Node
    name: str
    id: Node | None
    depends_on: tuple[Node, ...]


class Document:
    """The scanned text with its entries, and who owns which part of it."""

    def __init__(self, root: Node) -> None:
        self.root = root
        self.bare = root.kind == "array"
        nodes = root.items if self.bare else _items(root, "features")
        self.entries = tuple(self._entry(i, node) for i, node in enumerate(nodes))
        self._starts = [e.node.start for e in self.entries]

    def owner(self, offset: int) -> str:
        """The name of the entry an offset lies in, empty outside of all."""
        index = bisect_right(self._starts, offset) - 1
        inside = index >= 0 and offset < self.entries[index].node.end
        return self.entries[index].name if inside else ""

    def name(self, index: int) -> str:
        return self.entries[index].name if index < len(self.entries) else ""

    def _entry(self, index: int, node: Node) -> Entry:
        member = None if self.bare else node.member("id")
        own = member.value if member and isinstance(member.value.scalar, str) else None
        place = f"entry {index + 1}" if self.bare else f"features[{index}]"
        needs = () if self.bare else _items(node, "depends_on")
        texts = tuple(n for n in needs if isinstance(n.scalar, str))
        return Entry(node, f"feature {shown(own.scalar, 66)}" if own else place, own, texts)


def describe(root: Node, text: str, error: ValidationError | None) -> tuple[str, ...]:
    """Finished lines for all problems in the order of the text, empty when there are none.

    `error` is what pydantic said. At most `PROBLEM_LIMIT` lines, and one that counts the rest.
    """
    document, numbers = Document(root), Lines(text)
    found = [*_of_dependencies(document)]
    # An unknown dependency is told once, by name, and not again as a malformed id.
    taken = {p.at for p in found}
    found += [p for p in _of_shape(document, error) if p.at not in taken]
    taken = {p.at for p in found}
    found += [p for p in _of_json(document) if p.at not in taken]
    found += [*_of_ids(document, numbers), *_of_cycles(document)]
    return told(found, numbers)


def _items(node: Node, key: str) -> tuple[Node, ...]:
    member = node.member(key)
    return member.value.items if member else ()


# ------------------------------------------------------- what any JSON may get wrong


def _of_json(document: Document) -> Iterator[Problem]:
    for node in walk(document.root):
        for member, what in _of_keys(node):
            yield Problem(member.start, document.owner(member.start), what)
        value, what = node.scalar, ""
        if isinstance(value, float) and not math.isfinite(value):
            what = f"{value} is not a number JSON can hold; write a finite number"
        elif isinstance(value, str) and not encodable(value):
            what = "half of a surrogate pair is no character; write the character itself"
        if what:
            yield Problem(node.start, document.owner(node.start), what)


def _of_keys(node: Node) -> Iterator[tuple[Member, str]]:
    seen = set()
    for member in node.members:
        if not encodable(member.key):
            yield member, "half of a surrogate pair in a key is no character; rename the key"
        elif member.key in seen:
            key = shown(member.key)
            yield member, f"the key {key} is written twice in one object; keep one of them"
        seen.add(member.key)


# ------------------------------------------------------- what only the whole list shows


def _of_ids(document: Document, numbers: Lines) -> Iterator[Problem]:
    first: dict[str, Node] = {}
    for entry in document.entries:
        if entry.id is None:
            continue
        own = str(entry.id.scalar)
        other = first.setdefault(own.lower(), entry.id)
        if other is entry.id:
            continue
        taken, line = str(other.scalar), numbers.line(other.start)
        same = "is already the id" if taken == own else f"differs only in case from {shown(taken)},"
        what = f"the id {same} of the feature on line {line}; rename one of them"
        yield Problem(entry.id.start, entry.name, what)


def _of_dependencies(document: Document) -> Iterator[Problem]:
    ids = {str(e.id.scalar): None for e in document.entries if e.id}
    hints = HINT_LIMIT
    for entry in document.entries:
        seen: set[str] = set()
        for need in entry.depends_on:
            wanted = str(need.scalar)
            what = ""
            if entry.id and wanted == entry.id.scalar:
                what = "depends on itself; remove it from depends_on"
            elif wanted not in ids:
                hints -= 1
                hint = nearest(wanted, list(ids) if hints >= 0 else [], _NO_SUCH)
                what = f"depends on {shown(wanted)}, which is no feature of this list; {hint}"
            elif wanted in seen:
                what = f"depends on {shown(wanted)} twice; remove one"
            seen.add(wanted)
            if what:
                yield Problem(need.start, entry.name, what)


def _of_cycles(document: Document) -> Iterator[Problem]:
    places = {str(e.id.scalar): (e, e.id) for e in document.entries if e.id}
    edges = [
        (own, str(need.scalar))
        for own, (entry, _) in places.items()
        for need in entry.depends_on
        if need.scalar in places and need.scalar != own
    ]
    for cycle in cycles(edges):
        entry, own_id = places[cycle[0]]
        round_trip = drawn([bounded(i, 66) for i in cycle])
        what = f"waits for itself in a cycle: {round_trip}; remove one of these from a depends_on"
        yield Problem(own_id.start, entry.name, what)


# ------------------------------------------------------- what single values get wrong


def _of_shape(document: Document, error: ValidationError | None) -> Iterator[Problem]:
    details = error.errors(include_url=False) if error else []
    mixed = [d for d in details if document.bare and _belongs_to_full(d)]
    if mixed:
        yield _of_mixed_forms(document, mixed)
    for detail in details:
        if not (mixed and _belongs_to_full(detail)):
            yield _of_detail(document, detail)


def _belongs_to_full(detail: ErrorDetails) -> bool:
    return detail["type"] == "extra_forbidden" and detail["loc"][-1] in _FULL_ONLY


def _of_mixed_forms(document: Document, details: Sequence[ErrorDetails]) -> Problem:
    """One line for the file: someone left out the braces, not a hundred keys too many."""
    keys = ", ".join(dict.fromkeys(str(d["loc"][-1]) for d in details))
    path = details[0]["loc"]
    return Problem(
        _offset(document.root, path),
        document.name(int(path[0])),
        f"only the full form knows {keys}; wrap the list:"
        ' {"version": 1, "features": [...]}, and give every entry an id',
    )


def _of_detail(document: Document, detail: ErrorDetails) -> Problem:
    path, kind = detail["loc"], detail["type"]
    model, owner, rest = _place(document, path)
    if kind == "missing":
        what = f"the key {shown(rest[-1])} is missing; it must be {_wanted(model, rest)[1]}"
        return Problem(_offset(document.root, path[:-1]), owner, what)
    if kind == "extra_forbidden":
        return Problem(_offset(document.root, path), owner, _unknown_key(model, str(rest[-1])))
    if kind == "value_error":
        what = str(detail.get("ctx", {}).get("error", detail["msg"]))
    elif not path:
        what = f"{_brief(detail['input'])} is no feature list; {_EITHER}"
    elif not rest:
        what = f"{_brief(detail['input'])} is no feature; write an object in braces"
    else:
        key, words = _wanted(model, rest)
        subject = "it" if len(rest) == 1 else key
        what = f"{_brief(detail['input'])} is not right; {subject} must be {words}"
    where = ", ".join(part for part in (owner, _label(rest)) if part)
    return Problem(_offset(document.root, path), where, what)


def _unknown_key(model: type[BaseModel], key: str) -> str:
    names = list(model.model_fields)
    hint = nearest(key, names, f"remove it; the keys here are {', '.join(names)}")
    return f"unknown key {shown(key)}; {hint}"


def _place(document: Document, path: Path) -> tuple[type[BaseModel], str, Path]:
    """The model a path leads into, the owner's name for people, and the path from there on."""
    head = path[0] if path else ""
    if document.bare:
        return models.BareEntry, document.name(head) if isinstance(head, int) else "", path[1:]
    if head == "features" and len(path) > 1 and isinstance(path[1], int):
        return models.FeatureEntry, document.name(path[1]), path[2:]
    if head in _SECTIONS and len(path) > 1:
        return _below(_SECTIONS[str(head)], str(head), path[1:])
    return models.FullForm, "", path


def _below(model: type[BaseModel], owner: str, path: Path) -> tuple[type[BaseModel], str, Path]:
    """As deep as objects lie in objects, and in lists of them."""
    field = model.model_fields.get(str(path[0]))
    kinds = (field.annotation, *get_args(field.annotation)) if field is not None else ()
    inner = next((k for k in kinds if isinstance(k, type) and issubclass(k, BaseModel)), None)
    depth = 2 if len(path) > 1 and isinstance(path[1], int) else 1
    if inner is None or len(path) <= depth:
        return model, owner, path
    return _below(inner, f"{owner}.{_label(path[:depth])}", path[depth:])


def _label(rest: Path) -> str:
    """The key, with an index where it is an item of a list: `steps[1]`."""
    words = (f"[{s}]" if isinstance(s, int) else "." + bounded(s, 66) for s in rest)
    return "".join(words).lstrip(".")


def _wanted(model: type[BaseModel], rest: Path) -> tuple[str, str]:
    """The key, and how its description finishes the sentence "it must be"."""
    field = model.model_fields[str(rest[0])]
    return str(rest[0]), field.description or "what the schema says"


def _offset(root: Node, path: Path) -> int:
    """Where the value stands, or what it is missing from."""
    node = find(root, path)
    while node is None and path:
        path = path[:-1]
        node = find(root, path)
    return node.start if node else root.start


def _brief(value: object) -> str:
    """The value as JSON writes it; of a list or object only what it is."""
    if isinstance(value, list):
        return "a list" if value else "an empty list"
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, str):
        return shown(value) if value else "an empty string"
    return bounded(json.dumps(value))
