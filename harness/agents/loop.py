"""The built-in agent: asks the model, runs its tool calls in the sandbox, until it is over."""

import asyncio
import contextlib
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from harness.agents import context, rehearsal
from harness.agents.prompts import first_message, system_blocks
from harness.agents.task import Observer, Task
from harness.agents.tools import SUBMIT, Toolbox, bounded, offered, repeatable, result, together
from harness.agents.transcript import NAME, Transcript, calls_of, reply_facts
from harness.models.gateway import Caps, Gateway, OwnBudgetError, Purse
from harness.models.retries import asked_now, patiently
from harness.ports import Clock, Model, ModelReply, ModelRequest, Sandbox, SandboxLimits
from harness.record.clock import iso
from harness.skills import Skill
from orchestrator.errors import (
    ModelContextTooLongError,
    ModelError,
    ModelUnreachableError,
)
from orchestrator.failures import classify
from orchestrator.runs import stuck
from orchestrator.values import AttemptResult, Ending, Feature

REMINDER = (
    "You called no tool. Go on with `bash` or `edit`, or call `submit` when the work is done; "
    "without a tool call the attempt ends."
)
CUT_OFF = (
    "Your reply was cut off at its length limit, and what it began to call was not run. "
    "Take smaller steps: create a large file in parts."
)
INTERRUPTED = "interrupted: the harness restarted while this ran; its files may be half done"
NOT_RUN = "not run: the harness restarted before it came to this call"


