"""The wiring: builds a run from its options; the only module that knows the adapters."""

import asyncio
import contextlib
import secrets
import shutil
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from harness import beginning, inputs, lock, play, routing, run_file, sandboxes
from harness.cli.flags import RunOptions
from harness.exam_texts import protection
from harness.fleet import books, temporary
from harness.fleet.member import Fleet
from harness.git import Repository
from harness.hand import Hand
from harness.inputs import Target
from harness.models import recording
from harness.notices import Announcer, Notices
from harness.ports import Connection, Metered, Model, SandboxProvider, SandboxUse
from harness.progress import Progress
from harness.record import files, outcomes
from harness.record.clock import SystemClock
from harness.record.journal import CommandLog, Journal, iter_events
from harness.record.workspace import Workspace, new_run_id
from harness.record.workspace_lock import Sign
from harness.routing import Router
from harness.run_file import RunFile, Standing
from harness.services import Bases, NoGate, Services, Settings
from harness.stop import Stop
from orchestrator import events, model_router
from orchestrator.errors import InputError
from orchestrator.reporting import report
from orchestrator.routing import odds as routing_odds
from orchestrator.runs import hours, state
from orchestrator.runs.hours import Hours
from orchestrator.values import TIERS, FeatureList, Tier

if TYPE_CHECKING:
    from harness.learn.knowledge import Knowledge
    from harness.learn.store import PatternStore
    from harness.models.gateway import Gateway
    from harness.record.budget import RunPurse


@dataclass(frozen=True, slots=True)
class Opened:
    """A run before its adapters are opened: what it works on and where it is written down."""

    given: FeatureList
    workspace: Workspace
    options: RunOptions
    target: Target
    model: Model
    settings: Settings


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
    model = None if idle else choose_model(given, workspace, options)
    _patterns(workspace).load()
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
        model = model or choose_model(given, workspace, options)
        run, file = _run_of(workspace, options, target, now)
        workers = inputs.workers(options, live=model.source == "live")
        settings = settings_of(run, given, options, workers=workers)
        opened = Opened(given, workspace, options, target, model, settings)
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


def settings_of(run: str, given: FeatureList, options: RunOptions, *, workers: int) -> Settings:
    return Settings(
        run=run,
        workers=workers,
        sandbox=options.sandbox,
        tier=options.tier,
        budget_usd=given.defaults.budget_usd,
    )


def choose_model(given: FeatureList, workspace: Workspace, options: RunOptions) -> Model:
    """The recording that the list names, else a real model by the environment's key."""
    if (recording := inputs.recording_path(given, workspace.root)) and not options.live:
        from harness.models.recorded import RecordedModel  # noqa: PLC0415

        return RecordedModel(recording)
    from harness.models.endpoints import live_model  # noqa: PLC0415

    return live_model(workspace.root)


async def _play(opened: Opened, file: RunFile, sign: Sign, *, resumed: bool) -> int:
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
                async with open_services(opened, journal, lambda: screen.state, fleet) as services:
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


@contextlib.asynccontextmanager
async def open_services(
    opened: Opened,
    journal: Journal,
    current: Callable[[], state.RunState] = state.RunState,
    fleet: Fleet | None = None,
) -> AsyncIterator[Services]:
    """Everything the workflows need, opened; and closed again whatever happens. `current` is
    the run's state, which the journal's events keep up to date; `fleet` is what this process is
    part of, where it is one of many."""
    from harness.agents.chosen import agents_of  # noqa: PLC0415
    from harness.checker import PatchChecker  # noqa: PLC0415
    from harness.integrate import Integrator  # noqa: PLC0415
    from harness.models.gateway import Gateway  # noqa: PLC0415
    from harness.sandboxes import profiles  # noqa: PLC0415
    from harness.sandboxes.limited import LimitedProvider  # noqa: PLC0415
    from harness.sla.gate import gate_settings, open_gate  # noqa: PLC0415
    from harness.verify.measuring import Measuring  # noqa: PLC0415

    given, workspace, target = opened.given, opened.workspace, opened.target
    settings, clock = opened.settings, SystemClock()
    scratch = await asyncio.to_thread(temporary.folder, workspace, settings.run, fleet)
    repository = Repository(target.repository.path, scratch)
    protected = await protection(repository, target.head, given, target.files)

    async def refresh_passes() -> None:
        head = await repository.head_name(target.branch)
        integrated = await repository.integrated(head or target.base)
        journal.require()
        try:
            inputs.write_passes(opened.options.features, given, integrated)
        except (InputError, OSError) as error:
            # The branch says what is merged; the file can be brought up to date later.
            text = f"passes was not written: {error}; the next start writes it"
            journal.write(events.WarningGiven(message=text))

    def connected(asked: Connection) -> None:
        journal.write(events.ConnectionAsked(**asdict(asked)))

    async with contextlib.AsyncExitStack() as stack:
        scratch.mkdir()
        stack.callback(shutil.rmtree, scratch, ignore_errors=True)
        stop = Stop()
        purse = stack.enter_context(_purse(opened, journal, current, fleet))
        provider = sandboxes.provider(settings.sandbox, settings.run, observe=connected)
        _account_for(provider, purse, journal)
        stack.push_async_callback(provider.close)
        await provider.reap()
        limited = LimitedProvider(provider, profiles.of_run(given.project.profile))
        commands = CommandLog(workspace.command_log, settings.run, clock)
        stack.callback(commands.close)
        gateway = Gateway(opened.model, clock, purse=purse, note=journal.write)
        stack.push_async_callback(gateway.close)
        settings_of_gate = gate_settings(opened.options, given.defaults.agent)
        gate = await stack.enter_async_context(
            open_gate(workspace, settings.run, clock, journal, settings_of_gate)
        )
        bases = Bases(limited, repository, given.project, journal, clock)
        known = contextlib.closing(_knowledge(opened, journal, gateway, current))
        tools = await stack.enter_async_context(Measuring(scratch))
        yield Services(
            settings=settings,
            workspace=workspace,
            features=given,
            repository=repository,
            protected=protected,
            provider=limited,
            bases=bases,
            model=opened.model,
            agent=await stack.enter_async_context(
                agents_of(
                    workspace.root,
                    gateway,
                    clock,
                    default=given.defaults.agent,
                    limits=profiles.of_run(given.project.profile),
                )
            ),
            checker=PatchChecker(
                given, workspace, settings.run, repository, limited, bases, protected, tools
            ),
            journal=journal,
            commands=commands,
            integrator=Integrator(repository, target.branch, journal, settings.run),
            router=await asyncio.to_thread(_router, opened, purse, journal),
            write_passes=refresh_passes,
            gate=gate or NoGate(),
            stop=stop,
            hand=Hand(journal, stop, current, purse.retune),
            fleet=fleet,
            artifacts=books.artifacts(),
            knowledge=stack.enter_context(known),
        )


