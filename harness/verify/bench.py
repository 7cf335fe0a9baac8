"""Where verification works: fresh forks, a deadline, and a log that is fit to be read."""

import asyncio
import contextlib
import secrets
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TextIO

from harness.ports import Base, ExecResult, Sandbox, SandboxLimits, SandboxProvider
from orchestrator.values import Reports

#: Its name in the folder of what is verified.
LOG = "verify.log"
#: All of a verification together may take this many times what one command may.
TOTAL = 6.0
_NONE = Reports()
_LOG_TAIL = 20_000  # characters of one command's output that are kept


class Bench:
    """One verification's workplace. Every fork has a name that was never used before: a fork
    left by a crash would be reopened with whatever hostile code had written into it.

    `trusted`: files of the base's tests that are as they were, which alone may change what decides
    over tests; None where nobody is suspected, as on the base itself. `suspects`: files that the
    patch at hand touches. `reports`: where the project's own commands leave theirs.
    """

    def __init__(  # noqa: PLR0913 - where it works, how long, and what it reads
        self,
        provider: SandboxProvider,
        key: str,
        log: Path,
        timeout: float,
        total: float,
        *,
        reports: Reports = _NONE,
    ) -> None:
        self.provider = provider
        self.timeout = timeout
        self.trusted: frozenset[str] | None = None
        self.suspects: frozenset[str] = frozenset()
        self.reports = reports
        self._key = f"{key}.v{secrets.token_hex(4)}"
        self._forks = 0
        self._log_path = log
        self._log: TextIO | None = None
        self._end = time.monotonic() + total

    @contextlib.asynccontextmanager
    async def fork(self, base: Base, limits: SandboxLimits | None = None) -> AsyncIterator[Sandbox]:
        """A clean sandbox of `base`, destroyed at the end. `limits`: others than the run's."""
        self._forks += 1
        sandbox = await self.provider.create(base, f"{self._key}-{self._forks}", limits=limits)
        try:
            yield sandbox
        finally:
            await asyncio.shield(sandbox.destroy())

    def allowance(self) -> float:
        """Seconds the next command may take; at least a moment, so that it ends as timed out."""
        return max(0.05, min(self.timeout, self._end - time.monotonic()))

    async def run(
        self, sandbox: Sandbox, command: str, *, stdin: bytes | None = None, limit: int = 200_000
    ) -> ExecResult:
        return await sandbox.exec(command, stdin=stdin, timeout=self.allowance(), limit=limit)

    def note(self, line: str) -> None:
        self._write(f"== {clean(line)}\n")

    def output(self, result: ExecResult) -> None:
        text = clean((result.out + result.err).decode("utf-8", "replace"))
        ending = "timed out" if result.timed_out else f"exit {result.exit}"
        if len(text) > _LOG_TAIL:
            text = "[...]\n" + text[-_LOG_TAIL:]
        self._write(f"{text.rstrip()}\n-- {ending} after {result.seconds:.2f} s\n")

    def close(self) -> None:
        if self._log is not None:
            self._log.close()

    def _write(self, text: str) -> None:
        if self._log is None:
            try:
                self._log = _opened(self._log_path)
            except FileNotFoundError:
                self._log_path.parent.mkdir(parents=True, exist_ok=True)
                self._log = _opened(self._log_path)
        self._log.write(text)


def _opened(log: Path) -> TextIO:
    # Line by line, so that it can be followed while it grows.
    return log.open("a", encoding="utf-8", errors="replace", buffering=1)


def clean(text: str) -> str:
    """Without control characters, which could rewrite a terminal that shows the log."""
    return "".join(
        c if c in "\n\t" or c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text
    )
