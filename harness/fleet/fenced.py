"""A sandbox that obeys only a process whose session stands; see `harness.fleet.sessions`."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import BinaryIO

from harness.database import Database
from harness.fleet import sessions
from harness.ports import ExecResult, Sandbox


class FencedSandbox:
    """A `Sandbox` whose every change is asked for in the name of a session. Raises
    `TakenOverError` besides when that was removed; looking and letting go are free."""

    def __init__(self, inner: Sandbox, database: Database, session: str) -> None:
        self._inner = inner
        self._database = database
        self._session = session
        self.id = inner.id
        self.reopened = inner.reopened
        self.workdir = inner.workdir
        self.base_git = inner.base_git

    async def _stands(self) -> None:
        def look() -> None:
            self._database.run(lambda connection: sessions.require(connection, self._session))

        await asyncio.to_thread(look)

    async def exec(  # noqa: PLR0913 - the port's
        self,
        command: str | Sequence[str],
        *,
        cwd: str | None = None,
        env: Mapping[str, str] | None = None,
        stdin: bytes | BinaryIO | None = None,
        timeout: float = 120.0,
        limit: int = 1_000_000,
        on_output: Callable[[bytes], None] | None = None,
    ) -> ExecResult:
        await self._stands()
        return await self._inner.exec(
            command,
            cwd=cwd,
            env=env,
            stdin=stdin,
            timeout=timeout,
            limit=limit,
            on_output=on_output,
        )

    async def upload(self, path: str, data: bytes | BinaryIO) -> None:
        await self._stands()
        await self._inner.upload(path, data)

    async def download(self, path: str, *, limit: int = 64_000_000) -> bytes:
        return await self._inner.download(path, limit=limit)

    async def download_to(self, path: str, file: BinaryIO, *, limit: int = 1 << 40) -> int:
        return await self._inner.download_to(path, file, limit=limit)

    async def extend(self, seconds: float) -> None:
        await self._inner.extend(seconds)

    async def destroy(self) -> None:
        await self._stands()
        await self._inner.destroy()
