"""A run's events, written out: one feature merged, one failed, one blocked, one in review."""

from orchestrator import events as e
from orchestrator.values import Usage


def stamp(seconds: int) -> str:
    return f"2026-11-21T08:{42 + seconds // 60:02d}:{seconds % 60:02d}.000Z"


def timed(script, start: int = 0):
    """The events with a time each, one second apart, and the run's name."""
    from dataclasses import replace

    return [replace(x, time=stamp(start + i), run="run-1") for i, x in enumerate(script)]


def run_started(**more) -> e.RunStarted:
    facts = {
        "repo": "/srv/demo repo",
        "branch": "autopilot",
        "base": "main",
        "features": {
            "old": {"depends_on": [], "attempts": 3},
            "disk": {"depends_on": ["old"], "attempts": 3},
            "load": {"depends_on": ["disk"], "attempts": 3},
            "api": {"depends_on": ["load"], "attempts": 3},
            "look": {"depends_on": [], "attempts": 3},
            "later": {"depends_on": ["disk"], "attempts": 3},
        },
        "integrated": ("old",),
        "model": "scripted",
        "budget_usd": 5.0,
    }
    return e.RunStarted(**{**facts, **more})


def attempt(feature, name, *, cost=0.25, patch=True, ending="submitted", reason="", usage=True):
    who = {"feature": feature, "attempt": name}
    return [
        e.AttemptStarted(**who, model="demo-1", agent="builtin", source="scripted"),
        e.ModelCalled(
            **who, turn=1, model="demo-1", usage=Usage(100, 50) if usage else None, cost_usd=cost
        ),
        e.AttemptFinished(
            **who, ending=ending, reason=reason, turns=1, seconds=2.0, cost_usd=cost, patch=patch
        ),
    ]


def verified(feature, name, passed, checks=5, *, usable=True, problems=()):
    return [
        e.VerificationStarted(feature=feature, attempt=name),
        e.VerificationFinished(
            feature=feature,
            attempt=name,
            usable=usable,
            passed=bool(checks) and usable and passed == checks,
            checks_passed=passed,
            checks=checks,
            coverage=0.875,
            quality=None,
            seconds=0.5,
            problems=problems,
        ),
    ]


def selected(feature, name, *, review=False, reasons=("5/5 acceptance", "cheapest")):
    return e.AttemptSelected(
        feature=feature,
        attempt=name,
        round=1,
        score=0.9,
        consensus=None,
        confidence=None,
        needs_review=review,
        reasons=reasons,
    )


def started(feature):
    return [
        e.FeatureStarted(feature=feature),
        e.RoundStarted(feature=feature, round=1, attempts=3, commit="abc"),
    ]


def merged(feature, name):
    who = {"feature": feature, "attempt": name}
    return [
        e.MergeStarted(**who, onto="abc"),
        e.MergeFinished(**who, commit="deadbeefcafe0123"),
        e.FeatureMerged(**who, commit="deadbeefcafe0123"),
    ]


EVIL = "\x1b[31mred\x1b[0m | [link](x) <b>\n# title `code` [bold]x[/bold] \u202e\x07\ud800end"


def whole_run():
    """disk merged, load failed, api blocked, look in review, later never started."""
    return timed(
        [
            run_started(),
            e.BasePrepared(commit="abcdef0123456789", seconds=1.0),
            e.WarningGiven(message="unsafe " + EVIL),
            *started("disk"),
            *attempt("disk", "r1-a01"),
            *attempt("disk", "r1-a02"),
            *attempt("disk", "r1-a03", patch=False, ending="limit", reason="60 turns used up"),
            *verified("disk", "r1-a01", 5),
            *verified("disk", "r1-a02", 3, problems=("test_usage: " + EVIL,)),
            selected("disk", "r1-a01"),
            *merged("disk", "r1-a01"),
            *started("load"),
            *attempt("load", "r1-a01"),
            *verified("load", "r1-a01", 0, usable=False, problems=("does not import",)),
            selected("load", None, reasons=("no attempt passed",)),
            e.FeatureFailed(feature="load", reason="no attempt passed in 1 round"),
            e.FeatureBlocked(feature="api", on="load"),
            *started("look"),
            *attempt("look", "r1-a01"),
            *attempt("look", "r1-a02"),
            *verified("look", "r1-a01", 0, 0, usable=False),
            *verified("look", "r1-a02", 0, 0),
            selected("look", None, review=True, reasons=("no trusted check",)),
            e.ReviewRequested(feature="look", reasons=("no trusted check",)),
        ]
    )
