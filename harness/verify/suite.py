"""Runs pytest or unittest in a sandbox and says, from outside, what it ran.

The report comes from our driver in the process that also runs hostile code, so it is believed only
as far as these agree:

- the report, a pipe of which nothing can be taken back, and the exit status of the process;
- a canary: one passing and one failing test of unforeseeable name and place;
- twins: real tests run a second time under their own names, made to fail from within their own
  frames, so that no test can be spared or favoured by its name, its code or its order;
- the functions and plugins that decide over tests, which must be those of a run on the base.

Who skips, exits early, writes reports, replaces functions or adds plugins is found out. A forger
who reads this source, finds the driver in memory and mends it there can still lie.
"""

import functools
import hashlib
import json
import secrets
import shlex
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from harness.ports import Base, ExecResult, Sandbox
from harness.verify.bench import Bench
from harness.verify.commands import TestCommand
from harness.verify.coverage_reports import Hits
from harness.verify.shared import once

_MAX_REPORT = 16_000_000  # bytes; ten thousand tests fill about two million

#: The drivers come by standard input and the report leaves by standard output, so that one run
#: is one command; what the tests print goes to standard error. The driver takes the report's
#: descriptor, 9, to where no test inherits it.
_SCRIPT = """
d=$(mktemp -d) || exit 125
head -c {watch} > "$d/ff_watch.py"
head -c {exam} > "$d/ff_exam.py"
cat > "$d/{module}.py"
export PYTHONPATH="$d${{PYTHONPATH:+:$PYTHONPATH}}"
{addopts}
exec 9>&1 1>&2
FIBREFLOW_REPORT=9
FIBREFLOW_JUNIT="$d/junit.xml"
export FIBREFLOW_REPORT FIBREFLOW_JUNIT
( eval {command} ) </dev/null
code=$?
[ -f "$FIBREFLOW_JUNIT" ] && echo '{junit}' >&9
exit $code
"""
_JUNIT = b'["junit"]'
_ADDOPTS = (
    'export PYTEST_ADDOPTS="${{PYTEST_ADDOPTS-}} -p {module} -o cache_dir=$d/cache {options}"'
)

#: Seconds that failing twins of real tests may take in one run.
TWINS = 3.0
_ORDER = {"passed": 0, "xfailed": 1, "skipped": 2, "failed": 3}


@dataclass(frozen=True, slots=True)
class Expected:
    """What the base says a command must run. `tests`: node id -> may it be skipped. An id in
    `static` was read from the text and stands for all its parametrised cases. `foreign`: what
    the project itself adds to or replaces in the tool. `parts`: how many processes reported, of
    a command that may run several.
    """

    tests: Mapping[str, bool] = field(default_factory=dict)
    static: frozenset[str] = frozenset()
    foreign: frozenset[str] = frozenset()
    parts: int = 0


@dataclass(frozen=True, slots=True)
class Skip:
    """Where a test was given up while it ran. `files`: the project's, on the way there; `said`:
    the innermost of them says so in its text, and no lack of a project's own part was the cause.
    """

    files: frozenset[str]
    said: bool

    def honest(self, suspects: Collection[str]) -> bool:
        return self.said and self.files.isdisjoint(suspects)


@dataclass(frozen=True, slots=True)
class Canary:
    """The names of the two planted tests; `token` is in both node ids' file name."""

    token: str
    good: str
    bad: str

    @property
    def ends(self) -> dict[str, str]:
        return {self.good: "passed", self.bad: "failed"}

    @classmethod
    def fresh(cls) -> "Canary":
        token = secrets.token_hex(6)
        return cls(token, f"test_{secrets.token_hex(4)}", f"test_{secrets.token_hex(4)}")


