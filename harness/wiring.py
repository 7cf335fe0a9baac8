"""The wiring: opens all that a run needs; the only module that knows the adapters."""

import asyncio
import contextlib
import functools
import secrets
import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

from harness import inputs, routing, sandboxes
from harness.cli.flags import RunOptions
from harness.exam_texts import protection
from harness.fleet import books, temporary
from harness.fleet.member import Fleet
from harness.git import Repository
from harness.hand import Hand
from harness.inputs import Target
from harness.ports import Connection, Metered, Model, SandboxProvider, SandboxUse
from harness.record import outcomes
from harness.record.clock import SystemClock
from harness.record.journal import CommandLog, Journal, iter_events
from harness.record.workspace import Workspace
from harness.routing import Router
from harness.services import Bases, NoGate, Services, Settings
from harness.stop import Stop
from orchestrator import events, model_router
from orchestrator.errors import InputError
from orchestrator.routing import odds as routing_odds
from orchestrator.runs import state
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
    from harness.sla.gate import gate_settings, open_gate  # noqa: PLC0415
    from harness.verify.measuring import Measuring  # noqa: PLC0415

    given, workspace, target = opened.given, opened.workspace, opened.target
    settings, clock = opened.settings, SystemClock()
    scratch = await asyncio.to_thread(temporary.folder, workspace, settings.run, fleet)
    repository = Repository(target.repository.path, scratch)
    protected = await protection(repository, target.head, given, target.files)

    async with contextlib.AsyncExitStack() as stack:
        scratch.mkdir()
        stack.callback(shutil.rmtree, scratch, ignore_errors=True)
        stop = Stop()
        purse = stack.enter_context(_purse(opened, journal, current, fleet))
        provider = await stack.enter_async_context(_sandboxes(opened, purse, journal))
        commands = CommandLog(workspace.command_log, settings.run, clock)
        stack.callback(commands.close)
        gateway = Gateway(opened.model, clock, purse=purse, note=journal.write)
        stack.push_async_callback(gateway.close)
        settings_of_gate = gate_settings(opened.options, given.defaults.agent)
        gate = await stack.enter_async_context(
            open_gate(workspace, settings.run, clock, journal, settings_of_gate)
        )
        bases = Bases(provider, repository, given.project, journal, clock)
        known = contextlib.closing(_knowledge(opened, journal, gateway, current))
        tools = await stack.enter_async_context(Measuring(scratch))
        yield Services(
            settings=settings,
            workspace=workspace,
            features=given,
            repository=repository,
            protected=protected,
            provider=provider,
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
                given, workspace, settings.run, repository, provider, bases, protected, tools
            ),
            journal=journal,
            commands=commands,
            integrator=Integrator(repository, target.branch, journal, settings.run),
            router=await asyncio.to_thread(_router, opened, purse, journal),
            write_passes=functools.partial(_write_passes, opened, repository, journal),
            gate=gate or NoGate(),
            stop=stop,
            hand=Hand(journal, stop, current, purse.retune),
            fleet=fleet,
            artifacts=books.artifacts(),
            knowledge=stack.enter_context(known),
        )


async def _write_passes(opened: Opened, repository: Repository, journal: Journal) -> None:
    """Bring the list's `passes` up to date with the branch."""
    target = opened.target
    head = await repository.head_name(target.branch)
    integrated = await repository.integrated(head or target.base)
    journal.require()
    try:
        inputs.write_passes(opened.options.features, opened.given, integrated)
    except (InputError, OSError) as error:
        # The branch says what is merged; the file can be brought up to date later.
        text = f"passes was not written: {error}; the next start writes it"
        journal.write(events.WarningGiven(message=text))


@contextlib.asynccontextmanager
async def _sandboxes(
    opened: Opened, purse: "RunPurse", journal: Journal
) -> AsyncIterator[SandboxProvider]:
    """The run's sandboxes, within its profile, without what an earlier process left of them."""
    from harness.sandboxes import profiles  # noqa: PLC0415
    from harness.sandboxes.limited import LimitedProvider  # noqa: PLC0415

    def connected(asked: Connection) -> None:
        journal.write(events.ConnectionAsked(**asdict(asked)))

    settings = opened.settings
    provider = sandboxes.provider(settings.sandbox, settings.run, observe=connected)
    _account_for(provider, purse, journal)
    try:
        await provider.reap()
        yield LimitedProvider(provider, profiles.of_run(opened.given.project.profile))
    finally:
        await provider.close()


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


def patterns(workspace: Workspace) -> "PatternStore":
    """What failures have taught in this workspace."""
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
        store=patterns(opened.workspace),
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
