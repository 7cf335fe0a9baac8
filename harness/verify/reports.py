"""Collects the reports that a project's own commands write, in any language, after each run.

They are written by the code under test, and so are worth as much as its exit status: they tell
tests apart and lines, but they can be forged by whoever can end the command with 0.
"""

import secrets
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field

from harness.ports import Sandbox
from harness.verify.bench import Bench
from harness.verify.coverage_reports import Hits, read_coverage
from harness.verify.junit import Case, read_junit
from orchestrator.values import Reports

_LIMIT = 32_000_000  # bytes, all of them together
_MOST_FILES = 2_000

_FIND = "find . -name .git -prune -o -type f {paths} -print0"
_READ = """
{find} | head -z -n {most} | xargs -0 -r sh -c '
  for p; do printf "%s\\0%s\\0" "$p" "$(($(wc -c < "$p")))"; cat "$p"; done' sh
printf '{mark}'
"""


@dataclass(frozen=True, slots=True)
class Told:
    """What the reports of one run say. `problem` is why one cannot be read, in a line."""

    cases: tuple[Case, ...] = ()
    hits: Hits = field(default_factory=dict)
    problem: str = ""


async def clear(bench: Bench, sandbox: Sandbox, reports: Reports) -> None:
    """Remove what lies where reports are expected: one of an earlier run, or one that the patch
    brought along, says nothing of the run to come."""
    globs = (*reports.junit, *reports.coverage)
    if globs:
        find = _FIND.format(paths=_paths(globs)).replace("-print0", "-exec rm -f {} +")
        await bench.run(sandbox, f"cd {shlex.quote(sandbox.workdir)} && {find}")


async def collect(bench: Bench, sandbox: Sandbox, reports: Reports) -> Told:
    """What the run that has just ended in `sandbox` left."""
    cases: list[Case] = []
    hits: Hits = {}
    try:
        for data in await _files(bench, sandbox, reports.junit):
            cases += read_junit(data)
        for data in await _files(bench, sandbox, reports.coverage):
            for name, lines in read_coverage(data).items():
                inside = name.startswith(f"{sandbox.workdir}/")
                path = f".{name.removeprefix(sandbox.workdir)}" if inside else name
                own = hits.setdefault(path, {})
                own.update({n: max(count, own.get(n, 0)) for n, count in lines.items()})
    except ValueError as error:
        bench.note(str(error))
        return Told(problem=str(error))
    return Told(tuple(cases), hits)


async def _files(bench: Bench, sandbox: Sandbox, globs: Sequence[str]) -> list[bytes]:
    if not globs:
        return []
    mark = secrets.token_hex(12)
    script = _READ.format(find=_FIND.format(paths=_paths(globs)), most=_MOST_FILES, mark=mark)
    result = await bench.run(
        sandbox, f"cd {shlex.quote(sandbox.workdir)} && {script}", limit=_LIMIT
    )
    data, found, _ = result.out.partition(mark.encode())
    if not found or result.truncated:
        raise ValueError(f"the reports are larger than {_LIMIT // 1_000_000} MB together")
    files = []
    while data:
        _, _, rest = data.partition(b"\0")
        size, _, rest = rest.partition(b"\0")
        if not size.isdigit() or len(rest) < int(size):
            raise ValueError("a report changed while it was read")
        files.append(rest[: int(size)])
        data = rest[int(size) :]
    return files


def _paths(globs: Sequence[str]) -> str:
    """`find`'s `*` stands for any number of folders as well."""
    named = [g.removeprefix("./") for g in globs]
    patterns = [f"./{g}" for g in named] + [f"./{g[3:]}" for g in named if g.startswith("**/")]
    joined = " -o ".join(f"-path {shlex.quote(p)}" for p in patterns)
    return f"\\( {joined} \\)"
