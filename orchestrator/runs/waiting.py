"""Why each thing of a run that waits does so, in words."""

from collections.abc import Iterator

from orchestrator.runs.course import FeatureState, RunState

_OPEN = ("waiting", "running", "merging")


def reasons(run: RunState) -> tuple[tuple[str, str], ...]:
    """(feature, why it waits) of all that are neither over nor at work, in the list's order."""
    if run.finished is not None or run.stopped is not None:
        return ()
    return tuple(
        (feature.id, why)
        for feature in run.features.values()
        if feature.state in _OPEN and (why := _why(feature, run))
    )


def _why(feature: FeatureState, run: RunState) -> str:
    needs = [i for i in feature.depends_on if _is_open(i, run)]
    if needs:
        return f"for {', '.join(needs[:5])}" + (f" and {len(needs) - 5} more" if needs[5:] else "")
    if feature.state == "merging":
        return ""
    phases = [attempt.state for attempt in feature.attempts.values()]
    if "running" in phases or "verifying" in phases:
        return ""
    return "; ".join(_holds(run)) or ("a free worker" if feature.round else "its turn")


def _holds(run: RunState) -> Iterator[str]:
    if run.draining is not None:
        yield "the run drains"
    if run.paused is not None:
        yield "the run is paused"
    if run.held is not None:
        yield run.held


def _is_open(id_: str, run: RunState) -> bool:
    feature = run.features.get(id_)
    return feature is not None and feature.state in _OPEN
