"""Everything that is wrong with data_layer_slas.yaml, as lines: where, what, and what to do."""

import math
import string
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from orchestrator.features.rules import bounded, shown
from orchestrator.json_lines import Lines, Node, find, walk
from orchestrator.problems import Problem, nearest, told
from orchestrator.sla import conditions, models
from orchestrator.sla import fields as slas_fields
from orchestrator.sla import probes as slas_probes

#: What a message may name: all but `sla` and `threshold` are the measured value, in the
#: roadmap's words.
VALUE_WORDS = ("value", "delay", "age", "interval", "latency", "time")
MESSAGE_WORDS = (*VALUE_WORDS, "sla", "threshold", "severity")

Path = tuple[int | str, ...]


def describe(root: Node, text: str, error: ValidationError | None) -> tuple[str, ...]:
    """Finished lines for all problems in the order of the text; empty when there are none."""
    found = [*_of_keys(root), *_of_shape(root, error)]
    taken = {p.at for p in found}
    found += [p for p in _of_meaning(root) if p.at not in taken]
    return told(found, Lines(text))


# --------------------------------------------------------------------- single values


def _of_keys(root: Node) -> Iterator[Problem]:
    for node in walk(root):
        seen = set()
        for member in node.members:
            if member.key in seen:
                key = shown(member.key)
                yield Problem(member.start, "", f"the key {key} is written twice; keep one")
            seen.add(member.key)


def _of_shape(root: Node, error: ValidationError | None) -> Iterator[Problem]:
    for detail in error.errors(include_url=False) if error else ():
        yield _of_detail(root, detail)


def _of_detail(root: Node, detail: ErrorDetails) -> Problem:
    kind, place = detail["type"], detail["loc"]
    path, model, wanted = _walked(root, place)
    where = _label(path)
    if kind == "missing":
        what = f"the key {path[-1]} is missing; it must be {wanted}"
        return Problem(_offset(root, path[:-1]), _label(path[:-1]), what)
    if kind == "extra_forbidden":
        names = [f.alias or n for n, f in model.model_fields.items()] if model else []
        hint = nearest(str(path[-1]), names, f"remove it; the keys here are {', '.join(names)}")
        what = f"unknown key {shown(path[-1])}; {hint}"
        return Problem(_offset(root, path), _label(path[:-1]), what)
    if kind == "value_error":
        what = str(detail.get("ctx", {}).get("error", detail["msg"]))
    elif kind in {"union_tag_invalid", "union_tag_not_found"} and "probe" in path:
        what = _probe_type(detail["input"])
    else:
        what = f"{_brief(detail['input'])} is not right; it must be {wanted}"
    return Problem(_offset(root, path), where, what)


def _probe_type(value: object) -> str:
    known = list(slas_probes.PROBE_TYPES)
    given = value.get("type") if isinstance(value, dict) else None
    otherwise = f"write one of {', '.join(known)}"
    if not isinstance(given, str):
        return f"the probe has no type; {otherwise}"
    return f"no probe is called {shown(given)}; {nearest(given, known, otherwise)}"


def _walked(root: Node, place: Path) -> tuple[Path, type[BaseModel] | None, str]:
    """The path in the file, the model that holds its last key, and what that key must be."""
    path: list[int | str] = []
    model: type[BaseModel] | None = models.FileForm
    holder, wanted = model, "an object with the key slas"
    for step in place:
        at = find(root, path)
        real = isinstance(step, int) or (at is not None and at.member(step) is not None)
        if not real and step in models.TAGS:
            model = models.TAGS[str(step)] or model
            continue
        path.append(step)
        field = _field(model, step)
        holder = model or holder
        if field is not None:
            wanted = field.description or wanted
            model = _model_in(field.annotation)
    return tuple(path), holder, wanted


def _field(model: type[BaseModel] | None, step: int | str) -> Any:
    for name, field in model.model_fields.items() if model else ():
        if step in {name, field.alias}:
            return field
    return None


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    found = (_model_in(part) for part in get_args(annotation))
    return next((model for model in found if model is not None), None)


def _offset(root: Node, path: Path) -> int:
    """Where the key stands, or the value, or what it is missing from."""
    for end in range(len(path), -1, -1):
        parent = find(root, path[: end - 1]) if end else None
        member = parent.member(str(path[end - 1])) if parent and end else None
        node = member or find(root, path[:end])
        if node is not None:
            return node.start
    return root.start


def _label(path: Path) -> str:
    words = (f"[{s}]" if isinstance(s, int) else "." + bounded(s, 66) for s in path)
    return "".join(words).lstrip(".")


def _brief(value: object) -> str:
    if isinstance(value, list):
        return "a list" if value else "an empty list"
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, str):
        return shown(value) if value else "an empty text"
    return "nothing" if value is None else bounded(str(value).lower())


# --------------------------------------------------------------- what only the whole file shows


def _of_meaning(root: Node) -> Iterator[Problem]:
    slas = _members(root, "slas")
    metrics = _members(root, "metrics")
    for name, node in metrics.items():
        if isinstance(node.scalar, str) and node.scalar not in slas:
            hint = nearest(node.scalar, list(slas), f"the SLAs are {', '.join(list(slas)[:20])}")
            what = f"no SLA is called {shown(node.scalar)}; {hint}"
            yield Problem(node.start, f"metrics.{name}", what)
        if name in slas:
            what = "is the name of an SLA already; call the metric something else"
            yield Problem(node.start, f"metrics.{name}", what)
    for index, alert in enumerate(_items(root, "alerts")):
        yield from _of_alert(alert, f"alerts[{index}]", (*metrics, *slas))
    for name, node in slas.items():
        yield from _of_sla(name, node, slas, root)
    yield from _of_routes(root)
    yield from _of_circles(slas)


