"""Replaces whole files atomically: a reader sees the old content or the new, never a mixture."""

import contextlib
import json
import os
import secrets
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
    try:
        target = path.resolve() if path.is_symlink() else path
        try:
            _replace(target, raw, sync=sync)
        except FileNotFoundError:  # its folder is not there yet
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
    if not (raw or sync):
        target.write_bytes(raw)  # nothing can be half of it
        return
    temporary = f"{target.parent}/.{target.name}.{secrets.token_hex(4)}.tmp"
    mode = _mode(target)
    # Less the umask, as a plain `open` gives it to a new file.
    new = 0o666 if mode is None else mode
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, new)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(raw)
            file.flush()
            if mode is not None:
                os.fchmod(fd, mode)
            if sync:
                os.fsync(fd)
        os.replace(temporary, target)  # noqa: PTH105 - no path is made of it
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)  # noqa: PTH108 - as above
        raise


def _mode(target: Path) -> int | None:
    """Permissions of the file that is there."""
    try:
        return target.stat().st_mode & 0o777
    except FileNotFoundError:
        return None
