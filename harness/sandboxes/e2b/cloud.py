"""E2B's control plane: sandboxes and snapshots are made, found and ended, within the plan's limits.

Everything that is made carries labels from its first moment, so nothing is lost between making it
and writing it down. What can be refused for want of room is asked again with patience.
"""

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from harness.ports import Clock, SandboxLimits
from harness.record.clock import SystemClock
from harness.sandboxes.e2b.errors import is_busy, translated
from harness.sandboxes.e2b.settings import E2BSettings
from orchestrator.errors import FibreFlowError, LimitReachedError, SandboxError

_T = TypeVar("_T")
_FIRST_WAIT, _MOST_WAIT = 1.0, 30.0
#: Waiting longer than this for another sandbox to end means that they wait for each other.
_SLOT_SECONDS = 3600.0


@dataclass(frozen=True, slots=True)
class Seen:
    """One sandbox as the cloud lists it. `started` is in seconds since the epoch."""

    id: str
    labels: Mapping[str, str]
    running: bool
    started: float


def network(limits: SandboxLimits) -> dict[str, Any]:
    """What of the network a new sandbox gets: nothing, all, or named hosts only.

    Raises `SandboxError` for a host with a port, which E2B's rules cannot say.
    """
    if not limits.allow:
        return {"allow_internet_access": False}
    if "*" in limits.allow:
        return {"allow_internet_access": True}
    ports = [host for host in limits.allow if ":" in host]
    if ports:
        raise SandboxError(f"E2B allows whole hosts, not ports of them: {', '.join(ports)}")
    return {"network": {"allow_out": [*limits.allow], "deny_out": ["0.0.0.0/0"]}}


class Pace:
    """Lets its callers go on one after the other, at most `per_second` of them."""

    def __init__(self, per_second: float, clock: Clock) -> None:
        self._between = 1 / per_second
        self._clock = clock
        self._lock = asyncio.Lock()
        self._next = 0.0

    async def turn(self) -> None:
        async with self._lock:
            await self._clock.sleep(self._next - self._clock.monotonic())
            self._next = self._clock.monotonic() + self._between


