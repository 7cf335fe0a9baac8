"""Alerts that survive: state and outbox are on file before anything is sent, and after.

Delivery is at least once: what was given to a route and not confirmed is looked for there, where
the route can be asked, and sent again under the same key where it cannot.
"""

import asyncio
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from harness.ports import Clock
from harness.record import files
from harness.sla.senders import Sender
from orchestrator.errors import DeliveryError, MachineError
from orchestrator.sla import alerts, outbox
from orchestrator.sla.observing import observe
from orchestrator.sla.outbox import Delivery
from orchestrator.sla.values import Action, Route, Sample, SlaFile

#: Waits after failures: short, because a restart of the other side takes seconds; never longer
#: than a minute, because people wait for what it brings.
_FIRST_WAIT, _LONGEST_WAIT = 1.0, 60.0


class Alerting:
    """One monitor's alerts. Not shared between processes: `sla watch` holds a lock."""

    def __init__(
        self, file: SlaFile, senders: Mapping[Action, Sender], path: Path, clock: Clock
    ) -> None:
        """`path` keeps the state. Raises `MachineError` when it is there and cannot be read."""
        self._file = file
        self._rules = {rule.key: rule for rule in file.rules}
        self._by_sla: dict[str, list[str]] = {}
        for rule in file.rules:
            for name in rule.slas:
                self._by_sla.setdefault(name, []).append(rule.key)
        self._senders = senders
        self._path = path
        self._clock = clock
        self._book, self._waiting = _load(path)
        self._book = alerts.forget(self._book, self._rules)
        self._changed = asyncio.Event()
        self.failures: dict[str, str] = {}  # route -> why its last delivery did not go out

    @property
    def firing(self) -> dict[str, float]:
        """Rules that are announced and not resolved, and since when."""
        book = self._book.rules.items()
        return {key: m.since for key, m in book if m.announced is not None and m.since is not None}

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    def take(self, fresh: Iterable[str], latest: Mapping[str, Sample]) -> None:
        """Judge the rules about these SLAs by the latest samples; what is to be announced is on
        file when this returns. Raises `MachineError` when it cannot be written."""
        keys = dict.fromkeys(key for name in fresh for key in self._by_sla.get(name, ()))
        seen = observe(self._file, [self._rules[key] for key in keys], latest)
        book, notices = alerts.step(self._book, self._rules, seen, self._clock.now())
        changed = book != self._book or bool(notices)
        self._book = book
        if notices:
            own = self._file.monitoring
            self._waiting = outbox.enqueue(
                self._waiting, notices, self._rules, own.group_by, own.group_wait
            )
        if changed:
            self._store(sync=bool(notices))
        if notices:
            self._wake()

    async def deliver(self) -> None:
        """Send what waits, each route in its own time, until cancelled."""
        routes: dict[Route, asyncio.Task[None]] = {}
        try:
            while True:
                self._changed.clear()
                for route in {delivery.route for delivery in self._waiting}:
                    if route not in routes or routes[route].done():
                        routes[route] = asyncio.create_task(self._empty(route))
                await self._changed.wait()
        finally:
            for task in routes.values():
                task.cancel()
            await asyncio.gather(*routes.values(), return_exceptions=True)

    async def flush(self) -> None:
        """Try once to send everything now, for a program that is about to end."""
        for route in {delivery.route for delivery in self._waiting}:
            while (delivery := self._first(route)) is not None:
                if not await self._try(delivery):
                    break

    async def _empty(self, route: Route) -> None:
        failed = 0
        while (delivery := self._first(route)) is not None:
            wait = delivery.due - self._clock.now()
            if wait > 0:
                await self._clock.sleep(wait)
                continue  # others may have joined it
            wait = _FIRST_WAIT * 2 ** min(failed, 10)
            error = await self._attempt(delivery)
            failed = 0 if error is None else failed + 1
            if error is not None:
                asked = error.retry_after
                await self._clock.sleep(min(wait, _LONGEST_WAIT) if asked is None else asked)
                self._waiting = outbox.collapse(self._waiting, route)
        # Something may have come in between the last look and the end of this task.
        self._wake()

    async def _try(self, delivery: Delivery) -> bool:
        return await self._attempt(delivery) is None

    async def _attempt(self, delivery: Delivery) -> DeliveryError | None:
        sender = self._senders[delivery.route.action]
        if delivery.unsure and await sender.has(delivery):
            self._done(delivery)
            return None
        tried = replace(delivery, tries=delivery.tries + 1, unsure=True)
        self._put(delivery, tried)
        try:
            await sender.send(delivery)
        except DeliveryError as error:
            self.failures[delivery.route.name] = str(error)
            # What may have arrived once stays unsure, however clearly it failed afterwards.
            self._put(tried, replace(tried, unsure=delivery.unsure or error.unsure))
            return error
        self.failures.pop(delivery.route.name, None)
        self._done(tried)
        return None

    def _first(self, route: Route) -> Delivery | None:
        return next((d for d in self._waiting if d.route == route), None)

    def _put(self, old: Delivery, new: Delivery) -> None:
        self._waiting = tuple(new if d is old else d for d in self._waiting)
        self._store(sync=True)

    def _done(self, delivery: Delivery) -> None:
        self._waiting = tuple(d for d in self._waiting if d is not delivery)
        self._store(sync=True)

    def _store(self, *, sync: bool) -> None:
        body = {"book": asdict(self._book), "waiting": [asdict(d) for d in self._waiting]}
        files.replace(self._path, json.dumps(body, separators=(",", ":")) + "\n", sync=sync)

    def _wake(self) -> None:
        self._changed.set()


def _load(path: Path) -> tuple[alerts.Book, tuple[Delivery, ...]]:
    try:
        data = json.loads(path.read_bytes())
        book = alerts.Book(
            {key: alerts.Memory(**memory) for key, memory in data["book"]["rules"].items()},
            dict(data["book"]["sent"]),
        )
        return book, tuple(_delivery(d) for d in data["waiting"])
    except FileNotFoundError:
        return alerts.Book(), ()
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise MachineError(
            f"{path}: cannot be read ({error}); move it away to begin without a memory of what "
            "was announced"
        ) from error


def _delivery(data: Mapping[str, Any]) -> Delivery:
    notices: Sequence[Mapping[str, Any]] = data["notices"]
    kept = tuple(alerts.Notice(**notice) for notice in notices)
    return Delivery(**{**data, "route": Route(**data["route"]), "notices": kept})
