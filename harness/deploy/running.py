"""Runs one program of the owner's for a deployment: bounded in time, its words kept for errors."""

import asyncio
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from orchestrator.errors import DeployError

_SAID = 400  # characters of a failed program that are told


@dataclass(frozen=True, slots=True)
class Runner:
    """`place`: the environment's name, for messages. `timeout` in seconds."""

    place: str
    folder: Path
    timeout: float

    async def run(
        self, words: Sequence[str], env: Mapping[str, str], *, named: str, stdin: bytes = b""
    ) -> str:
        """What it printed. Raises `DeployError` with `named` when it fails or does not end."""
        try:
            process = await asyncio.create_subprocess_exec(
                *words, cwd=self.folder, env={**os.environ, **env}, start_new_session=True,
                stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )  # fmt: skip
        except FileNotFoundError:
            raise DeployError(
                f"{self.place}: {words[0]} is not installed, or not on the PATH"
            ) from None
        try:
            async with asyncio.timeout(self.timeout):
                out, err = await process.communicate(stdin)
        except TimeoutError:
            os.killpg(process.pid, 9)
            await process.wait()
            raise DeployError(
                f"{self.place}: `{named}` has not ended within {self.timeout:g} s"
            ) from None
        if process.returncode != 0:
            said = (out + err).decode("utf-8", "replace").strip()[-_SAID:]
            raise DeployError(
                f"{self.place}: `{named}` ended with exit {process.returncode}: {said}"
            )
        return out.decode("utf-8", "replace")


def facts(name: str, commit: str, digest: str) -> dict[str, str]:
    """What a program is told of a release by its environment."""
    return {
        "FIBREFLOW_ENVIRONMENT": name,
        "FIBREFLOW_COMMIT": commit,
        "FIBREFLOW_DIGEST": digest,
    }
