"""Smoke tests: does what was deployed answer as it should? Judged by status, body and exit code."""

import asyncio
import contextlib
import os
from collections.abc import Sequence
from pathlib import Path

from orchestrator.deploy.values import Smoke
from orchestrator.errors import DeployError

#: Of one test. A service that has just said it is healthy answers within this. Seconds.
TIMEOUT = 15.0
_BODY = 1_000_000


async def test(smokes: Sequence[Smoke], url: str, workspace: Path) -> str:
    """All of them, in order; what they showed. Raises `DeployError` naming the first that fails."""
    for smoke in smokes:
        why = await (_get(smoke, url) if smoke.get else _run(smoke, url, workspace))
        if why:
            raise DeployError(f"smoke test {smoke.get or smoke.run!r}: {why}")
    return f"{len(smokes)} smoke tests green at {url}"


async def _get(smoke: Smoke, url: str) -> str:
    import httpx2  # noqa: PLC0415 - 80 ms

    try:
        async with (
            asyncio.timeout(TIMEOUT),
            # Not through a proxy of the environment: staging is on this machine.
            httpx2.AsyncClient(timeout=TIMEOUT, trust_env=False) as client,
            client.stream("GET", url.rstrip("/") + smoke.get) as answer,
        ):
            body = bytearray()
            async for part in answer.aiter_bytes():
                body += part
                if len(body) > _BODY:
                    break
    except (httpx2.HTTPError, httpx2.InvalidURL, TimeoutError, OSError) as error:
        return f"no answer: {type(error).__name__} {error}".rstrip()
    if answer.status_code != smoke.status:
        return f"answered {answer.status_code}, not {smoke.status}"
    if smoke.contains and smoke.contains.encode() not in body:
        return f"the answer does not contain {smoke.contains!r}"
    return ""


async def _run(smoke: Smoke, url: str, workspace: Path) -> str:
    process = await asyncio.create_subprocess_shell(
        smoke.run, cwd=workspace, env={**os.environ, "FIBREFLOW_URL": url},
        start_new_session=True, stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    try:
        async with asyncio.timeout(TIMEOUT):
            out, _ = await process.communicate()
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):  # all of it has just ended
            os.killpg(process.pid, 9)
        await process.wait()
        return f"no end within {TIMEOUT:g} s"
    # What it prints is for people; what it exits with decides.
    said = out.decode("utf-8", "replace").strip()[-300:]
    return "" if process.returncode == 0 else f"exit {process.returncode}: {said}"