@contextlib.contextmanager
def _purse(
    opened: Opened,
    journal: Journal,
    current: Callable[[], state.RunState],
    fleet: Fleet | None,
) -> Iterator["RunPurse"]:
    from harness.record.budget import RunPurse  # noqa: PLC0415

    book = books.budget(opened.workspace, fleet)
    tuned = current().retuned_usd if opened.options.budget_usd is None else None
    purse = RunPurse(
        book,
        SystemClock(),
        run=opened.settings.run,
        run_usd=tuned or opened.settings.budget_usd,
        month_usd=opened.options.month_usd,
        note=journal.write,
    )
    if fleet is None:
        purse.take_over()
    else:
        journal.listen(lambda event: _heard(event, purse, holds=fleet.holder is not None))
    try:
        yield purse
    finally:
        book.close()


def _heard(event: events.Event, purse: "RunPurse", *, holds: bool) -> None:
    """In a fleet: a budget that was asked of the process that holds the run, and what a dead
    worker had asked and not paid, which whoever declared it dead has put down as unknown."""
    if isinstance(event, events.ControlTaken) and event.budget_usd is not None:
        purse.retune(event.budget_usd)
    elif isinstance(event, events.AttemptResumed) and holds:
        purse.tell_lost()


def _patterns(workspace: Workspace) -> "PatternStore":
    from harness.learn.store import PatternStore  # noqa: PLC0415

    return PatternStore(workspace.patterns, workspace.patterns_lock)


def _knowledge(
    opened: Opened, journal: Journal, gateway: "Gateway", current: Callable[[], state.RunState]
) -> "Knowledge":
    from harness.learn import knowledge  # noqa: PLC0415
    from harness.learn.reflection import Reflector  # noqa: PLC0415

    clock = SystemClock()
    return knowledge.Knowledge(
        run=opened.settings.run,
        store=_patterns(opened.workspace),
        journal=journal,
        clock=clock,
        state=current,
        reflector=Reflector(gateway, clock, journal),
        roots=sandboxes.WORKDIRS,
    )


def _account_for(provider: SandboxProvider, purse: "RunPurse", journal: Journal) -> None:
    """Have what sandboxes cost counted, where they cost anything."""

    def used(use: SandboxUse) -> None:
        seconds = round(use.seconds, 3)
        journal.write(
            events.SandboxUsed(sandbox=use.sandbox, seconds=seconds, cost_usd=use.cost_usd)
        )
        purse.book(f"sandbox {use.sandbox} {secrets.token_hex(6)}", use.cost_usd)

    if isinstance(provider, Metered):
        provider.on_use = used


def _router(opened: Opened, purse: "RunPurse", journal: Journal) -> Router:
    """Knows what this run's and earlier ones' attempts came to, and hears of those to come."""
    rules = routing.read_rules(opened.workspace.root)
    settings = model_router.RoutingSettings(
        rules, override=opened.settings.tier, default=opened.given.defaults.tier
    )
    live = opened.model.source == "live"
    if live:
        ids: dict[Tier, str] = {tier: opened.model.model_id(tier) for tier in TIERS}
        settings = replace(settings, price=routing.relative_prices(ids))
    ledger = outcomes.Ledger()
    if live and opened.settings.tier is None:
        ledger = outcomes.read(opened.workspace, runs=rules.history.runs, but=opened.settings.run)
    past = routing_odds.count(ledger.outcomes)
    for event in iter_events(opened.workspace.events(opened.settings.run)):
        ledger.add(event)
    journal.listen(ledger.add)
    return Router(
        settings=replace(settings, past=past),
        defaults=opened.given.defaults,
        funds=purse,
        ledger=ledger,
        clock=SystemClock(),
        live=live,
    )
