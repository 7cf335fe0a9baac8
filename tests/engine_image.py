"""An image for docker or podman out of this machine's own programs, where no registry is reached.

It has what `harness.sandboxes.containers` asks of an image: a shell, git, and a Python whose pip
finds the tools (they are beside it as wheels).
"""

import hashlib
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterable
from pathlib import Path

from harness.sandboxes.toolbox import versions
from tests.emulators.e2b_wheels import wheelhouse

#: What the providers, setup commands, tests and attackers call.
_PROGRAMS = """
sh bash awk basename cat chmod chown cp cut date dd df dirname du echo env false find getent git
grep gzip head id kill ln ls mkdir mkfifo mknod mktemp mount mv nice nohup od printf ps pwd
readlink realpath rm rmdir sed seq setsid sha256sum sleep sort stat tail tar tee test timeout touch
tr true umount uname uniq unshare wc xargs yes
"""
_FILES = {
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\n",
    "etc/group": "root:x:0:\n",
    "etc/pip.conf": "[global]\nno-index = true\nfind-links = /wheels\n",
}
_FOLDERS = ("dev", "proc", "sys", "tmp", "var/tmp", "work", "home/agent", "opt/env", "root",
            "run/fibreflow/base.git")  # fmt: skip
_FORMAT = 4


def image(program: str, folder: Path) -> str:
    """The name of the image in the engine whose client is `program`; made in `folder` where the
    engine has none of this Python and these tools. Blocks. Raises `CalledProcessError`."""
    facts = (_FORMAT, sys.version, sys.base_prefix, versions(), _PROGRAMS, _FILES, _FOLDERS)
    name = f"localhost/fibreflow-test:{hashlib.sha256(repr(facts).encode()).hexdigest()[:12]}"
    look = [program, "image", "inspect", name]
    if subprocess.run(look, capture_output=True, check=False).returncode == 0:
        return name
    root, archive = folder / "root", folder / "image.tar"
    _fill(root)
    pack = ["tar", "-C", root, "--owner=0", "--group=0", "--numeric-owner", "-cf", archive, "."]
    subprocess.run(pack, check=True)
    subprocess.run([program, "import", archive, name], check=True, capture_output=True)
    shutil.rmtree(folder)
    return name


def _fill(root: Path) -> None:
    for name in _FOLDERS:
        (root / name).mkdir(parents=True, exist_ok=True)
    for name in ("bin", "sbin", "lib", "lib64"):
        if (Path("/") / name).is_symlink():
            (root / "usr" / name).mkdir(parents=True)
            (root / name).symlink_to(f"usr/{name}")
    for name, text in _FILES.items():
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text(text)
    for name in ("tmp", "var/tmp"):
        (root / name).chmod(0o1777)
    wheelhouse(root / "wheels", [*versions(), "setuptools"])
    native = [Path(found) for name in _PROGRAMS.split() if (found := shutil.which(name))]
    native += _git() + _python(root)
    tools = Path(sysconfig.get_path("scripts")) / "ruff"  # comes as a wheel, without its libraries
    for path in {*native, *_libraries([*native, tools])}:
        _copy(path, root)


def _git() -> list[Path]:
    core = Path(subprocess.check_output(["git", "--exec-path"], text=True).strip())
    return [core / f"git{name}" for name in ("", "-remote-http", "-upload-pack", "-receive-pack")]


def _python(root: Path) -> list[Path]:
    """The interpreter and its native modules; the library is copied here."""
    prefix, name = Path(sys.base_prefix).resolve(), "python{}.{}".format(*sys.version_info)
    python, library = prefix / "bin" / name, prefix / "lib" / name
    left_out = shutil.ignore_patterns("test", "site-packages", "__pycache__", "idlelib", "*.a")
    shutil.copytree(library, _in(root, library), ignore=left_out, symlinks=True)
    wheels = sysconfig.get_config_var("WHEEL_PKG_DIR")  # a distribution's own pip, for `venv`
    if wheels:
        shutil.copytree(wheels, _in(root, Path(wheels)))
    called = root / "usr/local/bin/python3"
    called.parent.mkdir(parents=True, exist_ok=True)
    called.symlink_to(python)
    return [python, *library.rglob("*.so")]


def _in(root: Path, path: Path) -> Path:
    return root / path.relative_to("/")


def _copy(path: Path, root: Path) -> None:
    """Under the name it is called by, whatever that is a link to."""
    _in(root, path).parent.mkdir(parents=True, exist_ok=True)
    shutil.copy2(path, _in(root, path))


def _libraries(programs: Iterable[Path]) -> set[Path]:
    """The shared libraries that they load."""
    said = subprocess.run(["ldd", *programs], capture_output=True, text=True, check=False).stdout
    return {Path(found) for found in re.findall(r"(?:=> |^\s+)(/\S+) \(", said, re.MULTILINE)}
