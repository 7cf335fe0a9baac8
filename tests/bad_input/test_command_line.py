"""The real program, given bad lists and bad words: one message, the right code, nothing made."""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from harness import runner
from tests.bad_input.cases import AFTER_A_RUN, COMMAND_LINES, LISTS

LISTS_FOLDER = Path(__file__).parent / "lists"
RUNNER = Path(runner.__file__)
RUN = "20260101-000000-aaaa"

FEATURES = [
    {"id": "api", "description": "an API", "acceptance": ["true"]},
    {"id": "web", "description": "a page", "depends_on": ["api"], "acceptance": ["true"]},
]


def git(folder: Path, *words: str) -> str:
    identity = ("-c", "user.name=A Person", "-c", "user.email=person@example.org")
    command = ["git", "-C", str(folder), *identity, *words]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def write_list(path: Path, **project: str) -> None:
    path.write_text(json.dumps({"project": {"repo": "repo", **project}, "features": FEATURES}))


def make_repo(folder: Path) -> None:
    (folder / "sub").mkdir(parents=True)
    (folder / "sub" / "file").write_text("x\n")
    git(folder, "init", "--quiet", "--initial-branch=main")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "-m", "Begin")


def contents(folder: Path) -> str:
    """One digest of every name, kind and byte below `folder`."""
    found = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        found.update(repr((str(path.relative_to(folder)), path.lstat().st_mode)).encode())
        found.update(path.read_bytes() if path.is_file() else b"")
    return found.hexdigest()


@dataclass
class Said:
    code: int
    out: str
    err: str


Command = Callable[..., Said]


@pytest.fixture
def program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Command:
    """Runs the program in this process, in `tmp_path`, without a key."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)

    def run(*words: str) -> Said:
        capsys.readouterr()
        code = runner.main(list(words))
        return Said(code, *capsys.readouterr())

    return run


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """A workspace with a good list, a good repository, and things that are broken."""
    make_repo(tmp_path / "repo")
    write_list(tmp_path / "feature_list.json")
    write_list(tmp_path / "base.json", base="nope")
    write_list(tmp_path / "branch.json", branch="main")
    write_list(tmp_path / "recording.json", recording="nope")
    write_list(tmp_path / "seed.json", repo="not-yet", seed="nope")
    (tmp_path / "file").write_text("x")
    (tmp_path / "binary").write_bytes(bytes(range(256)))
    (tmp_path / "folder").mkdir()
    git(tmp_path, "init", "--quiet", "--initial-branch=main", "fresh")
    git(tmp_path, "init", "--quiet", "--bare", "--initial-branch=main", "bare-fresh")
    return tmp_path


def event(kind: str, **fields: Any) -> str:
    time = "2026-01-01T00:00:00.000Z"
    return json.dumps({"type": kind, "time": time, "run": RUN, **fields}, separators=(",", ":"))


@pytest.fixture
def after_a_run(here: Path, program: Command) -> Path:
    """The same with a finished run on file, begun by this very program's own run file."""
    repo = here / "repo"
    git(repo, "branch", "autopilot")
    git(repo, "switch", "--quiet", "autopilot")
    message = f"An API\n\nFeature: api\nAttempt: api/r1-a01\nRun: {RUN}\n"
    git(repo, "commit", "--quiet", "--allow-empty", "-m", message)
    commit = git(repo, "rev-parse", "HEAD")
    git(repo, "switch", "--quiet", "main")
    folder = here / "logs" / RUN
    folder.mkdir(parents=True)
    options = {"workspace": str(here), "features": str(here / "feature_list.json"), "only": []}
    (folder / "run.json").write_text(
        json.dumps({"digest": "d", "options": options, "done": [], "held": {}})
    )
    features = {"api": {"depends_on": []}, "web": {"depends_on": ["api"]}}
    lines = [
        event("RunStarted", repo=str(repo), branch="autopilot", base="main", features=features),
        event("FeatureMerged", feature="api", attempt="r1-a01", commit=commit, reasons=[]),
        event("FeatureFailed", feature="web", reason="no attempt passed"),
        event("RunFinished", exit_code=1),
    ]
    (folder / "events.jsonl").write_text("".join(f"{line}\n" for line in lines))
    return here


