"""The weekly look back: counts by agent, tier, category and day, and what it proposes."""

from dataclasses import replace

from orchestrator import events as e
from orchestrator.learn.review import ENOUGH, Row, Tried, gather, review, to_markdown
from orchestrator.learn.signatures import Signature
from orchestrator.learning import by_rules

SLOW = by_rules(Signature("timeout", "TimeoutError", "net:get", "timed out"))


def tried(passed: bool | None = False, **more) -> Tried:
    base = Tried(
        "run", "f", "2026-01-01", "builtin", "haiku", "probes", passed, "submitted", 60, 10
    )
    return replace(base, **more)


def log(name: str, *, passed: bool, tier: str = "haiku") -> list[e.Event]:
    at = {"feature": "f", "attempt": name, "run": "run", "time": "2026-01-02T03:04:05+00:00"}
    return [
        e.AttemptStarted(model="m", agent="builtin", tier=tier, **at),
        e.AttemptFinished(
            ending="submitted", reason="", turns=1, seconds=9, cost_usd=0, patch=True, **at
        ),
        e.VerificationFinished(
            usable=True,
            passed=passed,
            checks_passed=0,
            checks=1,
            coverage=None,
            quality=None,
            seconds=4,
            **at,
        ),
        *([] if passed else [e.FailureSigned(signature=SLOW.id, kind="timeout", **at)]),
    ]


def test_attempts_are_gathered_from_events():
    opened = e.RoundStarted(
        feature="f", round=1, attempts=2, commit="c", category="probes", run="run"
    )
    good, bad = gather([opened, *log("r1-a01", passed=True), *log("r1-a02", passed=False)])
    assert good == Tried(
        "run", "f", "2026-01-02", "builtin", "haiku", "probes", True, "submitted", 9, 4
    )
    assert (bad.passed, bad.kinds, bad.signatures) == (False, ["timeout"], [SLOW.id])


def test_success_is_counted_by_agent_tier_category_and_day():
    found = review([tried(True), tried(), tried(True, tier="opus"), tried(None)], {})
    assert found.tables["tier"] == (Row("haiku", 2, 1), Row("opus", 1, 1))
    assert found.tables["agent"] == (Row("builtin", 3, 2),)
    assert found.tables["category"] == (Row("probes", 3, 2),)
    assert found.attempts == 4  # one of them was never judged


def test_failures_are_named_by_their_pattern_or_their_kind():
    seen = [tried(signatures=[SLOW.id], kinds=["timeout"]) for _ in range(3)]
    other = tried(signatures=["v1-x"], kinds=["assertion"])
    found = review([*seen, other], {SLOW.id: SLOW})
    assert found.failures == (
        (SLOW.title, 3),
        ("gives another result than the test expects", 1),
    )


def test_it_proposes_with_figures_and_only_from_enough():
    few = [tried() for _ in range(ENOUGH - 1)]
    assert review(few, {}).proposals == ()
    (tier,) = review([*few, tried()], {}).proposals
    assert tier.startswith("0 of 8 attempts on haiku passed in category probes")
    assert "begins there with sonnet" in tier
    assert review([tried(tier="opus") for _ in range(ENOUGH)], {}).proposals == ()


def test_it_proposes_about_limits_slow_checks_and_patterns_that_did_not_help():
    old = replace(SLOW, status="retired")
    seen = [
        tried(
            tier="opus",
            ending="limit",
            verify_seconds=90,
            signatures=[SLOW.id],
            kinds=["timeout"],
        )
        for _ in range(ENOUGH)
    ]
    limits, slow, pattern = review(seen, {SLOW.id: old}).proposals
    assert limits.startswith("8 of 8 attempts ran into a limit")
    assert slow.startswith("verification takes longer")
    assert "its pattern is retired" in pattern


def test_what_programs_printed_is_no_markup():
    hostile = replace(SLOW, title="x | y\n# z <script>")
    seen = tried(category="a|b", signatures=[SLOW.id], kinds=["timeout"])
    text = to_markdown(review([seen], {SLOW.id: hostile}), 7)
    assert "\n# z" not in text
    assert "<script>" not in text.replace("\\<script", "")
    assert "a\\|b" in text
    assert "none is applied" in text
