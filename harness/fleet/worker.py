"""`fibreflow worker`: takes attempts of any run of its fleet, until it is told to leave.

It holds no run. What an attempt needs it opens from the run's workspace, which has to be mounted
at the same path here; the outcome goes to the queue, where the process that holds the run finds
it. When that process dies, one worker begins another in its place.
"""

import asyncio
import contextlib
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from harness import attempt, inputs, wiring
from harness.database import VARIABLE
from harness.defects import keep_trace
from harness.fleet import program, sessions
from harness.fleet import run as fleet_run
from harness.fleet.claims import Claim, Run
from harness.fleet.member import Fleet, joined
from harness.fleet.pump import Pump
from harness.record.clock import SystemClock
from harness.record.journal_shared import WorkersJournal
from harness.record.workspace import Workspace
from harness.run_file import RunFile
from harness.services import Services
from orchestrator.errors import FibreFlowError, InputError, MachineError, TakenOverError
from orchestrator.runs.state import Fold
from orchestrator.values import AttemptKey

#: Between two looks at the runs there are.
_LOOK_SECONDS = 0.5
#: How long whoever stands in for a dead process has to begin, before another may try.
_STAND_IN_SECONDS = 15.0
#: How long attempts that are let go of may take to notice.
_LET_GO_SECONDS = 5.0
#: By the database's clock: those of the machines may differ by more than the wait.
_STAND_IN = (
    "UPDATE fibreflow_runs SET stand_in = extract(epoch FROM clock_timestamp()) "
    "WHERE run = :run AND standing IN ('working', 'held') AND (stand_in IS NULL OR "
    "stand_in < extract(epoch FROM clock_timestamp()) - :wait) RETURNING run"
)


def work(places: int) -> int:
    """The exit code. Raises `InputError` without a fleet, `MachineError` when this machine cannot
    do what attempts need: they are then given back."""
    return asyncio.run(_work(places))


async def _work(places: int) -> int:
    async with joined(places=places) as fleet:
        if fleet is None:
            raise InputError(f"a worker needs {VARIABLE}: the Postgres of the runs it works for")
        print(f"worker {fleet.worker} takes up to {places} attempts at once", flush=True)
        async with contextlib.AsyncExitStack() as stack:
            worker = Worker(fleet, places)
            stack.push_async_callback(worker.close)
            return await worker.until_told()


