"""Deploys by docker compose: blue and green projects beside each other, and a port before them.

The compose file is the owner's, in the workspace: what agents wrote cannot mount this machine into
a container. It finds the commit's files at $FIBREFLOW_SOURCE, for `build`.
"""

import asyncio
from dataclasses import replace
from pathlib import Path

from harness.deploy.adapter import Release
from harness.deploy.export import archive, unpack
from harness.deploy.instance import Spec
from harness.deploy.process import COLOURS, ProcessAdapter
from harness.deploy.running import Runner, facts
from orchestrator.deploy.values import Deploy, EnvironmentName
from orchestrator.errors import DeployError


class ComposeAdapter(ProcessAdapter):
    """As its parent, but an instance is a compose project, and docker keeps it up."""

    def __init__(
        self, folder: Path, name: EnvironmentName, settings: Deploy, *, workspace: Path
    ) -> None:
        super().__init__(folder, name, settings)
        self._workspace = workspace
        self._runner = Runner(name, workspace, settings.timeout)
        self._port = 0

    async def bring_up(self, release: Release) -> str:
        colour = self._colour(release)
        source = self._folder / f"{colour}.source"
        tar = await archive(self._name, release.repo, release.commit)
        await asyncio.to_thread(unpack, tar, source)
        env = {
            **self._settings.environment(self._name).env,
            **facts(self._name, release.commit, release.digest),
            "FIBREFLOW_SOURCE": str(source),
        }
        await self._compose(
            colour, "up", "--detach", "--build", "--wait", "--remove-orphans", env=env
        )
        own = self._settings
        said = await self._compose(colour, "port", own.service, str(own.port), env=env)
        self._port = _port(said, own.service)
        return await super().bring_up(release)

    async def roll_back(self, release: Release) -> str:
        colour = self._colour(release)
        live = await super().roll_back(release)
        if live != release.commit:
            await self._down(colour)
        return live

    async def take_down(self) -> None:
        """End the projects of both colours."""
        for colour in COLOURS:
            await self._down(colour)

    def _spec(self, release: Release) -> Spec:
        return replace(super()._spec(release), address=f"127.0.0.1:{self._port}")

    async def _down(self, colour: str) -> None:
        env = {**facts(self._name, "", ""), "FIBREFLOW_SOURCE": str(self._folder)}
        await self._compose(colour, "down", "--remove-orphans", env=env)

    async def _compose(self, colour: str, *words: str, env: dict[str, str]) -> str:
        project = f"fibreflow-{self._name}-{self._place()}-{colour}"
        file = str(self._workspace / self._settings.file)
        asked = ["docker", "compose", "--project-name", project, "--file", file, *words]
        return await self._runner.run(asked, env, named=f"docker compose {words[0]}")


def _port(said: str, service: str) -> int:
    """From `0.0.0.0:49153`, or `[::]:49153`."""
    last = said.strip().split("\n")[0].rpartition(":")[2]
    if not last.isdigit() or last == "0":
        raise DeployError(f"the service {service} publishes no such port: {said.strip()[:200]}")
    return int(last)