def _of_alert(alert: Node, where: str, known: Sequence[str]) -> Iterator[Problem]:
    condition = find(alert, ("condition",))
    if condition is not None and isinstance(condition.scalar, str):
        try:
            for name in conditions.check(condition.scalar, known):
                if name not in known:
                    hint = nearest(name, known, f"known are {', '.join(known[:20])}")
                    what = f"nothing is called {shown(name)}; {hint}"
                    yield Problem(condition.start, f"{where}.condition", what)
        except ValueError as error:
            yield Problem(condition.start, f"{where}.condition", str(error))
    message = find(alert, ("message",))
    if message is not None and isinstance(message.scalar, str):
        what = _of_message(message.scalar)
        if what:
            yield Problem(message.start, f"{where}.message", what)


def _of_message(text: str) -> str:
    try:
        fields = [part for part in string.Formatter().parse(text) if part[1] is not None]
    except ValueError:
        return "has a brace that is not closed; write {{ and }} for braces themselves"
    for _, name, layout, conversion in fields:
        if name not in MESSAGE_WORDS or layout or conversion:
            return f"{{{name}}} cannot be filled in; write one of " + ", ".join(
                f"{{{word}}}" for word in MESSAGE_WORDS
            )
    return ""


def _of_sla(name: str, node: Node, slas: Mapping[str, Node], root: Node) -> Iterator[Problem]:
    for need in _items(node, "depends_on"):
        if isinstance(need.scalar, str) and need.scalar not in slas:
            hint = nearest(need.scalar, list(slas), "remove it")
            what = f"no SLA is called {shown(need.scalar)}; {hint}"
            yield Problem(need.start, f"slas.{name}.depends_on", what)
    yield from _of_thresholds(name, node)
    yield from _of_probe(name, node)
    window, retention = node.member("window"), find(root, ("monitoring", "retention_days"))
    days = retention.scalar if retention is not None else 30.0
    seconds = _seconds(window.value.scalar) if window is not None else None
    if window and seconds and isinstance(days, int | float) and seconds > days * 86_400:
        what = f"samples are kept for {days:g} days only; raise monitoring.retention_days"
        yield Problem(window.start, f"slas.{name}.window", what)


def _of_thresholds(name: str, node: Node) -> Iterator[Problem]:
    warn, error = _number(node, "warn"), _number(node, "error")
    breach, at = node.member("breach"), node.member("warn")
    below = breach is not None and breach.value.scalar == "below"
    if warn is None or error is None or at is None:
        return
    if warn < error if below else warn > error:
        what = "somebody would be warned after the promise is broken; swap warn and error"
        yield Problem(at.start, f"slas.{name}.warn", what)


def _of_probe(name: str, node: Node) -> Iterator[Problem]:
    gates, measure = node.member("gates"), find(node, ("probe", "measure"))
    if gates is not None and node.member("probe") is None:
        what = "nothing measures it, so it would hold work up for ever; add a probe"
        yield Problem(gates.start, f"slas.{name}.gates", what)
    deep = measure is not None and measure.scalar in {"value", "age"}
    if measure is not None and deep and find(node, ("probe", "json_path")) is None:
        what = f"to measure {measure.scalar}, json_path must say where it stands"
        yield Problem(measure.start, f"slas.{name}.probe", what)


def _seconds(value: object) -> float | None:
    try:
        seconds = slas_fields.duration(value)
    except ValueError:
        return None
    return float(seconds) if isinstance(seconds, int | float) else None


def _number(node: Node, key: str) -> float | None:
    member = node.member(key)
    seconds = _seconds(member.value.scalar) if member is not None else None
    return seconds if seconds is not None and math.isfinite(seconds) else None


def _of_routes(root: Node) -> Iterator[Problem]:
    configured = _members(root, "notify")
    used = [node for alert in _items(root, "alerts") for node in _actions(alert, "action")]
    notify = find(root, ("notify",))
    used += _actions(notify, "default") if notify is not None else []
    for node in used:
        if node.scalar in {"command", "email"} and node.scalar not in configured:
            what = f"nothing says how; add notify.{node.scalar}"
            yield Problem(node.start, "", f"{shown(node.scalar)}: {what}")
    yield from _without_channel(root)


def _without_channel(root: Node) -> Iterator[Problem]:
    if find(root, ("notify", "slack", "channel")) is not None:
        return
    for index, alert in enumerate(_items(root, "alerts")):
        slack = [n for n in _actions(alert, "action") if n.scalar == "slack"]
        if slack and alert.member("channel") is None:
            what = "a bot must know where to write; add channel, or notify.slack.channel"
            yield Problem(slack[0].start, f"alerts[{index}]", what)


def _actions(node: Node, key: str) -> list[Node]:
    member = node.member(key)
    if member is None:
        return []
    return list(member.value.items) or [member.value]


def _of_circles(slas: Mapping[str, Node]) -> Iterator[Problem]:
    """SLAs that silence each other would never be announced at all."""
    needs = {
        name: [str(n.scalar) for n in _items(node, "depends_on")] for name, node in slas.items()
    }
    for name, node in slas.items():
        seen: set[str] = set()
        open_ = list(needs[name])
        while open_:
            need = open_.pop()
            if need == name:
                what = "depends on itself, if over others; remove one of the dependencies"
                yield Problem(node.start, f"slas.{name}.depends_on", what)
                break
            if need not in seen:
                seen.add(need)
                open_ += needs.get(need, [])


def _members(root: Node, key: str) -> dict[str, Node]:
    member = root.member(key)
    return {m.key: m.value for m in member.value.members} if member else {}


def _items(node: Node, key: str) -> tuple[Node, ...]:
    member = node.member(key)
    return member.value.items if member else ()
