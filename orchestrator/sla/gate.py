"""Whether work may begin on the data as it is: proceed, warn, hold, or refuse."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal, get_args

from orchestrator.sla.values import Gates, Sample, Sla

#: What a violated SLA does to the work it gates.
Policy = Literal["proceed", "warn", "hold", "refuse"]
POLICIES: tuple[Policy, ...] = get_args(Policy)


@dataclass(frozen=True, slots=True)
class Ruling:
    """What to do, and the reasons as finished phrases, one for each SLA that has one."""

    action: Policy
    slas: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()

    @property
    def why(self) -> str:
        return "; ".join(self.reasons)


def gates_anything(sla: Sla) -> bool:
    return sla.gates != Gates()


def gating_run(slas: Iterable[Sla]) -> tuple[Sla, ...]:
    return tuple(sla for sla in slas if sla.gates.runs)


def gating_promotion(slas: Iterable[Sla]) -> tuple[Sla, ...]:
    return tuple(sla for sla in slas if sla.gates.promotion)


def gating_feature(
    slas: Iterable[Sla], feature: str, agent: str, scope: Iterable[str]
) -> tuple[Sla, ...]:
    """The SLAs that gate this feature by its id, by its agent, or by files it may touch."""
    files = tuple(scope)
    return tuple(sla for sla in slas if _gates(sla, feature, agent, files))


def _gates(sla: Sla, feature: str, agent: str, scope: tuple[str, ...]) -> bool:
    gates = sla.gates
    return (
        any(fnmatchcase(feature, glob) for glob in gates.features)
        or any(fnmatchcase(agent, glob) for glob in gates.agents)
        or any(_overlap(one, other) for one in gates.scope for other in scope)
    )


def _overlap(one: str, other: str) -> bool:
    """Whether two globs may name the same file. Where that cannot be told it is assumed: work
    that waits for fresh data in vain is cheaper than work on stale data."""
    if fnmatchcase(one, other) or fnmatchcase(other, one):
        return True
    first, second = _fixed(one), _fixed(other)
    globs = (first != one, second != other)
    return (globs[1] and first.startswith(second)) or (globs[0] and second.startswith(first))


def _fixed(glob: str) -> str:
    """What stands before the first wildcard."""
    ends = (glob.index(char) for char in "*?[" if char in glob)
    return glob[: min(ends, default=len(glob))]


def rule(
    policy: Policy, slas: Iterable[Sla], samples: Mapping[str, Sample], overridden: str = ""
) -> Ruling:
    """The ruling on what these SLAs gate. Judged is what was measured: maintenance is no reason
    to act on stale data. No data is as bad as stale data, unless the SLA declares otherwise:
    `excluded` is worth a warning, `good` is good.

    `overridden`: a person's reason to go on all the same, empty for none.
    """
    broken: list[tuple[str, str]] = []
    doubtful: list[tuple[str, str]] = []
    for sla in slas:
        sample = samples.get(sla.name)
        state = sample.measured if sample is not None else "no_data"
        phrase = (sla.name, _phrase(sla, sample))
        if state == "error" or (state == "no_data" and sla.no_data == "bad"):
            broken.append(phrase)
        elif state == "warn" or (state == "no_data" and sla.no_data == "excluded"):
            doubtful.append(phrase)
    if policy == "proceed" or not (broken or doubtful):
        return Ruling("proceed")
    if not broken:
        return _ruling("warn", doubtful)
    return _ruling("warn" if overridden else policy, broken)


def _ruling(action: Policy, phrases: list[tuple[str, str]]) -> Ruling:
    return Ruling(action, tuple(n for n, _ in phrases), tuple(p for _, p in phrases))


def _phrase(sla: Sla, sample: Sample | None) -> str:
    if sample is None or sample.value is None:
        why = sample.detail if sample is not None else "it was not measured"
        return f"{sla.name} has no data: {why}" if why else f"{sla.name} has no data"
    bound = sla.error if sample.measured == "error" or sla.warn is None else sla.warn
    side = "allowed up to" if sla.breach == "above" else "wanted at least"
    return f"{sla.name} is {sample.value:.6g}, {side} {bound:g}"
