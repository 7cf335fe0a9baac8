"""Deploys by the owner's own commands, which know where to."""

import asyncio
import os
from pathlib import Path

from harness.deploy.adapter import Release
from orchestrator.deploy_values import Deploy, EnvironmentName
from orchestrator.errors import DeployError

_SAID = 400  # characters of a failed command that are told


class CommandAdapter:
    """`harness.deploy.adapter.Adapter`; a command runs in the workspace with FIBREFLOW_COMMIT,
    _DIGEST, _ENVIRONMENT and _REPO. `current` prints the commit that is live."""

    def __init__(self, workspace: Path, name: EnvironmentName, settings: Deploy) -> None:
        self._workspace = workspace
        self._name = name
        self._own = settings.environment(name)
        self._timeout = settings.timeout

    async def live(self) -> str:
        return (await self._run(self._own.current, None)).strip()

    async def bring_up(self, release: Release) -> str:
        if await self.live() != release.commit:
            await self._run(self._own.deploy, release)
        return self._own.url

    async def switch(self, release: Release) -> str:
        if self._own.switch and await self.live() != release.commit:
            await self._run(self._own.switch, release)
        if await self.live() != release.commit:
            raise DeployError(
                f"{self._name}: `{self._own.current}` does not print {release.commit[:12]} after "
                "the deployment; correct project.deploy"
            )
        return self._own.url

    async def roll_back(self, release: Release) -> str:
        if not self._own.roll_back:
            raise DeployError(
                f"{self._name}: there is no `roll_back` in project.deploy; go back by hand"
            )
        await self._run(self._own.roll_back, release)
        return await self.live()

    async def _run(self, command: str, release: Release | None) -> str:
        env = {**os.environ, **self._own.env, "FIBREFLOW_ENVIRONMENT": self._name}
        if release is not None:
            env |= {
                "FIBREFLOW_COMMIT": release.commit,
                "FIBREFLOW_DIGEST": release.digest,
                "FIBREFLOW_REPO": str(release.repo),
            }
        process = await asyncio.create_subprocess_shell(
            command, cwd=self._workspace, env=env, start_new_session=True,
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        try:
            async with asyncio.timeout(self._timeout):
                out, _ = await process.communicate()
        except TimeoutError:
            os.killpg(process.pid, 9)
            await process.wait()
            raise DeployError(
                f"{self._name}: `{command}` has not ended within {self._timeout:g} s"
            ) from None
        text = out.decode("utf-8", "replace")
        if process.returncode != 0:
            raise DeployError(
                f"{self._name}: `{command}` ended with exit {process.returncode}: "
                f"{text.strip()[-_SAID:]}"
            )
        return text
