"""One commit of a repository as a folder with a small, inert git directory of its own.

The user's hooks, filters, attributes and configuration never run: git is started without any
configuration but what this module passes, and the copy has no remote, no hook and no reflog.
"""

import os
import shutil
import subprocess
from pathlib import Path

from orchestrator.errors import GitError

_TIMEOUT = 600.0
_SERVE_ANY_COMMIT = "git -c uploadpack.allowAnySHA1InWant=true upload-pack"
#: The configuration of the copy.
CONFIG = """[core]
	autocrlf = false
	hooksPath = /dev/null
[gc]
	auto = 0
[user]
	name = agent
	email = agent@sandbox
[init]
	defaultBranch = main
[advice]
	detachedHead = false
"""


def resolve(repo: Path, commit: str) -> tuple[Path, str]:
    """The git directory behind `repo` and the full id of `commit`. Raises `GitError`."""
    folder = _git(["rev-parse", "--path-format=absolute", "--git-common-dir"], repo)
    full = _git(
        ["rev-parse", "--verify", "--quiet", "--end-of-options", f"{commit}^{{commit}}"], repo
    )
    return Path(folder), full


def check_out(git_dir: Path, commit: str, tree: Path) -> None:
    """Fill the new folder `tree` with `commit`, on a branch `main` of that commit alone.

    Modes and links are kept, line ends are as committed, submodules stay empty. Raises `GitError`.
    """
    tree.mkdir()
    kind = object_format(git_dir)
    _git(["init", "--quiet", "--template=", "--initial-branch=main", f"--object-format={kind}"],
         tree)  # fmt: skip
    with (tree / ".git" / "config").open("a", encoding="utf-8") as config:
        config.write(CONFIG)
    _git(["-c", "fetch.unpackLimit=1", "-c", "protocol.file.allow=always", "fetch", "--quiet",
          "--depth=1", "--no-tags", "--no-recurse-submodules", "--upload-pack", _SERVE_ANY_COMMIT,
          f"file://{git_dir}", commit], tree)  # fmt: skip
    _git(["update-ref", "refs/heads/main", commit], tree)
    _git(["reset", "--quiet", "--hard", "--no-recurse-submodules", "main"], tree)
    for left in ("FETCH_HEAD", "ORIG_HEAD"):
        (tree / ".git" / left).unlink(missing_ok=True)
    shutil.rmtree(tree / ".git" / "logs", ignore_errors=True)
    (tree / ".git" / "info").mkdir(exist_ok=True)


def object_format(git_dir: Path) -> str:
    """`sha1` or `sha256`."""
    return _git(["rev-parse", "--show-object-format"], git_dir)


def bundle(tree: Path, target: Path) -> None:
    """Pack what `check_out` made into one file, to be unpacked elsewhere. Raises `GitError`."""
    _git(["bundle", "create", "--quiet", str(target), "main"], tree)


def exclude(git_dir: Path, paths: tuple[str, ...]) -> None:
    """Keep untracked `paths` (relative, a folder ends in a slash) out of status and patches."""
    (git_dir / "info").mkdir(exist_ok=True)
    (git_dir / "info" / "exclude").write_bytes(excluded(paths))


def excluded(paths: tuple[str, ...]) -> bytes:
    """An exclude file that names `paths`."""
    return os.fsencode("".join(f"/{_escaped(path)}\n" for path in paths))


def _escaped(path: str) -> str:
    quoted = "".join("\\" + c if c in "\\*?[]#! " else c for c in path)
    # A name with a line break cannot be written down; `?` matches it.
    return quoted.replace("\n", "?")


def _git(args: list[str], cwd: Path) -> str:
    kept = {k: v for k, v in os.environ.items() if k in ("PATH", "HOME", "LANG", "TMPDIR")}
    env = {
        **kept,
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "GIT_ATTR_NOSYSTEM": "1",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_OPTIONAL_LOCKS": "0",
    }
    inert = ["-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false"]
    try:
        done = subprocess.run(
            ["git", *inert, *args], cwd=cwd, env=env, stdin=subprocess.DEVNULL,
            capture_output=True, timeout=_TIMEOUT, check=False,
        )  # fmt: skip
    except FileNotFoundError as error:
        raise GitError(f"git cannot run in {cwd}: {error}") from error
    except subprocess.TimeoutExpired as error:
        raise GitError(f"git {args[0]} in {cwd} took longer than {_TIMEOUT:.0f} s") from error
    if done.returncode != 0:
        said = done.stderr.decode("utf-8", "replace").strip() or "no such commit"
        raise GitError(f"git {' '.join(args)} failed in {cwd}: {said}")
    return done.stdout.decode("utf-8", "surrogateescape").strip()
