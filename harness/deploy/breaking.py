"""Which public names of a project's Python packages lose their old callers, from commit to commit.

    python -m harness.deploy.breaking OLD NEW PACKAGE ...     # two folders; prints JSON

Signatures are compared by griffe, which only parses: nothing of the project is imported. A process
of its own does it, for what agents wrote may take any parser down.
"""

import asyncio
import json
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from harness.deploy.export import archive, unpack
from harness.deploy.running import Runner
from harness.git import Repository
from orchestrator.errors import DeployError

_SECONDS = 120.0
_MOST = 50
_SOURCES = (".", "src")


async def breaking(repository: Repository, live: str, new: str) -> tuple[str, ...]:
    """Words, one for each name; empty when nothing is live. What cannot be compared is said so."""
    if not live or await repository.commit_of(live) is None:
        return ()
    names = packages(await repository.files(live))
    if not names:
        return ()
    runner = Runner("breaking changes", repository.path, _SECONDS)
    with tempfile.TemporaryDirectory(prefix="fibreflow-") as folder:
        for name, commit in (("old", live), ("new", new)):
            tar = await archive("breaking changes", repository.path, commit)
            await asyncio.to_thread(unpack, tar, Path(folder, name))
        words = [sys.executable, "-P", "-m", "harness.deploy.breaking", f"{folder}/old",
                 f"{folder}/new", *names]  # fmt: skip
        try:
            said = await runner.run(words, {"PYTHONPATH": _root()}, named="compare")
            return tuple(str(word) for word in json.loads(said))
        except (DeployError, ValueError):
            return ("whether public names changed could not be told",)


def packages(files: Iterable[str]) -> list[str]:
    """Importable packages at the root or in `src`, as paths from the root; tests are nobody's
    interface."""
    inits = (PurePosixPath(f).parent for f in files if f.endswith("/__init__.py"))
    found = {p for p in inits if str(p.parent) in _SOURCES and not p.name.startswith(("test", "_"))}
    return sorted(map(str, found))


def compare(old: Path, new: Path, name: str) -> list[str]:
    """Of one package. Raises whatever griffe does."""
    import griffe  # noqa: PLC0415 - costs 150 ms, and only the child pays

    path = PurePosixPath(name)
    if not (new / path / "__init__.py").is_file():
        return [f"{path.name} is gone"]
    before, after = (
        griffe.load(path.name, search_paths=[root / path.parent], allow_inspection=False,
                    try_relative_path=False)
        for root in (old, new)
    )  # fmt: skip
    return [
        f"{change.obj.path}: {change.kind.value.lower()}"
        for change in griffe.find_breaking_changes(before, after)
    ]


def _root() -> str:
    return str(Path(__file__).resolve().parents[2])


def main(words: list[str]) -> int:
    old, new, *names = words
    found = [text for name in names for text in compare(Path(old), Path(new), name)]
    print(json.dumps(sorted(set(found))[:_MOST]))  # noqa: T201 - its parent reads it
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
