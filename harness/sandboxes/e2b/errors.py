"""Translates what the E2B SDK and the libraries under it raise into the project's errors."""

import contextlib
import functools
from collections.abc import Iterator, Mapping

from orchestrator.errors import (
    FibreFlowError,
    LimitReachedError,
    SandboxError,
    SandboxGoneError,
    SandboxUnavailableError,
)

#: Refusals for want of room: nothing was done, and the same request may succeed later.
BUSY = ("RateLimitException", "ServiceBusyException")


@functools.cache
def table() -> Mapping[type[Exception], type[FibreFlowError]]:
    """Every exception class of the SDK, and the roots of those of its transports.

    A test compares it with what is installed. What the SDK wants its users to tell apart and we
    need not is a `SandboxError`.
    """
    import connectrpc.errors  # noqa: PLC0415 - the SDK takes most of a second to import
    import e2b  # noqa: PLC0415
    import e2b.exceptions as e  # noqa: PLC0415
    import httpx  # noqa: PLC0415
    import pyqwest  # noqa: PLC0415

    return {
        e.SandboxException: SandboxError,
        e.TimeoutException: SandboxError,
        e.InvalidArgumentException: SandboxError,
        e.NotEnoughSpaceException: SandboxError,
        e.NotFoundException: SandboxError,
        e.FileNotFoundException: SandboxError,
        e.SandboxNotFoundException: SandboxGoneError,
        e.SandboxNotRunningException: SandboxGoneError,
        e.SandboxUnreachableException: SandboxError,
        e.AuthenticationException: SandboxUnavailableError,
        e.GitAuthException: SandboxError,
        e.GitUpstreamException: SandboxError,
        e.TemplateException: SandboxError,
        e.RateLimitException: LimitReachedError,
        e.GuestUnresponsiveException: SandboxError,
        e.ServiceBusyException: SandboxError,
        e.BuildException: SandboxError,
        e.FileUploadException: SandboxError,
        e.VolumeException: SandboxError,
        e.VolumeNotFoundException: SandboxError,
        e.VolumePathNotFoundException: SandboxError,
        e.SecretException: SandboxError,
        e.SecretNotFoundException: SandboxError,
        e2b.CommandExitException: SandboxError,
        e2b.DockerfileSyntaxError: SandboxError,
        httpx.HTTPError: SandboxError,
        httpx.InvalidURL: SandboxError,
        httpx.CookieConflict: SandboxError,
        httpx.StreamError: SandboxError,
        connectrpc.errors.ConnectError: SandboxError,
        pyqwest.ReadError: SandboxError,
        pyqwest.WriteError: SandboxError,
        pyqwest.StreamError: SandboxError,
        pyqwest.RemoteProtocolError: SandboxError,
        pyqwest.TooManyRedirects: SandboxError,
        OSError: SandboxError,
    }


def is_busy(error: BaseException) -> bool:
    """Whether the cloud refused for want of room, so that trying again later may help."""
    return type(error.__cause__ or error).__name__ in BUSY


def translate(what: str, error: Exception) -> FibreFlowError | None:
    """Our error for a foreign one that came up while doing `what`; None for one that is not of
    the SDK, which is then a defect of ours."""
    known = table()
    ours = next((known[c] for c in type(error).__mro__ if c in known), None)
    if ours is None and type(error) is Exception:  # the SDK raises that for broken answers
        ours = SandboxError
    if ours is None:
        return None
    remedy = "; check E2B_API_KEY" if ours is SandboxUnavailableError else ""
    return ours(f"E2B could not {what}: {str(error) or type(error).__name__}{remedy}")


@contextlib.contextmanager
def translated(what: str) -> Iterator[None]:
    """Within the block only the SDK is called; what it raises comes out as our errors."""
    try:
        yield
    except FibreFlowError:
        raise
    except Exception as error:
        ours = translate(what, error)
        if ours is None:
            raise
        raise ours from error
