"""From feature_list.json to a `FeatureList`, or every problem at once; and `passes` back into it.

pydantic and networkx are imported when a list is read, not before: `--help` needs neither.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from orchestrator.errors import FeatureListError
from orchestrator.features.rules import slug
from orchestrator.json_lines import Node, encodable, plain, scan
from orchestrator.values import Feature, FeatureList

if TYPE_CHECKING:
    from orchestrator.features.models import BareEntry

_MARKS = {
    b"\xef\xbb\xbf": "UTF-8 with a byte order mark",
    b"\xff\xfe": "UTF-16",
    b"\xfe\xff": "UTF-16",
}


def decode(data: bytes, source: str) -> str:
    """The file's bytes as text. Raises `FeatureListError` unless they are UTF-8 without a mark."""
    for mark, name in _MARKS.items():
        if data.startswith(mark):
            raise FeatureListError(
                source, (f"line 1: the file is {name}; save it as UTF-8 without byte order mark",)
            )
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        what = f"line {line}: byte 0x{data[error.start]:02x} is not UTF-8; save the file as UTF-8"
        raise FeatureListError(source, (what,)) from None


def parse(text: str, source: str) -> FeatureList:
    """The feature list in `text`; `source` names it in messages.

    Raises `FeatureListError` with every problem, in the order of the text, each with its line,
    the entry it is in, and what to do.
    """
    from pydantic import ValidationError  # noqa: PLC0415 - 60 ms that only reading a list needs

    from orchestrator.features import models as feature_models  # noqa: PLC0415 - import pydantic
    from orchestrator.features import problems as feature_problems  # noqa: PLC0415 - the same

    root = _scanned(text, source)
    error = None
    try:
        if root.kind == "array":
            bare = feature_models.BARE.validate_python(plain(root, _writable))
        else:
            full = feature_models.FULL.validate_python(plain(root, _writable))
    except ValidationError as caught:
        error = caught
    problems = feature_problems.describe(root, text, error)
    if problems:
        raise FeatureListError(source, problems)
    if root.kind == "array":
        return FeatureList(features=_bare_features(bare), form="bare")
    return FeatureList(
        features=tuple(entry.value() for entry in full.features),
        project=full.project.value(),
        defaults=full.defaults.value(),
    )


def digest(feature_list: FeatureList) -> str:
    """SHA-256 (hex) of all that the list asks to be built: everything in it but `passes`, and
    how it is deployed."""
    content = asdict(feature_list)
    del content["project"]["deploy"]
    for feature in content["features"]:
        del feature["passes"]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def with_passes(text: str, passes: Mapping[str, bool]) -> str:
    """The text with the `passes` of these features (by id) set; every other character as it was.

    A feature without the key gets `"passes": true`, in the manner of the key before it, and
    nothing for False. Ids that the text does not have are ignored. Read and write the file
    with `newline=""`, else line endings change on the way. Raises `FeatureListError` when the
    text is no JSON.
    """
    edits = []
    for id_, entry in _entries(_scanned(text, "feature list")):
        if id_ in passes:
            edits += _edit(text, entry, passes=passes[id_])
    parts, at = [], 0
    for start, end, new in sorted(edits):
        parts += [text[at:start], new]
        at = end
    return "".join([*parts, text[at:]])


def _scanned(text: str, source: str) -> Node:
    if text.startswith("\ufeff"):
        what = "line 1: the text starts with a byte order mark; save it as UTF-8 without one"
        raise FeatureListError(source, (what,))
    try:
        return scan(text)
    except json.JSONDecodeError as error:
        what = f"line {error.lineno}, column {error.colno}: {error.msg}"
        raise FeatureListError(source, (what,)) from None


def _writable(word: str) -> str:
    """pydantic cannot hold half a surrogate pair; `feature_problems` reports each of them."""
    return word if encodable(word) else word.encode("utf-8", "replace").decode()


def _bare_id(category: str, index: int) -> str:
    """Two digits at least and no more than needed, so that appending entries renames none."""
    return f"{slug(category)}-{index + 1:02d}"


def _bare_features(entries: "Sequence[BareEntry]") -> tuple[Feature, ...]:
    return tuple(
        Feature(
            id=_bare_id(entry.category, index),
            description=entry.description,
            category=entry.category,
            steps=tuple(entry.steps),
            priority=index,
            passes=entry.passes,
        )
        for index, entry in enumerate(entries)
    )


def _entries(root: Node) -> Iterator[tuple[str, Node]]:
    """Id and node of every entry that has one, in either form."""
    features = root.member("features")
    items = root.items if root.kind == "array" else features.value.items if features else ()
    for index, node in enumerate(items):
        naming = node.member("category" if root.kind == "array" else "id")
        if naming is None or not isinstance(naming.value.scalar, str):
            continue
        word = naming.value.scalar
        yield _bare_id(word, index) if root.kind == "array" else word, node


def _edit(text: str, entry: Node, *, passes: bool) -> list[tuple[int, int, str]]:
    """What to replace, as (start, end, new text); nothing when it already says so."""
    member = entry.member("passes")
    if member is not None:
        old = member.value
        if old.scalar is passes:
            return []
        return [(old.start, old.end, json.dumps(passes))]
    if not passes:
        return []
    last = entry.members[-1]
    # What stands before the last key, blanks and line break, is how this file separates keys.
    alone = len(entry.members) == 1
    before = entry.start if alone else text.index(",", entry.members[-2].value.end)
    gap = text[before + 1 : last.start]
    colon = text[last.end : last.value.start]
    return [(last.value.end, last.value.end, f',{gap}"passes"{colon}true')]
