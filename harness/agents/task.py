"""What an agent is asked to do, and the port every agent stands behind."""

import contextlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from harness.ports import ModelReply, Sandbox, SandboxLimits
from orchestrator.values import AttemptKey, AttemptLimits, AttemptResult, Feature, Tier


@dataclass(frozen=True, slots=True)
class Task:
    """One attempt's assignment.

    `context` describes the repository and is byte-identical for every attempt of a round;
    `lessons` are lines about why earlier rounds failed; `patterns` are what was learned of such
    failures, quoted line by line, and differ from attempt to attempt. `protected` are globs whose
    change disqualifies the patch. `folder` is the attempt's log folder: the agent appends
    `transcript.jsonl` there and resumes from it.
    """

    key: AttemptKey
    feature: Feature
    tier: Tier
    limits: AttemptLimits
    folder: Path
    context: str = ""
    lessons: tuple[str, ...] = ()
    patterns: tuple[str, ...] = ()
    protected: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Observer:
    """Callbacks of an agent at work. Each is cheap and never raises."""

    called: Callable[[int, ModelReply, float], None]  # turn, reply, seconds
    command: Callable[[str, int | None, float], None]  # what ran, exit status, seconds
    retried: Callable[[str, float], None]  # the error, the wait in seconds
    #: Around each wait for the provider or for a turn: nothing is at work meanwhile.
    idle: Callable[[], AbstractContextManager[None]] = contextlib.nullcontext


class Agent(Protocol):
    """Works on a task in a sandbox until it submits or a limit ends it.

    Never raises for what the agent or the model did: that is the result's `ending` and
    `reason`. Raises `SandboxError` when the sandbox failed, `ModelUnauthorizedError` and
    `ModelQuotaExhaustedError` because those concern the run, `LimitReachedError` when the run's
    budget refuses the next call (the attempt's own and its feature's are its ending "limit"), and
    lets cancellation through. After a raise, work() on the same folder goes on from the last
    whole turn.
    The result's `patch` is None here: the caller exports it.
    """

    async def sandbox_limits(self, feature: Feature) -> SandboxLimits | None:
        """What the agent's sandbox must allow; None for the usual."""
        ...

    async def work(self, task: Task, sandbox: Sandbox, observer: Observer) -> AttemptResult: ...
