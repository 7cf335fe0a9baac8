"""Counts type errors with the project's own mypy, where the project says that it uses it.

Settings and plugins are not the project's: they are files that a patch may change, and plugins
are code. A `type: ignore` counts as one error, so that silencing mends nothing.
"""

import re
import shlex
from collections.abc import Mapping, Sequence

from harness.ports import Base
from harness.verify.bench import Bench
from harness.verify.facts import uses_mypy
from harness.verify.tree import Tree

#: Counts by path: before, after.
Errors = tuple[Mapping[str, int], Mapping[str, int]]

_CHECK = (
    "python -I -m mypy --config-file=/dev/null --cache-dir=/dev/null --no-incremental "
    "--no-error-summary --no-color-output --ignore-missing-imports --follow-imports=silent "
    "--explicit-package-bases --namespace-packages --check-untyped-defs -- "
)
_IGNORED = re.compile(r"#\s*type:\s*ignore")


async def errors(bench: Bench, base: Base, tree: Tree, files: Sequence[str]) -> Errors | None:
    """Errors in `files`, which exist after the patch. None where mypy is not used, not installed,
    or cannot say."""
    if not await uses_mypy(bench, base):
        return None
    after = await _count(bench, tree.base, files, tree.after)
    old = [path for path in files if path in tree.before]
    before = await _count(bench, base, old, tree.before) if old else {}
    return None if before is None or after is None else (before, after)


async def _count(
    bench: Bench, base: Base, files: Sequence[str], texts: Mapping[str, str]
) -> dict[str, int] | None:
    async with bench.fork(base) as sandbox:
        result = await bench.run(sandbox, _CHECK + shlex.join(files))
    if result.exit == 0 or (result.exit == 1 and ": error:" in result.text):
        return counted(result.text, texts, files)
    bench.note(f"mypy could not say (exit {result.exit})")  # it may not be installed
    return None


def counted(out: str, texts: Mapping[str, str], files: Sequence[str]) -> dict[str, int]:
    """Errors by file from what mypy printed, and what the file silences of it."""
    lines = [line.partition(": error:")[0] for line in out.splitlines() if ": error:" in line]
    said = [line.rpartition(":")[0] for line in lines]
    return {path: said.count(path) + len(_IGNORED.findall(texts[path])) for path in files}