class BuiltinAgent:
    """An `Agent` whose loop runs here, outside; only its tool calls run in the sandbox."""

    def __init__(  # noqa: PLR0913 - all but two have defaults
        self,
        model: Model,
        clock: Clock,
        *,
        purse: Purse | None = None,
        gateway: Gateway | None = None,
        skills: tuple[Skill, ...] = (),
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._gateway = gateway or Gateway(model, clock, purse=purse)
        self._clock = clock
        self._skills = skills
        self._jitter = jitter

    async def sandbox_limits(self, feature: Feature) -> SandboxLimits | None:  # noqa: ARG002
        return None

    async def work(self, task: Task, sandbox: Sandbox, observer: Observer) -> AttemptResult:
        """See `harness.agents.task.Agent`."""
        transcript = Transcript(task.folder / NAME)
        finished = transcript.result(task.key)
        if finished is not None:
            return finished
        return await _Work(
            task=task,
            transcript=transcript,
            toolbox=Toolbox(sandbox, observer, self._clock, self._skills),
            observer=observer,
            gateway=self._gateway,
            clock=self._clock,
            jitter=self._jitter,
        ).run()


@dataclass(frozen=True, slots=True)
class _Over:
    ending: Ending
    reason: str


@dataclass
class _Work:
    """One attempt at work. All that must survive a crash is in the transcript."""

    task: Task
    transcript: Transcript
    toolbox: Toolbox
    observer: Observer
    gateway: Gateway
    clock: Clock
    jitter: Callable[[], float]
    room: int = context.ROOM
    uncharged: float = 0.0  # seconds spent waiting for the provider or for money
    before: float = 0.0  # seconds charged by the processes before this one
    began: float = 0.0

    async def run(self) -> AttemptResult:
        await self._begin()
        while True:
            over = await self._run_tools() or self._limit() or await self._ask()
            if over is not None:
                return self._end(over)

    # ------------------------------------------------------------ begin and end

    async def _begin(self) -> None:
        self.before, self.began = self.transcript.elapsed, self.clock.monotonic()
        if self.transcript.cut:
            self._note("cut", bytes=self.transcript.cut)
        if self.transcript.started is None:
            return self._start()
        self._note("resumed", turns=self.transcript.turns)
        await self._settle_last()
        text = INTERRUPTED
        for call in self.transcript.open_calls():
            if call["name"] == SUBMIT or (text is INTERRUPTED and repeatable(call)):
                break  # it and what follows it are run: nothing of them could be half done
            self._write_result(result(call["id"], text, is_error=True))
            text = NOT_RUN
        return None

    def _start(self) -> None:
        key = self.task.key
        self._write(
            "start",
            task={"feature": key.feature, "attempt": key.name, "tier": self.task.tier},
            model=self.gateway.model_id(self.task.tier),
            source=self.gateway.source,
            system=system_blocks(),
            first=first_message(self.task),
        )

    async def _settle_last(self) -> None:
        """A crash may have come between writing a reply down and paying for it."""
        replies = self.transcript.of("reply")
        if replies:
            last = replies[-1]
            await self.gateway.settle(self.task.key, last["turn"], last["cost_usd"])

    def _end(self, over: _Over) -> AttemptResult:
        now, elapsed = self.clock.now(), self._elapsed()
        return self.transcript.end(
            self.task.key, over.ending, over.reason, time=now, elapsed=elapsed
        )

    # -------------------------------------------------------------------- tools

    async def _run_tools(self) -> _Over | None:
        """Answers the open calls of the last reply in order; over when one was a submit."""
        for calls in together(self.transcript.open_calls()):
            if self._submitted() is not None:
                break
            if self._left() <= 0:
                return self._limit()
            for done in await asyncio.gather(*map(self._answer, calls), return_exceptions=True):
                if isinstance(done, BaseException):
                    raise done
                self._write_result(done)
        summary = self._submitted()
        return _Over("submitted", bounded(summary, 2_000)) if summary is not None else None

    async def _answer(self, call: Mapping[str, Any]) -> dict[str, Any]:
        done = await self.toolbox.run(call, self._left())
        if call["name"] != SUBMIT or done.get("is_error") or not self._may_rehearse():
            return done
        acceptance = self.task.feature.acceptance
        refused = await rehearsal.refusal(self.toolbox.sandbox, acceptance, self._left())
        if refused is None:
            return done
        self._note("refused", turn=self.transcript.turns)
        return result(call["id"], refused, is_error=True)

    def _may_rehearse(self) -> bool:
        """Once, while something could still be mended. What a person has written down as a model's
        words has no answer to a refusal."""
        before = any(note.get("kind") == "refused" for note in self.transcript.of("note"))
        more = self.transcript.turns < self.task.limits.turns and self._left() > 0
        return more and not before and self.gateway.source != "scripted"

    def _submitted(self) -> str | None:
        """The summary of an accepted submit in the last reply."""
        replies = self.transcript.of("reply")
        if not replies:
            return None
        turn, calls = replies[-1]["turn"], calls_of(replies[-1]["content"])
        if self.transcript.repaired_after(turn):
            return None  # it was turned down
        lines = [line for line in self.transcript.of("results") if line["turn"] == turn]
        fine = {b["tool_use_id"] for ln in lines for b in ln["content"] if not b.get("is_error")}
        done = (c["input"]["summary"] for c in calls if c["name"] == SUBMIT and c["id"] in fine)
        return next(done, None)

    # ------------------------------------------------------------------- limits

    def _limit(self) -> _Over | None:
        limits, used = self.task.limits, self.transcript.usage
        # Cache reads are left out: how often the same tokens are read again is not work.
        tokens = used.total - used.cache_read
        if self.transcript.turns >= limits.turns:
            return _Over("limit", f"{limits.turns} turns used")
        if self._left() <= 0:
            return _Over("limit", f"{limits.seconds / 60:.1f} minutes used")
        if tokens >= limits.tokens:
            return _Over("limit", f"{tokens} of {limits.tokens} tokens used")
        circles = stuck.reason(self.transcript.acts())
        return _Over("limit", circles) if circles is not None else None

    def _elapsed(self) -> float:
        return self.before + self.clock.monotonic() - self.began - self.uncharged

    def _left(self) -> float:
        return self.task.limits.seconds - self._elapsed()

    async def _wait(self, seconds: float) -> None:
        """Waiting for the provider is not the agent's time."""
        began = self.clock.monotonic()
        with self.observer.idle():
            await self.clock.sleep(seconds)
        self.uncharged += self.clock.monotonic() - began

    # ---------------------------------------------------------------- the model

    async def _ask(self) -> _Over | None:
        request = self._request()
        began = self.clock.monotonic()
        try:
            reply = await patiently(
                lambda: self._try(request),
                sleep=self._wait,
                jitter=self.jitter,
                retried=lambda error, wait: self.observer.retried(_named(error), wait),
            )
        except TimeoutError:
            return _Over("limit", f"{self.task.limits.seconds / 60:.1f} minutes used")
        except OwnBudgetError as error:
            return _Over("limit", str(error))
        except ModelContextTooLongError as error:
            return self._make_room(error)
        except ModelError as error:
            self._note("failed", error=_named(error))
            row = classify(error)
            if row.stops_run and (row.retry or error.retry_after):
                tried = self.clock.monotonic() - began
                raise _patience_ended(error, tried, self.clock.now()) from error
            if row.stops_run:
                raise
            return _Over("error", _named(error))
        return self._remind(reply)

    async def _try(self, request: ModelRequest) -> ModelReply:
        """One call. Its reply is written down before it is paid for: a crash in between is mended
        on resume, while the other order would ask, and pay, again."""
        async with contextlib.AsyncExitStack() as stack:
            with self.observer.idle():
                request = asked_now(request, self.gateway.model_id(self.task.tier))
                called = self.gateway.call(request, self._caps(), self._uncharge)
                call = await stack.enter_async_context(called)
            began = self.clock.monotonic()
            try:
                async with asyncio.timeout(max(self._left(), 0.001)):
                    reply = await call.reply()
            except ModelUnreachableError:  # to find that out takes its time too
                self._uncharge(self.clock.monotonic() - began)
                raise
            finally:
                if call.lost:
                    self._note("lost", turn=request.turn)
            seconds = self.clock.monotonic() - began
            self._write("reply", **reply_facts(reply, request, seconds))
        self.observer.called(request.turn, reply, seconds)
        return reply

    def _caps(self) -> Caps:
        return Caps(self.task.feature.budget_usd, self.task.limits.usd, self.transcript.cost_usd)

    def _uncharge(self, seconds: float) -> None:
        """Waiting for a turn, for money or for the network is not the agent's time."""
        self.uncharged += seconds

    def _request(self) -> ModelRequest:
        messages = self.transcript.messages()
        already = self.transcript.shortened
        count = context.to_shorten(messages, already, self.room)
        if count > already:
            self._note("shortened", messages=count)
        start, model = self.transcript.started, self.gateway.model_id(self.task.tier)
        assert start is not None
        return ModelRequest(
            key=self.task.key,
            turn=self.transcript.turns + 1,
            model=model,
            system=tuple(start["system"]),
            tools=offered(self.toolbox.skills),
            messages=tuple(context.with_breakpoint(context.shorten(messages, count))),
            input_bound=context.input_bound(messages, self.transcript.last_usage(model)),
        )

    def _make_room(self, error: ModelContextTooLongError) -> _Over | None:
        """The estimate was too kind: shorten to half, until nothing is left to shorten."""
        messages = self.transcript.messages()
        size = context.size(context.shorten(messages, self.transcript.shortened))
        self.room = min(self.room, size) // 2
        if context.to_shorten(messages, self.transcript.shortened, self.room) > (
            self.transcript.shortened
        ):
            return None
        return _Over("limit", f"the conversation no longer fits: {error}")

    def _remind(self, reply: ModelReply) -> _Over | None:
        if calls_of(reply.content):
            return None
        replies = self.transcript.of("reply")
        if len(replies) > 1 and not calls_of(replies[-2]["content"]):
            return _Over("limit", "stopped calling tools")
        text = CUT_OFF if reply.stop_reason == "max_tokens" else REMINDER
        self._note("reminded", turn=self.transcript.turns, text=text)
        return None

    # --------------------------------------------------------------- transcript

    def _write(self, line: str, /, **facts: object) -> None:
        self.transcript.write(line, time=self.clock.now(), elapsed=self._elapsed(), **facts)

    def _note(self, kind: str, **facts: object) -> None:
        self._write("note", kind=kind, **facts)

    def _write_result(self, block: dict[str, object]) -> None:
        self._write("results", turn=self.transcript.turns, content=[block])


def _patience_ended(error: ModelError, seconds: float, now: float) -> ModelError:
    """What the run stops for, in words for who reads them in the morning; `seconds` of trying."""
    until = f", not before {iso(now + error.retry_after)}" if error.retry_after else ""
    since = f" for {seconds / 60:.0f} min" if seconds >= 60 else ""
    return type(error)(
        f"{classify(error).cause}{since} ({error}); "
        f"no attempt is used up, the same command goes on{until}",
        retry_after=error.retry_after,
        reply_begun=error.reply_begun,
    )


def _named(error: ModelError) -> str:
    return f"{type(error).__name__}: {error}"
