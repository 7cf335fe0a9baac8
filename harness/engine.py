"""The seam to the durable engine: workflows that survive the process, and nothing else of it.

Only this module imports DBOS. A workflow is a coroutine function registered by name; what it
awaits through `step` and `finished` is recorded, so that a replay after a crash sees the same
answers. Between two recorded points its code must be deterministic.

A child's end is announced in this process at once and read from the database only when another
process ran it: the parent's record of it is then one write, where the engine's own handles cost
two and a polling delay. The announcement precedes the engine's own record of the child's end; a
crash between the two runs the child again, so a child's effects must be keyed (they are: see
`harness.attempt`).
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

from harness import engine_store
from harness.database import Database
from harness.defects import DEFECTS, keep_trace
from harness.fleet.claims import TABLES, Claim, Claims, Ended
from harness.fleet.member import Fleet
from harness.fleet.pump import Pump
from harness.fleet.run_queue import RunQueue
from orchestrator import errors
from orchestrator.errors import FibreFlowError

#: Set by hand: raise it when the recorded shape of a workflow changes.
APPLICATION_VERSION = "4"
#: Older versions whose records this one can continue: the shape of what they recorded is the same.
#: Runs of any other are refused with what finishes them; see `docs/operations.md`.
CONTINUES: frozenset[str] = frozenset()
#: The file of a run's own store.
STORE = "engine.sqlite"
#: How often a parent looks for children that ended before a crash.
_REMOTE_POLL_SECONDS = 1.0

Workflow = Callable[..., Awaitable[Any]]


class Engine:
    """Durable workflows of one run, on a file or the fleet's Postgres. One a process at a time."""

    def __init__(
        self, folder: Path, *, workers: int, fleet: Fleet | None = None, run: str = ""
    ) -> None:
        """`folder`: of the run, where the file is kept, and the traces of defects. `workers`: how
        many queued workflows run at once in this process."""
        self._folder = folder
        self._fleet = fleet
        self._run = run
        self._functions: dict[str, Any] = {}
        self._bodies: dict[str, Workflow] = {}
        self._running: dict[str, asyncio.Task[Any]] = {}
        self._cancelled: set[str] = set()
        self._ended: dict[str, dict[str, Any]] = {}
        self._changed = asyncio.Event()
        self._workers = workers
        self._queue: RunQueue | None = None
        self._queued: set[str] = set()
        #: Told when the queue cannot be used any more: nothing would be taken, or heard of.
        self.failed: Callable[[FibreFlowError], None] = lambda _error: None
        #: Told of queued work of a fleet that has ended, with its generation, before its parent is.
        self.arrived: Callable[[str, int], None] = lambda _workflow, _generation: None

    @property
    def store(self) -> str | Path:
        """Where the records are kept, and the requests of people: a file, or a Postgres's URL."""
        return self._fleet.url if self._fleet is not None else self._folder / STORE

    def register(self, name: str, body: Workflow) -> None:
        """Call before `start`. Arguments and result of `body` must be JSON values."""
        from dbos import DBOS  # noqa: PLC0415 - 0.3 s, which `--help` should not pay

        async def run(*args: Any) -> Any:
            workflow = DBOS.workflow_id
            assert workflow is not None
            task = asyncio.current_task()
            assert task is not None
            self._running[workflow] = task
            try:
                outcome = await self._outcome(workflow, body, args)
            finally:
                self._running.pop(workflow, None)
            self._announce({workflow: outcome})
            return outcome

        self._bodies[name] = body
        # A workflow may be recovered as often as the machine crashes.
        self._functions[name] = DBOS.workflow(name=name, max_recovery_attempts=1_000_000)(run)

    async def _outcome(self, workflow: str, body: Workflow, args: Sequence[Any]) -> dict[str, Any]:
        """How it ended. Raises `CancelledError` when the process is leaving."""
        try:
            return {"value": await body(*args)}
        except asyncio.CancelledError:
            if workflow not in self._cancelled:
                raise  # the process is leaving: this workflow will be recovered
            return {"cancelled": True}
        except Exception as error:  # noqa: BLE001 - one bad feature must not end the run
            keep_trace(self._folder, workflow, error)
            return {"error": f"{type(error).__name__}: {error}"}

    def _announce(self, outcomes: Mapping[str, dict[str, Any]]) -> None:
        self._ended.update(outcomes)
        self._changed.set()

    async def start(self) -> None:
        """Open the store and recover what an earlier process left. Needs a running loop.

        Raises `MachineError` when the store cannot be opened.
        """
        from dbos import DBOS  # noqa: PLC0415

        store = await asyncio.to_thread(self._open_store)
        shared = self._fleet is not None
        url = f"sqlite:///{self._folder / STORE}"
        if self._fleet is not None:
            url = engine_store.driver_url(self._fleet.url)
        DBOS(
            config={
                "name": self._run if shared else "fibreflow",  # each recovers what is its own
                "system_database_url": url,
                "system_database_engine": store,
                "executor_id": "runner",
                "application_version": self._version(APPLICATION_VERSION),
                "log_level": "CRITICAL",
                "serializer": cast("Any", _Json()),
                "notification_listener_polling_interval_sec": 0.05,  # its end waits for this long
            }
        )
        DBOS.launch()
        self._queue = await asyncio.to_thread(self._open_queue)
        # It may be set later than now.
        self._queue.start(self._session, lambda error: self.failed(error))  # noqa: PLW0108

    def _open_store(self) -> Any:
        target = self.store
        store = engine_store.open_store(target)
        if self._fleet is not None:  # a frozen process must not thaw into its successor's records
            engine_store.put_behind(store, self._fleet.prove)
        engine_store.adopt(
            store,
            engine_store.shown(target),
            run=self._run if self._fleet is not None else "",
            ours=self._version(APPLICATION_VERSION),
            older=frozenset(map(self._version, CONTINUES)),
        )
        return store

    def _version(self, version: str) -> str:
        """The engine wants versions of their own for applications that share a database."""
        return version if self._fleet is None else f"{version}@{self._run}"

    def _open_queue(self) -> RunQueue:
        if self._fleet is not None:
            claims = Claims(self._fleet.held)
        else:
            claims = Claims(Database(self._folder / STORE, TABLES))
            claims.reopen(self._run)
        self._arrive(claims.known(self._run))
        pump = Pump(claims, self._play, self._tell, places=self._workers)
        return RunQueue(claims, self._run, pump, self._tell)

    def _session(self) -> str:
        return self._fleet.worker if self._fleet is not None else "runner"

    async def _play(self, claim: Claim) -> dict[str, Any]:
        return await self._outcome(claim.id, self._bodies[claim.kind], claim.args)

    async def _tell(self, ends: Mapping[str, Ended]) -> None:
        await asyncio.to_thread(self._arrive, ends)
        self._changed.set()

    def _arrive(self, ends: Mapping[str, Ended]) -> None:
        for id_, (outcome, generation) in ends.items():
            if self._fleet is not None and generation:
                self.arrived(id_, generation)
            self._ended[id_] = outcome

    async def set_workers(self, workers: int) -> None:
        """From now on so many queued workflows run at once, in a fleet on all machines."""
        if self._queue is not None:
            await self._queue.set_places(workers)

    async def is_at_work(self) -> bool:
        """Whether another process of the fleet works on something of this run."""
        return self._queue is not None and await self._queue.is_at_work()

    async def close(self) -> None:
        """Let go of the store. What still runs is left for recovery, not failed."""
        from dbos import DBOS  # noqa: PLC0415

        if self._queue is not None:
            self._arrive(await self._queue.close())
        await asyncio.to_thread(DBOS.destroy, destroy_registry=True)
        # The engine had put its own pool of threads under `asyncio.to_thread`, and closed it.
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor())

    async def run(self, name: str, workflow: str, *args: Any) -> Any:
        """Start a top-level workflow, or join it when it exists; returns its value."""
        await self._start(name, workflow, args)
        outcome = await self._wait_for(workflow)
        if "error" in outcome:
            raise FibreFlowError(
                f"the harness failed: {outcome['error']}; the whole of it is in "
                f"{self._folder / DEFECTS}"
            )
        return outcome["value"]

    async def _start(self, name: str, workflow: str, args: Sequence[Any]) -> None:
        from dbos import DBOS, SetWorkflowID  # noqa: PLC0415

        with SetWorkflowID(workflow):
            await DBOS.start_workflow_async(self._functions[name], *args)

    async def start_child(self, name: str, workflow: str, *args: Any) -> None:
        """From inside a workflow: start another at once. Idempotent by its id."""
        await self._start(name, workflow, args)

    async def enqueue(
        self, name: str, workflows: Mapping[str, Sequence[Any]], *, priority: int, tier: str = ""
    ) -> None:
        """From inside a workflow: queue others, their arguments by id, in this order; a smaller
        `priority` (from 1) goes first; `tier` counts against that tier's limit. Those that exist
        are left as they are.

        They are rows of our own queue, not workflows of the engine: a row has no recorded steps,
        needs none, for an attempt resumes from its transcript, and costs a tenth. All of them
        are one transaction and one recorded step.
        """

        queue = self._queue
        assert queue is not None

        async def insert() -> None:
            work = {id_: (tier, args) for id_, args in workflows.items()}
            await queue.insert(name, work, priority)

        self._queued.update(workflows)
        await self.step("enqueue", insert)
        queue.kick()

    async def step(self, name: str, body: Workflow, *args: Any) -> Any:
        """Run `body` at least once and record its JSON result; a replay returns the record.

        An error of our tree is recorded by its name and message, and raised again by a replay.
        """
        from dbos import DBOS  # noqa: PLC0415

        async def guarded() -> dict[str, Any]:
            try:
                return {"value": await body(*args)}
            except FibreFlowError as error:
                return {"error": type(error).__name__, "message": str(error)}

        record = await DBOS.run_step_async({"name": name}, guarded)
        if "error" in record:
            raise _again(record["error"], record["message"])
        return record["value"]

    async def finished(
        self, workflows: Sequence[str], *, or_else: Callable[[], Awaitable[None]] | None = None
    ) -> dict[str, dict[str, Any]]:
        """Wait until at least one of these children has ended; all that have, by id. Empty when
        `or_else` returns before.

        Each outcome is `{"value": ...}`, `{"cancelled": true}` or `{"error": "..."}`. Recorded,
        so a replay sees the same children end in the same order.
        """

        async def wait() -> dict[str, dict[str, Any]]:
            other = asyncio.ensure_future(or_else()) if or_else is not None else None
            if other is not None:
                other.add_done_callback(lambda _: self._changed.set())
            try:
                return await until(other)
            finally:
                if other is not None:
                    other.cancel()

        async def until(other: "asyncio.Future[None] | None") -> dict[str, dict[str, Any]]:
            while True:
                self._changed.clear()
                ended = {w: self._ended[w] for w in workflows if w in self._ended}
                if ended or (other is not None and other.done()):
                    return ended
                try:
                    await asyncio.wait_for(self._changed.wait(), _REMOTE_POLL_SECONDS)
                except TimeoutError:
                    await self._look_up(workflows)

        result: dict[str, dict[str, Any]] = await self.step("finished", wait)
        return result

    async def _wait_for(self, workflow: str) -> dict[str, Any]:
        while workflow not in self._ended:
            self._changed.clear()
            try:
                await asyncio.wait_for(self._changed.wait(), _REMOTE_POLL_SECONDS)
            except TimeoutError:
                await self._look_up([workflow])
        return self._ended[workflow]

    async def _look_up(self, workflows: Sequence[str]) -> None:
        """Learn of the ends of workflows that were not announced here: before a crash."""
        from dbos import DBOS  # noqa: PLC0415

        # What was queued is told by the queue; the rest has ended before, or runs here.
        missing = [w for w in workflows if w not in self._running and w not in self._queued]
        if not missing:
            return
        for status in await DBOS.list_workflows_async(workflow_ids=missing, load_input=False):
            if status.status == "SUCCESS":
                self._announce({status.workflow_id: cast("dict[str, Any]", status.output)})
            elif status.status == "CANCELLED":
                self._announce({status.workflow_id: {"cancelled": True}})
            elif status.status in {"ERROR", "MAX_RECOVERY_ATTEMPTS_EXCEEDED"}:
                self._announce({status.workflow_id: {"error": str(status.error)}})

    async def cancel(self, workflows: Sequence[str]) -> None:
        """Cancel queued work that has not ended, also in the middle when it runs here."""

        async def cancel() -> None:
            assert self._queue is not None
            open_ = [w for w in workflows if w not in self._ended]
            self._cancelled.update(open_)
            await self._queue.cancel(open_)

        # One step however many are left, so that a replay counts the same steps.
        await self.step("cancel", cancel)


def _again(name: str, message: str) -> FibreFlowError:
    """The recorded error; a class that is made of more than a message becomes its parent."""
    kind = getattr(errors, name, FibreFlowError)
    for cls in kind.__mro__:
        try:
            error: FibreFlowError = cls(message)
        except TypeError:
            continue
        return error
    return FibreFlowError(message)


class _Json:
    """The engine's records as JSON: readable by people and by later versions."""

    def serialize(self, data: Any) -> str:
        # What is no JSON is an exception on its way out: its words are kept, not its type.
        return json.dumps(data, separators=(",", ":"), default=repr)

    def deserialize(self, serialized_data: str) -> Any:
        return json.loads(serialized_data)

    def name(self) -> str:
        return "json"
