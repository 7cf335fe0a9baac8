"""Runs a command-line agent inside the sandbox; its models are behind the harness's own proxy."""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from harness.agents.programs import Program, ending_of, filled
from harness.agents.prompts import SYSTEM, closing, feature_section, surroundings
from harness.agents.task import Observer, Task
from harness.agents.transcript import NAME, Transcript, reply_facts
from harness.models.gateway import Caps, Gateway, OwnBudgetError
from harness.models.proxy import ModelProxy
from harness.models.questions import Asked
from harness.models.retries import asked_now, patiently
from harness.ports import Clock, ExecResult, ModelReply, ModelRequest, Sandbox, SandboxLimits
from orchestrator.errors import FibreFlowError, LimitReachedError
from orchestrator.failures import classify
from orchestrator.values import AttemptResult, Ending, Feature

#: Where the program's own output is kept, in the attempt's log folder.
OUTPUT = "agent.out"
#: Bytes of it that are looked at for its end.
_OUTPUT_BYTES = 4_000_000
#: Where its binary is put inside, when it cannot be seen there.
_INSIDE = "/tmp/agent/bin"  # noqa: S108 - inside
#: Folders of this machine that sandboxes see.
_SEEN = (Path("/usr"),)


class CommandLineAgent:
    """An `Agent` that is a program of its own. It holds a token of the proxy, and no key."""

    def __init__(  # noqa: PLR0913 - what it works with; the last two have defaults
        self,
        program: Program,
        gateway: Gateway,
        proxy: ModelProxy,
        clock: Clock,
        *,
        limits: SandboxLimits | None = None,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._program = program
        self._gateway = gateway
        self._proxy = proxy
        self._clock = clock
        self._limits = limits or SandboxLimits()
        self._jitter = jitter

    async def sandbox_limits(self, feature: Feature) -> SandboxLimits:  # noqa: ARG002 - the port's
        """Besides what any sandbox of the run may reach, the proxy."""
        proxy = f"127.0.0.1:{await self._proxy.port()}"
        return replace(self._limits, allow=(*self._limits.allow, proxy))

    async def work(self, task: Task, sandbox: Sandbox, observer: Observer) -> AttemptResult:
        """See `harness.agents.task.Agent`. After a crash the program begins anew, in the files
        as they were left; what was paid until then counts."""
        transcript = Transcript(task.folder / NAME)
        finished = transcript.result(task.key)
        if finished is not None:
            return finished
        talk = _Talk(task, transcript, observer, self._gateway, self._clock, self._jitter)
        talk.begin(self._program.name)
        binary = await self._placed(sandbox)
        async with self._proxy.session(talk.answer) as token:
            manner, section = rules(task), feature_section(task.feature)
            values = {
                "binary": binary,
                "rules": manner,
                "brief": f"{manner}\n\n{section}",
                "turns": str(task.limits.turns),
                "url": f"http://127.0.0.1:{await self._proxy.port()}",
                "token": token,
                "prompt": section,
            }
            done = await self._run(talk, sandbox, values)
        talk.raise_for_run()
        (task.folder / OUTPUT).write_bytes(done.out + done.err)
        return talk.end(*self._ending(talk, done))

    async def _run(self, talk: "_Talk", sandbox: Sandbox, values: dict[str, str]) -> ExecResult:
        command = [filled(word, values) for word in self._program.command]
        env = {name: filled(value, values) for name, value in self._program.env.items()}
        began = self._clock.monotonic()
        running = asyncio.ensure_future(
            sandbox.exec(command, env=env, timeout=talk.most_seconds, limit=_OUTPUT_BYTES)
        )
        watching = asyncio.ensure_future(talk.over())
        try:
            await asyncio.wait({running, watching}, return_when=asyncio.FIRST_COMPLETED)
            if not running.done():
                running.cancel()
                await asyncio.wait({running})
        finally:
            running.cancel()
            watching.cancel()
        stopped = running.cancelled()
        done = ExecResult(124, b"", b"", timed_out=True) if stopped else running.result()
        talk.observer.command(self._program.name, done.exit, self._clock.monotonic() - began)
        return done

    def _ending(self, talk: "_Talk", done: ExecResult) -> tuple[Ending, str]:
        if talk.limit:
            return "limit", talk.limit
        if done.timed_out:
            return "limit", f"{talk.task.limits.seconds / 60:.1f} minutes used"
        if talk.failure is not None:
            return "error", f"{type(talk.failure).__name__}: {talk.failure}"
        return ending_of(
            self._program, done.exit, (done.out or done.err).decode("utf-8", "replace")
        )

    async def _placed(self, sandbox: Sandbox) -> str:
        """The binary's path inside."""
        found = await asyncio.to_thread(self._program.find)
        if found is None or any(found.is_relative_to(folder) for folder in _SEEN):
            return str(found or "")
        inside = f"{_INSIDE}/{self._program.binary}"
        if not (await sandbox.exec(["test", "-x", inside])).ok:
            with found.open("rb") as data:
                await sandbox.upload(inside, data)
            await sandbox.exec(["chmod", "+x", inside])
        return inside


@dataclass
class _Talk:
    """One attempt's side of the proxy: what is asked, charged, written down and cut off."""

    task: Task
    transcript: Transcript
    observer: Observer
    gateway: Gateway
    clock: Clock
    jitter: Callable[[], float]
    limit: str = ""
    failure: FibreFlowError | None = None
    uncharged: float = 0.0
    before: float = 0.0
    began: float = 0.0
    asking: asyncio.Lock = field(default_factory=asyncio.Lock)
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def most_seconds(self) -> float:
        """Of the whole program: waiting for a provider comes on top of the attempt's own time."""
        return self.task.limits.seconds + 86_400.0

    def begin(self, agent: str) -> None:
        self.before, self.began = self.transcript.elapsed, self.clock.monotonic()
        if self.transcript.started is None:
            key, section = self.task.key, feature_section(self.task.feature)
            self._write(
                "start",
                task={"feature": key.feature, "attempt": key.name, "tier": self.task.tier},
                model=self.gateway.model_id(self.task.tier),
                source=self.gateway.source,
                agent=agent,
                system=[],
                first={"role": "user", "content": [{"type": "text", "text": section}]},
            )
        else:
            self._write("note", kind="resumed", turns=self.transcript.turns)

    async def over(self) -> None:
        """Returns when the attempt's own time is used up, or nothing will be answered any more."""
        while not self.ended.is_set() and self._left() > 0:
            await self.clock.sleep(min(1.0, max(self._left(), 0.01)))
        if self.limit or self.failure is not None:
            await self.clock.sleep(5.0)  # the program may end by itself, with its last words
        else:
            self.limit = f"{self.task.limits.seconds / 60:.1f} minutes used"

    async def answer(self, asked: Asked) -> ModelReply:
        """One question of the program's. One at a time: turns have an order."""
        async with self.asking:
            self._check()
            request = ModelRequest(
                key=self.task.key,
                turn=self.transcript.turns + 1,
                model=self.gateway.model_id(self.task.tier),
                system=asked.system,
                tools=asked.tools,
                messages=asked.messages,
                max_tokens=asked.max_tokens,
            )
            try:
                return await patiently(
                    lambda: self._try(request),
                    sleep=self._wait,
                    jitter=self.jitter,
                    retried=lambda error, wait: self.observer.retried(
                        f"{type(error).__name__}: {error}", wait
                    ),
                )
            except OwnBudgetError as error:
                self._stop(str(error))
                raise
            except FibreFlowError as error:
                if asked.main or classify(error).stops_run:
                    self.failure = error
                    self.ended.set()
                raise

    def raise_for_run(self) -> None:
        """What concerns the run is raised; the attempt goes on at the next start."""
        if self.failure is not None and classify(self.failure).stops_run:
            raise self.failure

    def end(self, ending: Ending, reason: str) -> AttemptResult:
        now, elapsed = self.clock.now(), self._elapsed()
        return self.transcript.end(self.task.key, ending, reason, time=now, elapsed=elapsed)

    def _check(self) -> None:
        limits, used = self.task.limits, self.transcript.usage
        tokens = used.total - used.cache_read
        if self.transcript.turns >= limits.turns:
            self._stop(f"{limits.turns} turns used")
        elif tokens >= limits.tokens:
            self._stop(f"{tokens} of {limits.tokens} tokens used")
        if self.limit:
            raise LimitReachedError(self.limit)

    def _stop(self, why: str) -> None:
        self.limit = self.limit or why
        self.ended.set()

    async def _try(self, request: ModelRequest) -> ModelReply:
        caps = Caps(self.task.feature.budget_usd, self.task.limits.usd, self.transcript.cost_usd)
        request = asked_now(request, self.gateway.model_id(self.task.tier))
        async with self.gateway.call(request, caps, self._uncharge) as call:
            began = self.clock.monotonic()
            try:
                reply = await call.reply()
            finally:
                if call.lost:
                    self._write("note", kind="lost", turn=request.turn)
            seconds = self.clock.monotonic() - began
            self._write("reply", **reply_facts(reply, request, seconds))
        self.observer.called(request.turn, reply, seconds)
        return reply

    async def _wait(self, seconds: float) -> None:
        began = self.clock.monotonic()
        await self.clock.sleep(seconds)
        self._uncharge(self.clock.monotonic() - began)

    def _uncharge(self, seconds: float) -> None:
        self.uncharged += seconds

    def _elapsed(self) -> float:
        return self.before + self.clock.monotonic() - self.began - self.uncharged

    def _left(self) -> float:
        return self.task.limits.seconds - self._elapsed()

    def _write(self, line: str, /, **facts: object) -> None:
        self.transcript.write(line, time=self.clock.now(), elapsed=self._elapsed(), **facts)


def rules(task: Task) -> str:
    """What a program is told besides the feature: the rules of all agents, what surrounds the
    feature, and what earlier attempts taught."""
    manner = SYSTEM.replace("Call `submit` with", "End with")
    parts = [manner, surroundings(task), closing(task)]
    return "\n\n".join(part for part in parts if part)
