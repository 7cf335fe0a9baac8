"""The state is a fold of events; what cannot happen changes nothing and is written down."""

from dataclasses import replace
from itertools import permutations
from typing import get_args

import pytest

from orchestrator import events as e
from orchestrator.runs.changes import ATTEMPT_CHANGES, FEATURE_CHANGES, RUN_CHANGES
from orchestrator.runs.state import (
    OVER,
    AttemptState,
    FeatureState,
    Fold,
    RunState,
    apply,
    critical_path_left,
    fold,
    seconds_left,
)
from orchestrator.runs.transitions import (
    ATTEMPT_MOVES,
    FEATURE_MOVES,
    NEW,
    AttemptPhase,
    FeaturePhase,
)
from tests.orchestrator.run_script import (
    attempt,
    merged,
    run_started,
    started,
    timed,
    verified,
    whole_run,
)

WHO = {"feature": "f", "attempt": "r1-a01"}

FEATURE_EVENTS = {
    "FeatureStarted": e.FeatureStarted(feature="f"),
    "RoundStarted": e.RoundStarted(feature="f", round=1, attempts=3, commit="c"),
    "WaveStarted": e.WaveStarted(feature="f", round=1, started=0, attempts=3, why="first"),
    "RoundDecided": e.RoundDecided(feature="f", round=1, started=3, spared=4, why="3 passed"),
    "AttemptSelected": e.AttemptSelected(
        **WHO,
        round=1,
        score=1.0,
        consensus=None,
        confidence=None,
        needs_review=False,
        reasons=("best",),
    ),
    "ReviewRequested": e.ReviewRequested(feature="f", reasons=("look",)),
    "ReviewResolved": e.ReviewResolved(**WHO, by="ada"),
    "MergeStarted": e.MergeStarted(**WHO, onto="c"),
    "MergeFinished": e.MergeFinished(**WHO, commit="d"),
    "MergeRejected": e.MergeRejected(**WHO, onto="c", reason="conflict"),
    "FeatureMerged": e.FeatureMerged(**WHO, commit="d"),
    "FeatureFailed": e.FeatureFailed(feature="f", reason="hopeless"),
    "FeatureBlocked": e.FeatureBlocked(feature="f", on="g"),
}

# Written out by hand, not read from the table: what each event may follow, and what it makes.
FEATURE_EXPECTED = {
    "FeatureStarted": ("waiting blocked", "running"),
    "RoundStarted": ("running", "running"),
    "WaveStarted": ("running", "running"),
    "RoundDecided": ("running", "running"),
    "AttemptSelected": ("running", "running"),
    "ReviewRequested": ("waiting running", "review"),
    "ReviewResolved": ("review failed", "running"),
    "MergeStarted": ("running merging", "merging"),
    "MergeRejected": ("merging", "running"),
    "FeatureMerged": (
        "waiting running merging merged failed blocked review skipped",
        "merged",
    ),
    "FeatureFailed": ("waiting running merging review", "failed"),
    "FeatureBlocked": ("waiting blocked", "blocked"),
}


def finished(ending, patch):
    return e.AttemptFinished(
        **WHO, ending=ending, reason="", turns=1, seconds=1.0, cost_usd=0.0, patch=patch
    )


def judged(passed, checks, usable=True):
    return verified("f", "r1-a01", passed, checks, usable=usable)[1]


ATTEMPT_EXPECTED = [
    (attempt("f", "r1-a01")[0], {NEW: "running"}),
    (e.AttemptResumed(**WHO, turns=2), {"running": "running", "cancelled": "cancelled"}),
    (finished("submitted", True), {"running": "verifying", "cancelled": "cancelled"}),
    (finished("limit", True), {"running": "verifying", "cancelled": "cancelled"}),
    (finished("error", False), {"running": "failed", "cancelled": "cancelled"}),
    (finished("cancelled", True), {"running": "cancelled", "cancelled": "cancelled"}),
    (
        e.VerificationStarted(**WHO),
        {"verifying": "verifying", "failed": "verifying", "cancelled": "cancelled"},
    ),
    (judged(5, 5), {"verifying": "passed", "cancelled": "passed"}),
    (judged(0, 0), {"verifying": "unjudged", "cancelled": "unjudged"}),
    (judged(3, 5), {"verifying": "rejected", "cancelled": "rejected", "failed": "rejected"}),
    (
        judged(0, 0, usable=False),
        {"verifying": "rejected", "cancelled": "rejected", "failed": "rejected"},
    ),
    (
        e.AttemptCancelled(**WHO, reason="r1-a02 won"),
        {
            NEW: "cancelled",
            "running": "cancelled",
            "verifying": "cancelled",
            "cancelled": "cancelled",
            "passed": "passed",
            "unjudged": "unjudged",
            "rejected": "rejected",
            "failed": "failed",
        },
    ),
    (attempt("f", "r1-a01")[1], {s: s for s in get_args(AttemptPhase)}),
    (e.CallLost(**WHO, entry=1, reserved_usd=0.1), {s: s for s in get_args(AttemptPhase)}),
    (e.ModelRetried(**WHO, error="429", wait=1.0), {s: s for s in get_args(AttemptPhase)}),
]


