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
import contextlib
import json
import traceback
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

from harness import engine_store
from orchestrator import errors
from orchestrator.errors import FibreFlowError

#: Set by hand: raise it when the recorded shape of a workflow changes.
APPLICATION_VERSION = "3"
#: Older versions whose records this one can continue: the shape of what they recorded is the same.
#: Runs of any other are refused with what finishes them; see `docs/operations.md`.
CONTINUES: frozenset[str] = frozenset()
_QUEUE = "attempts"
#: Beside the store: the traces of what workflows did not expect.
DEFECTS = "defects.log"
#: Idle cost against latency: 10 polls a second cost about 2% of a core.
_POLL_SECONDS = 0.1
#: How often a parent looks for children that another process finished.
_REMOTE_POLL_SECONDS = 1.0
#: How long a cancelled workflow may take to clean up before its parent goes on without it.
_CANCEL_SECONDS = 10.0

Workflow = Callable[..., Awaitable[Any]]


class Engine:
    """Durable workflows on one SQLite file. One instance per process at a time."""

    def __init__(self, path: Path, *, workers: int) -> None:
        """`workers`: how many queued workflows run at once in this process."""
        self._path = path
        self._workers = workers
        self._functions: dict[str, Any] = {}
        self._running: dict[str, asyncio.Task[Any]] = {}
        self._cancelled: set[str] = set()
        self._ended: dict[str, dict[str, Any]] = {}
        self._changed = asyncio.Event()

    @property
    def store(self) -> Path:
        """Where the records are kept, and the requests of people."""
        return self._path

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
                outcome = {"value": await body(*args)}
            except asyncio.CancelledError:
                if workflow not in self._cancelled:
                    raise  # the process is leaving: the engine will recover this workflow
                outcome = {"cancelled": True}
            except Exception as error:  # noqa: BLE001 - one bad feature must not end the run
                self._keep_trace(workflow, error)
                outcome = {"error": f"{type(error).__name__}: {error}"}
            finally:
                self._running.pop(workflow, None)
            self._announce(workflow, outcome)
            return outcome

        # A workflow may be recovered as often as the machine crashes.
        self._functions[name] = DBOS.workflow(name=name, max_recovery_attempts=1_000_000)(run)

    def _keep_trace(self, workflow: str, error: Exception) -> None:
        """Whoever looks for the mistake needs more than its name."""
        lines = [f"== {workflow}\n", *traceback.format_exception(error)]
        # What cannot be kept must not hide the error itself.
        with contextlib.suppress(OSError), (self._path.parent / DEFECTS).open("a") as file:
            file.writelines(lines)

    def _announce(self, workflow: str, outcome: dict[str, Any]) -> None:
        self._ended[workflow] = outcome
        self._changed.set()

    async def start(self) -> None:
        """Open the store and recover what an earlier process left. Needs a running loop.

        Raises `MachineError` when the store cannot be opened.
        """
        from dbos import DBOS  # noqa: PLC0415

        store = await asyncio.to_thread(self._open_store)
        DBOS(
            config={
                "name": "fibreflow",
                "system_database_url": f"sqlite:///{self._path}",
                "system_database_engine": store,
                "executor_id": "runner",
                "application_version": APPLICATION_VERSION,
                "log_level": "CRITICAL",
                "serializer": cast("Any", _Json()),
            }
        )
        DBOS.launch()
        await DBOS.register_queue_async(
            _QUEUE,
            worker_concurrency=self._workers,
            polling_interval_sec=_POLL_SECONDS,
            on_conflict="always_update",
        )

    async def set_workers(self, workers: int) -> None:
        """From now on so many queued workflows run at once in each process."""
        from dbos import DBOS  # noqa: PLC0415

        queue = await DBOS.retrieve_queue_async(_QUEUE)
        if queue is not None:
            await queue.set_worker_concurrency_async(workers)

    def _open_store(self) -> Any:
        store = engine_store.open_sqlite(self._path)
        engine_store.adopt(store, self._path, ours=APPLICATION_VERSION, older=CONTINUES)
        return store

    async def close(self) -> None:
        """Let go of the store. What still runs is left for recovery, not failed."""
        from dbos import DBOS  # noqa: PLC0415

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
                f"{self._path.parent / DEFECTS}"
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
        self, name: str, workflows: Mapping[str, Sequence[Any]], *, priority: int
    ) -> None:
        """From inside a workflow: queue others, their arguments by id, in this order; a smaller
        `priority` (from 1) goes first. Those that exist are left as they are.

        All of them are one transaction and one recorded step: by the engine's own call, one after
        the other, a thousand took longer than a second of work each.
        """

        async def insert() -> None:
            await asyncio.to_thread(_insert, name, workflows, priority)

        await self.step("enqueue", insert)

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
        """Learn of ends that were not announced here: before a crash, or in another process."""
        from dbos import DBOS  # noqa: PLC0415

        missing = [w for w in workflows if w not in self._running]
        if not missing:
            return
        for status in await DBOS.list_workflows_async(workflow_ids=missing, load_input=False):
            if status.status == "SUCCESS":
                self._announce(status.workflow_id, cast("dict[str, Any]", status.output))
            elif status.status == "CANCELLED":
                self._announce(status.workflow_id, {"cancelled": True})
            elif status.status in {"ERROR", "MAX_RECOVERY_ATTEMPTS_EXCEEDED"}:
                self._announce(status.workflow_id, {"error": str(status.error)})

    async def cancel(self, workflows: Sequence[str]) -> None:
        """Cancel what has not ended, also in the middle of a step when it runs here."""
        from dbos import DBOS  # noqa: PLC0415

        async def cancel() -> None:
            open_ = [w for w in workflows if w not in self._ended]
            self._cancelled.update(open_)
            await DBOS.cancel_workflows_async(open_)
            tasks = [self._running[w] for w in open_ if w in self._running]
            for task in tasks:
                task.cancel()
            if tasks:
                await asyncio.wait(tasks, timeout=_CANCEL_SECONDS)

        # One step however many are left, so that a replay counts the same steps.
        await self.step("cancel", cancel)


def _insert(name: str, workflows: Mapping[str, Sequence[Any]], priority: int) -> None:
    """Queued workflows as rows, as the engine's own client makes them one by one."""
    from dbos._dbos import _get_dbos_instance  # noqa: PLC0415
    from dbos._enqueue_options import build_enqueue_status  # noqa: PLC0415

    dbos = _get_dbos_instance()
    rows = []
    for workflow, args in workflows.items():
        _, row = build_enqueue_status(
            {
                "workflow_name": name,
                "queue_name": _QUEUE,
                "workflow_id": workflow,
                "priority": priority,
                "app_version": APPLICATION_VERSION,
                "application_name": dbos._sys_db.app_name,
            },
            dbos._serializer,
            tuple(args),
            {},
        )
        rows.append(row)
    dbos._sys_db.init_workflows(rows)


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
