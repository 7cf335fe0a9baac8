"""Deploys to a machine behind ssh: releases beside each other, `current` leads to the live one.

PATH/releases/COMMIT      the commit's files; there whole or not at all
PATH/current              a link to the release that is live, replaced atomically
PATH/previous             the commit that was live before
"""

import shlex
from pathlib import Path

from harness.deploy.adapter import Release
from harness.deploy.export import archive
from harness.deploy.running import Runner, facts
from orchestrator.deploy.values import Deploy, EnvironmentName
from orchestrator.errors import DeployError

#: Nobody is there to type a password, or to wait long for a machine that is gone.
_OPTIONS = ("-T", "-o", "BatchMode=yes", "-o", "ConnectTimeout=15")


class SshAdapter:
    """`harness.deploy.adapter.Adapter`. The owner's `deploy` runs in a new release before it is
    live, `switch` after it has become so (to restart a service, say), `roll_back` likewise."""

    def __init__(self, workspace: Path, name: EnvironmentName, settings: Deploy) -> None:
        self._name = name
        self._own = settings.environment(name)
        self._runner = Runner(name, workspace, settings.timeout)
        self._config = str(workspace / self._own.config) if self._own.config else ""

    async def live(self) -> str:
        target = await self._remote("readlink current || true", "readlink current")
        return target.strip().rpartition("/")[2]

    async def bring_up(self, release: Release) -> str:
        folder = _folder(release)
        there = f"test -d {folder} && echo there || true"
        if "there" not in await self._remote(there, "look for the release"):
            tar = await archive(self._name, release.repo, release.commit)
            making = f"{folder}.making"
            lines = f"rm -rf {making} && mkdir -p {making} && tar -x -f - -C {making}"
            await self._remote(lines, "unpack the release", stdin=tar)
            await self._own_line(self._own.deploy, release, making)
            await self._remote(f"mv {making} {folder}", "name the release")
        return self._own.candidate or self._own.url

    async def switch(self, release: Release) -> str:
        live = await self.live()
        if live != release.commit:
            lines = [
                f"printf %s {shlex.quote(live)} > previous",
                f"ln -sfn {_folder(release)} current.making",
                "mv -T current.making current",
            ]
            await self._remote(" && ".join(lines), "switch")
        await self._own_line(self._own.switch, release, _folder(release))
        return self._own.url

    async def roll_back(self, release: Release) -> str:
        if await self.live() == release.commit:
            lines = (
                'before=$(cat previous) && if test -n "$before"; then '
                'ln -sfn "releases/$before" current.making && mv -T current.making current; '
                "else rm current; fi"
            )
            await self._remote(lines, "roll back")
            back = "current" if await self.live() else "."
            await self._own_line(self._own.roll_back or self._own.switch, release, back)
        await self._remote(f"rm -rf {_folder(release)}", "take the release away")
        return await self.live()

    async def _own_line(self, line: str, release: Release, folder: str) -> None:
        """A line of the owner's, in a folder below the path."""
        if not line:
            return
        told = {**self._own.env, **facts(self._name, release.commit, release.digest)}
        env = " ".join(f"{key}={shlex.quote(value)}" for key, value in told.items())
        await self._remote(f"cd {folder} && env {env} sh -c {shlex.quote(line)}", line)

    async def _remote(self, line: str, named: str, *, stdin: bytes = b"") -> str:
        path = shlex.quote(self._own.path)
        config = ("-F", self._config) if self._config else ()
        words = ["ssh", *_OPTIONS, *config, "--", self._own.host,
                 f"mkdir -p {path}/releases && cd {path} && {{ {line}; }}"]  # fmt: skip
        return await self._runner.run(words, {}, named=f"{self._own.host}: {named}", stdin=stdin)


def _folder(release: Release) -> str:
    if not release.commit.isalnum():  # it becomes a word of a remote shell
        raise DeployError(f"{release.commit!r} is no commit")
    return f"releases/{release.commit}"
