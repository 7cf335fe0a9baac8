"""What a setup command is assumed to depend on: a digest that names the layer it makes."""

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

from orchestrator.verify.exams import DEPTH, setup_files, unread
from orchestrator.verify.manifests import is_manifest

_LONGEST = 200_000  # bytes of a script in which others are looked for


def digest_of_setup(tree: Path, setup: str) -> str:
    """A digest of every manifest in the folder `tree` and of the scripts that the command runs
    there, directly or through one another. Their content, not the commit, names the layer, so
    that the next commit reuses it. Blocks."""
    files = _files(tree)
    wanted = {name for name in files if is_manifest(name)} | _scripts(setup, files)
    digest = hashlib.sha256()
    for name in sorted(wanted):
        digest.update(f"{name}\0".encode(errors="surrogateescape"))
        digest.update(hashlib.sha256(files[name].read_bytes()).digest())
    return digest.hexdigest()


def _files(tree: Path) -> dict[str, Path]:
    """Regular files by their path from the root: a link could lead to any file of this machine."""
    found: dict[str, Path] = {}
    for folder, names, files in os.walk(tree):
        names[:] = [name for name in names if name != ".git"]
        paths = (Path(folder) / name for name in files)
        found |= {p.relative_to(tree).as_posix(): p for p in paths
                  if p.is_file() and not p.is_symlink()}  # fmt: skip
    return found


def _scripts(setup: str, files: Mapping[str, Path]) -> frozenset[str]:
    names = frozenset(files)
    texts: dict[str, str] = {}
    for _ in range(DEPTH):
        for name in unread([setup], names, texts):
            with files[name].open("rb") as file:
                texts[name] = file.read(_LONGEST).decode("utf-8", "replace")
    return setup_files(setup, names, texts)
