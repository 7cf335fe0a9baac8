"""Takes a goal to a written feature list, and on to its run; goes on where a process stopped."""

import asyncio
import contextlib
import os
import secrets
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, replace

from harness import context, inputs
from harness.cli.flags import RunOptions
from harness.models.gateway import Gateway
from harness.planner import goals, landing, papers, proving, reviewing
from harness.planner.asking import Asking
from harness.planner.drafting import Drafting
from harness.planner.goals import Ground
from harness.planner.papers import Papers, Plan
from harness.planner.reviewing import Review, Subject
from harness.ports import Clock, Model
from harness.record.budget import BudgetBook, RunPurse
from harness.record.clock import SystemClock
from harness.record.journal import Journal
from harness.record.workspace import Workspace, new_run_id
from harness.run_file import options_of, plain
from orchestrator import events
from orchestrator.approval_requests import People
from orchestrator.errors import InputError
from orchestrator.planner import course as planning
from orchestrator.planner.course import Planned
from orchestrator.values import FeatureList
from orchestrator.verify.acceptance import STANDARD

ChooseModel = Callable[[FeatureList, Workspace, RunOptions], Model]
Run = Callable[[RunOptions], int]
Prove = Callable[[Ground, Plan, Planned, str], Awaitable[Mapping[str, str]]]


@dataclass(frozen=True, slots=True)
class Planner:
    """What planning works with: the run's options, its model, the time. `prove` tries the tests
    before anything is built. `noted` is told of every point at which the process could die."""

    options: RunOptions
    choose_model: ChooseModel
    clock: Clock
    prove: Prove = proving.prove
    noted: Callable[[str], None] = lambda _: None


def start(options: RunOptions, choose_model: ChooseModel, run: Run) -> int:
    """Plan, then `run` the list; the exit code. Raises `PlanError` when no plan comes of it."""
    if options.dry_run:
        raise InputError("--dry-run: a goal has no list yet; write one with --plan-only")
    ready = asyncio.run(plan_goal(Planner(options, choose_model, SystemClock())))
    if not ready.plan.done:
        return _pending(ready)
    if options.plan_only:
        return _told(ready)
    return run(ready.options)


def answered(workspace: Workspace) -> Plan | None:
    """The plan that waits no longer: a person has answered about it."""
    known = {a.request.id: a.answer for a in reviewing.store(workspace, SystemClock()).all()}
    return next(
        (p for p in Papers(workspace).all() if not p.done and known.get(p.request) is not None),
        None,
    )


def resume(plan: Plan, choose_model: ChooseModel, run: Run) -> int:
    """Continue a plan with the options it was begun with."""
    return start(options_of(plan.options), choose_model, run)


@dataclass(frozen=True, slots=True)
class Ready:
    """A plan, and the options of the run to come when it is done."""

    plan: Plan
    ground: Ground
    options: RunOptions


async def plan_goal(planner: Planner) -> Ready:
    """The plan of the options' goal, finished; goes on with one that was begun."""
    options = planner.options
    ground = goals.ground_of(options, goals.goal_of(options))
    goal = ground.goal
    own = Papers(ground.workspace)
    wanted = papers.digest(goal, str(ground.features.resolve()), options.tier, options.live)
    if not _is_done(own.find(wanted), ground):
        # All that can be refused is refused before anything is created.
        await inputs.preview(ground.given, ground.workspace.root, options)
        model = planner.choose_model(ground.given, ground.workspace, options)
        planner = replace(planner, choose_model=lambda *_: model)
    with ground.workspace.lock():
        plan = own.find(wanted) or await _begin(options, ground, goal, wanted)
        if not _is_done(plan, ground):
            plan = await _make(planner, ground, plan, own)
    over = any(r.id == plan.run and r.finished for r in ground.workspace.runs())
    going = replace(
        options,
        workspace=ground.workspace.root,
        features=ground.features,
        goal="",
        planned="" if over else plan.run,
    )
    return Ready(plan, ground, going)


def _is_done(plan: Plan | None, ground: Ground) -> bool:
    return plan is not None and plan.done and ground.features.exists()


async def _begin(options: RunOptions, ground: Ground, goal: str, wanted: str) -> Plan:
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
        head=target.head,
        options=plain(replace(options, workspace=ground.workspace.root, features=ground.features)),
    )
    Papers(ground.workspace).store(plan)
    return plan


