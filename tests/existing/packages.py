"""Brings source distributions with test suites from the index and makes repositories of them."""

import hashlib
import os
import re
import subprocess
import sys
import tarfile
from dataclasses import dataclass
from pathlib import Path

_UNREACHABLE = re.compile(
    r"No matching distribution|Could not find a version|Connection|timed out|Temporary failure",
    re.IGNORECASE,
)
#: Fixed, so that the same content gives the same commit and prepared bases are used again.
_WHO = {
    "GIT_AUTHOR_NAME": "author",
    "GIT_AUTHOR_EMAIL": "author@localhost",
    "GIT_AUTHOR_DATE": "2020-01-01T00:00:00+0000",
    "GIT_COMMITTER_NAME": "author",
    "GIT_COMMITTER_EMAIL": "author@localhost",
    "GIT_COMMITTER_DATE": "2020-01-01T00:00:00+0000",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
}


class IndexUnreachableError(Exception):
    """The package index that pip is configured for does not answer, or lacks the package."""


@dataclass(frozen=True)
class Package:
    """A release on the index. `test` runs its suite at the root; `tests` are the places pytest
    finds it at (none: its configuration says so); `roots` are import roots below the root;
    `env` is the project's. `digest` is of the source distribution; empty takes any.
    """

    name: str
    version: str
    digest: str
    test: str
    tests: tuple[str, ...] = ()
    roots: tuple[str, ...] = (".",)
    setup: str | None = None
    env: tuple[tuple[str, str], ...] = ()

    @property
    def unittest(self) -> bool:
        return "-m unittest" in self.test


def fetch(package: Package, cache: Path) -> Path:
    """The source distribution as a file in `cache`, downloaded when it is not there.

    Raises `IndexUnreachableError`; any other failure of pip is a failed test.
    """
    folder = cache / f"{package.name}-{package.version}"
    for known in folder.glob("*.tar.gz"):
        if _fits(package, known):
            return known
    folder.mkdir(parents=True, exist_ok=True)
    hashed = f" --hash=sha256:{package.digest}" if package.digest else ""
    wanted = folder / "wanted.txt"
    wanted.write_text(f"{package.name}=={package.version}{hashed}\n", encoding="utf-8")
    # Only this package as source: what builds its metadata may come as it likes.
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary",
               package.name, "--dest", str(folder), "--requirement", str(wanted)]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    if done.returncode and _UNREACHABLE.search(done.stderr):
        raise IndexUnreachableError(done.stderr.strip()[-300:])
    assert done.returncode == 0, done.stderr
    return next(f for f in folder.glob("*.tar.gz") if _fits(package, f))


def _fits(package: Package, file: Path) -> bool:
    return package.digest in ("", hashlib.sha256(file.read_bytes()).hexdigest())


def unpack(archive: Path, folder: Path) -> None:
    """The distribution's single folder becomes `folder`, which does not exist yet."""
    aside = folder.with_name(f"{folder.name}.unpacked")
    with tarfile.open(archive) as tar:
        tar.extractall(aside, filter="data")
    (found,) = aside.iterdir()
    found.rename(folder)
    aside.rmdir()


def git(repo: Path, *args: str) -> str:
    done = subprocess.run(
        ["git", *args], cwd=repo, env={**os.environ, **_WHO}, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr.decode("utf-8", "replace")
    return done.stdout.decode("utf-8", "surrogateescape").strip()


def commit_all(repo: Path, branch: str) -> None:
    git(repo, "init", "--quiet", f"--initial-branch={branch}")
    # Forced: some distributions ignore files that they ship, such as a generated version.
    git(repo, "-c", "core.autocrlf=false", "add", "--all", "--force")
    git(repo, "commit", "--quiet", "-m", "Begin")