def refused(said: Said, code: int, words: tuple[str, ...]) -> None:
    assert said.code == code, said
    assert said.out == ""
    assert said.err.startswith("error: ")
    assert said.err.count("error: ") == 1
    assert "Traceback" not in said.err
    for word in words:
        assert word in said.err


def test_the_tables_are_long_enough() -> None:
    assert len(COMMAND_LINES) + len(AFTER_A_RUN) >= 60


@pytest.mark.parametrize("dry", [True, False])
@pytest.mark.parametrize("name", sorted(LISTS))
def test_broken_lists(tmp_path: Path, program: Command, name: str, dry: bool) -> None:
    path = LISTS_FOLDER / f"{name}.json"
    said = program("--features", str(path), "--workspace", ".", *(["--dry-run"] if dry else []))
    refused(said, 2, (f"{name}.json: ", *LISTS[name]))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", sorted(COMMAND_LINES))
def test_bad_command_lines(here: Path, program: Command, name: str) -> None:
    argv, words = COMMAND_LINES[name]
    before = contents(here)
    refused(program(*argv), 2, words)
    assert contents(here) == before


DRY = sorted(n for n, (argv, _) in COMMAND_LINES.items() if argv and argv[0].startswith("--"))


@pytest.mark.parametrize("name", DRY)
def test_a_dry_run_refuses_what_a_run_refuses(here: Path, program: Command, name: str) -> None:
    argv, words = COMMAND_LINES[name]
    if name == "attempts_missing":
        argv = ("--dry-run", *argv)
    before = contents(here)
    refused(program(*argv, *(["--dry-run"] if "--dry-run" not in argv else [])), 2, words)
    assert contents(here) == before


@pytest.mark.parametrize("name", sorted(AFTER_A_RUN))
def test_bad_command_lines_after_a_run(after_a_run: Path, program: Command, name: str) -> None:
    argv, words = AFTER_A_RUN[name]
    head = git(after_a_run / "repo", "rev-parse", "autopilot")
    events = (after_a_run / "logs" / RUN / "events.jsonl").read_bytes()
    refused(program(*argv), 2, words)
    assert git(after_a_run / "repo", "rev-parse", "autopilot") == head
    assert (after_a_run / "logs" / RUN / "events.jsonl").read_bytes() == events


def test_without_a_key_nothing_is_made(here: Path, program: Command) -> None:
    before = contents(here)
    refused(program(), 5, ("ANTHROPIC_API_KEY is not set", "export"))
    assert contents(here) == before


def test_a_bare_repository_will_do(here: Path, program: Command) -> None:
    git(here, "clone", "--quiet", "--bare", "repo", "bare")
    said = program("--repo", "bare", "--dry-run")
    assert said.code == 0, said
    assert str(here / "bare") in said.out


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_list_that_may_not_be_read(here: Path, program: Command) -> None:
    (here / "feature_list.json").chmod(0)
    refused(program(), 2, ("feature_list.json", "cannot be read"))


# ---------------------------------------------------------- what was written is damaged

STORED = [
    ("status",),
    ("status", "--json"),
    ("report",),
    ("report", "--json"),
    ("list",),
    ("list", "--json"),
]


@pytest.mark.parametrize("argv", [a for a in STORED if a[0] != "list"])
def test_a_broken_line_amid_the_events(
    after_a_run: Path, program: Command, argv: tuple[str, ...]
) -> None:
    path = after_a_run / "logs" / RUN / "events.jsonl"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], '{"type": "Feat', *lines[1:]]) + "\n")
    refused(program(*argv), 2, ("events.jsonl", "line 2"))


