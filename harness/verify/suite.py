"""Runs pytest in a sandbox and says, from outside, what it ran.

The report is written by our plugin in the process that also runs hostile code, so it is believed
only as far as three things agree: the report, the exit status of the process, and what became of
a canary (one passing and one failing test of unforeseeable name and place). A determined forger
who reads the plugin's memory can still lie; one who skips, exits early or writes reports cannot.
"""

import functools
import hashlib
import json
import secrets
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.ports import Base, ExecResult, Sandbox
from harness.verify.bench import Bench
from harness.verify.commands import PytestCommand
from harness.verify.shared import once

_MAX_REPORT = 16_000_000  # bytes; ten thousand tests fill about two million

#: The plugin comes by standard input and the report leaves by standard output, so that one run
#: is one command; what the tests print goes to standard error. Tests do not inherit either.
_SCRIPT = """
d=$(mktemp -d) || exit 125
cat > "$d/{module}.py"
export PYTHONPATH="$d${{PYTHONPATH:+:$PYTHONPATH}}"
export PYTEST_ADDOPTS="${{PYTEST_ADDOPTS-}} -p {module} -o cache_dir=$d/cache {options}"
exec 3>&1 1>&2
( eval {command} ) 3>&- </dev/null
code=$?
[ -f "$d/report.json" ] && cat "$d/report.json" >&3
exit $code
"""


@dataclass(frozen=True, slots=True)
class Expected:
    """What the base says a command must run. `tests`: node id -> may it be skipped. An id in
    `static` was read from the text and stands for all its parametrised cases.
    """

    tests: Mapping[str, bool] = field(default_factory=dict)
    static: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Canary:
    """The names of the two planted tests; `token` is in both node ids' file name."""

    token: str
    good: str
    bad: str

    @classmethod
    def fresh(cls) -> "Canary":
        token = secrets.token_hex(6)
        return cls(token, f"test_{secrets.token_hex(4)}", f"test_{secrets.token_hex(4)}")


@dataclass(frozen=True, slots=True)
class TestRun:
    """One run of pytest. `tests`: node id -> (outcome, why); `lines`: path -> (executable,
    missing). `reported` is None when no report was left, else the exit status it states.
    """

    __test__ = False  # pytest would take it for a test class

    result: ExecResult
    reported: int | None = None
    tests: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    collected: Expected = field(default_factory=Expected)
    lines: Mapping[str, tuple[frozenset[int], frozenset[int]]] = field(default_factory=dict)

    @property
    def passed(self) -> frozenset[str]:
        return frozenset(i for i, (outcome, _) in self.tests.items() if outcome == "passed")

    @property
    def failed(self) -> frozenset[str]:
        return frozenset(i for i, (outcome, _) in self.tests.items() if outcome == "failed")

    @property
    def consistent(self) -> bool:
        """The process ended as its report says, and the report says so for a reason."""
        if self.reported != self.result.exit or self.result.timed_out:
            return False
        return bool(self.failed) == (self.reported not in {0, 5})


@functools.cache
def _plugin() -> bytes:
    return Path(__file__).with_name("inside_pytest.py").read_bytes()


async def run_pytest(
    bench: Bench,
    sandbox: Sandbox,
    command: PytestCommand,
    *,
    options: Sequence[str] = (),
    config: Mapping[str, Any] | None = None,
) -> TestRun:
    """Run it once. `config` is the plugin's: canary, keep and drop (node ids), measure (paths),
    collect."""
    module = f"ff_{secrets.token_hex(5)}"
    root = [] if command.moves else [f"--rootdir={sandbox.workdir}"]
    script = _SCRIPT.format(
        module=module,
        options=shlex.join([*root, *options]),
        # In front of a value that the command itself gives to the same variables.
        command=shlex.quote(
            command.line.replace("PYTHONPATH=", 'PYTHONPATH="$d":').replace(
                "PYTEST_ADDOPTS=", 'PYTEST_ADDOPTS="$PYTEST_ADDOPTS "'
            )
        ),
    )
    literal = json.dumps(json.dumps(dict(config or {})))
    head = f"import json\nCONFIG = json.loads({literal})\n"
    result = await bench.run(sandbox, script, stdin=head.encode() + _plugin(), limit=_MAX_REPORT)
    bench.note(f"{command.line} {' '.join(options)}".rstrip())
    bench.output(_without_report(result))
    return _read(result)


