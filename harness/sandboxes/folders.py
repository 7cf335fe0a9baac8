"""Where things live on the host: the cache, the state folder, locks, and removal that works."""

import contextlib
import fcntl
import functools
import hashlib
import os
import shutil
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

from orchestrator.errors import SandboxError

#: Longest workspace folder name; file systems allow 255 bytes.
_LONGEST_NAME = 200
#: How long the workspaces of a run that was stopped or killed wait for it to go on.
KEPT_SECONDS = 7 * 24 * 3600.0
_LOCK = ".lock"
_TRASH = ".trash-"
_MAKING = ".making-"


def cache_folder(given: Path | None = None) -> Path:
    """Where bases and toolboxes are kept across runs: the first of the given folder,
    $FIBREFLOW_CACHE, $XDG_CACHE_HOME/fibreflow, ~/.cache/fibreflow and private folders in
    /var/tmp and /tmp that can be written. Raises `SandboxError` when none can.
    """
    named = given or os.environ.get("FIBREFLOW_CACHE")
    if named:
        candidates = [Path(named)]
    else:
        home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")  # noqa: PTH111 - no error without a home
        candidates = [Path(home) / "fibreflow", *(p / "cache" for p in _private_roots())]
    for candidate in candidates:
        if usable(candidate):
            return candidate.resolve()
    raise SandboxError(
        f"no folder for the cache can be written (tried {', '.join(map(str, candidates))}); "
        "set FIBREFLOW_CACHE to one that can"
    )


def state_candidates(given: Path | None, cache: Path) -> list[Path]:
    """Folders for workspaces, best first. Overlays do not work on every file system."""
    roots = [given] if given else []
    return [*roots, cache / "state", *(p / "state" for p in _private_roots())]


def _private_roots() -> list[Path]:
    name = f"fibreflow-{os.getuid()}"
    return [Path(root) / name for root in ("/var/tmp", "/tmp", "/dev/shm")]  # noqa: S108 - checked by `usable`


def usable(folder: Path) -> bool:
    """Whether `folder` is, or could be made, a folder of ours that others cannot write."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        found = folder.stat()
        parent = folder.parent.lstat()
    except OSError:
        return False
    # A shared /tmp: somebody else may have been there first, with a folder or a link.
    ours = found.st_uid == os.getuid() and not stat.S_ISLNK(parent.st_mode)
    if folder.parent.name.startswith("fibreflow-"):
        ours = ours and parent.st_uid == os.getuid()
    return ours and os.access(folder, os.W_OK | os.X_OK)


@functools.cache  # a process does not outlive it
def boot() -> str:
    """The machine's name for this time that it is up; empty where it does not say."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


def file_name(key: str) -> str:
    """A folder name for any key: readable, never hidden, never a path."""
    name = quote(key, safe="").replace(".", "%2E", 1) if key.startswith(".") else quote(key, "")
    if len(name) > _LONGEST_NAME:
        name = name[: _LONGEST_NAME - 33] + "-" + hashlib.sha256(key.encode()).hexdigest()[:32]
    return name


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock file at `path`, waiting for it. Blocks: call it in a thread."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def try_lock(folder: Path, *, shared: bool = False, name: str = _LOCK) -> int | None:
    """A descriptor that holds `folder`'s lock, the file `name` in it, until closed or its process
    dies, else None."""
    path = f"{folder}/{name}"
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        return None
    if not os.path.exists(path):  # noqa: PTH110 - removed by a reaper between open and lock
        os.close(fd)
        return None
    return fd


def is_locked(folder: Path, name: str = _LOCK) -> bool:
    """Whether a process holds `folder`'s lock. Looked up, not tried: trying would take the lock
    for a moment, in which its rightful holder would be refused."""
    try:
        inode = (folder / name).stat().st_ino
        held = Path("/proc/locks").read_text(encoding="ascii").splitlines()
    except OSError:
        return False
    return any("FLOCK" in line and f":{inode} " in line for line in held)


def remove(folder: Path) -> None:
    """Remove `folder` whatever is in it: unreadable, very deep or many files. Blocks.

    It is renamed first, so its name is free at once and a half-removed one is not reopened.
    """
    trash = folder.with_name(f"{_TRASH}{folder.name[-40:]}-{os.getpid()}-{os.urandom(4).hex()}")
    try:
        folder.rename(trash)
    except FileNotFoundError:
        return
    remove_tree(trash)


def remove_tree(folder: Path) -> None:
    # The kernel leaves an overlay's work/work without any permission.
    with contextlib.suppress(OSError):
        (folder / "work" / "work").chmod(0o700)
    try:
        shutil.rmtree(folder)
    except FileNotFoundError:
        return
    except (OSError, RecursionError):
        # Folders without permissions or deeper than Python recurses; both tools can.
        for command in (
            ["chmod", "-R", "u+rwX", "--", str(folder)],
            ["rm", "-rf", "--", str(folder)],
        ):
            subprocess.run(command, check=False, capture_output=True)


def sweep_namespaces(state: Path, own: str) -> int:
    """Remove namespaces, except `own`, whose owners have been dead for longer than a stopped run
    may wait to be resumed; how many workspaces went."""
    removed = 0
    if not state.is_dir():
        return 0
    for folder in state.iterdir():
        if folder.name == own or not folder.is_dir() or folder.is_symlink():
            continue
        if folder.name.startswith(_TRASH):
            remove_tree(folder)
        elif not folder.name.startswith("."):  # a trial of somebody who is just starting
            removed += sweep_namespace(folder, KEPT_SECONDS)
    return removed


def sweep_namespace(folder: Path, older_than: float = 0.0) -> int:
    """Remove one namespace in which no live process works and that has been left alone for so
    many seconds; how many workspaces went."""
    try:
        young = time.time() - folder.stat().st_mtime < older_than
        fd = None if young else try_lock(folder)
    except FileNotFoundError:  # another run sweeps at the same time
        return 0
    if fd is None:
        return 0
    try:
        count = len(workspaces(folder))
        remove(folder)
    finally:
        os.close(fd)
    return count


def workspaces(namespace: Path) -> list[Path]:
    """The workspace folders of one namespace."""
    if not namespace.is_dir():
        return []
    return [p for p in namespace.iterdir() if not p.name.startswith(".") and p.is_dir()]


def sweep_trash(namespace: Path) -> None:
    """Remove what a crash in the middle of `remove` left in `namespace`."""
    for folder in namespace.glob(f"{_TRASH}*"):
        remove_tree(folder)


@contextlib.contextmanager
def complete_or_nothing(final: Path) -> Iterator[Path]:
    """A folder to fill that appears as `final` only when the block ends without an error.

    What a crash left half-made is thrown away. The caller holds a lock on `final`'s name.
    """
    final.parent.mkdir(parents=True, exist_ok=True)
    for old in final.parent.glob(f"{_MAKING}{final.name}-*"):
        remove_tree(old)
    making = Path(tempfile.mkdtemp(prefix=f"{_MAKING}{final.name}-", dir=final.parent))
    try:
        yield making
        making.rename(final)
    except BaseException:
        remove_tree(making)
        raise


def final_name(making: Path) -> Path:
    """The folder that `making`, from `complete_or_nothing`, will become."""
    return making.with_name(making.name.removeprefix(_MAKING).rpartition("-")[0])