class Worker:
    """One process that takes attempts. `until_told` does; `close` lets go of everything."""

    def __init__(self, fleet: Fleet, places: int) -> None:
        self._fleet = fleet
        self._open: dict[str, _OpenRun] = {}
        self._known: dict[str, Run] = {}
        self._told_of: set[str] = set()
        self._unable: dict[str, str] = {}
        self._failed: FibreFlowError | None = None
        self._stand_ins: list[subprocess.Popen[bytes]] = []
        self._pump = Pump(fleet.claims, self._play, places=places)
        self._pump.runs = self._here

    def _here(self) -> tuple[str, ...]:
        """The runs whose workspace is mounted here and that may be worked on."""
        known = self._known.values()
        return tuple(r.id for r in known if r.standing == "working" and not self._why_not(r))

    def _why_not(self, run: Run) -> str:
        """Why this worker leaves a run alone; empty where it works on it."""
        return self._unable.get(run.id) or _why_not(run)

    async def until_told(self) -> int:
        """Once told, what is at work here ends first; told again, it is given back."""
        drain, leave = asyncio.Event(), asyncio.Event()
        _on_signals(drain, leave)
        tasks = [asyncio.create_task(self._pump.run(lambda: self._fleet.worker)),
                 asyncio.create_task(self._look_around())]  # fmt: skip
        told = asyncio.create_task(self._drained(drain))
        left = asyncio.create_task(leave.wait())
        await asyncio.wait({*tasks, told, left}, return_when=asyncio.FIRST_COMPLETED)
        for task in (*tasks, told, left):
            task.cancel()
        done = await asyncio.gather(*tasks, return_exceptions=True)
        for error in done:
            if isinstance(error, Exception):
                raise error
        if self._failed is not None:
            raise self._failed
        return 0

    async def _drained(self, drain: asyncio.Event) -> None:
        await drain.wait()
        self._pump.places = 0
        while self._pump.live:
            await asyncio.wait(list(self._pump.live.values()))
        self._pump.kick()
        await asyncio.sleep(_LOOK_SECONDS)  # what has ended is written by now

    async def close(self) -> None:
        tasks = self._pump.cancel(list(self._pump.live))
        if tasks:
            await asyncio.wait(tasks, timeout=_LET_GO_SECONDS)
        for run in list(self._open):
            await self._open.pop(run).close()

    # ------------------------------------------------------------------ its runs

    async def _look_around(self) -> None:
        while self._failed is None:
            self._known = await asyncio.to_thread(self._fleet.claims.runs)
            self._tell_of_strangers()
            for id_, opened in list(self._open.items()):
                await self._attend(id_, opened)
            await asyncio.to_thread(self._stand_in)
            await asyncio.sleep(_LOOK_SECONDS)

    def _tell_of_strangers(self) -> None:
        """Once for each run that is left alone: else a worker that does nothing looks idle."""
        for run in self._known.values():
            why = self._why_not(run)
            if why and run.id not in self._told_of:
                self._told_of.add(run.id)
                print(f"leaves run {run.id} alone: {why}", flush=True)

    async def _attend(self, id_: str, opened: "_OpenRun") -> None:
        known = self._known.get(id_)
        mine = [claim for claim in self._pump.live if claim.startswith(f"{id_}/")]
        if known is None or known.standing == "stopped" or id_ in self._unable:
            self._pump.cancel(mine)
            await asyncio.to_thread(self._fleet.claims.release, self._fleet.worker, mine)
            if not mine:
                await self._open.pop(id_).close(remove=known is None)
            return
        services = opened.services
        if services is None:
            return
        if isinstance(services.journal, WorkersJournal):
            services.journal.catch_up()
        if services.stop.reason is not None:
            await self._halt(services, mine)

    async def _halt(self, services: Services, mine: list[str]) -> None:
        """An error that is more than one attempt's: this machine's, or else the run's."""
        stop = services.stop
        assert stop.reason is not None
        self._pump.cancel(mine)
        await asyncio.to_thread(self._fleet.claims.release, self._fleet.worker, mine)
        if stop.exit_code == MachineError.exit_code:
            self._failed = MachineError(stop.reason)
            return
        await asyncio.to_thread(
            fleet_run.ask_to_stop, self._fleet, services.settings.run, stop.reason,
            stop.exit_code, spent=stop.is_spent,
        )  # fmt: skip
        await self._open.pop(services.settings.run).close()

    def _stand_in(self) -> None:
        """Begin what holds a run anew where it died or froze. Blocks."""
        self._stand_ins = [p for p in self._stand_ins if p.poll() is None]
        if not self._fleet.can_tell():
            return
        held = {row[1] for row in sessions.live(self._fleet.database)}
        for run in self._known.values():
            if run.id in held or run.standing == "stopped" or self._why_not(run):
                continue
            values = {"run": run.id, "wait": _STAND_IN_SECONDS}
            if self._fleet.database.do(_STAND_IN, values):
                self._stand_ins.append(_resume(run))

    # ------------------------------------------------------------------- attempts

    async def _play(self, claim: Claim) -> dict[str, Any]:
        run = self._known[claim.run]
        folder = Workspace(Path(run.workspace)).run_folder(run.id)
        try:
            opened = self._open.get(claim.run)
            if opened is None:
                opened = self._open[claim.run] = _OpenRun(self._fleet, run)
            services = await self._ready(claim.run, opened)
            parts, commit, tier = claim.args
            key = AttemptKey(parts[0], parts[1], parts[2])
            return {"value": await attempt.run_attempt(services, key, commit, tier)}
        except TakenOverError:
            raise
        except Exception as error:  # noqa: BLE001 - one bad attempt must not end the worker
            keep_trace(folder, claim.id, error)
            return {"error": f"{type(error).__name__}: {error}"}

    async def _ready(self, run: str, opened: "_OpenRun") -> Services:
        """The run's services. Where they cannot be opened here no attempt is to blame: it waits
        to be given back, and either this worker leaves or the run is left to others."""
        try:
            return await opened.ready()
        except FibreFlowError as error:
            if error.exit_code == MachineError.exit_code:
                self._failed = MachineError(str(error))
            else:
                again = "start a worker again when that is mended"
                self._unable[run] = f"it cannot be worked on from here ({error}); {again}"
        await asyncio.get_running_loop().create_future()
        raise AssertionError("nobody completes this future")


