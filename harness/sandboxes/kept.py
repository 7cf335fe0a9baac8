"""Folders of the cache that are made once, and made again where the machine went down before all
of one had reached the disk."""

from collections.abc import Callable
from pathlib import Path

from harness.record import files
from harness.sandboxes.folders import boot, complete_or_nothing, locked, remove
from harness.sandboxes.seal import seal


def kept(final: Path, lock: Path, make: Callable[[Path], None]) -> Path:
    """`final`, filled by `make` unless it is there and whole. Blocks, while another makes it too.

    It is looked at once in each time the machine is up: nobody changes it, but a crash can leave
    files without what was written to them.
    """
    if not _is_whole(final):
        with locked(lock):
            if not _is_whole(final):
                remove(final)
                with complete_or_nothing(final) as making:
                    make(making)
                _note(final, seal((final,)))
    return final


def _mark(final: Path) -> Path:
    return final.with_name(f"{final.name}.whole")


def _is_whole(final: Path) -> bool:
    try:
        up, sealed = _mark(final).read_text(encoding="ascii").split(" ")
    except (OSError, ValueError):
        return False
    if up == boot():
        return final.is_dir()
    if sealed != seal((final,)):
        return False
    _note(final, sealed)
    return True


def _note(final: Path, sealed: str) -> None:
    files.replace(_mark(final), f"{boot()} {sealed}")
