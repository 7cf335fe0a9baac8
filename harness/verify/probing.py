"""Evaluates probes in a sandbox, in two processes, and keeps what both say."""

import functools
import json
import secrets
from collections.abc import Sequence
from pathlib import Path

from harness.ports import ExecResult, Sandbox
from harness.verify.bench import Bench
from orchestrator.verify.probes import Probe

_LIMIT = 200_000  # bytes of output: forty digests take two thousand

#: Different hash seeds, so that what depends on the order of a set shows itself.
_SCRIPT = """
d=$(mktemp -d) || exit 125
head -c {size} > "$d/probe.py"
cat > "$d/probes.json"
export PYTHONPATH="$PWD:$PWD/src${{PYTHONPATH:+:$PYTHONPATH}}" PYTHONDONTWRITEBYTECODE=1
PYTHONHASHSEED=0 python "$d/probe.py" "$d/probes.json" </dev/null
printf '\n{mark}\n'
PYTHONHASHSEED=1 python "$d/probe.py" "$d/probes.json" </dev/null
"""


@functools.cache
def _inside() -> bytes:
    return Path(__file__).with_name("inside_probe.py").read_bytes()


async def digests(
    bench: Bench, sandbox: Sandbox, probes: Sequence[Probe]
) -> tuple[str | None, ...]:
    """One digest per probe; None for what was not evaluated, or differs from run to run."""
    code = _inside()
    stdin = code + json.dumps(
        [{"imports": p.imports, "expression": p.expression} for p in probes]
    ).encode("utf-8", "surrogatepass")
    mark = secrets.token_hex(12)
    script = _SCRIPT.format(size=len(code), mark=mark)
    result = await bench.run(sandbox, script, stdin=stdin, limit=_LIMIT)
    bench.note(f"{len(probes)} probes")
    bench.output(ExecResult(result.exit, b"", result.err, seconds=result.seconds))
    first, _, again = result.out.partition(mark.encode())
    pairs = zip(_read(first, len(probes)), _read(again, len(probes)), strict=True)
    return tuple(a if a == b else None for a, b in pairs)


def _read(out: bytes, many: int) -> list[str | None]:
    """Hostile lines: what has not the expected shape is not there. The last word counts."""
    found: list[str | None] = [None] * many
    for line in out.splitlines():
        try:
            number, digest = json.loads(line)
        except (ValueError, TypeError, RecursionError):
            continue
        if isinstance(number, int) and 0 <= number < many and isinstance(digest, str):
            found[number] = digest[:64]
    return found
