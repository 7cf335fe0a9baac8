"""Deploys by the owner's own commands, which know where to."""

from pathlib import Path

from harness.deploy.adapter import Release
from harness.deploy.running import Runner, facts
from orchestrator.deploy.values import Deploy, EnvironmentName
from orchestrator.errors import DeployError


class CommandAdapter:
    """`harness.deploy.adapter.Adapter`; a command runs in the workspace with FIBREFLOW_COMMIT,
    _DIGEST, _ENVIRONMENT and _REPO. `current` prints the commit that is live."""

    def __init__(self, workspace: Path, name: EnvironmentName, settings: Deploy) -> None:
        self._name = name
        self._own = settings.environment(name)
        self._runner = Runner(name, workspace, settings.timeout)

    async def live(self) -> str:
        return (await self._run(self._own.current, None)).strip()

    async def bring_up(self, release: Release) -> str:
        if await self.live() != release.commit:
            await self._run(self._own.deploy, release)
        return self._own.candidate or self._own.url

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
        env = {**self._own.env, "FIBREFLOW_ENVIRONMENT": self._name}
        if release is not None:
            env |= facts(self._name, release.commit, release.digest)
            env["FIBREFLOW_REPO"] = str(release.repo)
        return await self._runner.run(["sh", "-c", command], env, named=command)
