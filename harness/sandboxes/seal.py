"""Whether a prepared folder is as it was when it was made: a digest of what every change leaves."""

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path


def seal(folders: Iterable[Path]) -> str:
    """A digest over all below `folders`: names, kinds, modes, owners, sizes, and the times of the
    last change of content and of the file itself. The kernel alone sets the latter, so no write
    can hide; nothing is read, so 5,000 files take 0.1 s. A folder that is missing counts.
    """
    digest = hashlib.sha256()
    for top in folders:
        digest.update(f"{top.name}\0".encode())
        for line in sorted(_lines(str(top), len(str(top)))):
            digest.update(line)
    return digest.hexdigest()


def _lines(top: str, skip: int) -> Iterable[bytes]:
    queue = [top] if os.path.isdir(top) else []  # noqa: PTH112 - one stat
    while queue:
        with os.scandir(queue.pop()) as entries:
            for entry in entries:
                found = entry.stat(follow_symlinks=False)
                facts = (found.st_mode, found.st_uid, found.st_gid, found.st_mtime_ns,
                         found.st_ctime_ns)  # fmt: skip
                # The size of a folder differs between file systems and says nothing.
                is_folder = entry.is_dir(follow_symlinks=False)
                size = 0 if is_folder else found.st_size
                yield os.fsencode(f"{entry.path[skip:]}\0{facts}\0{size}\n")
                if is_folder:
                    queue.append(entry.path)
