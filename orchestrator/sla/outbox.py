"""Notices on their way: grouped into deliveries, collapsed after an outage, put into words."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from orchestrator.sla.alerts import Notice
from orchestrator.sla.values import Route, Rule

#: What one message holds; Slack cuts longer texts, and nobody reads them.
CHARS = 3500
#: What is told of one rule in one message.
STORY = 8
_MARKS = {"firing": "FIRING", "repeated": "STILL FIRING", "resolved": "resolved", "missed": "over"}


@dataclass(frozen=True, slots=True)
class Delivery:
    """Notices that go out together. `due`: not before then, so that others can join. `tries`:
    how often it was given to the route; `unsure`: one of them may have arrived."""

    route: Route
    group: str
    due: float
    notices: tuple[Notice, ...]
    tries: int = 0
    unsure: bool = False

    @property
    def key(self) -> str:
        """The same for the same notices on the same route, in this process or a later one."""
        words = "\n".join([self.route.name, *(notice.key for notice in self.notices)])
        return hashlib.sha256(words.encode("utf-8", "replace")).hexdigest()[:24]


def enqueue(
    waiting: Sequence[Delivery],
    notices: Iterable[Notice],
    rules: Mapping[str, Rule],
    group_by: Sequence[str] = (),
    group_wait: float = 0.0,
) -> tuple[Delivery, ...]:
    """What waits, with new notices: in the last delivery of their group when that one has not
    been tried yet, in a new one otherwise. The order within a route is that of the notices."""
    queue = list(waiting)
    for notice in notices:
        rule = rules[notice.rule]
        for route in rule.routes:
            group = "/".join([route.name, *(_part(rule, part) for part in group_by)])
            place = _open_place(queue, route, group, notice)
            if place is None:
                queue.append(Delivery(route, group, notice.time + group_wait, (notice,)))
            else:
                old = queue[place]
                queue[place] = replace(old, notices=(*old.notices, notice))
    return tuple(queue)


def _part(rule: Rule, part: str) -> str:
    return {"severity": rule.severity, "owner": rule.owner, "sla": ",".join(rule.slas)}[part]


def _open_place(queue: Sequence[Delivery], route: Route, group: str, notice: Notice) -> int | None:
    """The last delivery on the route, if the notice may join it; an earlier one would put the
    notice before others that came first."""
    last = next((i for i in reversed(range(len(queue))) if queue[i].route == route), None)
    if last is None:
        return None
    open_ = queue[last].tries == 0 and notice.time <= queue[last].due
    return last if open_ and queue[last].group == group else None


def collapse(waiting: Sequence[Delivery], route: Route) -> tuple[Delivery, ...]:
    """After a failure: all that waits for a route as one delivery, in order, but for those of
    which nobody knows whether they arrived; these keep their key."""
    result: list[Delivery] = []
    place: int | None = None
    for delivery in waiting:
        if delivery.route != route or delivery.unsure:
            place = None if delivery.route == route else place
            result.append(delivery)
        elif place is None:
            place = len(result)
            result.append(delivery)
        else:
            first = result[place]
            notices = _thinned((*first.notices, *delivery.notices))
            tries = max(first.tries, delivery.tries)
            result[place] = replace(first, notices=notices, tries=tries)
    return tuple(result)


def _thinned(notices: Sequence[Notice]) -> tuple[Notice, ...]:
    """The latest few of each rule: an outage of days must not fill the memory."""
    left: dict[str, int] = {}
    kept: list[Notice] = []
    for notice in reversed(notices):
        left[notice.rule] = left.get(notice.rule, STORY) - 1
        if left[notice.rule] >= 0:
            kept.append(notice)
    return tuple(reversed(kept))


def worded(delivery: Delivery) -> str:
    """The message: a line for each rule, in the order in which they first spoke; what one rule
    said after another stands behind its last word. Times are UTC."""
    by_rule: dict[str, list[Notice]] = {}
    for notice in delivery.notices:
        by_rule.setdefault(notice.rule, []).append(notice)
    lines = [_line(notices) for notices in by_rule.values()]
    text = "\n".join(lines)
    if len(text) <= CHARS:
        return text
    kept = _fitting(lines)
    return "\n".join([*lines[:kept], f"... and {len(lines) - kept} more; see the status page"])


def _fitting(lines: Sequence[str]) -> int:
    room = CHARS - 60  # for the line that counts the rest
    for count, line in enumerate(lines):
        room -= len(line) + 1
        if room < 0:
            return count
    return len(lines)


def _line(notices: Sequence[Notice]) -> str:
    last = notices[-1]
    head = f"[{last.severity}] {_MARKS[last.kind]}: {last.text[:600]} (since {_clock(last.since)})"
    if len(notices) == 1:
        return head
    story = ", ".join(f"{_MARKS[n.kind].lower()} {_clock(n.time)}" for n in notices[-STORY:])
    return f"{head}; {len(notices)} notices: {story}"


def _clock(time: float) -> str:
    return datetime.fromtimestamp(time, UTC).strftime("%H:%M:%S")
