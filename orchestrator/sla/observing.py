"""From samples to observations: each rule's verdict, and the words a person will read."""

import string
from collections.abc import Iterable, Mapping

from orchestrator.sla import conditions
from orchestrator.sla.alerts import Observation, Verdict
from orchestrator.sla.problems import VALUE_WORDS
from orchestrator.sla.values import Rule, Sample, Sla, SlaFile


def observe(
    file: SlaFile, rules: Iterable[Rule], latest: Mapping[str, Sample]
) -> tuple[Observation, ...]:
    """These rules as the latest samples show them; rules about SLAs without a sample left out."""
    return tuple(
        Observation(rule.key, verdict, _value(rule, latest), _text(file, rule, latest))
        for rule in rules
        if (verdict := _verdict(file, rule, latest)) is not None
    )


def _verdict(file: SlaFile, rule: Rule, latest: Mapping[str, Sample]) -> Verdict | None:
    samples = [latest[name] for name in rule.slas if name in latest]
    if len(samples) < len(rule.slas):
        return None
    if any(sample.state == "maintenance" for sample in samples):
        return "maintenance"
    if rule.condition is None:
        return _by_state(rule, samples[0])
    values = {sample.sla: sample.value for sample in samples}
    named = {name: values.get(sla) for name, sla in file.metrics.items()}
    held = conditions.holds(rule.condition, {**values, **named})
    return "unknown" if held is None else "violated" if held else "healthy"


def _by_state(rule: Rule, sample: Sample) -> Verdict:
    if sample.state in rule.states:
        return "violated"
    # Without a value nobody can say whether a threshold is kept; its own rule says that.
    return "unknown" if sample.state == "no_data" else "healthy"


def _value(rule: Rule, latest: Mapping[str, Sample]) -> float | None:
    sample = latest.get(rule.slas[0])
    return sample.value if sample is not None else None


def _text(file: SlaFile, rule: Rule, latest: Mapping[str, Sample]) -> str:
    name = rule.slas[0]
    sample = latest.get(name)
    if sample is None:
        return ""
    sla = file.slas[name]
    words = _filled(rule, sla, sample) if rule.message else described(sla, sample)
    ends = [f"runbook: {rule.runbook}"] if rule.runbook else []
    ends += [f"owner: {rule.owner}"] if rule.owner else []
    return "; ".join([words, *ends])


def described(sla: Sla, sample: Sample) -> str:
    """A sample in a few words: `disk_age is 310, allowed up to 300`."""
    if sample.value is None:
        return f"{sla.name} has no data: {sample.detail or 'nothing measures it'}"
    bound = sla.warn if sample.measured == "warn" and sla.warn is not None else sla.error
    side = "allowed up to" if sla.breach == "above" else "wanted at least"
    return f"{sla.name} is {sample.value:.6g}, {side} {bound:g}"


def _filled(rule: Rule, sla: Sla, sample: Sample) -> str:
    """The message with its words filled in by hand: a format string could reach into objects."""
    value = "unknown" if sample.value is None else f"{sample.value:.6g}"
    words = dict.fromkeys(VALUE_WORDS, value)
    words |= {"sla": sla.name, "threshold": f"{sla.error:g}", "severity": rule.severity}
    parts = string.Formatter().parse(rule.message)
    return "".join(text + (words[name] if name is not None else "") for text, name, _, _ in parts)
