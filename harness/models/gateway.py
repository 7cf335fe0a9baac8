"""Every call to a model goes through here: it waits for its turn and its money, and is paid for.

In front of any adapter, for any agent. The order of one call: the shared prefix is warm; a turn
among those in flight; its worst case reserved; the call; what came of it is settled, released,
or kept as unknown. Nothing is retried here: who asks has that patience (`models.retries`), so
no two layers try again.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from typing import Literal, Protocol

from harness.models.chained import ChainedModel
from harness.models.limiter import Limiter, Turn
from harness.models.warming import Share, Warming
from harness.ports import Clock, Model, ModelReply, ModelRequest
from harness.record.clock import iso
from orchestrator import cost, events
from orchestrator.errors import (
    LimitReachedError,
    ModelError,
    ModelQuotaExhaustedError,
    ModelRateLimitedError,
    ModelTimeoutError,
)
from orchestrator.failures import classify
from orchestrator.values import AttemptKey, Tier

#: Seconds that one call may take: a stream that trickles for ever is never silent. No reply takes
#: half an hour, and who waits for the money that a call holds has that much patience.
CALL_SECONDS = 1800.0


class Purse(Protocol):
    """Money of a run: what a call may cost is reserved before it is made."""

    async def reserve(
        self,
        key: AttemptKey,
        call: str,
        worst: float | None,
        *,
        feature_usd: float | None,
        attempt_usd: float | None,
    ) -> cost.Refusal | None:
        """None when reserved. `call` names the question within the attempt."""
        ...

    async def settle(self, key: AttemptKey, call: str, actual: float | None) -> None:
        """What the call cost; None is unknown and keeps the reservation. Idempotent."""
        ...

    async def release(self, key: AttemptKey, call: str) -> None:
        """The call was refused before it cost anything."""
        ...


class OwnBudgetError(LimitReachedError):
    """The attempt's or its feature's share is used up; the run goes on."""


@dataclass(frozen=True, slots=True)
class Caps:
    """The asking attempt's caps in dollars, None for none. `spent_usd`: what it knows to have
    spent, None when that is not known; it counts only where there is no purse."""

    feature_usd: float | None = None
    attempt_usd: float | None = None
    spent_usd: float | None = 0.0


class Call:
    """One call that has its turn and its money. `lost`: it may be charged, nobody knows what."""

    def __init__(  # noqa: PLR0913 - what one call is made of
        self,
        model: Model,
        request: ModelRequest,
        turn: Turn,
        share: Share,
        *,
        free: bool,
        seconds: float,
    ) -> None:
        self._model = model
        self._seconds = seconds
        self._request = replace(request, begun=share.begun)
        self._turn = turn
        self._share = share
        self._free = free
        self.answer: ModelReply | None = None
        self.lost = False

    async def reply(self) -> ModelReply:
        """Raises `ModelError` and its kinds; to be called once."""
        self.lost = not self._free  # until it is known better, a cancelled call is a lost one
        try:
            self.answer = await self._in_time()
        except ModelError as error:
            self.lost = not self._free and (classify(error).reply_lost or error.reply_begun)
            if isinstance(error, ModelRateLimitedError):
                self._turn.limited(error.retry_after)
            elif isinstance(error, ModelQuotaExhaustedError):
                self._turn.spent(error.retry_after)
            raise
        self.lost = False
        self._share.begun()
        self._turn.answered(self.answer.pause)
        return self.answer

    async def _in_time(self) -> ModelReply:
        try:
            async with asyncio.timeout(self._seconds):
                return await self._model.reply(self._request)
        except TimeoutError:
            raise ModelTimeoutError(
                f"the reply was not complete after {self._seconds / 60:.0f} min"
            ) from None


class Gateway:
    """Limits, warms and pays for the calls of one process's run."""

    source: Literal["live", "recorded", "scripted"]

    def __init__(  # noqa: PLR0913 - all but two have defaults
        self,
        model: Model,
        clock: Clock,
        *,
        purse: Purse | None = None,
        note: Callable[[events.Event], object] = lambda _event: None,
        warming: Warming | None = None,
        call_seconds: float = CALL_SECONDS,
    ) -> None:
        """`note` hears of every change of a limit, and of a bill that cannot be right."""
        self.model = self._model = model
        self._clock = clock
        self._purse = purse
        self._note = note
        self._warming = warming or Warming(clock)
        self._call_seconds = call_seconds
        self._limiters: dict[str, Limiter] = {}
        self._overbilled: set[str] = set()
        self.source = model.source
        if isinstance(model, ChainedModel):
            model.on_change = lambda text: note(events.WarningGiven(message=text))

    def model_id(self, tier: Tier) -> str:
        return self._model.model_id(tier)

    async def close(self) -> None:
        for limiter in self._limiters.values():
            limiter.close()
        await self._model.close()

    @contextlib.asynccontextmanager
    async def call(
        self, request: ModelRequest, caps: Caps, waited: Callable[[float], None]
    ) -> AsyncIterator[Call]:
        """A call, ready to be made; settled when the caller is through with what it answered.

        `waited` is told the seconds that went by before it could be made, which are no part of
        the caller's own time. Raises `OwnBudgetError` or `LimitReachedError` for want of money.
        """
        began = self._clock.monotonic()
        async with contextlib.AsyncExitStack() as stack:
            try:
                share = await self._warming.wait(request)
                stack.callback(share.close)
                limiter = self.limiter(request.model)
                turn = await stack.enter_async_context(limiter.turn(request.key.feature))
                worst = await self._reserve(request, caps)
            finally:
                waited(self._clock.monotonic() - began)
            call = Call(
                self._model, request, turn, share, free=worst == 0, seconds=self._call_seconds
            )
            try:
                yield call
            finally:
                if worst != 0:  # else nothing was reserved
                    await self._settle(request, call)
                    self._compare(request.model, call.answer, worst)

    def limiter(self, model: str) -> Limiter:
        """The limit of one model's calls."""
        if model not in self._limiters:

            def changed(limit: int, why: str, pause: float) -> None:
                until = iso(self._clock.now() + pause) if pause else ""
                self._note(
                    events.LimitChanged(
                        model=model, limit=limit, why=why, pause=round(pause, 3), until=until
                    )
                )

            self._limiters[model] = Limiter(self._clock, changed=changed)
        return self._limiters[model]

    async def settle(self, key: AttemptKey, turn: int, actual: float | None) -> None:
        """For a resumed attempt: pay for a reply that was written down before a crash."""
        if self._purse is not None:
            await self._purse.settle(key, call_name(turn), actual)

    async def _reserve(self, request: ModelRequest, caps: Caps) -> float | None:
        worst = self._model.worst_case_usd(request)
        refused = None
        if worst == 0:
            return worst
        if self._purse is not None:
            refused = await self._purse.reserve(
                request.key,
                call_name(request.turn),
                worst,
                feature_usd=caps.feature_usd,
                attempt_usd=caps.attempt_usd,
            )
        elif caps.attempt_usd is not None:
            refused = _own_refusal(caps.attempt_usd, caps.spent_usd, worst)
        if refused is not None:
            ours = refused.scope.startswith(("attempt", "feature"))
            raise (OwnBudgetError if ours else LimitReachedError)(refused.reason)
        return worst

    async def _settle(self, request: ModelRequest, call: Call) -> None:
        if self._purse is None:
            return
        name = call_name(request.turn)
        if call.answer is not None:
            await self._purse.settle(request.key, name, call.answer.cost_usd)
        elif call.lost:
            await self._purse.settle(request.key, name, None)
        else:
            await self._purse.release(request.key, name)

    def _compare(self, model: str, answer: ModelReply | None, worst: float | None) -> None:
        """Says once of a model that it billed more than was asked for: no cap can hold that."""
        cost = answer.cost_usd if answer is not None else None
        if cost is None or worst is None or cost <= worst or model in self._overbilled:
            return
        self._overbilled.add(model)
        text = (
            f"{model} counted ${cost:.4f} for a call that could cost ${worst:.4f} at most: its "
            "server ignores the limit of a reply, or counts wrongly; budgets cannot hold it"
        )
        self._note(events.WarningGiven(message=text))


def call_name(turn: int) -> str:
    return f"t{turn}"


def _own_refusal(cap: float, spent: float | None, worst: float | None) -> cost.Refusal | None:
    """Without a purse the attempt's cap is held here; unknown costs fail closed."""
    amount = None if worst is None or spent is None else cost.nano_up(worst)
    balance = cost.Balance("attempt", cost.nano_down(cap), cost.nano_up(spent or 0.0))
    return cost.refusal([balance], amount)