def _without_report(result: ExecResult) -> ExecResult:
    return ExecResult(
        result.exit, b"", result.err, timed_out=result.timed_out, seconds=result.seconds
    )


def _read(result: ExecResult) -> TestRun:
    """Hostile JSON: whatever has not the expected shape is no report at all."""
    try:
        data = json.loads(result.out)
        return TestRun(
            result=result,
            reported=int(data["exit"]),
            tests={str(t["id"]): (str(t["outcome"]), str(t["why"])) for t in data["tests"]},
            collected=Expected(
                {str(t["id"]): bool(t["may_skip"]) for t in data["collected"]},
                frozenset(str(t["id"]) for t in data["collected"] if t.get("static")),
            ),
            lines={
                str(path): (frozenset(map(int, v["statements"])), frozenset(map(int, v["missing"])))
                for path, v in data["lines"].items()
            },
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return TestRun(result)


# ------------------------------------------------------------ facts of a base


async def expected(bench: Bench, base: Base, command: PytestCommand, *, turn: int = 1) -> Expected:
    """What `command` runs by the base's own files, collected once per base and `turn`."""

    async def collect() -> dict[str, Any]:
        async with bench.fork(base) as sandbox:
            run = await run_pytest(
                bench, sandbox, command, options=("--collect-only",), config={"collect": True}
            )
        found = run.collected
        static = [i for i in found.static if _selected(i, command)]
        tests = {i: s for i, s in found.tests.items() if i not in found.static or i in static}
        return {"tests": tests, "static": static}

    data = await once(base.folder / f"collect{turn}-{name_of(command.line)}.json", collect)
    return Expected(data["tests"], frozenset(data["static"]))


async def settled(bench: Bench, base: Base, command: PytestCommand, wanted: Expected) -> Expected:
    """`wanted` without ids that change from run to run, such as those made of an address.

    Asked for when an expected test did not run: ids that a second collection on the base does
    not show again stand for their function only.
    """
    again = await expected(bench, base, command, turn=2)
    loose = [test for test in wanted.tests if "[" in test and test not in again.tests]
    if not loose:
        return wanted
    tests = {test: skip for test, skip in wanted.tests.items() if test not in loose}
    functions = {test.partition("[")[0]: wanted.tests[test] for test in loose}
    return Expected({**tests, **functions}, wanted.static | frozenset(functions))


def _selected(test: str, command: PytestCommand) -> bool:
    """Whether a test known from its text alone is surely among what the command chooses."""
    if command.filtered:
        return False
    wanted = [c.partition("[")[0].removeprefix("./") for c in command.chosen]
    return not wanted or any(test == w or test.startswith(f"{w}::") for w in wanted)


def name_of(line: str) -> str:
    """A file name for what is known about one command; another after the plugin changed,
    because bases are kept across versions of this program."""
    known = line.encode("utf-8", "surrogateescape") + b"\0" + _plugin()
    return hashlib.sha256(known).hexdigest()[:16]


def judge(wanted: Expected, run: TestRun) -> list[tuple[str, str]]:
    """Every expected test that did not pass, and why, in the report's words."""
    cases: dict[str, list[str]] = {}
    for test in run.tests if wanted.static else ():
        cases.setdefault(test.partition("[")[0], []).append(test)
    bad: list[tuple[str, str]] = []
    for test, may_skip in wanted.tests.items():
        ran = [test] if test in run.tests else []
        if test in wanted.static:
            ran = cases.get(test, [])
        fine = {"passed", "skipped", "xfailed"} if may_skip else {"passed"}
        wrong = [case for case in ran if run.tests[case][0] not in fine]
        if not ran:
            bad.append((test, "did not run"))
        for case in wrong:
            outcome, why = run.tests[case]
            bad.append((case, why if outcome == "failed" else f"was {outcome}"))
    return bad
