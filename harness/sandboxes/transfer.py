"""Files in and out of a sandbox by commands inside it, where a planted link leads nowhere else."""

from typing import BinaryIO

from harness.ports import ExecResult, Sandbox
from orchestrator.errors import SandboxError

_UPLOAD = 'mkdir -p -- "$(dirname -- "$1")" && exec cat > "$1"'
#: Regular files only: reading a pipe an agent planted would never end.
_DOWNLOAD = (
    'if [ ! -e "$1" ]; then exit 44; elif [ ! -f "$1" ]; then exit 45; fi; '
    'exec head -c "$2" -- "$1"'
)
_MISSING, _NOT_A_FILE = 44, 45
_TIMEOUT = 120.0
_STREAM_TIMEOUT = 3600.0


async def upload(sandbox: Sandbox, path: str, data: bytes | BinaryIO) -> None:
    """Write `data` to `path`, making folders. Raises `SandboxError` when it cannot be written."""
    result = await sandbox.exec(
        ["/bin/sh", "-c", _UPLOAD, "upload", _rooted(sandbox, path)],
        stdin=data,
        timeout=_STREAM_TIMEOUT,
    )
    if not result.ok:
        raise SandboxError(f"upload of {path} to sandbox {sandbox.id} failed: {_said(result)}")


async def download(sandbox: Sandbox, path: str, limit: int) -> bytes:
    """The content of `path`. Raises `FileNotFoundError`, `SandboxError` when over `limit`."""
    result = await sandbox.exec(reading(sandbox, path, limit), timeout=_TIMEOUT, limit=limit + 1)
    check(result, sandbox, path)
    if len(result.out) > limit:
        raise too_large(sandbox, path, limit)
    return result.out


async def download_to(sandbox: Sandbox, path: str, file: BinaryIO, limit: int) -> int:
    """Write the content of `path` to `file`; how many bytes. Errors as in `download`."""
    size = 0

    def write(data: bytes) -> None:  # on the event loop, to a file that takes it at once
        nonlocal size
        size += len(data)
        file.write(data[: max(limit - size + len(data), 0)])

    # Nothing but the content is ever written to either stream, or the result is not ok.
    result = await sandbox.exec(
        reading(sandbox, path, limit), timeout=_STREAM_TIMEOUT, limit=500, on_output=write
    )
    check(result, sandbox, path)
    if size > limit:
        raise too_large(sandbox, path, limit)
    return size


def reading(sandbox: Sandbox, path: str, limit: int) -> list[str]:
    """The command that says the content of `path`, or a byte more than `limit` of it."""
    return ["/bin/sh", "-c", _DOWNLOAD, "download", _rooted(sandbox, path), str(limit + 1)]


def check(result: ExecResult, sandbox: Sandbox, path: str) -> None:
    """Raises what the end of that command means."""
    if result.exit == _MISSING:
        raise FileNotFoundError(f"no {path} in sandbox {sandbox.id}")
    if result.exit == _NOT_A_FILE:
        raise SandboxError(f"{path} in sandbox {sandbox.id} is not a regular file")
    if not result.ok:
        raise SandboxError(f"download of {path} from {sandbox.id} failed: {_said(result)}")


def too_large(sandbox: Sandbox, path: str, limit: int) -> SandboxError:
    return SandboxError(f"{path} in sandbox {sandbox.id} is larger than {limit} bytes")


def _rooted(sandbox: Sandbox, path: str) -> str:
    """Absolute, so that a name cannot be taken for an option."""
    return path if path.startswith("/") else f"{sandbox.workdir}/{path}"


def _said(result: ExecResult) -> str:
    if result.timed_out:
        return f"took longer than {result.seconds:.0f} s"
    return result.err.decode("utf-8", "replace").strip()[-500:] or f"exit status {result.exit}"
