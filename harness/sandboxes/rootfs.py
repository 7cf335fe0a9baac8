"""The skeleton of a sandbox's root: empty mount points and a small /etc, bound read-only.

One folder instead of a tmpfs built by forty mounts: each mount costs bwrap a reading of the
mount table.
"""

import contextlib
import functools
import hashlib
import shutil
import sys
from pathlib import Path

from harness.sandboxes.kept import kept

#: Changes whenever the layout below does.
_FORMAT = 3
_MOUNT_POINTS = ("usr", "proc", "dev", "tmp", "work", "home/agent", "opt/env", "sys",
                 "run/fibreflow/base.git", "var/tmp", "etc")  # fmt: skip
#: Of the host's /etc, what programs need to start, resolve names and check certificates.
#: Nothing that holds secrets: /etc/ssl/private is not among them.
_ETC = ("alternatives", "ca-certificates", "ca-certificates.conf", "java-*-openjdk", "ld.so.cache",
        "ld.so.conf", "ld.so.conf.d", "localtime", "mime.types", "nsswitch.conf", "os-release",
        "pki/tls/certs", "protocols", "python3*", "services", "ssl/certs",
        "ssl/openssl.cnf")  # fmt: skip
_UID = 1000
_FILES = {
    "passwd": f"root:x:0:0:root:/root:/bin/sh\nagent:x:{_UID}:{_UID}:agent:/home/agent:/bin/sh\n"
    "nobody:x:65534:65534:nobody:/:/bin/false\n",
    "group": f"root:x:0:\nagent:x:{_UID}:\nnogroup:x:65534:\n",
    "hosts": "127.0.0.1 localhost sandbox\n::1 localhost sandbox\n",
    "hostname": "sandbox\n",
    "resolv.conf": "",
    "pip.conf": "",
}


@functools.cache
def interpreter_folders() -> tuple[Path, ...]:
    """Host folders outside /usr in which the interpreter running this program lives.

    It may be under a home folder (pyenv, uv); only the interpreter itself is then bound.
    """
    base = Path(sys.base_prefix)
    both = {base, base.resolve()}
    return tuple(sorted(p for p in both if not p.is_relative_to("/usr") and p != Path("/")))


def skeleton(cache: Path) -> Path:
    """The folder, made once per state of the host's /etc. Blocks."""
    return kept(cache / "root" / _key(), cache / "locks" / "root", _fill)


@functools.cache
def system_links() -> tuple[tuple[str, Path], ...]:
    """Top-level system folders that are real ones on this host, to be bound: name and path."""
    names = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
    paths = ((name, Path("/") / name) for name in names)
    return tuple((n, p) for n, p in paths if p.is_dir() and not p.is_symlink())


def certificates(root: Path) -> str:
    """What this machine trusts, in one file, by its path inside; empty where `root` has none.
    It may be more than the installers bring along: a company's own proxy, for one."""
    paths = ("etc/ssl/certs/ca-certificates.crt", "etc/pki/tls/certs/ca-bundle.crt")
    return next((f"/{path}" for path in paths if (root / path).is_file()), "")


def _key() -> str:
    facts = [str(_FORMAT), *map(str, interpreter_folders())]
    for pattern in _ETC:
        for path in sorted(Path("/etc").glob(pattern)):
            with contextlib.suppress(OSError):
                found = path.lstat()
                facts.append(f"{path} {found.st_mtime_ns} {found.st_size}")
    return hashlib.sha256("\n".join(facts).encode()).hexdigest()[:20]


def _fill(root: Path) -> None:
    for point in (*_MOUNT_POINTS, *(str(p).lstrip("/") for p in interpreter_folders())):
        (root / point).mkdir(parents=True, exist_ok=True)
    for name in ("bin", "sbin", "lib", "lib32", "lib64", "libx32"):
        host = Path("/") / name
        if host.is_symlink():
            (root / name).symlink_to(host.readlink())
        elif host.is_dir():
            (root / name).mkdir()
    for pattern in _ETC:
        for source in sorted(Path("/etc").glob(pattern)):
            _copy(source, root / "etc" / source.relative_to("/etc"))
    for name, text in _FILES.items():
        (root / "etc" / name).write_text(text, encoding="utf-8")
    # A plain user's umask must not hide it from the user inside.
    root.chmod(0o755)


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    # What a plain user cannot read is left out; the sandbox could not read it either.
    with contextlib.suppress(OSError, shutil.Error):
        if source.is_dir() and not source.is_symlink():
            shutil.copytree(source, target, symlinks=True, dirs_exist_ok=True)
        else:
            shutil.copy2(source, target, follow_symlinks=False)
