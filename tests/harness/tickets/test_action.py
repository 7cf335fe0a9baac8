"""The action's own commands, one after another, as the three jobs run them."""

import asyncio
import os
import re
import shutil
from pathlib import Path

import pytest
import yaml

from tests.emulators.github import REPO
from tests.emulators.messages_api import MessagesServer
from tests.harness.tickets.shop import SCRIPT, Shop, mends

ROOT = SCRIPT.parents[1]
STEPS = yaml.safe_load((ROOT / "action.yml").read_text())["runs"]["steps"]

pytestmark = [pytest.mark.slow, pytest.mark.network, pytest.mark.isolation]


class Runner:
    """A job's machine: what it exports, and the outputs of its steps."""

    def __init__(self, folder: Path, shop: Shop, python: str) -> None:
        self.shop = shop
        self.outputs = folder / "outputs"
        folder.joinpath("bin").mkdir(parents=True)
        named = folder / "bin" / "python"  # no link: what it leads to may go by its own name
        named.write_text(f'#!/bin/sh\nexec "{python}" "$@"\n')
        named.chmod(0o755)
        self.env = {
            **os.environ, "PATH": f"{folder / 'bin'}:{os.environ['PATH']}",
            "RUNNER_TEMP": str(folder), "GITHUB_ACTION_PATH": str(ROOT),
            "GITHUB_OUTPUT": str(self.outputs), "GITHUB_API_URL": shop.github.url,
            "GITHUB_SERVER_URL": shop.github.url, "GITHUB_EVENT_NAME": "issues",
            "GITHUB_EVENT_PATH": str(shop.labelled()), "FIBREFLOW_CACHE": str(shop.cache),
            "FIBREFLOW_STATE": str(folder / "state"),
        }  # fmt: skip

    async def job(self, step: str, token: str, **more: str) -> str:
        """What the steps of one job wrote as outputs."""
        given = {
            "step": step, "token": token, "target": "main", "author": "github-actions[bot]",
            "artifact": str(self.shop.out), "checkout": str(self.shop.checkout),
            "workspace": str(self.shop.folder / "workspace"), "model-key": "any",
        }  # fmt: skip
        self.outputs.write_text("")
        for command in (s for s in STEPS if "run" in s and "sudo" not in s["run"]):
            if _holds(command.get("if", "true"), step):
                await self._run(command, given, more)
        return self.outputs.read_text()

    async def _run(
        self, command: dict[str, object], given: dict[str, str], more: dict[str, str]
    ) -> None:
        def value(match: re.Match[str]) -> str:
            name = re.search(r"inputs\.([\w-]+)(?!.*inputs\.)", match[0].split("||")[0])
            return given[name[1]] if name else REPO

        env = command.get("env") or {}
        assert isinstance(env, dict)
        filled = {k: re.sub(r"\$\{\{.*?\}\}", value, str(v)) for k, v in env.items()}
        process = await asyncio.create_subprocess_exec(
            "bash", "--noprofile", "--norc", "-e", "-o", "pipefail", "-c", str(command["run"]),
            env={**self.env, **filled, **more}, stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        said, _ = await asyncio.wait_for(process.communicate(), 300)
        assert process.returncode == 0, said.decode()


def _holds(condition: str, step: str) -> bool:
    """Of an `if`, in which nothing but the step is asked about."""
    rows = re.findall(r"inputs\.step (==|!=) '(\w+)'", condition)
    return not rows or any((step == name) == (how == "==") for how, name in rows)


async def test_from_the_event_to_the_pull_request(shop: Shop, tmp_path: Path) -> None:
    python = shutil.which("python3.12")
    if python is None:
        pytest.skip("python3.12, which the action sets up, is not installed")
    runner = Runner(tmp_path / "runner", shop, python)
    assert await runner.job("ask", shop.reader) == "issue=7\n"
    async with MessagesServer(mends) as model:
        url = {"ANTHROPIC_BASE_URL": model.url}
        assert await runner.job("work", shop.reader, **url) == "artifact=yes\n"
    # The branch goes by git to the emulated host, which has none: its configuration says where.
    shop._git("config", f"url.{shop.origin}.insteadOf", f"{shop.github.url}/{REPO}.git")
    shutil.rmtree(tmp_path / "runner" / "fibreflow")  # another machine
    await runner.job("write", shop.writer)
    (pull,) = shop.github.pulls.values()
    assert pull["draft"]
    assert f"#{pull['number']}" in shop.status()[0]