@dataclass(frozen=True, slots=True)
class TestRun:
    """One run of a tool. `tests`: test id -> (outcome, why); `lines`: path -> (executable,
    missing). `reported` is None when no report was left, else the exit status it states.
    `foreign`: changes to the tool -> the project's file that made them, "" when not known.
    `twins`: (test id, outcome) of real tests that were made to fail. `skips`: of tests that were
    given up while they ran. `left_out`: ids that the command's own options deselect. `parts`:
    one for each process that reported, where a command may run several. `wrote_junit`: it left a
    report of its own as well. `hits`: what a report of another language's coverage says.
    """

    __test__ = False  # pytest would take it for a test class

    result: ExecResult
    reported: int | None = None
    tests: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    collected: Expected = field(default_factory=Expected)
    lines: Mapping[str, tuple[frozenset[int], frozenset[int]]] = field(default_factory=dict)
    foreign: Mapping[str, str] = field(default_factory=dict)
    twins: tuple[tuple[str, str], ...] = ()
    skips: Mapping[str, Skip] = field(default_factory=dict)
    left_out: frozenset[str] = frozenset()
    parts: tuple["TestRun", ...] = ()
    wrote_junit: bool = False
    hits: Hits = field(default_factory=dict)

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
def _inside(name: str) -> bytes:
    return Path(__file__).with_name(f"inside_{name}.py").read_bytes()


async def run_tests(
    bench: Bench,
    sandbox: Sandbox,
    command: TestCommand,
    *,
    options: Sequence[str] = (),
    config: Mapping[str, Any] | None = None,
) -> TestRun:
    """Run it once. `options` are pytest's; `config` is the driver's: canary, twins (seconds), keep
    and drop (test ids), measure (paths), collect."""
    module = f"ff_{secrets.token_hex(5)}"
    given = {**(config or {}), "work": sandbox.workdir, "mild": command.hidden}
    literal = json.dumps(json.dumps(given))
    watch = f"import json\nCONFIG = json.loads({literal})\n".encode() + _inside("watch")
    exam = _inside("exam")
    root = [] if command.moves else [f"--rootdir={sandbox.workdir}"]
    addopts = _ADDOPTS.format(module=module, options=shlex.join([*root, *options]))
    script = _SCRIPT.format(
        junit=_JUNIT.decode(),
        watch=len(watch),
        exam=len(exam),
        module=module,
        addopts=addopts if command.tool == "pytest" else "",
        command=shlex.quote(_with_driver(command, module)),
    )
    stdin = watch + exam + _inside(command.tool)
    result = await bench.run(sandbox, script, stdin=stdin, limit=_MAX_REPORT)
    bench.note(f"{command.line} {' '.join(options)}".rstrip())
    bench.output(_without_report(result))
    lines = result.out.splitlines()
    told = [line for line in lines if line != _JUNIT]
    run = _read_parts(result, told) if command.hidden else _read(result, told)
    return replace(run, wrote_junit=_JUNIT in lines)


def _with_driver(command: TestCommand, module: str) -> str:
    """Ours in front of a value that the command itself gives to the same variables."""
    line = command.line.replace("PYTHONPATH=", 'PYTHONPATH="$d":')
    if command.tool == "unittest":
        return line.replace(" -m unittest", f" -m {module}", 1)
    return line.replace("PYTEST_ADDOPTS=", 'PYTEST_ADDOPTS="$PYTEST_ADDOPTS "')


def _without_report(result: ExecResult) -> ExecResult:
    return ExecResult(
        result.exit, b"", result.err, timed_out=result.timed_out, seconds=result.seconds
    )


def _read_parts(result: ExecResult, lines_said: Sequence[bytes]) -> TestRun:
    """Of a command that may run tests in several processes: all of them, and each by itself."""
    by_process: dict[bytes, list[bytes]] = {}
    for line in lines_said:
        by_process.setdefault(line.rpartition(b" ")[2], []).append(line)
    parts = tuple(_read(result, lines) for lines in by_process.values())
    states = [part.reported for part in parts]
    tests: dict[str, tuple[str, str]] = {}
    for part in parts:
        for test, (outcome, why) in part.tests.items():
            _add(tests, test, outcome, why)
    whole = bool(parts) and all(state is not None for state in states)
    return TestRun(
        result=result,
        reported=max((s for s in states if s is not None), default=0) if whole else None,
        tests=tests,
        collected=Expected(
            {i: skip for part in parts for i, skip in part.collected.tests.items()},
            frozenset(i for part in parts for i in part.collected.static),
        ),
        lines={path: found for part in parts for path, found in part.lines.items()},
        foreign={what: file for part in parts for what, file in part.foreign.items()},
        twins=tuple(twin for part in parts for twin in part.twins),
        skips={test: skip for part in parts for test, skip in part.skips.items()},
        left_out=frozenset(i for part in parts for i in part.left_out),
        parts=parts,
    )