@pytest.mark.parametrize("state", get_args(FeaturePhase))
@pytest.mark.parametrize("kind", sorted(FEATURE_EXPECTED))
def test_every_pair_of_feature_state_and_event(state, kind):
    before = RunState(features={"f": FeatureState("f", state=state)})
    after = apply(before, FEATURE_EVENTS[kind])
    allowed, target = FEATURE_EXPECTED[kind]
    if state in allowed.split():
        assert after.features["f"].state == target
        assert after.anomalies == ()
    else:
        assert after.features == before.features
        (anomaly,) = after.anomalies
        assert kind in anomaly
        assert state in anomaly


@pytest.mark.parametrize("state", [NEW, *get_args(AttemptPhase)])
@pytest.mark.parametrize(("event", "moves"), ATTEMPT_EXPECTED)
def test_every_pair_of_attempt_state_and_event(state, event, moves):
    known = {} if state == NEW else {"r1-a01": AttemptState("r1-a01", state=state)}
    before = RunState(features={"f": FeatureState("f", state="running", attempts=known)})
    after = apply(before, event)
    if state in moves:
        assert after.features["f"].attempts["r1-a01"].state == moves[state]
        assert after.anomalies == ()
    else:
        assert after.features == before.features
        assert len(after.anomalies) == 1


def test_merge_finished_moves_nothing_but_names_the_commit():
    for state in get_args(FeaturePhase):
        before = RunState(features={"f": FeatureState("f", state=state)})
        after = apply(before, FEATURE_EVENTS["MergeFinished"])
        allowed = state in {"merging", "merged"}
        assert after.features["f"].state == state
        assert (after.features["f"].commit == "d") is allowed
        assert bool(after.anomalies) is not allowed


def test_every_event_type_is_handled_somewhere():
    handled = {cls.__name__ for cls in RUN_CHANGES} | set(FEATURE_MOVES) | set(ATTEMPT_MOVES)
    assert handled == set(e.TYPES)
    changed = {c.__name__ for c in FEATURE_CHANGES} | {c.__name__ for c in ATTEMPT_CHANGES}
    assert changed <= set(FEATURE_MOVES) | set(ATTEMPT_MOVES)


def test_a_whole_run():
    state = fold(whole_run())
    assert state.anomalies == ()
    assert {i: f.state for i, f in state.features.items()} == {
        "old": "merged",
        "disk": "merged",
        "load": "failed",
        "api": "blocked",
        "look": "review",
        "later": "waiting",
    }
    disk = state.features["disk"]
    assert disk.winner == "r1-a01"
    assert disk.commit == "deadbeefcafe0123"
    assert disk.reasons == ("5/5 acceptance", "cheapest")
    assert {n: a.state for n, a in disk.attempts.items()} == {
        "r1-a01": "passed",
        "r1-a02": "rejected",
        "r1-a03": "failed",
    }
    assert disk.seconds == 18.0
    assert state.features["old"].reasons == ("already on the branch",)
    assert state.features["look"].attempts["r1-a02"].state == "unjudged"
    assert state.cost_usd == pytest.approx(6 * 0.25)
    assert state.cost_usd == pytest.approx(sum(f.cost_usd for f in state.features.values()))
    assert state.usage.total == 6 * 150
    assert state.sources == ("scripted",)
    assert state.models == ("demo-1",)


def test_folding_in_pieces_is_folding_at_once():
    script = whole_run()
    at_once = fold(script)
    for cut in range(len(script)):
        assert fold(script[cut:], fold(script[:cut])) == at_once
    step = RunState()
    for event in script:
        step = apply(step, event)
    assert step == at_once


def test_a_snapshot_is_not_changed_by_later_events():
    script = whole_run()
    folding = Fold()
    seen = []
    for event in script:
        folding.apply(event)
        seen.append((folding.state, fold(script[: len(seen) + 1])))
    assert all(kept == fresh for kept, fresh in seen)


def test_skipped_features_wait_for_nobody():
    state = fold([run_started(skipped=("look",))])
    assert state.features["look"].state == "skipped"
    assert state.features["look"].reasons == ("not asked for in this run",)


def test_unknown_cost_is_never_zero():
    script = timed([run_started(), *started("disk"), *attempt("disk", "r1-a01", cost=None)])
    state = fold(script)
    assert state.unknown_cost
    assert state.features["disk"].unknown_cost
    assert state.features["disk"].attempts["r1-a01"].unknown_cost
    assert not fold(whole_run()).unknown_cost


