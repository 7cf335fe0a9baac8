"""Every exception that the E2B SDK and its transports can raise has a place in our tree."""

import inspect

import connectrpc.errors
import e2b
import e2b.exceptions
import e2b_code_interpreter
import httpx
import pyqwest
import pytest

from harness.sandboxes.e2b.errors import is_busy, table, translate, translated
from orchestrator.errors import (
    FibreFlowError,
    LimitReachedError,
    SandboxError,
    SandboxGoneError,
    SandboxUnavailableError,
)


def classes(module: object) -> list[type[Exception]]:
    found = (c for _, c in inspect.getmembers(module, inspect.isclass))
    return [c for c in found if issubclass(c, Exception)]


SDK = {*classes(e2b.exceptions), *classes(e2b), *classes(e2b_code_interpreter)}
TRANSPORTS = {*classes(httpx), *classes(connectrpc.errors), *classes(pyqwest)}


@pytest.mark.parametrize("cls", sorted(SDK, key=lambda c: c.__name__))
def test_each_of_the_sdk_is_listed_by_name(cls: type[Exception]) -> None:
    assert cls in table(), f"a new exception of the SDK: decide what {cls.__name__} means"


@pytest.mark.parametrize("cls", sorted(TRANSPORTS, key=lambda c: c.__name__))
def test_each_of_the_transports_is_under_one_that_is_listed(cls: type[Exception]) -> None:
    assert any(base in table() for base in cls.__mro__), cls


def test_nothing_is_listed_that_is_gone() -> None:
    assert set(table()) - SDK - TRANSPORTS == {OSError}


@pytest.mark.parametrize(
    ("error", "ours"),
    [
        (e2b.exceptions.AuthenticationException("401"), SandboxUnavailableError),
        (e2b.exceptions.RateLimitException("429"), LimitReachedError),
        (e2b.exceptions.ServiceBusyException("503"), SandboxError),
        (e2b.exceptions.SandboxNotFoundException("x"), SandboxGoneError),
        (e2b.exceptions.SandboxNotRunningException("x"), SandboxGoneError),
        (e2b.exceptions.SandboxUnreachableException("x"), SandboxError),
        (httpx.ReadTimeout("x"), SandboxError),
        (ConnectionResetError("x"), SandboxError),
        (Exception("Command ended without an end event"), SandboxError),
    ],
)
def test_what_they_mean(error: Exception, ours: type[FibreFlowError]) -> None:
    with pytest.raises(ours, match="E2B could not test") as found, translated("test"):
        raise error
    assert type(found.value) is ours
    assert found.value.__cause__ is error


def test_a_defect_of_ours_stays_one() -> None:
    assert translate("test", KeyError("x")) is None
    with pytest.raises(KeyError), translated("test"):
        raise KeyError("x")


def test_only_a_refusal_for_want_of_room_is_worth_waiting_for() -> None:
    busy = (e2b.exceptions.RateLimitException("x"), e2b.exceptions.ServiceBusyException("x"))
    assert [is_busy(error) for error in busy] == [True, True]
    assert not is_busy(e2b.exceptions.SandboxException("x"))
    with pytest.raises(LimitReachedError) as found, translated("test"):
        raise busy[0]
    assert is_busy(found.value)
