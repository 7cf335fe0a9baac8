"""Probes that run a program: a command of the owner, or a skill's script."""

import asyncio
import contextlib
import json
import os
import signal
from collections.abc import Sequence
from pathlib import Path

from harness.sla.surroundings import ANSWER_LIMIT, Surroundings, inside, number
from orchestrator.errors import ProbeError
from orchestrator.sla.probes import Command, Skill

#: What a program sees of the environment beside the variables that its probe names.
_ALWAYS = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "VIRTUAL_ENV")


async def command(probe: Command, around: Surroundings) -> float:
    """The number it prints, as its only word or at `json_path`."""
    out = await run(probe.run, around.workspace, environment(around, probe.env))
    return number(inside(out, probe.json_path)) if probe.json_path else _word(out)


async def skill(probe: Skill, around: Surroundings) -> float:
    """The number at `json_path` of what the skill's script prints."""
    script = around.workspace / "skills" / probe.skill / "scripts" / probe.script
    if not script.is_file():
        raise ProbeError(f"there is no {script.relative_to(around.workspace)} in the workspace")
    runner = ["python3"] if script.suffix == ".py" and not os.access(script, os.X_OK) else []
    words = [*runner, str(script), *probe.args]
    out = await run(words, around.workspace, environment(around, probe.env))
    return number(inside(out, probe.json_path))


def environment(around: Surroundings, names: Sequence[str]) -> dict[str, str]:
    """A few harmless variables, and those named. Raises `ProbeError` for one that is not set."""
    kept = {name: around.env[name] for name in _ALWAYS if name in around.env}
    return {**kept, **{name: around.secret(name) for name in names}}


async def run(
    words: Sequence[str], folder: Path, env: dict[str, str], stdin: bytes | None = None
) -> bytes:
    """Standard output of a program that ended with 0; all it started ends with it.
    Raises `ProbeError`."""
    try:
        process = await asyncio.create_subprocess_exec(
            *words,
            cwd=folder,
            env=env,
            stdin=asyncio.subprocess.PIPE if stdin is not None else asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
    except OSError as error:
        raise ProbeError(f"{words[0]} cannot be run: {error.strerror or error}") from None
    try:
        out, err = await _outputs(process, stdin)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    if process.returncode:
        words_said = err.decode("utf-8", "replace").strip().splitlines()
        said = f": {words_said[-1][:200]}" if words_said else ""
        raise ProbeError(f"{words[0]} ended with {process.returncode}{said}")
    return out


async def _outputs(process: asyncio.subprocess.Process, stdin: bytes | None) -> tuple[bytes, bytes]:
    assert process.stdout is not None
    assert process.stderr is not None
    if process.stdin is not None and stdin is not None:
        with contextlib.suppress(ConnectionError):
            process.stdin.write(stdin)
            await process.stdin.drain()
        process.stdin.close()
    out, err = await asyncio.gather(_bounded(process.stdout), _bounded(process.stderr))
    await process.wait()
    return out, err


async def _bounded(stream: asyncio.StreamReader) -> bytes:
    """Up to the limit; a program that says more is not listened to any further."""
    data = b""
    while part := await stream.read(64 * 1024):
        data += part
        if len(data) > ANSWER_LIMIT:
            raise ProbeError(f"it printed more than {ANSWER_LIMIT} bytes")
    return data


def _word(out: bytes) -> float:
    text = out.decode("utf-8", "replace").strip()
    try:
        return number(json.loads(text))
    except ValueError:
        shown = text[:60]
        raise ProbeError(f"it printed {shown!r}, which is no number") from None
