"""Which events may happen to a feature or an attempt in which state, as two tables."""

from collections.abc import Mapping
from typing import Literal, get_args

from orchestrator.events import AttemptFinished, Event, VerificationFinished

FeaturePhase = Literal[
    "waiting", "running", "merging", "merged", "failed", "blocked", "review", "skipped"
]

#: `verifying` includes waiting for it. `unjudged`: usable, but no trusted check exists to pass.
#: `failed`: the agent left nothing to verify.
AttemptPhase = Literal[
    "running", "verifying", "passed", "unjudged", "rejected", "failed", "cancelled"
]

#: An attempt that no event has named yet.
NEW = "unknown"

_FEATURE_STATES: tuple[FeaturePhase, ...] = get_args(FeaturePhase)
_ATTEMPT_STATES: tuple[AttemptPhase, ...] = get_args(AttemptPhase)

#: event type -> state before -> state after. A pair that is not here cannot happen.
FEATURE_MOVES: Mapping[str, Mapping[str, FeaturePhase]] = {
    # From blocked: a person accepted what the dependency waited for, and the run went on.
    "FeatureStarted": {"waiting": "running", "blocked": "running"},
    "RoundStarted": {"running": "running"},
    "WaveStarted": {"running": "running"},
    "RoundDecided": {"running": "running"},
    "AttemptSelected": {"running": "running"},
    # From waiting: a run before this one asked already, and nobody has answered.
    "ReviewRequested": {"running": "review", "waiting": "review"},
    # A person may take an attempt that the harness gave up on.
    "ReviewResolved": {"review": "running", "failed": "running"},
    # From merging: a crash between start and end, and the branch moved before the next try.
    "MergeStarted": {"running": "merging", "merging": "merging"},
    "MergeFinished": {"merging": "merging", "merged": "merged"},
    "MergeRejected": {"merging": "running"},
    # The branch is the truth: a feature found on it is merged, whatever else was known.
    "FeatureMerged": dict.fromkeys(_FEATURE_STATES, "merged"),
    "FeatureFailed": {
        "waiting": "failed",
        "running": "failed",
        "merging": "failed",
        "review": "failed",
    },
    "FeatureBlocked": {"waiting": "blocked", "blocked": "blocked"},
    "FeatureSkipped": {"waiting": "skipped", "running": "skipped", "skipped": "skipped"},
    "FeatureRequeued": dict.fromkeys(("failed", "blocked", "review", "skipped"), "waiting"),
}

#: What agents' late messages may find: the call that was in the air when its attempt ended.
_STAYS: Mapping[str, AttemptPhase] = {state: state for state in _ATTEMPT_STATES}

#: event type -> what happened (see `happening`) -> state before -> state after.
ATTEMPT_MOVES: Mapping[str, Mapping[str, Mapping[str, AttemptPhase]]] = {
    "AttemptStarted": {"": {NEW: "running"}},
    # From cancelled, here and below: another machine had not heard of that yet.
    "AttemptResumed": {"": {"running": "running", "cancelled": "cancelled"}},
    "ModelCalled": {"": _STAYS},
    "ModelRetried": {"": _STAYS},
    "CallLost": {"": _STAYS},
    "PatternUsed": {"": _STAYS},
    "FailureSigned": {"": _STAYS},
    "ReflectionFinished": {"": _STAYS},
    "RepairStarted": {"": _STAYS},
    "AttemptFinished": {
        "patch": {"running": "verifying", "cancelled": "cancelled"},
        "nothing": {"running": "failed", "cancelled": "cancelled"},
        "cancelled": {"running": "cancelled", "cancelled": "cancelled"},
    },
    # Cancelled even before it started, or after it was judged: the winner made it pointless,
    # but what was found out about it stays.
    "AttemptCancelled": {
        "": {
            NEW: "cancelled",
            "running": "cancelled",
            "verifying": "cancelled",
            "cancelled": "cancelled",
            "passed": "passed",
            "unjudged": "unjudged",
            "rejected": "rejected",
            "failed": "failed",
        }
    },
    "VerificationStarted": {
        "": {"verifying": "verifying", "failed": "verifying", "cancelled": "cancelled"}
    },
    "VerificationFinished": {
        "passed": {"verifying": "passed", "cancelled": "passed"},
        "unjudged": {"verifying": "unjudged", "cancelled": "unjudged"},
        "rejected": {"verifying": "rejected", "cancelled": "rejected", "failed": "rejected"},
    },
}


def happening(event: Event) -> str:
    """Which row of its type an attempt's event is, from what it says."""
    if isinstance(event, AttemptFinished):
        if event.ending == "cancelled":
            return "cancelled"
        return "patch" if event.patch else "nothing"
    if isinstance(event, VerificationFinished):
        if event.passed:
            return "passed"
        return "unjudged" if event.usable and event.checks == 0 else "rejected"
    return ""