@pytest.mark.parametrize("argv", STORED)
def test_a_cut_last_line_is_no_fault(
    after_a_run: Path, program: Command, argv: tuple[str, ...]
) -> None:
    path = after_a_run / "logs" / RUN / "events.jsonl"
    path.write_text(path.read_text() + '{"type":"Run')
    said = program(*argv)
    assert said.code == 0, said
    assert RUN in said.out


DAMAGED = [b"", b"{", b"[]", b'{"digest": "d"}', b"\xff\xfe", b'{"digest":1,"options":2,"x":3}',
           b'{"digest":"d","options":{"only":1},"done":[],"held":{}}',
           b'{"digest":"d","options":{},"done":[],"held":{}}']  # fmt: skip


@pytest.mark.parametrize("text", DAMAGED)
@pytest.mark.parametrize("argv", [("resume", RUN), ("accept", "web", "r1-a01")])
def test_a_damaged_run_file(
    after_a_run: Path, program: Command, argv: tuple[str, ...], text: bytes
) -> None:
    folder = after_a_run / "logs" / RUN
    (folder / "run.json").write_bytes(text)
    events = folder / "events.jsonl"
    events.write_text("".join(f"{li}\n" for li in events.read_text().splitlines()[:-1]))
    refused(program(*argv), 2, ("run.json", "cannot be read", "remove the run's folder"))


def test_a_list_cut_short_after_a_run(after_a_run: Path, program: Command) -> None:
    path = after_a_run / "feature_list.json"
    path.write_bytes(path.read_bytes()[:-20])
    refused(program(), 2, ("feature_list.json", "line 1"))
    assert program("status").code == 0  # what has happened can still be read


# ------------------------------------------------------------- the same as a process

PROCESSES = ["no_such_flag", "attempts_zero", "budget_nan", "only_unknown", "repo_without_git",
             "features_missing", "features_binary", "branch_checked_out",
             "status_without_runs"]  # fmt: skip


@pytest.mark.parametrize("name", PROCESSES)
def test_as_a_process(here: Path, name: str) -> None:
    argv, words = COMMAND_LINES[name]
    before = contents(here)
    refused(_process(here, *argv), 2, words)
    assert contents(here) == before


@pytest.mark.parametrize("name", ["several", "cycle_of_three", "latin1"])
def test_a_broken_list_as_a_process(tmp_path: Path, name: str) -> None:
    path = LISTS_FOLDER / f"{name}.json"
    said = _process(tmp_path, "--features", str(path), "--workspace", str(tmp_path), "--dry-run")
    refused(said, 2, LISTS[name])
    assert list(tmp_path.iterdir()) == []


def _process(folder: Path, *words: str) -> Said:
    env = {k: v for k, v in os.environ.items() if k != "ANTHROPIC_API_KEY"}
    done = subprocess.run(
        [sys.executable, str(RUNNER), *words],
        cwd=folder,
        env=env,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return Said(done.returncode, done.stdout, done.stderr)


@pytest.mark.parametrize("closed", ["stdout", "stderr", "both"])
def test_streams_that_are_closed(tmp_path: Path, closed: str) -> None:
    which = {"stdout": ">&-", "stderr": "2>&-", "both": ">&- 2>&-"}[closed]
    line = f'"$0" "$1" doctor --workspace "$2" {which}; echo "code $?" >"$2/code"'
    command = ["sh", "-c", line, sys.executable, str(RUNNER), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert (tmp_path / "code").read_text() in {"code 0\n", "code 5\n"}
    assert "Traceback" not in done.stdout + done.stderr


def test_output_that_cannot_be_written(tmp_path: Path) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, str(RUNNER), "doctor", "--workspace", str(tmp_path)],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=120,
            check=False,
        )
    assert done.returncode == 5
    assert "No space left" in done.stderr
    assert "Traceback" not in done.stderr
