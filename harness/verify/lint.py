"""Measures changed Python files before and after a patch with the sandbox's own ruff."""

import json
import re
import secrets
import shlex
from collections.abc import Sequence
from typing import Any

from harness.ports import Sandbox
from harness.verify.bench import Bench
from orchestrator.quality import FileMeasure, quality

#: What tends to be a flaw whatever a project's taste: errors, likely bugs, security, complexity.
#: Left out are matters of taste (line length) and `assert`.
_RULES = "E,F,W,B,C90,S"
_IGNORED = "E501,S101"
_MOST_FILES = 60
_COMPLEX = re.compile(r"`([^`]*)` is too complex \((\d+) >")

_SCRIPT = """
d=$(mktemp -d) || exit 125
cd {work} || exit 125
for f in {files}; do
  mkdir -p "$d/$(dirname "$f")"
  git --git-dir={git} show {commit}:"$f" > "$d/$f" 2>/dev/null || rm -f "$d/$f"
done
lint() {{
  ruff check --isolated --no-cache --ignore-noqa --exit-zero --output-format json \\
    --target-version py313 --select {rules} --ignore {ignored} \\
    --config 'lint.mccabe.max-complexity=0' "$@" 2>/dev/null
}}
lint -- {files}
printf '\\n%s\\n' {mark}
cd "$d" && lint .
"""


async def measure(
    bench: Bench, sandbox: Sandbox, commit: str, files: Sequence[str], added_lines: int
) -> float | None:
    """Quality 0..1 of `files` (which exist after the patch) against `commit`; None when ruff
    is not there or cannot say."""
    files = [f for f in files if not f.startswith("-")][:_MOST_FILES]
    if not files:
        return None
    mark = secrets.token_hex(12)
    script = _SCRIPT.format(
        work=shlex.quote(sandbox.workdir),
        git=shlex.quote(sandbox.base_git),
        commit=shlex.quote(commit),
        files=" ".join(shlex.quote(f) for f in files),
        rules=_RULES,
        ignored=_IGNORED,
        mark=mark,
    )
    result = await bench.run(sandbox, script, limit=16_000_000)
    after, found, before = result.out.partition(mark.encode())
    if not found:
        return None
    try:
        return quality(
            _measures(json.loads(before), files),
            _measures(json.loads(after), files, all_of=files),
            added_lines=added_lines,
        )
    except (ValueError, KeyError, TypeError, RecursionError):
        bench.note("quality could not be measured: ruff gave no readable result")
        return None


def _measures(findings: Any, files: Sequence[str], all_of: Sequence[str] = ()) -> list[FileMeasure]:
    counts: dict[str, int] = dict.fromkeys(all_of, 0)
    complexity: dict[str, dict[str, int]] = {}
    for finding in findings:
        path = next((f for f in files if str(finding["filename"]).endswith(f"/{f}")), None)
        if path is None:
            continue
        counts.setdefault(path, 0)
        match = _COMPLEX.search(str(finding["message"])) if finding["code"] == "C901" else None
        if match is None:
            counts[path] += 1
            continue
        names = complexity.setdefault(path, {})
        # Methods of different classes share a name: keep the most complex of them.
        names[match[1]] = max(names.get(match[1], 0), int(match[2][:6]))
    return [FileMeasure(p, n, complexity.get(p, {})) for p, n in counts.items()]
