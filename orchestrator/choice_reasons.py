"""Says in words and numbers why an attempt was chosen, and whether a person must decide."""

import math
from collections.abc import Mapping, Sequence

from orchestrator.belief import Opinion
from orchestrator.selection import Policy, Ranked


def why(
    ranking: Sequence[Ranked],
    opinions: Mapping[str, Opinion],
    consensus: float | None,
    confidence: float | None,
    policy: Policy,
) -> tuple[bool, tuple[str, ...]]:
    """Whether a person must decide about the winner, and every reason for the selection."""
    best = ranking[0] if ranking else None
    winner = best if best and best.usable and best.passed == best.checks else None
    asks, review = _review(ranking, winner, consensus, confidence, policy)
    return asks, (*_chosen(ranking, winner, opinions, policy), *review, *_out(ranking, winner))


def _chosen(
    ranking: Sequence[Ranked],
    winner: Ranked | None,
    opinions: Mapping[str, Opinion],
    policy: Policy,
) -> tuple[str, ...]:
    if not ranking:
        return ("no attempt to choose from",)
    if winner is None:
        best = ranking[0]
        if not best.usable:
            return ("no attempt is usable",)
        return (
            f"no attempt passed every trusted check: the best, {best.attempt}, "
            f"passed {best.passed} of {best.checks}",
        )
    lines = [f"{winner.attempt} won {winner.score:.2f}: {_sum(winner, policy)}"]
    if winner.checks:
        lines.append(f"{winner.attempt} passed {winner.passed} of {winner.checks} trusted checks")
    if opinion := opinions.get(winner.attempt):
        lines.append(f"{winner.attempt} {_told(opinion)}")
    missing = [name for name in policy.weights if name not in dict(winner.components)]
    if missing:
        lines.append(f"not measured, and left out of the weights: {', '.join(missing)}")
    if len(ranking) > 1:
        lines.append(_ahead(winner, ranking[1], opinions))
    return tuple(line for line in lines if line)


def _sum(r: Ranked, policy: Policy) -> str:
    parts = [f"{name} {share:.2f} x {policy.weights[name]:g}" for name, share in r.components]
    return ", ".join(parts) or "nothing was measured"


def _told(opinion: Opinion) -> str:
    failed = f"fails {opinion.failed:.0%} of what the attempts' own tests are believed to show"
    if not opinion.executed:
        return failed
    others = opinion.alike - 1
    alike = f"{others} other" + ("" if others == 1 else "s") if others else "no other"
    agreement = f"agrees with all by {opinion.agreement:.2f} (0 is chance, 1 complete)"
    told = f"behaves like {alike}, {agreement}, {failed}"
    if not opinion.simple:
        return told
    return f"{told}, and looks simpler than most by {opinion.simple:.2f} (1: the simplest of all)"


def _ahead(winner: Ranked, second: Ranked, opinions: Mapping[str, Opinion]) -> str:
    """What decided between the first two, where the gates did not."""
    if not second.usable or second.passed != winner.passed:
        return ""
    if winner.belief is not None and second.belief is not None and winner.belief != second.belief:
        odds = math.exp(min(winner.belief - second.belief, 50.0))
        return (
            f"believed right before {second.attempt}, by odds of {odds:.3g} to 1: "
            f"that one {_told(opinions[second.attempt])}"
        )
    return _by_score(winner, second)


def _by_score(winner: Ranked, second: Ranked) -> str:
    if winner.off_middle != second.off_middle:
        return (
            f"nearer to the median score of those that behave alike: {winner.off_middle:.2f} from "
            f"it, {second.attempt} {second.off_middle:.2f}"
        )
    if winner.score != second.score:
        at = f"at {second.score:.2f}"
        return f"ahead of {second.attempt} " + (
            at if winner.score > second.score else f"{at}, the tests of neither counted"
        )
    if winner.cost_usd != second.cost_usd:
        return (
            f"tie with {second.attempt} broken by cost "
            f"{_money(winner.cost_usd)} < {_money(second.cost_usd)}"
        )
    return f"tie with {second.attempt} broken by name: equal score and cost"


def _money(usd: float | None) -> str:
    return "unknown" if usd is None else f"${usd:.4g}"


def _review(
    ranking: Sequence[Ranked],
    winner: Ranked | None,
    consensus: float | None,
    confidence: float | None,
    policy: Policy,
) -> tuple[bool, list[str]]:
    """Whether a person is asked, and the lines that say so or why not."""
    asks, lines = False, []
    if winner is not None and not any(r.checks for r in ranking):
        asks = True
        lines.append("a person decides: no trusted check judged these attempts")
    if consensus is not None:
        low = consensus < policy.min_consensus
        asks = asks or (low and policy.on_no_consensus == "review")
        lines.append(
            f"the top three agree on {consensus:.0%} of executed behaviour: "
            + _verdict(low, policy.min_consensus, policy.on_no_consensus)
        )
    if confidence is not None:
        low = confidence < policy.min_confidence
        asks = asks or low
        lines.append(
            f"right with probability {confidence:.2f}"
            + (f", below {policy.min_confidence:.2f}: a person decides" if low else "")
        )
    return asks, lines


def _verdict(low: bool, limit: float, otherwise: str) -> str:
    if not low:
        return f"at least {limit:.0%}"
    if otherwise == "best":
        return f"below {limit:.0%}, the single best is taken as configured"
    return f"below {limit:.0%}, a person decides"


def _out(ranking: Sequence[Ranked], winner: Ranked | None) -> tuple[str, ...]:
    lines = []
    for r in ranking:
        if winner is not None and r.attempt == winner.attempt:
            continue
        if not r.usable:
            lines.append(f"{r.attempt} is out: not usable")
        elif r.passed < r.checks:
            lines.append(f"{r.attempt} is out: passed {r.passed} of {r.checks} trusted checks")
    return tuple(lines)
