"""A commit's files exactly as git has them: as a tar, and out of it.

`git archive` would heed the attributes that the commit itself brings along: files could be left out
or rewritten, and what is deployed would not be what was verified.
"""

import asyncio
import io
import shutil
import tarfile
from pathlib import Path

from harness.git import environment
from orchestrator.errors import DeployError

_FILE, _PROGRAM, _LINK = "100644", "100755", "120000"


async def archive(place: str, repo: Path, commit: str) -> bytes:
    """The files of a commit as a tar; submodules are left out. `place` is for messages. Raises
    `DeployError`."""
    time = int(await _git(place, repo, "show", "--no-patch", "--format=%ct", commit))
    listed = await _git(place, repo, "ls-tree", "-r", "-z", "--full-tree", commit)
    rows = [row.partition(b"\t") for row in listed.split(b"\0") if row]
    metas = [(meta.decode().split(" "), path) for meta, _, path in rows]
    names = [(mode, name, path) for (mode, kind, name), path in metas if kind == "blob"]
    asked = "".join(f"{name}\n" for _, name, _ in names).encode()
    found = io.BytesIO(await _git(place, repo, "cat-file", "--batch", stdin=asked))
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for mode, _, path in names:
            size = int(found.readline().split()[2])
            data = found.read(size)
            found.read(1)
            _add(tar, mode, path.decode("utf-8", "surrogateescape"), data, time)
    return made.getvalue()


def _add(tar: tarfile.TarFile, mode: str, path: str, data: bytes, time: int) -> None:
    entry = tarfile.TarInfo(path)
    entry.mtime, entry.mode = time, 0o755 if mode == _PROGRAM else 0o644
    if mode == _LINK:
        entry.type, entry.linkname = tarfile.SYMTYPE, data.decode("utf-8", "surrogateescape")
        tar.addfile(entry)
        return
    entry.size = len(data)
    tar.addfile(entry, io.BytesIO(data))


async def _git(place: str, repo: Path, *words: str, stdin: bytes = b"") -> bytes:
    process = await asyncio.create_subprocess_exec(
        "git", *words, cwd=repo, env=environment(), stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = await process.communicate(stdin)
    if process.returncode != 0:
        raise DeployError(f"{place}: git {words[0]}: {err.decode('utf-8', 'replace')[-400:]}")
    return out


def unpack(tar: bytes, folder: Path) -> None:
    """In place of what is there; no member leads out of it. Blocks. Raises `DeployError`."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        with tarfile.open(fileobj=io.BytesIO(tar)) as files:
            files.extractall(folder, filter="data")
    except tarfile.TarError as error:
        raise DeployError(f"{folder}: the commit cannot be unpacked: {error}") from error
