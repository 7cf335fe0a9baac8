"""Starts a run or goes on with it: what is refused, the lock, the run, its deployment."""

import asyncio
import secrets
import sys
from datetime import datetime
from pathlib import Path

from harness import beginning, inputs, lock, play, routing, run_file, wiring
from harness.cli.flags import RunOptions
from harness.fleet import books
from harness.inputs import Target
from harness.models import recording
from harness.notices import Announcer, Notices
from harness.progress import Progress
from harness.record import files
from harness.record.clock import SystemClock
from harness.record.journal import iter_events
from harness.record.workspace import Workspace, new_run_id
from harness.record.workspace_lock import Sign
from harness.run_file import RunFile, Standing
from orchestrator.errors import InputError
from orchestrator.reporting import report
from orchestrator.runs import hours, state
from orchestrator.runs.hours import Hours
from orchestrator.values import FeatureList


def start(options: RunOptions, resume: str | None = None) -> int:
    """Run or continue a run; the exit code. Raises `FibreFlowError` for what cannot begin.

    `resume`: continue the run with this id, and begin none when its inputs have changed.
    """
    given = inputs.read_features(options)
    workspace = Workspace(options.workspace.resolve())
    if options.dry_run:
        from harness.cli import dry_run  # noqa: PLC0415 - a run does not need it

        return asyncio.run(dry_run.show(given, workspace, options))
    inputs.check_slas(workspace.root)
    routing.read_rules(workspace.root)
    if options.record is not None:
        recording.make_folder(options.record)
    code, rejected = asyncio.run(_start(given, workspace, options, resume))
    while rejected:  # each time by a person, whose reason the list now has as a feature
        given = inputs.read_features(options)
        code, rejected = asyncio.run(_start(given, workspace, options, None))
    return code


async def _start(
    given: FeatureList, workspace: Workspace, options: RunOptions, resume: str | None
) -> tuple[int, bool]:
    """The exit code, and whether a person has rejected what was deployed."""
    # All that can be refused is refused before anything is created, the lock's folder included.
    seen = (await inputs.preview(given, workspace.root, options)).target
    idle = seen is not None and run_file.standing(given, workspace, options, seen).idle
    model = None if idle else wiring.choose_model(given, workspace, options)
    wiring.patterns(workspace).load()
    with workspace.lock(books.fenced_off) as sign:
        target = await inputs.settle(given, workspace.root, seen)
        inputs.write_passes(options.features, given, target.integrated)
        now = run_file.standing(given, workspace, options, target)
        if resume is not None and (now.unfinished is None or now.unfinished.id != resume):
            raise InputError(
                f"{resume} was begun with another feature list: {options.features} has changed "
                "since; bring it back to go on, or begin anew with "
                f"`{workspace.hint('run')}` (what is merged stays so)"
            )
        if now.idle:
            as_json = options.screen == "json"
            code = play.nothing_to_do(given, workspace, now, target, as_json=as_json)
            return await _deployed(given, workspace, options, code)
        model = model or wiring.choose_model(given, workspace, options)
        run, file = _run_of(workspace, options, target, now)
        workers = inputs.workers(options, live=model.source == "live")
        settings = wiring.settings_of(run, given, options, workers=workers)
        opened = wiring.Opened(given, workspace, options, target, model, settings)
        code = await _play(opened, file, sign, resumed=now.unfinished is not None)
        return await _deployed(given, workspace, options, code)


async def _deployed(
    given: FeatureList, workspace: Workspace, options: RunOptions, code: int
) -> tuple[int, bool]:
    """An unattended run goes on to the deployment, where the project has one."""
    if not options.autopilot or given.project.deploy is None or code not in {0, 1, 3}:
        return code, False
    from harness.deploy import driving  # noqa: PLC0415 - most runs do without

    return await driving.after_run(given, workspace, options, code)


def _run_of(
    workspace: Workspace, options: RunOptions, target: Target, now: Standing
) -> tuple[str, RunFile]:
    """The run to continue, or a new one, and what it was begun with."""
    if now.unfinished is not None:
        run = now.unfinished.id
        return run, RunFile.load(workspace.run_file(run))
    run = options.planned
    if not run or workspace.run_file(run).exists():
        run = new_run_id(SystemClock().now(), secrets.token_hex(2), after=workspace.newest)
    file = RunFile.first(options, target, now)
    file.store(workspace.run_file(run))
    return run, file


async def _play(opened: wiring.Opened, file: RunFile, sign: Sign, *, resumed: bool) -> int:
    from harness.cli.screen import Screen, mode_for  # noqa: PLC0415

    workspace, run, places = opened.workspace, opened.settings.run, opened.settings.workers
    mode = opened.options.screen or mode_for(sys.stdout)
    async with books.held(workspace, run, sign, places=places) as (journal, fleet):
        past = state.fold(iter_events(workspace.events(run)))
        with Screen(sys.stdout, mode, initial=past) as screen:
            journal.listen(screen)
            journal.listen(Progress(workspace.progress, lambda: screen.state))
            journal.listen(Announcer(Notices(workspace, SystemClock()), lambda: screen.state))
            try:
                async with wiring.open_services(
                    opened, journal, lambda: screen.state, fleet
                ) as services:
                    await beginning.announce(opened, file, journal, resumed=resumed)
                    await lock.keep(opened, services)
                    when = _hours(opened.options)
                    code = await play.play(services, file, opened.target.head, when)
            finally:
                built = report.build(screen.state)
                if journal.stands():  # else they are its successor's to write
                    store_report(workspace.run_folder(run), built)
                    if opened.options.record is not None:
                        recording.write(workspace.run_folder(run), opened.options.record)
            screen.finish(built)
    return code


def _hours(options: RunOptions) -> Hours:
    """The moments named, counted from now."""
    now = datetime.now()
    until, before = options.until, options.not_before
    return Hours(
        not_before=hours.moment(before, now) if before else None,
        until=hours.moment(until, now) if until else None,
        quiet=hours.span(options.quiet_hours) if options.quiet_hours else None,
    )


def store_report(folder: Path, built: report.Report) -> None:
    """`report.json` and `report.md` in a run's folder."""
    files.replace_json(folder / "report.json", report.to_json(built))
    files.replace(folder / "report.md", report.to_markdown(built))
