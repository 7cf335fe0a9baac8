"""A person's decision on a review: merge this attempt, by the same queue as any winner, or not."""

from collections.abc import Sequence
from typing import Literal

from harness import app, attempt_result, inputs, wiring
from harness.fleet import books
from harness.inputs import Target
from harness.integrate import Winner
from harness.learn import decisions
from harness.ports import ModelReply, ModelRequest
from harness.record.clock import SystemClock
from harness.record.journal import Journal, read_events
from harness.record.workspace import RunInfo, Workspace
from harness.rounds import key_of
from harness.run_file import RunFile
from harness.services import Services
from orchestrator import events
from orchestrator.errors import InputError, ModelRejectedError
from orchestrator.reporting import report
from orchestrator.reporting.wording import one_line
from orchestrator.runs import plan, state
from orchestrator.values import AttemptKey, Tier


async def accept(
    workspace: Workspace, info: RunInfo, feature: str, attempt: str, person: str
) -> str:
    """The commit on the branch. Raises `InputError` when there is no such attempt, it left no
    patch, or the feature is merged already; `MergeRefusedError` when it conflicts with the branch
    or makes it red."""
    options = RunFile.load(workspace.run_file(info.id)).run_options()
    given = inputs.read_features(options)
    ids = [f.id for f in given.features]
    if feature not in ids:
        raise InputError(
            f"no feature is called {feature!r} in {options.features}{inputs.nearest(feature, ids)}"
        )
    key = key_named(feature, attempt)
    target = await inputs.find_target(given, workspace.root)
    await _refuse_merged(target, info, key)
    result = attempt_result.load(workspace.attempt_folder(info.id, key))
    if result is None or result.patch is None:
        raise InputError(
            f"{feature} has no attempt {attempt} with a patch in run {info.id}; "
            f"`{workspace.hint('report', info.id)}` lists them"
        )
    opened = wiring.Opened(
        given=given,
        workspace=workspace,
        options=options,
        target=target,
        model=NoModel(),
        settings=wiring.settings_of(info.id, given, options, workers=1),
    )
    async with books.to_write(workspace, info.id) as (journal, fleet):
        async with wiring.open_services(opened, journal, fleet=fleet) as services:
            commit = await _merge(services, key)
        _note(journal, _accepted(key, person, commit))
    for run in _concerned(workspace, info, key)[1:]:
        await _note_in(workspace, run, _accepted(key, person, commit))
    decisions.count(workspace, SystemClock(), info.id, state.fold(read_events(info.events)))
    return commit


async def reject(
    workspace: Workspace, info: RunInfo, key: AttemptKey, person: str, reason: str
) -> None:
    """Turn an attempt down that waits for a person: its feature has failed, a later run works on
    it again, and is told the reason. Raises `InputError` when it does not wait."""
    feature = state.fold(read_events(info.events)).features.get(key.feature)
    if feature is None or feature.state != "review" or key.name not in feature.attempts:
        raise InputError(
            f"{key}: no such attempt waits for a person in run {info.id}; "
            f"`{workspace.hint('report', info.id)}` shows what does"
        )
    clock = SystemClock()
    folder = workspace.attempt_folder(info.id, key)
    learned = decisions.learn(workspace, clock, reason, key.feature, folder)
    signed = events.FailureSigned(
        feature=key.feature,
        attempt=key.name,
        signature=learned.id,
        kind=learned.signature.kind,
        error=learned.signature.error,
        message=learned.signature.message,
    )
    told = f"{key.name} was turned down by {person}: {one_line(reason)}"
    failed = events.FeatureFailed(feature=key.feature, reason=told, again=feature.again)
    for run in _concerned(workspace, info, key):
        # The attempt is of one run; the others only left the feature alone.
        await _note_in(workspace, run, [signed, failed] if run.id == info.id else [failed])
    decisions.count(workspace, clock, info.id, state.fold(read_events(info.events)))


class NoModel:
    """A decision asks no model, and needs no key for one."""

    source: Literal["live", "recorded", "scripted"] = "live"

    async def reply(self, request: ModelRequest) -> ModelReply:
        raise ModelRejectedError(f"a review asks no model, but {request.key} did")

    def model_id(self, tier: Tier) -> str:
        return tier

    def worst_case_usd(self, request: ModelRequest) -> float | None:  # noqa: ARG002 - the port's
        return None

    async def close(self) -> None:
        return None


async def _refuse_merged(target: Target, info: RunInfo, key: AttemptKey) -> None:
    """What is merged stays so. The same decision once more completes one that was cut short."""
    commit = target.integrated.get(key.feature)
    if commit is None:
        return
    said = (await target.repository.git("show", "-s", "--format=%B", commit)).splitlines()
    recorded = state.fold(read_events(info.events)).features.get(key.feature)
    same = f"Attempt: {key}" in said and f"Run: {info.id}" in said
    if same and recorded is not None and recorded.state != "merged":
        return
    raise InputError(
        f"{key.feature} is merged already, as {commit[:12]} on {target.branch}: nothing is left "
        f"to decide; `git -C {target.repository.path} show {commit[:12]}` shows it"
    )


def key_named(feature: str, attempt: str) -> AttemptKey:
    """Raises `InputError` for what is no attempt's name."""
    try:
        return key_of(feature, attempt)
    except ValueError:
        raise InputError(f"{attempt!r} is no attempt's name; they look like r1-a02") from None


async def _merge(services: Services, key: AttemptKey) -> str:
    patch = (services.attempt_folder(key) / attempt_result.PATCH).read_bytes()
    head = await services.repository.head_name(services.project.branch)
    winner = Winner(key, services.feature(key.feature), patch, head or "", verified=False)
    commit = await services.integrator.merge(winner, services.checker.tree)
    await services.write_passes()
    return commit


def _accepted(key: AttemptKey, person: str, commit: str) -> list[events.Event]:
    names = {"feature": key.feature, "attempt": key.name}
    reasons = (f"accepted by {person}",)
    return [
        events.ReviewResolved(by=person, **names),
        events.FeatureMerged(commit=commit, reasons=reasons, **names),
    ]


async def _note_in(workspace: Workspace, run: RunInfo, decided: Sequence[events.Event]) -> None:
    async with books.to_write(workspace, run.id) as (journal, _):
        _note(journal, decided)


def _note(journal: Journal, decided: Sequence[events.Event]) -> None:
    """The decision in a run's book, and its report as it is now."""
    for event in decided:
        journal.write(event)
    now = state.fold(read_events(journal.path))
    if now.finished is not None:
        code = plan.exit_code_since(
            now.exit_code or 0, [outcome.state for outcome in report.build(now).features]
        )
        journal.write(events.RunFinished(exit_code=code))
        now = state.fold(read_events(journal.path))
    app.store_report(journal.path.parent, report.build(now))


def _concerned(workspace: Workspace, info: RunInfo, key: AttemptKey) -> list[RunInfo]:
    """The run itself, and later ones: they left the feature alone, as one that waits for a
    person; now it does not."""
    found = [info]
    for run in workspace.runs():
        if run.id <= info.id:
            break
        feature = state.fold(read_events(run.events)).features.get(key.feature)
        if feature is not None and feature.state == "review" and feature.review_run == info.id:
            found.append(run)
    return found
