"""The Python environment every sandbox finds at /opt/env: pytest, coverage, ruff and pip.

Copied once per cache from the environment this program runs in, so that verification uses
known versions, needs no network, and never sees the rest of that environment.
"""

import hashlib
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from harness.sandboxes.folders import remove_tree
from harness.sandboxes.kept import kept
from orchestrator.errors import SandboxError

#: Where it is mounted. The shebangs of its scripts say so.
INSIDE = "/opt/env"
_FORMAT = 3
_WANTED = ("pytest", "coverage", "ruff", "pip")


def toolbox(cache: Path, prefix: str | None = INSIDE) -> Path:
    """The host folder of the environment, built when missing. Blocks.

    `prefix` is the path under which it will be run; None means the host folder itself.
    Raises `SandboxError` when it cannot be built.
    """
    found = _closure(_WANTED)
    facts = [str(_FORMAT), sys.version, sys.base_prefix, str(prefix)]
    facts += [f"{name}=={dist.version}" for name, dist in sorted(found.items())]
    key = hashlib.sha256("\n".join(facts).encode()).hexdigest()[:20]
    final = cache / "toolbox" / key

    def build(making: Path) -> None:
        _build(making, prefix or str(final), found.values())

    return kept(final, cache / "locks" / f"toolbox-{key}", build)


def versions() -> dict[str, str]:
    """Version of each tool it offers, by distribution name."""
    return {name: dist.version for name, dist in _closure(_WANTED).items()}


def _closure(wanted: Iterable[str]) -> dict[str, importlib.metadata.Distribution]:
    """`wanted` and all they require, as installed here; what is not installed is left out."""
    found: dict[str, importlib.metadata.Distribution] = {}
    queue = list(wanted)
    while queue:
        name = _normal(queue.pop())
        if name in found:
            continue
        try:
            dist = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        found[name] = dist
        queue += _required(dist)
    return found


def _required(dist: importlib.metadata.Distribution) -> list[str]:
    """Names `dist` requires without an extra. A marker for another platform does no harm:
    what it names is not installed here."""
    plain = (line for line in dist.requires or () if "extra ==" not in line)
    matches = (re.match(r"[A-Za-z0-9._-]+", line) for line in plain)
    return [m.group() for m in matches if m]


def _build(target: Path, prefix: str, dists: Iterable[importlib.metadata.Distribution]) -> None:
    home = Path(sys.base_prefix) / "bin"
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    python = home / f"python{version}"
    if not python.exists():
        python = home / "python3"
    if not python.exists():
        raise SandboxError(f"no interpreter at {python}; is this Python installed completely?")
    scripts, site = target / "bin", target / "lib" / f"python{version}" / "site-packages"
    scripts.mkdir()
    site.mkdir(parents=True)
    for name in ("python", "python3", f"python{version}"):
        (scripts / name).symlink_to(python)
    (target / "pyvenv.cfg").write_text(
        f"home = {home}\ninclude-system-site-packages = false\nversion = {version}\n",
        encoding="utf-8",
    )
    for dist in dists:
        _copy_files(dist, site, scripts)
        _write_scripts(dist, scripts, f"{prefix}/bin/python")
    # Nothing inside may write byte code, and without it each start would compile anew.
    subprocess.run(
        [str(python), "-I", "-m", "compileall", "-q", "-s", str(target), "-p", prefix, str(site)],
        check=False, capture_output=True,
    )  # fmt: skip
    target.chmod(0o755)


def _copy_files(dist: importlib.metadata.Distribution, site: Path, scripts: Path) -> None:
    for entry in dist.files or ():
        source = Path(str(dist.locate_file(entry)))
        if ".." not in entry.parts:
            target = site.joinpath(*entry.parts)
        elif source.parent.name == "bin" and _is_binary(source):
            target = scripts / source.name
        else:
            continue
        if source.is_file() and source.suffix != ".pyc":
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)


def _is_binary(path: Path) -> bool:
    """Not a script with a shebang of the environment it was installed in."""
    try:
        with path.open("rb") as file:
            return file.read(2) != b"#!"
    except OSError:
        return False


def _write_scripts(dist: importlib.metadata.Distribution, scripts: Path, python: str) -> None:
    for point in dist.entry_points:
        if point.group != "console_scripts":
            continue
        script = scripts / point.name
        script.write_text(
            f"#!{python}\nimport sys\nfrom {point.module} import {point.attr.split('.')[0]}\n"
            f"sys.exit({point.attr}())\n",
            encoding="utf-8",
        )
        script.chmod(0o755)


def writable_copy(source: Path, target: Path) -> None:
    """Copy a toolbox to where a setup command may install into it. Blocks."""
    shutil.copytree(source, target, symlinks=True)


def put_back(source: Path, env: Path) -> None:
    """Make every file of the toolbox in `env` the toolbox's own again, whatever a setup command
    did to its copy; what it added stays. Blocks.

    A new copy takes what is not the toolbox's from the old one, by renaming: `env` was written
    by code that nobody vouches for, so no link in it is followed. Where setup installed another
    version of a tool, it has the toolbox's all the same.
    """
    fresh = env.with_name(f".{env.name}-fresh")
    writable_copy(source, fresh)
    installed = fresh.glob("lib/*/site-packages/*.dist-info")
    tools = {_normal(info.name.partition("-")[0]) for info in installed}
    try:
        _take_over(env, fresh, tools)
    except OSError as error:
        raise SandboxError(f"setup left an environment that cannot be read: {error}") from error
    remove_tree(env)
    fresh.rename(env)


def _take_over(old: Path, fresh: Path, tools: set[str]) -> None:
    """Move to `fresh` what only `old` has, in the folders that both have."""
    modules = {entry.name.partition(".")[0] for entry in fresh.iterdir()}
    for entry in list(old.iterdir()):
        there = fresh / entry.name
        if not os.path.lexists(there):
            if not _shadows(entry, modules, tools):
                entry.rename(there)
        elif there.is_dir() and not entry.is_symlink() and _is_structure(there):
            _take_over(entry, there, tools)


def _is_structure(folder: Path) -> bool:
    """Whether others' files may stand beside the toolbox's in it: not in a package."""
    return folder.parent.name != "site-packages" or folder.name == "__pycache__"


def _shadows(entry: Path, modules: set[str], tools: set[str]) -> bool:
    """Whether it would be imported, or taken for an installed version, instead of a tool.

    Beside `py.py`, a `py.so` is imported first, and so is byte code that is not checked.
    """
    if entry.parent.name not in {"site-packages", "__pycache__"}:
        return False
    name, _, kind = entry.name.rpartition(".")
    if kind in {"dist-info", "egg-info", "egg-link"}:
        return _normal(name.partition("-")[0]) in tools
    return entry.name.partition(".")[0] in modules


def _normal(name: str) -> str:
    """A distribution's name as it is compared."""
    return re.sub(r"[-_.]+", "-", name).lower()
