"""Gives each feature the agent that it names."""

import contextlib
import functools
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path

from harness import skills
from harness.agents import programs
from harness.agents.command_line import CommandLineAgent
from harness.agents.loop import BuiltinAgent
from harness.agents.task import Agent, Observer, Task
from harness.models.gateway import Gateway
from harness.models.proxy import ModelProxy
from harness.ports import Clock, Sandbox, SandboxLimits
from orchestrator.values import AttemptResult, Feature


@contextlib.asynccontextmanager
async def agents_of(
    workspace: Path,
    gateway: Gateway,
    clock: Clock,
    *,
    default: str,
    limits: SandboxLimits,
) -> AsyncIterator["ChosenAgent"]:
    """The built-in agent and the command-line agents that the workspace knows."""
    proxy = ModelProxy()
    offered = await skills.offered(workspace)
    makers: dict[str, Callable[[], Agent]] = {
        name: functools.partial(CommandLineAgent, program, gateway, proxy, clock, limits=limits)
        for name, program in programs.load(workspace).items()
    }
    makers["builtin"] = lambda: BuiltinAgent(gateway.model, clock, gateway=gateway, skills=offered)
    try:
        yield ChosenAgent(makers, default)
    finally:
        await proxy.close()


class ChosenAgent:
    """An `Agent` in front of others; each is made when a feature first names it."""

    def __init__(self, agents: Mapping[str, Callable[[], Agent]], default: str) -> None:
        self._makers = agents
        self._default = default
        self._made: dict[str, Agent] = {}

    async def sandbox_limits(self, feature: Feature) -> SandboxLimits | None:
        return await self._of(feature).sandbox_limits(feature)

    async def work(self, task: Task, sandbox: Sandbox, observer: Observer) -> AttemptResult:
        return await self._of(task.feature).work(task, sandbox, observer)

    def _of(self, feature: Feature) -> Agent:
        name = feature.agent or self._default
        if name not in self._made:
            self._made[name] = self._makers[name]()
        return self._made[name]
