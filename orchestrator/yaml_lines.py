"""Reads YAML into the tree of `json_lines`, where every value knows its place in the text.

What makes one text mean different things to different readers is refused: anchors, merge keys,
tags, more than one document, keys that are not words.
"""

from dataclasses import dataclass

import yaml

from orchestrator.json_lines import DEPTH_LIMIT, Member, Node

_PLAIN = yaml.constructor.SafeConstructor()
_SCALARS = {f"tag:yaml.org,2002:{kind}" for kind in ("str", "int", "float", "bool", "null")}
#: Read as the words that stand there: YAML would make a date of 2026-11-21.
_AS_TEXT = {f"tag:yaml.org,2002:{kind}" for kind in ("timestamp", "value", "binary")}


@dataclass(frozen=True)
class YamlLineError(Exception):
    """The text cannot be read at offset `at`; `what` ends in the remedy."""

    at: int
    what: str


def scan(text: str) -> Node:
    """The tree of one YAML document. Raises `YamlLineError`."""
    try:
        _refuse_references(text)
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        what = " ".join(str(error.problem or error.context or error).split())
        raise YamlLineError(mark.index if mark else 0, f"{what}; mend the YAML there") from None
    except yaml.reader.ReaderError as error:
        at = error.position if isinstance(error.position, int) else 0
        raise YamlLineError(at, "a character that YAML forbids; remove it") from None
    except RecursionError:
        raise YamlLineError(0, f"nested deeper than {DEPTH_LIMIT} levels; flatten it") from None
    if root is None:
        raise YamlLineError(0, "there is nothing in it; write the key slas and what is promised")
    return _node(root, 1)


def _refuse_references(text: str) -> None:
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        if getattr(event, "anchor", None):
            raise YamlLineError(
                event.start_mark.index if event.start_mark else 0,
                "anchors and aliases (& and *) are not read here; write the value out, and put "
                "text that begins with one of these in quotes",
            )


def _node(node: yaml.Node, depth: int) -> Node:
    start, end = node.start_mark.index, node.end_mark.index
    if depth > DEPTH_LIMIT:
        raise YamlLineError(start, f"nested deeper than {DEPTH_LIMIT} levels; flatten it")
    if isinstance(node, yaml.SequenceNode):
        items = tuple(_node(item, depth + 1) for item in node.value)
        return Node("array", start, end, items=items)
    if isinstance(node, yaml.MappingNode):
        members = tuple(_member(key, value, depth) for key, value in node.value)
        return Node("object", start, end, members=members)
    return Node("scalar", start, end, scalar=_scalar(node))


def _member(key: yaml.Node, value: yaml.Node, depth: int) -> Member:
    if not isinstance(key, yaml.ScalarNode) or key.tag == "tag:yaml.org,2002:merge":
        raise YamlLineError(
            key.start_mark.index, "a key must be a plain word; merge keys are not read"
        )
    return Member(key.value, key.start_mark.index, key.end_mark.index, _node(value, depth + 1))


def _scalar(node: yaml.Node) -> str | int | float | bool | None:
    if node.tag in _AS_TEXT:
        return str(node.value)
    if node.tag not in _SCALARS:
        raise YamlLineError(
            node.start_mark.index, f"the tag {node.tag[:60]} is not read here; remove it"
        )
    try:
        value: str | int | float | bool | None = _PLAIN.construct_object(node)
    except (yaml.constructor.ConstructorError, ValueError):
        raise YamlLineError(
            node.start_mark.index, "a number that cannot be read; put it in quotes or shorten it"
        ) from None
    return value
