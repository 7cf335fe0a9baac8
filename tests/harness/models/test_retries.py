"""Asking again follows the table: how often, how long, and never for what is not ours."""

import pytest

from harness.models.retries import patiently
from harness.ports import ModelReply
from orchestrator import errors as e
from orchestrator.failures import TABLE
from tests.harness.agents.workbench import StepClock

REPLY = ModelReply((), "end_turn", "m", None, None)


class Asked:
    """Fails as told, then answers."""

    def __init__(self, *failures: BaseException) -> None:
        self.failures = list(failures)
        self.count = 0

    async def __call__(self) -> ModelReply:
        self.count += 1
        if self.failures:
            raise self.failures.pop(0)
        return REPLY


async def ask(asked: Asked, clock: StepClock, heard: list | None = None) -> ModelReply:
    return await patiently(
        asked,
        sleep=clock.sleep,
        jitter=lambda: 1.0,
        retried=lambda error, wait: None if heard is None else heard.append((error, wait)),
    )


async def test_an_answer_at_once_waits_for_nothing():
    clock = StepClock()
    assert await ask(Asked(), clock) is REPLY
    assert clock.slept == []


async def test_waits_double_up_to_their_bound_and_are_told():
    clock, heard = StepClock(), []
    failures = [e.ModelOverloadedError(str(n)) for n in range(9)]
    assert await ask(Asked(*failures), clock, heard) is REPLY
    assert clock.slept == [2, 4, 8, 16, 32, 64, 120, 120, 120]
    assert [(str(error), wait) for error, wait in heard] == [
        (str(n), wait) for n, wait in enumerate(clock.slept)
    ]


@pytest.mark.parametrize(
    "cls",
    [c for c in TABLE if issubclass(c, e.ModelError)],
    ids=lambda c: c.__name__,
)
async def test_no_error_is_asked_more_often_than_its_row_says(cls):
    clock, asked = StepClock(), Asked(*(cls("x") for _ in range(100)))
    with pytest.raises(cls):
        await ask(asked, clock)
    assert asked.count <= TABLE[cls].tries
    assert (asked.count > 1) == TABLE[cls].retry
    assert sum(clock.slept) <= TABLE[cls].patience


async def test_one_kind_of_error_does_not_use_up_the_patience_with_another():
    mixed = [
        e.ModelRateLimitedError("429"),
        e.ModelTimeoutError("cut"),
        e.ModelOverloadedError("5"),
    ]
    malformed = [e.ModelMalformedError("x")] * (TABLE[e.ModelMalformedError].tries - 1)
    assert await ask(Asked(*mixed, *malformed), StepClock()) is REPLY


async def test_three_windows_of_a_minute_do_not_end_an_attempt():
    clock = StepClock()
    asked = Asked(*(e.ModelRateLimitedError("429", retry_after=60) for _ in range(10)))
    assert await ask(asked, clock) is REPLY
    assert all(wait >= 60 for wait in clock.slept) and len(clock.slept) == 10


@pytest.mark.parametrize("error", [KeyError("x"), e.LimitReachedError("x"), TimeoutError()])
async def test_what_is_no_model_error_passes_through(error):
    asked = Asked(error)
    with pytest.raises(type(error)):
        await ask(asked, StepClock())
    assert asked.count == 1
