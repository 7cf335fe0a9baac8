"""Asks a role for its document, through the gateway like every model call."""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.models.gateway import Caps, Gateway
from harness.models.retries import patiently
from harness.ports import Clock, ModelReply, ModelRequest
from orchestrator import registry
from orchestrator.planner import documents
from orchestrator.planner import models as plan_models
from orchestrator.planner.course import Turn
from orchestrator.planner.documents import Document
from orchestrator.values import AttemptKey, Tier

#: No feature can be called so: a planner's calls are told apart from every attempt's.
PLAN = "_plan"
TOOL = "write_document"
_CACHE = {"type": "ephemeral"}


def key_of(role: registry.Role) -> AttemptKey:
    """Who asks, for the budget and for recordings: `_plan/r1-a03` is the third role."""
    return AttemptKey(PLAN, 1, registry.number(role))


def section(goal: str, role: registry.Role) -> str:
    """The goal as a role reads it. Recordings are bound to exactly this text."""
    return f'<goal role="{role.name}">\n{goal}\n</goal>'


@dataclass(frozen=True, slots=True)
class Asking:
    """`kept` is given each reply before it is paid for: a crash in between is mended at the next
    start, while the other order would ask, and pay, again."""

    gateway: Gateway
    clock: Clock
    goal: str
    surroundings: str
    tier: Tier | None = None
    jitter: Callable[[], float] = random.random

    async def ask(
        self,
        turn: Turn,
        standing: Sequence[Document],
        kept: Callable[[ModelReply, float], Document],
    ) -> Document:
        """Raises `ModelError` when patience ends, `LimitReachedError` for want of money."""
        request = self._request(turn, standing)
        found: list[Document] = []

        async def once() -> ModelReply:
            async with self.gateway.call(request, Caps(), lambda _waited: None) as call:
                began = self.clock.monotonic()
                reply = await call.reply()
                found.append(kept(reply, self.clock.monotonic() - began))
            return reply

        await patiently(
            once, sleep=self.clock.sleep, jitter=self.jitter, retried=lambda _error, _wait: None
        )
        return found[-1]

    def _request(self, turn: Turn, standing: Sequence[Document]) -> ModelRequest:
        role = turn.role
        return ModelRequest(
            key=key_of(role),
            turn=turn.version,
            model=self.gateway.model_id(self.tier or role.tier),
            system=({"type": "text", "text": f"{registry.COMMON}\n{role.prompt}"},),
            tools=(tool(role),),
            messages=messages(self.goal, self.surroundings, turn, standing),
        )


def tool(role: registry.Role) -> Mapping[str, Any]:
    """What a role answers with."""
    return {
        "name": TOOL,
        "description": f"Hand in your document: {role.writes.replace('_', ' ')}.",
        "input_schema": plan_models.schema(role.writes),
    }


def messages(
    goal: str, surroundings: str, turn: Turn, standing: Sequence[Document]
) -> tuple[Mapping[str, Any], ...]:
    """What a role is shown: the repository, the goal, the documents before it; then what it has
    answered, and what was wrong with that."""
    texts = [
        f"<repository>\n{surroundings}\n</repository>",
        section(goal, turn.role),
        *(documents.shown(d) for d in standing),
        f"Write the {turn.role.writes.replace('_', ' ')}.",
    ]
    blocks = [{"type": "text", "text": text} for text in texts if text]
    found: list[Mapping[str, Any]] = [
        {"role": "user", "content": [*blocks[:-1], {**blocks[-1], "cache_control": _CACHE}]}
    ]
    for version in turn.after:
        found.append({"role": "assistant", "content": list(version.reply)})
        found.append({"role": "user", "content": _sent_back(version)})
    return tuple(found)


def _sent_back(version: Document) -> list[Mapping[str, Any]]:
    lines = "\n".join(f"- {comment.text}" for comment in version.comments)
    text = f"It was sent back. What is to be mended:\n{lines}\nWrite the whole document again."
    ids = [block["id"] for block in version.reply if block.get("type") == "tool_use"]
    if not ids:
        return [{"type": "text", "text": text}]
    said = [{"type": "text", "text": text}]
    return [
        {"type": "tool_result", "tool_use_id": id_, "is_error": True, "content": said}
        for id_ in ids
    ]


def answer_of(reply: ModelReply) -> object:
    """What the reply handed in; None where it did not."""
    calls = [b for b in reply.content if b.get("type") == "tool_use" and b.get("name") == TOOL]
    return calls[0].get("input") if calls else None
