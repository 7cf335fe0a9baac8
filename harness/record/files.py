"""Replaces whole files atomically: a reader sees the old content or the new, never a mixture."""

import contextlib
import functools
import json
import os
import tempfile
from pathlib import Path
from typing import Any

from orchestrator.errors import MachineError


def replace(path: Path, data: str | bytes, *, sync: bool = True) -> None:
    """Write `data` to `path` so that a crash at any moment leaves the old or the new content.

    A file's permissions are kept, and a symbolic link is followed rather than replaced.
    `sync` False: a killed process leaves the one or the other all the same, but a power cut may
    leave the file empty; for what can be made again, by readers that notice.
    Raises `MachineError` naming the path when it cannot be written.
    """
    raw = data.encode("utf-8", "backslashreplace") if isinstance(data, str) else data
    target = path.resolve()
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _replace(target, raw, sync=sync)
        if sync:
            sync_folder(target.parent)
    except OSError as error:
        raise MachineError(
            f"{path}: cannot be written ({error.strerror or error}); "
            "free disk space or fix its permissions, then start again"
        ) from error


def replace_json(path: Path, value: Any, *, sync: bool = True) -> None:
    """`value` as indented JSON with a final newline; `sync` and errors as in `replace`."""
    replace(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n", sync=sync)


def sync_folder(folder: Path) -> None:
    """Make names created, renamed or removed in `folder` survive a power loss."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _replace(target: Path, raw: bytes, *, sync: bool) -> None:
    mode = _mode(target)
    fd, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".tmp", dir=target.parent)
    temporary = Path(name)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(raw)
            file.flush()
            os.fchmod(file.fileno(), mode)
            if sync:
                os.fsync(file.fileno())
        temporary.replace(target)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


def _mode(target: Path) -> int:
    """Permissions of the file that is there, or what a plain `open` would give a new one."""
    try:
        return target.stat().st_mode & 0o777
    except FileNotFoundError:
        # mkstemp gives 0600, which would hide reports from the user's group. There is no way to
        # read the umask without setting it (not thread-safe), so the kernel's view is asked.
        return 0o666 & ~_umask()


@functools.cache  # nobody in this program sets it
def _umask() -> int:
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("Umask:"):
                return int(line.split()[1], 8)
    except (OSError, ValueError):
        pass
    return 0o022
