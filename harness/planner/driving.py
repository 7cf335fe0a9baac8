"""Takes a goal to a written feature list, and on to its run; goes on where a process stopped."""

import asyncio
import contextlib
import secrets
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, replace

from harness import context, inputs
from harness.flags import RunOptions
from harness.models.gateway import Gateway
from harness.planner import goals, landing, papers
from harness.planner.asking import Asking
from harness.planner.drafting import Drafting
from harness.planner.goals import Ground
from harness.planner.papers import Papers, Plan
from harness.ports import Clock, Model
from harness.record.budget import BudgetBook, RunPurse
from harness.record.clock import SystemClock
from harness.record.journal import Journal
from harness.record.workspace import Workspace, new_run_id
from orchestrator import events, planning
from orchestrator.acceptance import STANDARD
from orchestrator.values import FeatureList

ChooseModel = Callable[[FeatureList, Workspace, RunOptions], Model]
Run = Callable[[RunOptions], int]


@dataclass(frozen=True, slots=True)
class Planner:
    """What planning works with: the run's options, its model, the time."""

    options: RunOptions
    choose_model: ChooseModel
    clock: Clock


def start(options: RunOptions, choose_model: ChooseModel, run: Run) -> int:
    """Plan, then `run` the list; the exit code. Raises `PlanError` when no plan comes of it."""
    ready = asyncio.run(plan_goal(Planner(options, choose_model, SystemClock())))
    if options.plan_only:
        return _told(ready)
    return run(ready.options)


@dataclass(frozen=True, slots=True)
class Ready:
    """A plan that is done, and the options of the run to come."""

    plan: Plan
    ground: Ground
    options: RunOptions


async def plan_goal(planner: Planner) -> Ready:
    """The plan of the options' goal, finished; goes on with one that was begun."""
    options = planner.options
    goal = goals.goal_of(options)
    ground = goals.ground_of(options, goal)
    with ground.workspace.lock():
        own = Papers(ground.workspace)
        wanted = papers.digest(goal, str(ground.features.resolve()), options.tier, options.live)
        plan = own.find(wanted) or await _begin(ground, goal, wanted, own)
        if not (plan.done and ground.features.exists()):
            plan = await _make(planner, ground, plan, own)
    going = replace(
        options,
        workspace=ground.workspace.root,
        features=ground.features,
        goal="",
        planned=plan.run,
    )
    return Ready(plan, ground, going)


async def _begin(ground: Ground, goal: str, wanted: str, own: Papers) -> Plan:
    """A new plan on file, with what its roles are shown: that stays the same to its end."""
    target = await inputs.settle(ground.given, ground.workspace.root, None)
    newest = ground.workspace.newest
    known = "\n".join(f"- {f.id}: {f.description}" for f in ground.given.features)
    shown = await context.describe_commit(
        target.repository, target.head, ground.workspace, ground.given.project
    )
    plan = Plan(
        run=new_run_id(SystemClock().now(), secrets.token_hex(2), after=newest),
        goal=goal,
        digest=wanted,
        surroundings=f"{shown}\n\nFeatures of the list so far:\n{known}" if known else shown,
        files=tuple(sorted(target.files)),
    )
    own.store(plan)
    return plan


async def _make(planner: Planner, ground: Ground, plan: Plan, own: Papers) -> Plan:
    options, clock = planner.options, planner.clock
    journal = Journal(ground.workspace.events(plan.run), plan.run, clock)
    try:
        with _shown(options, journal):
            async with _gateway(planner, ground, plan, journal) as gateway:
                journal.write(events.PlanStarted(goal=plan.goal, model=gateway.source))
                asking = Asking(gateway, clock, plan.goal, plan.surroundings, options.tier)
                drafting = Drafting(plan, own, journal, asking, _known(ground, plan))
                made = planning.planned(await drafting.draft())
            wanted: tuple[tuple[str, str], ...] = ()
            if options.commit_documents:
                names = sorted(own.folder(plan).glob("*.md"))
                wanted = tuple((f"docs/plan/{p.name}", p.read_text("utf-8")) for p in names)
            commit = await landing.land(ground, made, wanted, plan.run)
            ids = tuple(str(f["id"]) for f in made.features)
            path = str(ground.features)
            journal.write(events.PlanFinished(features=ids, commit=commit, path=path))
    finally:
        journal.close()
    done = replace(plan, done=True)
    own.store(done)
    return done


def _known(ground: Ground, plan: Plan) -> planning.Ground:
    given = ground.given.project.protected
    return planning.Ground(
        ids=frozenset(f.id for f in ground.given.features),
        files=frozenset(plan.files),
        protected=STANDARD if given is None else given,
    )


@contextlib.asynccontextmanager
async def _gateway(
    planner: Planner, ground: Ground, plan: Plan, journal: Journal
) -> AsyncIterator[Gateway]:
    """The model behind the run's own budget: what planning costs, the features cannot spend."""
    options, clock = planner.options, planner.clock
    model = planner.choose_model(ground.given, ground.workspace, options)
    book = BudgetBook(ground.workspace.logs / "budget.sqlite")
    purse = RunPurse(
        book,
        clock,
        run=plan.run,
        run_usd=ground.given.defaults.budget_usd,
        month_usd=options.month_usd,
        note=journal.write,
    )
    gateway = Gateway(model, clock, purse=purse, note=journal.write)
    try:
        yield gateway
    finally:
        await gateway.close()
        book.close()


@contextlib.contextmanager
def _shown(options: RunOptions, journal: Journal) -> Iterator[None]:
    """Lines for people, JSON for programs; there is no table to draw yet."""
    from harness.screen import Screen  # noqa: PLC0415 - late, for it costs start-up

    with Screen(sys.stdout, "json" if options.screen == "json" else "plain") as screen:
        journal.listen(screen)
        yield


def _told(ready: Ready) -> int:
    """Where the plan is, for its owner; 0."""
    if ready.options.screen == "json":
        return 0
    root = ready.ground.workspace
    folder = Papers(root).folder(ready.plan)
    go_on = root.hint("run", "--autopilot")
    print(f"documents   {folder}\nlist        {ready.ground.features}\ngo on with  {go_on}")
    return 0
