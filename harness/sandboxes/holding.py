"""Who may use a workspace and for how long: taking turns, freezing, expiry, an end that stays."""

import asyncio
import os
import time
from collections.abc import Callable

from orchestrator.errors import SandboxError, SandboxGoneError


class Holding:
    """What every sandbox with a folder on this machine keeps to, whatever runs in it.

    `lock_fd` holds the folder's lock and is closed at the end. Hold `turn` while a command
    runs, and ask `check` once it is held.
    """

    def __init__(self, key: str, lock_fd: int = -1, wall_seconds: float | None = None) -> None:
        self.gone = False
        self.turn = asyncio.Lock()
        self._key = key
        self._lock_fd = lock_fd
        self._frozen = False
        self._ends = None if wall_seconds is None else time.monotonic() + wall_seconds

    def check(self) -> None:
        """Raises `SandboxGoneError`, or `SandboxError` for a snapshot."""
        if self.gone:
            raise SandboxGoneError(f"sandbox {self._key} was destroyed")
        if self._ends is not None and time.monotonic() >= self._ends:
            raise SandboxGoneError(
                f"sandbox {self._key} has come to the end of its life (wall_seconds); "
                "extend it before, or give it a longer one"
            )
        if self._frozen:
            raise SandboxError(f"sandbox {self._key} is a snapshot; fork it with create()")

    def within(self, timeout: float) -> float:
        """`timeout`, or less where its life ends before."""
        return timeout if self._ends is None else min(timeout, self._ends - time.monotonic())

    def extend(self, seconds: float) -> None:
        self.check()
        if self._ends is not None:
            self._ends = max(self._ends, time.monotonic() + seconds)

    async def freeze(self) -> None:
        """No command runs from here on, so the files can become a layer."""
        async with self.turn:
            self.check()
            self._frozen = True

    async def destroy(self, remove: Callable[[], None]) -> None:
        """End it, once, by `remove` in a thread."""
        if self.gone:
            return
        self.gone = True
        async with self.turn:  # a command may still be ending
            await asyncio.to_thread(self._end, remove)

    def _end(self, remove: Callable[[], None]) -> None:
        remove()
        self._unlock()  # the kernel removes the file behind the lock by now, which takes its time

    def release(self) -> None:
        """Let go and leave the files, for a later run to reopen."""
        if not self.gone:
            self.gone = True
            self._unlock()

    def _unlock(self) -> None:
        if self._lock_fd >= 0:
            os.close(self._lock_fd)
            self._lock_fd = -1
