"""From data_layer_slas.yaml to an `SlaFile`, or every problem at once."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from orchestrator.errors import SlaFileError
from orchestrator.json_lines import Lines, Node, plain
from orchestrator.sla import conditions
from orchestrator.sla.values import (
    DAY,
    Gates,
    Monitoring,
    Route,
    Rule,
    Severity,
    Sla,
    SlaFile,
    Window,
)
from orchestrator.yaml_lines import YamlLineError, scan

if TYPE_CHECKING:
    from orchestrator.sla.models import AlertEntry, FileForm, SlaEntry

#: What a violated `warn` is called, by the severity of the SLA's `error`.
_MILDER: dict[Severity, Severity] = {"critical": "warning", "error": "warning"}


def parse(data: bytes, source: str) -> SlaFile:
    """The SLAs in `data`; `source` names the file in messages.

    Raises `SlaFileError` with every problem, each with its line and what to do.
    """
    from pydantic import ValidationError  # noqa: PLC0415 - 60 ms that only reading a file needs

    from orchestrator.sla import models as slas_models  # noqa: PLC0415 - imports pydantic
    from orchestrator.sla import problems as slas_problems  # noqa: PLC0415 - the same

    text = _decoded(data, source)
    root = _scanned(text, source)
    error = None
    try:
        form = slas_models.FILE.validate_python(plain(root))
    except ValidationError as caught:
        error = caught
    problems = slas_problems.describe(root, text, error)
    if problems:
        raise SlaFileError(source, problems)
    return _file(form)


def _decoded(data: bytes, source: str) -> str:
    try:
        return data.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        what = f"line {line}: byte 0x{data[error.start]:02x} is not UTF-8; save the file as UTF-8"
        raise SlaFileError(source, (what,)) from None


def _scanned(text: str, source: str) -> Node:
    try:
        root = scan(text)
    except YamlLineError as error:
        what = f"line {Lines(text).line(error.at)}: {error.what}"
        raise SlaFileError(source, (what,)) from None
    if root.kind != "object":
        what = "line 1: this is no object; write the key slas: and the SLAs below it"
        raise SlaFileError(source, (what,))
    return root


def _file(form: "FileForm") -> SlaFile:
    slas = {
        name: Sla(name=name, error=entry)
        if isinstance(entry, float | int)
        else _sla(name, entry, form)
        for name, entry in form.slas.items()
    }
    own = form.monitoring
    monitoring = Monitoring(
        interval=own.check_interval,
        retention=own.retention_days * DAY,
        page_port=own.dashboard_port,
        health_port=own.health_port,
        group_wait=own.group_wait,
        group_by=tuple(own.group_by),
        store_env=own.store_env,
    )
    return SlaFile(
        slas=slas,
        rules=tuple(_rules(slas, form)),
        metrics=dict(form.metrics),
        monitoring=monitoring,
        notify=form.notify,
    )


def _sla(name: str, entry: "SlaEntry", form: "FileForm") -> Sla:
    gates = entry.gates
    return Sla(
        name=name,
        error=entry.error,
        warn=entry.warn,
        probe=entry.probe,
        breach=entry.breach,
        objective=entry.objective / 100,
        window=entry.window,
        severity=entry.severity,
        no_data=entry.no_data,
        interval=entry.interval or form.monitoring.check_interval,
        timeout=entry.timeout or form.monitoring.timeout,
        hold_for=entry.hold_for,
        gates=Gates(
            runs=gates.runs,
            agents=tuple(gates.agents),
            features=tuple(gates.features),
            scope=tuple(gates.scope),
            promotion=gates.promotion,
        )
        if gates
        else Gates(),
        maintenance=tuple(Window(w.cron, w.duration, w.time_zone) for w in entry.maintenance),
        depends_on=tuple(entry.depends_on),
        owner=entry.owner or "",
        runbook=entry.runbook or "",
    )


# ----------------------------------------------------------------------------------- rules


def _rules(slas: dict[str, Sla], form: "FileForm") -> Iterator[Rule]:
    """The alerts of the file; and for each SLA that has a probe and that none of them names, one
    for each level. Missing data is announced for every SLA that has a probe."""
    named: set[str] = set()
    for number, alert in enumerate(form.alerts, 1):
        rule = _alert(number, alert, slas, form)
        named.update(rule.slas)
        yield rule
    for sla in slas.values():
        if sla.probe is not None:
            yield from _own_rules(sla, form, named=sla.name in named)


def _alert(number: int, alert: "AlertEntry", slas: dict[str, Sla], form: "FileForm") -> Rule:
    names = conditions.check(alert.condition, ())
    about = tuple(dict.fromkeys(form.metrics.get(name, name) for name in names))
    actions = alert.action if isinstance(alert.action, list) else [alert.action]
    own = form.monitoring
    cooldown = own.cooldown if alert.cooldown is None else alert.cooldown
    return Rule(
        key=f"alert-{number}/{','.join(about)}",
        slas=about,
        severity=alert.severity,
        routes=tuple(Route(action, alert.channel or "") for action in actions),
        message=alert.message or "",
        condition=alert.condition,
        pending=alert.hold_for,
        cooldown=cooldown,
        repeat=max(alert.repeat or own.repeat, cooldown),
        inhibited_by=_silencers(about, slas),
        owner=slas[about[0]].owner,
        runbook=slas[about[0]].runbook,
    )


def _own_rules(sla: Sla, form: "FileForm", *, named: bool) -> Iterator[Rule]:
    routes = tuple(Route(action) for action in form.notify.default)
    own = form.monitoring
    first = Rule(
        key=f"{sla.name}/no_data",
        slas=(sla.name,),
        severity="warning",
        routes=routes,
        states=("no_data",),
        pending=sla.hold_for,
        cooldown=own.cooldown,
        repeat=max(own.repeat, own.cooldown),
        inhibited_by=_silencers((sla.name,), {sla.name: sla}),
        owner=sla.owner,
        runbook=sla.runbook,
    )
    if sla.no_data != "good":
        yield first
    # A rule of the file that names this SLA is announced in its place. The silencers of others
    # must exist all the same: with nobody to tell, a rule is only watched.
    silent = () if named else routes
    broken = f"{sla.name}/error"
    yield replace(first, key=broken, severity=sla.severity, states=("error",), routes=silent)
    if sla.warn is not None and not named:
        milder = _MILDER.get(sla.severity, "info")
        over = (*first.inhibited_by, broken)
        key = f"{sla.name}/warn"
        yield replace(first, key=key, severity=milder, states=("warn", "error"), inhibited_by=over)


def _silencers(names: Sequence[str], slas: dict[str, Sla]) -> tuple[str, ...]:
    """The rules whose violation says it all: those of what these SLAs depend on."""
    needs = dict.fromkeys(need for name in names for need in slas[name].depends_on)
    return tuple(f"{need}/{state}" for need in needs for state in ("error", "no_data"))
