"""Plays a run's workflows until they end, or until somebody or some limit stops them."""

import asyncio
import contextlib
import json
import signal
from collections.abc import AsyncIterator, Mapping
from typing import Any

from harness.batch import Batch
from harness.control_book import ControlBook
from harness.engine import Engine
from harness.fleet import run as fleet_run
from harness.hand import INTERRUPTED
from harness.inputs import Target
from harness.ports import Base
from harness.record.workspace import Workspace
from harness.run_file import RunFile, Standing
from harness.services import Services
from harness.telemetry.watching import watching
from orchestrator import events
from orchestrator.errors import FibreFlowError, InputError, SandboxError, SlaViolatedError
from orchestrator.reporting.wording import counted
from orchestrator.runs import plan
from orchestrator.runs.hours import Hours
from orchestrator.values import FeatureList

#: How long a start waits to hear that the project's tests can be run.
_TESTS_SECONDS = 30.0
#: Between two looks at what other machines still work on; longer than news of it takes.
_LOOK_SECONDS = 0.5
#: How long work that is let go may take to notice.
_LET_GO_SECONDS = 5.0


async def play(services: Services, file: RunFile, head: str, when: Hours) -> int:
    """The exit code. Raises `InputError` when the project's setup fails on `head`, or its tests
    cannot be run there; `SlaViolatedError` when the data it needs is not fresh."""
    with contextlib.ExitStack() as watched:
        try:
            watched.enter_context(watching(services))
            await _get_ready(services, head)
        except (InputError, SlaViolatedError) as error:
            services.journal.write(events.RunStopped(exit_code=error.exit_code, reason=str(error)))
            raise
        return await _play(services, file, when)


