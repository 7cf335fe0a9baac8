"""The weekly look back: who succeeded at what, what failed most, what took long, what to try.

It proposes and changes nothing: a proposal is a sentence for a person, with its figures.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from orchestrator import events as e
from orchestrator.learn.failure_kinds import named
from orchestrator.learning import Pattern
from orchestrator.reporting.wording import counted, duration, markdown
from orchestrator.values import TIERS

#: Fewer attempts than this say nothing about an agent, a tier or a category.
ENOUGH = 8
_MOST_ROWS = 10


@dataclass
class Tried:
    """One attempt, gathered from its run's events. Seconds are of wall time."""

    run: str
    feature: str
    day: str = ""
    agent: str = ""
    tier: str = ""
    category: str = ""
    passed: bool | None = None  # None: it was not verified
    ending: str = ""
    agent_seconds: float = 0.0
    verify_seconds: float = 0.0
    kinds: list[str] = field(default_factory=list)
    signatures: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Row:
    """Of the attempts that were verified or ran into a limit, how many passed everything."""

    name: str
    attempts: int
    passed: int

    @property
    def rate(self) -> float:
        return self.passed / self.attempts


@dataclass(frozen=True, slots=True)
class Review:
    runs: int
    attempts: int
    tables: Mapping[str, tuple[Row, ...]]  # agent, tier, category, day -> rows
    failures: tuple[tuple[str, int], ...]  # in words, and attempts
    bottlenecks: tuple[str, ...]
    proposals: tuple[str, ...]


def gather(log: Iterable[e.Event]) -> list[Tried]:
    """The attempts of one or several runs, from their events in order."""
    found: dict[tuple[str, str, str], Tried] = {}
    categories: dict[tuple[str, str], str] = {}
    for event in log:
        feature = event.feature or ""
        if isinstance(event, e.RoundStarted):
            categories[event.run, feature] = event.category
        key = (event.run, feature, event.attempt or "")
        if isinstance(event, e.AttemptStarted):
            category = categories.get(key[:2], "")
            found[key] = Tried(
                event.run, feature, event.time[:10], event.agent, event.tier, category
            )
        elif key in found:
            _note(found[key], event)
    return list(found.values())


def _note(tried: Tried, event: e.Event) -> None:
    if isinstance(event, e.AttemptFinished):
        tried.ending, tried.agent_seconds = event.ending, event.seconds
    elif isinstance(event, e.VerificationFinished):
        tried.passed, tried.verify_seconds = event.passed, event.seconds or 0.0
    elif isinstance(event, e.FailureSigned):
        tried.kinds.append(event.kind)
        tried.signatures.append(event.signature)


def review(all_: Sequence[Tried], patterns: Mapping[str, Pattern]) -> Review:
    """`patterns` by signature, as they are now."""
    judged = [t for t in all_ if t.passed is not None or t.ending == "limit"]
    tables = {
        "agent": _rows(judged, lambda t: t.agent),
        "tier": _rows(judged, lambda t: t.tier),
        "category": _rows(judged, lambda t: t.category),
        "day": _rows(judged, lambda t: t.day),
    }
    return Review(
        runs=len({t.run for t in all_}),
        attempts=len(all_),
        tables=tables,
        failures=_failures(judged, patterns),
        bottlenecks=tuple(_bottlenecks(judged)),
        proposals=tuple(_proposals(judged, patterns)),
    )


def _rows(judged: Sequence[Tried], name: Callable[[Tried], str]) -> tuple[Row, ...]:
    attempts = Counter(name(t) for t in judged)
    passed = Counter(name(t) for t in judged if t.passed)
    return tuple(Row(n or "(none)", attempts[n], passed[n]) for n in sorted(attempts))


def _failures(
    judged: Sequence[Tried], patterns: Mapping[str, Pattern]
) -> tuple[tuple[str, int], ...]:
    hits = Counter(s for t in judged for s in t.signatures)
    kinds = {s: k for t in judged for s, k in zip(t.signatures, t.kinds, strict=True)}
    return tuple(
        (patterns[s].title if s in patterns else named(kinds[s]).title, n)
        for s, n in hits.most_common(_MOST_ROWS)
    )


def _bottlenecks(judged: Sequence[Tried]) -> Iterable[str]:
    agents = sum(t.agent_seconds for t in judged)
    checks = sum(t.verify_seconds for t in judged)
    if judged:
        yield f"agents worked for {duration(agents)}, verification took {duration(checks)}"
    by_feature = Counter[str]()
    for tried in judged:
        by_feature[tried.feature] += round(tried.agent_seconds + tried.verify_seconds)
    for feature, seconds in by_feature.most_common(3):
        tries = sum(t.feature == feature for t in judged)
        yield f"{feature}: {duration(seconds)} in {counted(tries, 'attempt')}"


def _proposals(judged: Sequence[Tried], patterns: Mapping[str, Pattern]) -> Iterable[str]:
    yield from _tiers(judged)
    limits = sum(t.ending == "limit" for t in judged)
    if len(judged) >= ENOUGH and limits > len(judged) / 5:
        yield (
            f"{limits} of {len(judged)} attempts ran into a limit: split the features that did, "
            "or raise defaults.turns or timeout_minutes"
        )
    agents, checks = (
        sum(getattr(t, n) for t in judged) for n in ("agent_seconds", "verify_seconds")
    )
    if len(judged) >= ENOUGH and checks > agents:
        yield "verification takes longer than the agents: make the project's tests faster"
    hits = Counter(s for t in judged for s in t.signatures)
    for key, n in hits.most_common():
        pattern = patterns.get(key)
        if n >= ENOUGH and pattern is not None and not pattern.usable:
            yield (
                f"{n} attempts failed by `{pattern.title}`, and its pattern is {pattern.status}: "
                "write down what helps in learned_patterns.json and set its status to trial"
            )


def _tiers(judged: Sequence[Tried]) -> Iterable[str]:
    """Where a tier hardly ever succeeds at a category, the next is worth a try."""
    for tier, higher in pairwise(TIERS):
        for row in _rows([t for t in judged if t.tier == tier], lambda t: t.category):
            if row.attempts >= ENOUGH and row.rate < 0.2:
                yield (
                    f"{row.passed} of {row.attempts} attempts on {tier} passed in category "
                    f"{row.name}: try a rule in routing.yaml that begins there with {higher}"
                )


def to_markdown(found: Review, days: float) -> str:
    """The review for people; nothing in it has been applied."""
    lines = [
        "# Review",
        "",
        f"{counted(found.attempts, 'attempt')} in {counted(found.runs, 'run')} of the last "
        f"{days:g} days. Proposals are for a person: none is applied.",
    ]
    for by, rows in found.tables.items():
        lines += ["", f"## By {by}", "", f"| {by} | attempts | passed | |", "|---|---|---|---|"]
        lines += [
            f"| {markdown(r.name)} | {r.attempts} | {r.passed} | {r.rate:.0%} |" for r in rows
        ]
    told = [f"{markdown(title)}: {counted(n, 'attempt')}" for title, n in found.failures]
    for title, texts in (
        ("Commonest failures", told),
        ("Where the time went", [markdown(t) for t in found.bottlenecks]),
        ("Proposals", [markdown(t) for t in found.proposals]),
    ):
        lines += ["", f"## {title}", "", *(f"- {text}" for text in texts or ["none"])]
    return "\n".join(lines) + "\n"