async def _make(planner: Planner, ground: Ground, plan: Plan, own: Papers) -> Plan:
    options, clock = planner.options, planner.clock
    journal = Journal(ground.workspace.events(plan.run), plan.run, clock)
    try:
        with _shown(options, journal):
            async with _gateway(planner, ground, plan, journal) as gateway:
                _announce(ground, plan, journal, gateway.source)
                asking = Asking(gateway, clock, plan.goal, plan.surroundings, options.tier)
                drafting = Drafting(plan, own, journal, asking, _known(ground, plan), planner.noted)
                review = _review(ground, plan, own, journal, clock)
                plan, made = await _agreed(planner, ground, plan, drafting, review)
            if made is None:
                journal.write(events.RunStopped(exit_code=3, reason="its plan waits for a person"))
                return plan
            wanted: tuple[tuple[str, str], ...] = ()
            if options.commit_documents:
                names = sorted(own.folder(plan).glob("*.md"))
                wanted = tuple((f"docs/plan/{p.name}", p.read_text("utf-8")) for p in names)
            commit = await landing.land(ground, made, wanted, plan.run)
            planner.noted("landed")
            ids = tuple(str(f["id"]) for f in made.features)
            path = str(ground.features)
            journal.write(events.PlanFinished(features=ids, commit=commit, path=path))
            if options.plan_only:
                journal.write(events.RunFinished(exit_code=0))
    finally:
        journal.close()
    done = replace(plan, done=True)
    own.store(done)
    planner.noted("done")
    return done


async def _agreed(
    planner: Planner, ground: Ground, plan: Plan, drafting: Drafting, review: Review
) -> tuple[Plan, Planned | None]:
    """What the roles came to and, where one is to be asked, a person agrees with; None while
    that is open."""
    while True:
        standing = await drafting.draft()
        made = planning.planned(standing)
        wrong = await planner.prove(ground, plan, made, planner.options.sandbox)
        if wrong:
            drafting.send_back(standing["test_plan"], wrong)
            continue
        if not planner.options.approve_plan:
            return plan, made
        proposal = landing.listed(ground, made) or ground.text
        plan, verdict = review.verdict(plan, Subject(standing, made, proposal))
        if verdict == "approved":
            return plan, made
        if verdict == "pending" and not planner.options.wait:
            return plan, None
        await planner.clock.sleep(1.0 if verdict == "pending" else 0.0)


def _review(ground: Ground, plan: Plan, own: Papers, journal: Journal, clock: Clock) -> Review:
    deploy = ground.given.project.deploy
    people = deploy.people if deploy is not None else People()
    return Review(ground.workspace, own, journal, clock, people, plan.head)


def _known(ground: Ground, plan: Plan) -> planning.Ground:
    given = ground.given.project.protected
    return planning.Ground(
        ids=frozenset(f.id for f in ground.given.features),
        files=frozenset(plan.files),
        protected=STANDARD if given is None else given,
    )


def _announce(ground: Ground, plan: Plan, journal: Journal, source: str) -> None:
    project = ground.given.project
    started = events.PlanStarted(
        goal=plan.goal,
        model=source,
        repo=str(inputs.repo_path(ground.given, ground.workspace.root)),
        branch=project.branch,
        workspace=str(ground.workspace.root),
        pid=os.getpid(),
    )
    if not journal.write(started):
        journal.write(events.RunResumed(pid=os.getpid()))


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
    from harness.cli.screen import Screen  # noqa: PLC0415 - late, for it costs start-up

    with Screen(sys.stdout, "json" if options.screen == "json" else "plain") as screen:
        journal.listen(screen)
        yield


def _pending(ready: Ready) -> int:
    """That a person has to answer, and how; 3."""
    if ready.options.screen != "json":
        root, request = ready.ground.workspace, ready.plan.request
        look, take = (root.hint("approvals", word, request) for word in ("show", "approve"))
        print(f"approval    of the plan is pending: `{look}`, then `{take}`")
    return 3


def _told(ready: Ready) -> int:
    """Where the plan is, for its owner; 0."""
    if ready.options.screen == "json":
        return 0
    root = ready.ground.workspace
    folder = Papers(root).folder(ready.plan)
    go_on = root.hint("run", "--autopilot")
    print(f"documents   {folder}\nlist        {ready.ground.features}\ngo on with  {go_on}")
    return 0
