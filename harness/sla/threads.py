"""Blocking calls in threads of their own, which neither wait for each other nor hold up the end."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")


async def in_thread(work: Callable[[], T]) -> T:
    """What `work` returns or raises. Not `asyncio.to_thread`: a file system or server that
    hangs would use up its few threads, and keep the process from leaving."""
    done: Future[T] = Future()

    def run() -> None:
        if not done.set_running_or_notify_cancel():
            return
        try:
            done.set_result(work())
        except Exception as error:  # noqa: BLE001 - raised again where it is waited for
            done.set_exception(error)

    threading.Thread(target=run, name="sla", daemon=True).start()
    return await asyncio.wrap_future(done)