class Cloud:
    """One account, used by one provider."""

    def __init__(self, settings: E2BSettings) -> None:
        self.settings = settings
        self._slots = asyncio.Semaphore(settings.concurrent)
        self._pace = Pace(settings.creates_per_second, SystemClock())
        self._strays: set[asyncio.Future[Any]] = set()

    @property
    def _account(self) -> dict[str, Any]:
        return {**self.settings.account, "request_timeout": self.settings.request_seconds}

    async def create(
        self, template: str, labels: Mapping[str, str], limits: SandboxLimits, seconds: float
    ) -> Any:
        """The SDK's object for a new sandbox, which lives for `seconds` and is paused then.

        Holds one of the plan's places until `release`. Raises `LimitReachedError` when there is
        no room for longer than the settings' patience.
        """
        from e2b_code_interpreter import AsyncSandbox  # noqa: PLC0415 - takes most of a second

        key = str(uuid.uuid4())  # of this call: asking again makes no second one

        async def ask() -> Any:
            await self._pace.turn()
            with translated("create a sandbox"):
                return await AsyncSandbox.create(
                    template=template,
                    timeout=max(1, int(seconds)),
                    metadata=dict(labels),
                    lifecycle={"on_timeout": "pause"},
                    idempotency_key=key,
                    **network(limits),
                    **self._account,
                )

        await self._slot()
        work = asyncio.ensure_future(self.patiently(ask))
        try:
            return await asyncio.shield(work)
        except asyncio.CancelledError:
            # The request may have been heard; what comes of it must not stay.
            self._keep(self._dispose(work))
            raise
        except BaseException:
            self.release()
            raise

    async def connect(self, id_: str, seconds: float) -> Any:
        """The SDK's object for a sandbox that exists; a paused one runs again."""
        from e2b_code_interpreter import AsyncSandbox  # noqa: PLC0415 - takes most of a second

        async def ask() -> Any:
            with translated(f"connect to sandbox {id_}"):
                return await AsyncSandbox.connect(
                    id_, timeout=max(1, int(seconds)), **self._account
                )

        await self._slot()
        try:
            return await self.patiently(ask)
        except BaseException:
            self.release()
            raise

    def release(self) -> None:
        """A sandbox made or connected here does not run any more."""
        self._slots.release()

    async def kill(self, id_: str) -> None:
        """Idempotent."""
        from e2b_code_interpreter import AsyncSandbox  # noqa: PLC0415 - takes most of a second

        async def ask() -> None:
            with translated(f"end sandbox {id_}"):
                await AsyncSandbox.kill(id_, **self._account)

        await self.patiently(ask)

    async def pause(self, id_: str) -> None:
        from e2b_code_interpreter import AsyncSandbox  # noqa: PLC0415 - takes most of a second

        async def ask() -> None:
            with translated(f"pause sandbox {id_}"):
                await AsyncSandbox.pause(id_, **self._account)

        await self.patiently(ask)

    async def extend(self, id_: str, seconds: float) -> None:
        """It lives for `seconds` from now. Raises `SandboxGoneError` when it does not run."""
        from e2b_code_interpreter import AsyncSandbox  # noqa: PLC0415 - takes most of a second

        with translated(f"extend sandbox {id_}"):
            await AsyncSandbox.set_timeout(id_, max(1, int(seconds)), **self._account)

    async def list(self, labels: Mapping[str, str]) -> list[Seen]:
        """Every sandbox with these labels, running or paused."""
        from e2b import SandboxQuery, SandboxState  # noqa: PLC0415 - takes most of a second
        from e2b_code_interpreter import AsyncSandbox  # noqa: PLC0415

        found = []
        query = SandboxQuery(metadata=dict(labels))
        pages = AsyncSandbox.list(query=query, limit=100, **self._account)
        async for info in _items(pages, "list sandboxes"):
            running = info.state == SandboxState.RUNNING
            metadata = {str(k): str(v) for k, v in (info.metadata or {}).items()}
            # Others' would be ended for ours, should the cloud ever not understand the filter.
            if labels.items() <= metadata.items():
                found.append(Seen(info.sandbox_id, metadata, running, info.started_at.timestamp()))
        return found

    async def snapshot(self, id_: str, name: str) -> str:
        """The id of a new snapshot to create sandboxes from."""
        from e2b_code_interpreter import AsyncSandbox  # noqa: PLC0415 - takes most of a second

        async def ask() -> str:
            with translated(f"take a snapshot of sandbox {id_}"):
                made = await AsyncSandbox.create_snapshot(id_, name=name, **self._account)
                return str(made.snapshot_id)

        return await self.patiently(ask)

    async def find_snapshot(self, name: str) -> str | None:
        return (await self.snapshots(name)).get(name)

    async def snapshots(self, name: str | None = None) -> dict[str, str]:
        """Plain name -> id of the account's snapshots, or of the one called `name`."""
        from e2b_code_interpreter import AsyncSandbox  # noqa: PLC0415 - takes most of a second

        pages = AsyncSandbox.list_snapshots(name=name, limit=100, **self._account)
        return {
            plain_name(full): info.snapshot_id
            async for info in _items(pages, "list snapshots")
            for full in (*info.names, info.snapshot_id)
        }

    async def delete_snapshot(self, id_: str) -> None:
        from e2b_code_interpreter import AsyncSandbox  # noqa: PLC0415 - takes most of a second

        async def ask() -> None:
            with translated(f"delete snapshot {id_}"):
                await AsyncSandbox.delete_snapshot(id_, **self._account)

        await self.patiently(ask)

    async def close(self) -> None:
        """Wait for the ends of what was cancelled while it was made."""
        while self._strays:
            await asyncio.wait(self._strays)

    # ------------------------------------------------------------------ manners

    async def patiently(self, ask: Callable[[], Awaitable[_T]]) -> _T:
        """`ask`, again and again while the cloud is too busy, as long as patience lasts."""
        end, wait = time.monotonic() + self.settings.patience_seconds, _FIRST_WAIT
        while True:
            try:
                return await ask()
            except (SandboxError, LimitReachedError) as error:
                if not is_busy(error) or time.monotonic() + wait > end:
                    raise
            await asyncio.sleep(wait)
            wait = min(wait * 2, _MOST_WAIT)

    async def _slot(self) -> None:
        try:
            async with asyncio.timeout(_SLOT_SECONDS):
                await self._slots.acquire()
        except TimeoutError as error:
            raise SandboxError(
                f"all {self.settings.concurrent} sandboxes of the plan were in use for "
                f"{_SLOT_SECONDS:.0f} s; lower --workers or set FIBREFLOW_E2B_CONCURRENT"
            ) from error

    def _keep(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._strays.add(task)
        task.add_done_callback(self._strays.discard)

    async def _dispose(self, work: "asyncio.Future[Any]") -> None:
        try:
            await self.kill((await work).sandbox_id)
        except FibreFlowError:
            pass  # it was never made, or its lifetime ends it
        finally:
            self.release()


def plain_name(full: str) -> str:
    """`team/name:tag` -> `name`."""
    return full.rpartition("/")[2].partition(":")[0]


async def _items(pages: Any, what: str) -> AsyncIterator[Any]:
    while pages.has_next:
        with translated(what):
            items = await pages.next_items()
        for item in items:
            yield item