class _OpenRun:
    """The services of one run, opened and closed by a task of their own."""

    def __init__(self, fleet: Fleet, run: Run) -> None:
        self._fleet = fleet
        self._run = run
        self._over = asyncio.Event()
        self._remove = False
        self._ready: asyncio.Future[Services] = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(self._serve())

    @property
    def services(self) -> Services | None:
        done = self._ready.done() and self._ready.exception() is None
        return self._ready.result() if done else None

    async def ready(self) -> Services:
        """Raises what opening it raised."""
        return await asyncio.shield(self._ready)

    async def close(self, *, remove: bool = False) -> None:
        """`remove`: the run is over, and nothing will be reopened."""
        self._remove = remove
        self._over.set()
        await asyncio.wait([self._task])

    async def _serve(self) -> None:
        try:
            async with _services(self._fleet, self._run) as services:
                self._ready.set_result(services)
                await self._over.wait()
                if self._remove:
                    await services.provider.close(remove=True)
        except Exception as error:  # noqa: BLE001 - told to whoever waits for it
            if not self._ready.done():
                self._ready.set_exception(error)


@contextlib.asynccontextmanager
async def _services(fleet: Fleet, run: Run) -> AsyncIterator[Services]:
    """As the process that holds the run has them, but for its files."""
    workspace = Workspace(Path(run.workspace))
    options = RunFile.load(workspace.run_file(run.id)).run_options()
    given = inputs.read_features(options)
    target = await inputs.find_target(given, workspace.root)
    model = wiring.choose_model(given, workspace, options)
    settings = wiring.settings_of(run.id, given, options, workers=1)
    opened = wiring.Opened(given, workspace, options, target, model, settings)
    journal = WorkersJournal(
        workspace.events(run.id), run.id, SystemClock(), fleet.database, lambda: fleet.worker
    )
    fold = Fold()
    for event in journal.past:
        fold.apply(event)
    journal.listen(fold.apply)
    async with wiring.open_services(opened, journal, lambda: fold.state, fleet) as services:
        yield services


def _why_not(run: Run) -> str:
    """Why this worker cannot work on a run, and what helps; empty where it can."""
    if not Workspace(Path(run.workspace)).run_file(run.id).is_file():
        return (
            f"its workspace {run.workspace} is not here; "
            "mount it at the same path as on the machine that began the run"
        )
    if run.is_others:
        return (
            f"it belongs to FibreFlow {run.version}, and this worker is {program.version()}; "
            f"install that version here, or let this one go on with the run, where no process "
            f"holds it, by `fibreflow resume {run.id} --workspace {run.workspace}`"
        )
    return ""


def _resume(run: Run) -> "subprocess.Popen[bytes]":
    """Whoever goes on with a run whose process died: a process like it."""
    log = Workspace(Path(run.workspace)).run_folder(run.id) / "stand-in.log"
    runner = Path(__file__).resolve().parent.parent / "runner.py"
    words = ["resume", run.id, "--workspace", run.workspace]
    with log.open("ab") as file:
        return subprocess.Popen(
            [sys.executable, str(runner), *words],
            stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip


def _on_signals(drain: asyncio.Event, leave: asyncio.Event) -> None:
    def asked() -> None:
        (leave if drain.is_set() else drain).set()

    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, asked)
