"""Decides what is announced when: a state machine over observations, with no clock of its own.

A rule is healthy, violated, unknown or in maintenance when it is looked at. From that, and from
what it remembers, it says: firing, repeated, resolved, or missed (a violation that began and
ended while its rule was cooling down; it is told afterwards, once, so that none is lost).

    healthy --violated for `pending`--> firing --every `repeat`--> repeated
       ^                                   |
       +-------------- healthy ------------+  resolved

Silent: within `cooldown` of the last announcement, while a rule it depends on is violated, and
in maintenance, which also forgets a violation that was not announced yet. Unknown changes
nothing: missing data has a rule of its own.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from orchestrator.sla.values import Rule, Severity

Verdict = Literal["healthy", "violated", "unknown", "maintenance"]
Kind = Literal["firing", "repeated", "resolved", "missed"]


@dataclass(frozen=True, slots=True)
class Observation:
    """A rule as it was seen. `value` is the first value behind it, `text` what a person reads."""

    rule: str
    verdict: Verdict
    value: float | None = None
    text: str = ""


@dataclass(frozen=True, slots=True)
class Memory:
    """What is remembered of a rule; times are seconds since the epoch.

    `since`: when the present violation began. `matured`: it has lasted for `pending`.
    `announced`: when it was first announced. `deferred`: it matured, but its rule was cooling
    down. `missed` of these were over before they could be told, the first from `missed_from`
    on. `away`: in maintenance when last seen, which silences what depends on it.
    """

    since: float | None = None
    matured: bool = False
    announced: float | None = None
    deferred: bool = False
    missed: int = 0
    missed_from: float = 0.0
    away: bool = False


IDLE = Memory()


@dataclass(frozen=True, slots=True)
class Book:
    """All that must outlive a restart: memory by rule, last announcements by cooldown key."""

    rules: Mapping[str, Memory] = field(default_factory=dict)
    sent: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Notice:
    """One thing to announce. `key` is the same whenever it is about the same occurrence.
    `missed`: how many violations before it are told with it, because they could not be told."""

    key: str
    kind: Kind
    rule: str
    severity: Severity
    time: float
    since: float
    value: float | None = None
    text: str = ""
    missed: int = 0


def step(
    book: Book, rules: Mapping[str, Rule], seen: Iterable[Observation], now: float
) -> tuple[Book, tuple[Notice, ...]]:
    """Take observations made at `now` in; what is to be announced, silencing rules first."""
    observed = [o for o in seen if o.rule in rules]
    writing = _Writing(book, now)
    for observation in observed:
        writing.began(rules[observation.rule], observation)
    # Those that silence others must be known to be violated, or over, before the others speak.
    for observation in sorted(observed, key=lambda o: o.verdict == "violated"):
        writing.decide(rules[observation.rule], observation)
    return writing.book, tuple(writing.notices)


def forget(book: Book, keep: Iterable[str]) -> Book:
    """The book without rules that the file no longer has."""
    kept = set(keep)
    return replace(book, rules={key: m for key, m in book.rules.items() if key in kept})


class _Writing:
    """One step on copies of the book's tables."""

    def __init__(self, book: Book, now: float) -> None:
        self._rules = dict(book.rules)
        self._sent = dict(book.sent)
        self._now = now
        self.notices: list[Notice] = []

    @property
    def book(self) -> Book:
        return Book({k: m for k, m in self._rules.items() if m != IDLE}, self._sent)

    def began(self, rule: Rule, observation: Observation) -> None:
        memory = self._rules.get(rule.key, IDLE)
        if observation.verdict != "unknown":
            memory = replace(memory, away=observation.verdict == "maintenance")
        if observation.verdict == "violated":
            since = memory.since if memory.since is not None else self._now
            memory = replace(memory, since=since, matured=self._now - since >= rule.pending)
        self._rules[rule.key] = memory

    def decide(self, rule: Rule, observation: Observation) -> None:
        memory = self._rules[rule.key]
        if observation.verdict == "violated" and memory.matured:
            self._rules[rule.key] = self._violated(rule, memory, observation)
        elif observation.verdict == "healthy":
            self._rules[rule.key] = self._healthy(rule, memory, observation)
        elif observation.verdict == "maintenance" and memory.announced is None:
            self._rules[rule.key] = self._over(memory)

    def _violated(self, rule: Rule, memory: Memory, observation: Observation) -> Memory:
        if self._is_silenced(rule):
            return memory
        if memory.announced is not None:
            if self._now - self._last(rule) >= rule.repeat:
                self._say("repeated", rule, memory, observation)
            return memory
        if self._is_cooling(rule):
            return replace(memory, deferred=True)
        self._say("firing", rule, memory, observation)
        return replace(memory, announced=self._now, deferred=False, missed=0, missed_from=0.0)

    def _healthy(self, rule: Rule, memory: Memory, observation: Observation) -> Memory:
        if memory.announced is not None:
            self._say("resolved", rule, memory, observation)
            return IDLE
        memory = self._over(memory)
        if memory.missed and not self._is_cooling(rule) and not self._is_silenced(rule):
            self._say("missed", rule, memory, observation)
            return IDLE
        return memory

    def _over(self, memory: Memory) -> Memory:
        """The violation has ended, or is put off: what was not told is kept for later."""
        ended = replace(memory, since=None, matured=False, deferred=False)
        if not memory.deferred or memory.since is None:
            return ended
        first = memory.missed_from if memory.missed else memory.since
        return replace(ended, missed=memory.missed + 1, missed_from=first)

    def _last(self, rule: Rule) -> float:
        return self._sent.get(rule.cooldown_key, float("-inf"))

    def _is_cooling(self, rule: Rule) -> bool:
        return self._now - self._last(rule) < rule.cooldown

    def _is_silenced(self, rule: Rule) -> bool:
        over = (self._rules.get(key, IDLE) for key in rule.inhibited_by)
        return any(memory.since is not None or memory.away for memory in over)

    def _say(self, kind: Kind, rule: Rule, memory: Memory, observation: Observation) -> None:
        if kind != "resolved":
            self._sent[rule.cooldown_key] = self._now
        began = memory.missed_from if kind == "missed" else memory.since
        since = self._now if began is None else began
        when = f"@{self._now:.3f}" if kind == "repeated" else ""
        if rule.routes:
            self.notices.append(
                Notice(
                    key=f"{rule.key}@{since:.3f}/{kind}{when}",
                    kind=kind,
                    rule=rule.key,
                    severity=rule.severity,
                    time=self._now,
                    since=since,
                    value=observation.value,
                    text=_text(kind, memory, observation),
                    missed=memory.missed,
                )
            )


def _text(kind: Kind, memory: Memory, observation: Observation) -> str:
    if kind == "resolved" or not memory.missed:
        return observation.text
    times = "once" if memory.missed == 1 else f"{memory.missed} times"
    if kind == "missed":
        return f"{observation.text} (violated {times} while it was cooling down; over now)"
    return f"{observation.text} (and {times} before, while it was cooling down)"
