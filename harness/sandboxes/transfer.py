"""Files in and out of a sandbox by commands inside it, where a planted link leads nowhere else."""

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


async def upload(sandbox: Sandbox, path: str, data: bytes) -> None:
    """Write `data` to `path`, making folders. Raises `SandboxError` when it cannot be written."""
    result = await sandbox.exec(
        ["/bin/sh", "-c", _UPLOAD, "upload", _rooted(sandbox, path)], stdin=data, timeout=_TIMEOUT
    )
    if not result.ok:
        raise SandboxError(f"upload of {path} to sandbox {sandbox.id} failed: {_said(result)}")


async def download(sandbox: Sandbox, path: str, limit: int) -> bytes:
    """The content of `path`. Raises `FileNotFoundError`, `SandboxError` when over `limit`."""
    result = await sandbox.exec(
        ["/bin/sh", "-c", _DOWNLOAD, "download", _rooted(sandbox, path), str(limit + 1)],
        timeout=_TIMEOUT,
        limit=limit + 1,
    )
    if result.exit == _MISSING:
        raise FileNotFoundError(f"no {path} in sandbox {sandbox.id}")
    if result.exit == _NOT_A_FILE:
        raise SandboxError(f"{path} in sandbox {sandbox.id} is not a regular file")
    if not result.ok:
        raise SandboxError(f"download of {path} from {sandbox.id} failed: {_said(result)}")
    if len(result.out) > limit:
        raise SandboxError(f"{path} in sandbox {sandbox.id} is larger than {limit} bytes")
    return result.out


def _rooted(sandbox: Sandbox, path: str) -> str:
    """Absolute, so that a name cannot be taken for an option."""
    return path if path.startswith("/") else f"{sandbox.workdir}/{path}"


def _said(result: ExecResult) -> str:
    if result.timed_out:
        return f"took longer than {_TIMEOUT:.0f} s"
    return result.err.decode("utf-8", "replace").strip()[-500:] or f"exit status {result.exit}"
