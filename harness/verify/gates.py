"""Runs the gates that a project asks for beside its tests: a mutation score, an audit, any command.

Each runs in a clean fork of the patched tree, of attempts that passed everything else. What fails
on the base already is not held against a patch.
"""

import hashlib
import re
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from harness.ports import Base, ExecResult
from harness.sandboxes import profiles
from harness.verify import checks
from harness.verify.bench import Bench
from harness.verify.mutation import command as mutation_command
from harness.verify.shared import once
from harness.verify.tree import Tree
from orchestrator.values import Feature, Gate, Project
from orchestrator.verify.acceptance import is_protected

_SCRIPT = """
FIBREFLOW_CHANGED=$(mktemp) || exit 125
cat > "$FIBREFLOW_CHANGED"
export FIBREFLOW_CHANGED
( eval {command} ) </dev/null
"""
_SCORE = re.compile(r"(\d+(?:\.\d+)?)\s*(%?)\s*$")


async def refusal(bench: Bench, base: Base, tree: Tree, feature: Feature, project: Project) -> str:
    """Why a gate is closed to the patch, the first that is; empty when all are open."""
    for gate in _asked(project, feature):
        touched = [p for p in tree.touched if not gate.when or is_protected(p, gate.when)]
        if not touched:
            continue
        result = await _run(bench, tree.base, gate, project, _changed(tree, touched))
        why = verdict(gate, result)
        if why and gate.at_least is None and await _fails_before(bench, base, gate, project):
            bench.note(f"gate {gate.name}: {why}, as on the base: not held against the patch")
        elif why:
            return f"gate {gate.name}: {why}"
    return ""


def _asked(project: Project, feature: Feature) -> Iterable[Gate]:
    yield from project.gates
    if project.min_mutation is not None:
        tests = [project.test] if project.test else list(feature.acceptance)
        if tests:
            line = mutation_command(tests)
            yield Gate("mutation", line, at_least=project.min_mutation, when=("**/*.py", "*.py"))


def verdict(gate: Gate, result: ExecResult) -> str:
    """Why the gate is closed by what its command came to. With `at_least`, its last line ends in
    the score, as a share or in percent; `none` says that there was nothing to score."""
    if result.timed_out:
        return checks.timed_out(result)
    if result.exit != 0:
        return f"exit {result.exit}: {checks.tail(result)}"
    if gate.at_least is None:
        return ""
    last = result.text.strip().rpartition("\n")[2]
    if last == "none":
        return ""
    found = _SCORE.search(last)
    if found is None:
        return f"no score in its last line: {checks.tail(result)}"
    score = float(found[1]) / (100 if found[2] else 1)
    return "" if score >= gate.at_least else f"{score:.0%}, {gate.at_least:.0%} are required"


async def _run(
    bench: Bench, base: Base, gate: Gate, project: Project, changed: Sequence[str]
) -> ExecResult:
    limits = None
    if gate.allow:
        limits = replace(profiles.of_run(project.profile), allow=gate.allow)
    script = _SCRIPT.format(command=shlex.quote(gate.run))
    stdin = "".join(f"{line}\n" for line in changed).encode("utf-8", "surrogateescape")
    async with bench.fork(base, limits) as sandbox:
        bench.note(f"gate {gate.name}")
        result = await bench.run(sandbox, script, stdin=stdin)
    bench.output(result)
    return result


async def _fails_before(bench: Bench, base: Base, gate: Gate, project: Project) -> bool:
    async def find() -> dict[str, Any]:
        return {"fails": bool(verdict(gate, await _run(bench, base, gate, project, ())))}

    key = hashlib.sha256(repr(gate).encode()).hexdigest()[:16]
    return bool((await once(base.folder / f"gate-{key}.json", find))["fails"])


def _changed(tree: Tree, paths: Sequence[str]) -> list[str]:
    """`path:first-last` of each run of added lines, for tools that look at those alone."""
    found = []
    for path in paths:
        lines = sorted(tree.text.added.get(path, ()))
        while lines:
            last = lines[0]
            while last + 1 in tree.text.added[path]:
                last += 1
            found.append(f"{path}:{lines[0]}-{last}")
            lines = [n for n in lines if n > last]
    return found
