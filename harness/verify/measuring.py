"""Asks a process of its own what tools see in changed Python files, as text.

One process serves a whole run: importing the tools costs a sixth of a second, asking them a few
hundredths. It has no secrets in its environment, and ends with the runner, whose end it sees on
its standard input.
"""

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from orchestrator.verify.quality import FileMeasure

_PROGRAM = Path(__file__).with_name("reading.py")
#: More than the program gives itself for one question.
_SECONDS = 60.0
_LONGEST = 64_000_000  # bytes of one answer

Texts = Mapping[str, str]
Measures = tuple[tuple[FileMeasure, ...], tuple[FileMeasure, ...]]


class Measuring:
    """The process, which is started by the first question. Use as an async context. `scratch` is
    a folder for its temporary files."""

    def __init__(self, scratch: Path) -> None:
        self._scratch = scratch
        self._process: asyncio.subprocess.Process | None = None
        self._turn = asyncio.Lock()

    async def __aenter__(self) -> "Measuring":
        return self

    async def __aexit__(self, *_: object) -> None:
        async with self._turn:
            await self._end()

    async def measure(self, before: Texts, after: Texts) -> Measures | None:
        """Measures of both, `before` first. None when the tools gave no readable answer."""
        question = json.dumps({"after": dict(after), "before": dict(before)}) + "\n"
        async with self._turn:
            try:
                answer = await asyncio.wait_for(self._ask(question.encode()), _SECONDS)
                data = json.loads(answer)
                return _measures(data["before"]), _measures(data["after"])
            except (TimeoutError, OSError, ValueError, KeyError, TypeError):
                await self._end()
            except asyncio.CancelledError:
                await self._end()  # its answer would be taken for the next question's
                raise
        return None

    async def _ask(self, question: bytes) -> bytes:
        if self._process is None:
            kept = {"PATH": os.environ.get("PATH", ""), "TMPDIR": str(self._scratch)}
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-I", str(_PROGRAM), env=kept, limit=_LONGEST,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C is for the runner, which then ends it
            )  # fmt: skip
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(question)
        await stdin.drain()
        return await stdout.readline()

    async def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def _measures(found: Mapping[str, Mapping[str, object]]) -> tuple[FileMeasure, ...]:
    return tuple(FileMeasure.of(path, measures) for path, measures in found.items())
