"""Asks again when asking again can help: the failure table, carried out by tenacity."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from harness.ports import ModelReply, ModelRequest
from orchestrator.errors import ModelError
from orchestrator.failures import classify, next_wait

if TYPE_CHECKING:
    from tenacity import RetryCallState

_GIVE_UP = float("inf")


def asked_now(request: ModelRequest, model: str) -> ModelRequest:
    """The request for the model that the tier asks now: another may stand in since the last try.
    What one model counted is no bound for what another will."""
    same = model == request.model
    return request if same else replace(request, model=model, input_bound=None)


async def patiently(
    ask: Callable[[], Awaitable[ModelReply]],
    *,
    sleep: Callable[[float], Awaitable[None]],
    jitter: Callable[[], float],
    retried: Callable[[ModelError, float], None],
) -> ModelReply:
    """The reply, after as many tries as `orchestrator.failures` grants the errors met.

    `jitter` gives numbers in 0..1; `retried` hears of each error and the wait in seconds that
    follows it. Raises the last error when the patience with it ends, and at once whatever is
    not a `ModelError`. Adapters must not retry by themselves, or tries would multiply.
    """
    from tenacity import (  # noqa: PLC0415 - late, for it costs start-up
        AsyncRetrying,
        retry_if_exception_type,
    )

    # Counted for each kind of error: a rate limit must not use up the patience with another.
    met: dict[type[ModelError], int] = {}
    waited: dict[type[ModelError], float] = {}

    def wait(state: "RetryCallState") -> float:
        error = _error(state)
        kind = type(error)
        met[kind] = met.get(kind, 0) + 1
        seconds = next_wait(
            classify(error),
            tries=met[kind],
            waited=waited.get(kind, 0.0),
            retry_after=error.retry_after,
            jitter=jitter(),
        )
        if seconds is None:
            return _GIVE_UP
        waited[kind] = waited.get(kind, 0.0) + seconds
        return seconds

    retrying = AsyncRetrying(
        sleep=sleep,
        retry=retry_if_exception_type(ModelError),
        wait=wait,
        stop=lambda state: state.upcoming_sleep == _GIVE_UP,
        before_sleep=lambda state: retried(_error(state), state.upcoming_sleep),
        reraise=True,
    )

    async def once() -> ModelReply:  # tenacity awaits only what is declared async
        return await ask()

    return await retrying(once)


def _error(state: "RetryCallState") -> ModelError:
    error = state.outcome.exception() if state.outcome is not None else None
    assert isinstance(error, ModelError)
    return error