async def _play(services: Services, file: RunFile, when: Hours) -> int:
    engine = Engine(
        services.run_folder,
        workers=services.settings.workers,
        fleet=services.fleet,
        run=services.settings.run,
    )
    engine.arrived = services.install
    batch = Batch(services, engine)
    await engine.start()
    leave = asyncio.Event()

    def failed(error: FibreFlowError) -> None:
        services.stop.request(str(error), error.exit_code)
        leave.set()

    engine.failed = failed
    book = ControlBook(engine.store, services.settings.run)
    hand = services.hand
    assert hand is not None
    try:
        async with (
            fleet_run.at_work(services),
            _signals(services, leave),
            hand.at_work(book, when, set_workers=engine.set_workers, leave=leave.set),
        ):
            playing = asyncio.ensure_future(batch.run(file.done, file.held))
            stopping = asyncio.ensure_future(_drained(services, engine))
            leaving = asyncio.ensure_future(leave.wait())
            await asyncio.wait({playing, stopping, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if services.fleet is not None:
                services.fleet.run_is_over = playing.done()
            code = await _end(services, playing)
    finally:
        await _let_go()
        book.close()
        await engine.close()
    if playing.done() and not playing.cancelled():
        if services.fleet is not None:
            await asyncio.to_thread(fleet_run.forget, services.fleet, services.settings.run)
        # Nothing will be reopened: what a crash or a cancelled attempt left goes too.
        await services.provider.close(remove=True)
    return code


async def _drained(services: Services, engine: Engine) -> None:
    """Returns when nothing is at work any more, on this machine or another."""
    await services.stop.drained()
    while await engine.is_at_work():  # noqa: ASYNC110 - it is other machines that are asked
        await asyncio.sleep(_LOOK_SECONDS)
    # What ended elsewhere is its feature's to act on, by a choice and a merge perhaps.
    await asyncio.sleep(0.0 if services.fleet is None else _LOOK_SECONDS)
    await services.stop.drained()


async def _get_ready(services: Services, head: str) -> None:
    await services.gate.admit_run()  # before anything that costs
    for note in services.provider.capabilities.notes:
        services.journal.write(events.WarningGiven(message=f"sandbox: {note}"))
    try:
        base = await services.bases.of(head)
    except SandboxError as error:
        raise InputError(f"the base of the run cannot be prepared: {error}") from error
    looking = asyncio.create_task(_look_at_tests(services, base))
    # A suite that takes longer than this can be run, at least: work need not wait for its end.
    await asyncio.wait({looking}, timeout=_TESTS_SECONDS)
    if looking.done():
        looking.result()
    else:
        looking.add_done_callback(lambda task: _stop_late(services, task))


async def _look_at_tests(services: Services, base: Base) -> None:
    """Said once, before money is spent on attempts that nothing could judge."""
    # A sandbox that fails at once will fail the first attempt too, which says it better.
    with contextlib.suppress(SandboxError):
        for text in await services.checker.base(base):
            services.journal.write(events.WarningGiven(message=text))


def _stop_late(services: Services, task: "asyncio.Task[None]") -> None:
    error = None if task.cancelled() else task.exception()
    if isinstance(error, FibreFlowError):
        services.stop.request(str(error), error.exit_code)


async def _end(services: Services, playing: "asyncio.Future[dict[str, Any]]") -> int:
    if playing.done():
        code = plan.exit_code([end["state"] for end in playing.result().values()])
        code = 1 if await _lost(services, playing.result()) else code
        services.journal.write(events.RunFinished(exit_code=code))
        return code
    reason = services.stop.reason or "stopped"
    code = services.stop.exit_code or INTERRUPTED
    services.journal.write(events.RunStopped(exit_code=code, reason=reason))
    return code


async def _lost(services: Services, ends: Mapping[str, Any]) -> bool:
    """Whether the branch lacks what was merged, because somebody moved it; said as warnings."""
    branch = services.project.branch
    head = await services.repository.head_name(branch)
    there = await services.repository.integrated(head) if head is not None else {}
    lost = [i for i, end in ends.items() if end["state"] == "merged" and i not in there]
    for id_ in lost:
        text = f"{id_} was merged, but is not on branch {branch} any more: somebody moved it"
        services.journal.write(events.WarningGiven(message=text))
    return bool(lost)


async def _let_go() -> None:
    """Let go of all work at once. It has not failed: the next start of the run continues it."""
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks, timeout=_LET_GO_SECONDS)


@contextlib.asynccontextmanager
async def _signals(services: Services, leave: asyncio.Event) -> AsyncIterator[None]:
    """Ctrl-C once lets running attempts end, twice leaves at once; nothing is lost either way.

    A terminal that is closed drains too, and never more: the shell and the kernel may both say
    so. Whoever started us with `nohup` wants us to go on.
    """
    loop = asyncio.get_running_loop()

    def asked(number: signal.Signals) -> None:
        reason = f"interrupted by {number.name}; the same command goes on from here"
        if services.stop.request(reason, INTERRUPTED):
            services.journal.write(events.DrainRequested(reason=reason))
        elif number != signal.SIGHUP:
            leave.set()

    numbers = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        numbers.append(signal.SIGHUP)
    for number in numbers:
        loop.add_signal_handler(number, asked, number)
    try:
        yield
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)


def nothing_to_do(
    given: FeatureList, workspace: Workspace, now: Standing, target: Target, *, as_json: bool
) -> int:
    """Say why no run is begun; the exit code. `as_json`: in the words of a run's report."""
    code = 3 if now.waiting else 0
    if as_json:
        print(json.dumps(_idle_report(given, now, target)))
        return code
    merged = counted(len(target.integrated), "feature")
    print(f"{merged} merged on branch {target.branch} of {target.repository.path}")
    for id_, (attempt, run) in now.waiting.items():
        look = workspace.hint("report", run)
        take = workspace.hint("accept", id_, attempt or "ATTEMPT")
        print(f"{id_} waits for a person: `{look}` says why, `{take}` takes it")
    if not now.waiting:
        print("nothing to do")
    return code


def _idle_report(given: FeatureList, now: Standing, target: Target) -> dict[str, Any]:
    """The keys that every report has, for no run at all. What is neither merged nor held waits
    behind something that is held."""
    return {
        "run": None,
        "repo": str(target.repository.path),
        "branch": target.branch,
        "cost_usd": 0.0,
        "seconds": 0.0,
        "features": [
            {
                "id": f.id,
                "state": "merged" if f.id in target.integrated else now.held.get(f.id, "blocked"),
                "attempt": now.waiting.get(f.id, (None,))[0],
                "commit": target.integrated.get(f.id),
                "reasons": ["nothing to do"],
            }
            for f in given.features
        ],
    }
