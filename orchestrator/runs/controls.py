"""What a person may ask of a run at work, and what the run answers; the run's state decides."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from orchestrator.runs.course import Asked, FeatureState, RunState

Kind = Literal["pause", "resume", "drain", "stop", "retune", "requeue", "skip"]
KINDS: tuple[Kind, ...] = get_args(Kind)

#: Ends from which a feature can be queued again.
_ENDED = ("failed", "blocked", "review", "skipped")
_OPEN = ("waiting", "running")
_ANSWERS: Mapping[Kind, str] = {
    "pause": "paused: what is at work ends, nothing begins",
    "resume": "goes on",
    "drain": "drains: what is at work ends, then it leaves",
    "stop": "leaves at once; nothing is lost",
    "requeue": "is worked on again, from a further round on",
    "skip": "is taken out; what depends on it is blocked",
}


@dataclass(frozen=True, slots=True)
class Control:
    """One request. `id` names it, so that it is taken once however often it arrives. `process`
    is the process it was meant for, 0 for any: a stop that came too late must not stop the next.
    """

    id: str
    kind: Kind
    by: str
    feature: str | None = None
    attempts: int | None = None
    workers: int | None = None
    budget_usd: float | None = None
    process: int = 0


def to_json(control: Control) -> dict[str, Any]:
    return asdict(control)


def from_json(data: Mapping[str, Any]) -> Control:
    """Raises `TypeError` or `ValueError` for what is no request of this version."""
    control = Control(**data)
    if control.kind not in KINDS:
        raise ValueError(control.kind)
    return control


def refusal(control: Control, run: RunState) -> str | None:
    """Why a run in this state cannot do what is asked; None when it can."""
    if control.process not in (0, run.pid):
        return f"it was meant for process {control.process}, which is gone"
    if control.feature is None:
        return None
    feature = run.features.get(control.feature)
    if feature is None:
        return f"no feature of this run is called {control.feature}"
    if feature.state not in (*_ENDED, *_OPEN):
        return f"{feature.id} is {feature.state}, which stays so"
    if control.kind == "requeue" and feature.blocked_on in run.features:
        return f"{feature.id} waits for {feature.blocked_on}: requeue that"
    return None


def is_done(control: Control, run: RunState) -> bool:
    """Whether nothing is left to do: asked twice is done once."""
    feature = run.features.get(control.feature or "")
    state = feature.state if feature is not None else ""
    done = {
        "pause": run.paused is not None,
        "resume": run.paused is None,
        "drain": run.draining is not None,
        "requeue": state in _OPEN,
        "skip": state in _ENDED,
    }
    return done.get(control.kind, False)


def times(control: Control, run: RunState) -> int:
    """How often the feature in question had been queued again when this was asked."""
    feature = run.features.get(control.feature or "")
    return feature.again if feature is not None else 0


def is_left(asked: Asked, feature: FeatureState) -> bool:
    """Whether what was asked of a feature was cut short by a crash and is still to be done."""
    states = _OPEN if asked.kind == "skip" else _ENDED
    return asked.again == feature.again and feature.state in states


def answer(control: Control, run: RunState) -> str:
    """What the person who asked is told, in a line."""
    refused = refusal(control, run)
    if refused is not None:
        return f"refused: {refused}"
    if is_done(control, run):
        return "nothing to do: it is so already"
    if control.kind == "retune":
        return f"retuned: {told(control)}"
    subject = f"{control.feature} " if control.feature is not None else ""
    return subject + _ANSWERS[control.kind]


def told(control: Control) -> str:
    """The numbers of a `retune`, in words."""
    parts = []
    if control.attempts is not None:
        parts.append(f"{control.attempts} attempts in rounds that begin from now on")
    if control.workers is not None:
        parts.append(f"{control.workers} workers")
    if control.budget_usd is not None:
        parts.append(f"a budget of ${control.budget_usd:.2f}")
    return ", ".join(parts)