def test_the_larger_of_the_calls_and_the_total_was_spent():
    for calls, total, spent in ((0.5, 0.75, 0.75), (0.5, 0.25, 0.5)):
        begin, call, end = attempt("disk", "r1-a01", cost=calls)
        script = timed([run_started(), *started("disk"), begin, call, replace(end, cost_usd=total)])
        state = fold(script)
        assert state.cost_usd == pytest.approx(spent)
        assert state.features["disk"].cost_usd == pytest.approx(spent)


def test_money_counts_even_when_its_attempt_makes_no_sense():
    call = attempt("nobody", "r1-a01")[1]
    state = fold([run_started(), call])
    assert state.cost_usd == 0.25
    assert state.anomalies == (
        "ModelCalled nobody/r1-a01: of a feature that this run does not have",
    )


def test_anomalies_are_bounded():
    odd = [e.FeatureStarted(feature=f"x{i}") for i in range(1000)]
    assert len(fold([run_started(), *odd]).anomalies) == 200


def test_a_stopped_run_goes_on_when_resumed():
    script = [
        run_started(),
        e.DrainRequested(reason="Ctrl-C"),
        e.LimitHit(what="budget"),
        e.LimitHit(what="budget"),
        e.RunStopped(exit_code=4, reason="budget"),
    ]
    stopped = fold(timed(script))
    assert (stopped.stopped, stopped.exit_code, stopped.draining) == ("budget", 4, "Ctrl-C")
    assert stopped.limits == ("budget",)
    assert stopped.finished is None
    again = fold(timed([e.RunResumed(pid=7)], 10), stopped)
    assert (again.stopped, again.exit_code, again.draining) == (None, None, None)
    assert (again.pid, again.resumed) == (7, 1)
    done = fold(timed([e.RunFinished(exit_code=0)], 20), again)
    assert done.exit_code == 0
    assert done.finished - done.started == 14.0  # not the 6 seconds in which nobody worked


def test_a_pause_counts_for_no_feature():
    script = [
        run_started(),
        e.FeatureStarted(feature="disk"),
        e.RunStopped(exit_code=130, reason="x"),
    ]
    begun = fold(timed(script))
    merged = e.FeatureMerged(feature="disk", attempt="r1-a01", commit="c" * 40)
    whole = fold(timed([e.RunResumed(pid=7), merged], 40), begun)
    assert whole.features["disk"].seconds == 2.0
    again = fold(timed([e.RunResumed(pid=8)], 50), whole)
    assert again.features["disk"].seconds == whole.features["disk"].seconds


def test_a_refused_merge_goes_back_to_running_and_is_remembered():
    who = {"feature": "disk", "attempt": "r1-a01"}
    state = fold(
        [
            run_started(),
            *started("disk"),
            e.MergeStarted(**who, onto="a"),
            e.MergeRejected(**who, onto="a", reason="red on top of load"),
        ]
    )
    assert state.features["disk"].state == "running"
    assert state.features["disk"].refusals == ("r1-a01: red on top of load",)
    assert "disk" not in OVER


def test_a_person_can_take_an_attempt_of_a_feature_that_failed():
    script = whole_run()
    state = fold(
        [
            *script,
            e.ReviewResolved(feature="load", attempt="r1-a01", by="ada"),
            *merged("load", "r1-a01"),
            e.FeatureStarted(feature="api"),
        ]
    )
    assert state.features["load"].state == "merged"
    assert state.features["load"].accepted_by == "ada"
    assert state.features["api"].state == "running"
    assert state.anomalies == ()


@pytest.mark.parametrize("order", list(permutations(["a", "b", "c"])))
def test_the_critical_path_does_not_depend_on_the_order(order):
    needs = {"a": (), "b": ("a",), "c": ("b", "a")}
    state = RunState(features={i: FeatureState(i, depends_on=needs[i]) for i in order})
    assert critical_path_left(state) == 3
    for i, left in (("a", 2), ("b", 1), ("c", 0)):
        state = apply(state, e.FeatureMerged(feature=i, commit="d"))
        assert critical_path_left(state) == left


def test_a_chain_of_ten_thousand_is_no_problem():
    features = {
        str(i): FeatureState(str(i), depends_on=(str(i - 1),) if i else ()) for i in range(10_000)
    }
    assert critical_path_left(RunState(features=features)) == 10_000


def test_the_forecast_is_the_mean_time_a_feature_took_times_what_is_left():
    assert seconds_left(fold([run_started()])) is None
    state = fold(whole_run())
    assert critical_path_left(state) == 1
    assert seconds_left(state) == 18.0