def _read(result: ExecResult, lines_said: Sequence[bytes]) -> TestRun:
    """Hostile JSON: whatever has not the expected shape is no report at all, and so is one that
    goes on after its end."""
    try:
        said = [json.loads(line) for line in lines_said]
        ends = _only(said, "end")
        tests: dict[str, tuple[str, str]] = {}
        skips: dict[str, Skip] = {}
        for test in _only(said, "test"):
            _add(tests, str(test["id"]), str(test["outcome"]), str(test["why"]))
            if (way := test.get("whence")) is not None:
                files = frozenset(map(str, way["files"]))
                skips[str(test["id"])] = Skip(files, way["said"] is True)
        collected = [t for data in _only(said, "collected") for t in data]
        complete = len(ends) == 1 and said[-1][0] == "end"
        lines = ends[0]["lines"] if complete else {}
        return TestRun(
            result=result,
            reported=int(ends[0]["exit"]) if complete else None,
            tests=tests,
            collected=Expected(
                {str(t["id"]): bool(t["may_skip"]) for t in collected},
                frozenset(str(t["id"]) for t in collected if t.get("static")),
            ),
            lines={
                str(path): (frozenset(map(int, v["statements"])), frozenset(map(int, v["missing"])))
                for path, v in lines.items()
            },
            foreign={str(what): str(file) for what, file in _only(said, "foreign")},
            twins=tuple((str(test), str(end)) for test, end in _only(said, "twin")),
            skips=skips,
            left_out=frozenset(str(i) for data in _only(said, "deselected") for i in data),
        )
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError):
        return TestRun(result)


def _only(said: list[Any], kind: str) -> list[Any]:
    """What was said of that kind. A line is its kind, what it says and who says it."""
    return [data for what, data, _ in said if what == kind]


def _add(tests: dict[str, tuple[str, str]], test: str, outcome: str, why: str) -> None:
    """What was said of a test before is only ever made worse."""
    if test not in tests or _ORDER[outcome] > _ORDER[tests[test][0]]:
        tests[test] = (outcome, why)


# ------------------------------------------------------------ facts of a base


async def expected(bench: Bench, base: Base, command: TestCommand, *, turn: int = 1) -> Expected:
    """What `command` runs by the base's own files, collected once per base and `turn`."""

    async def collect() -> dict[str, Any]:
        async with bench.fork(base) as sandbox:
            run = await run_tests(
                bench, sandbox, command, options=("--collect-only",), config={"collect": True}
            )
        found = run.collected
        static = [i for i in found.static if _selected(i, command)]
        tests = {i: s for i, s in found.tests.items() if i not in found.static or i in static}
        foreign = sorted(run.foreign)
        return {"tests": tests, "static": static, "foreign": foreign, "parts": len(run.parts)}

    data = await once(base.folder / f"collect{turn}-{name_of(command.line)}.json", collect)
    return Expected(
        data["tests"], frozenset(data["static"]), frozenset(data["foreign"]), data["parts"]
    )


async def settled(bench: Bench, base: Base, command: TestCommand, wanted: Expected) -> Expected:
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
    static = wanted.static | frozenset(functions)
    return Expected({**tests, **functions}, static, wanted.foreign, wanted.parts)


def _selected(test: str, command: TestCommand) -> bool:
    """Whether a test known from its text alone is surely among what the command chooses."""
    wanted = [c.partition("[")[0].removeprefix("./") for c in command.chosen]
    if command.tool == "unittest":
        wanted = [w.removesuffix(".py").replace("/", ".") for w in wanted]
    return not wanted or any(test == w or test.startswith((f"{w}::", f"{w}.")) for w in wanted)


def name_of(line: str) -> str:
    """A file name for what is known about one command; another after the plugin changed,
    because bases are kept across versions of this program."""
    known = (
        line.encode("utf-8", "surrogateescape")
        + b"\0"
        + _inside("watch")
        + _inside("exam")
        + _inside("pytest")
        + _inside("unittest")
    )
    return hashlib.sha256(known).hexdigest()[:16]
