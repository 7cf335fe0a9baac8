"""A whole project in a folder of a test: repository, feature list, recordings, the real program.

    project = Project(tmp_path, cache)
    project.feature("alpha")                      # acceptance: alpha.txt says "alpha done"
    project.record("alpha", writes("alpha.txt", "alpha done"))
    end = project.run()
    assert end.code == 0

A run of two such features takes two seconds. Nothing is patched: the program is a process of
its own, and what it did is read from its files, its branch and /proc.
"""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.agents.prompts import feature_section, section_digest
from orchestrator.deploy import rework
from orchestrator.features.file import parse

ROOT = Path(__file__).resolve().parents[2]
RUNNER = ROOT / "harness" / "runner.py"
TIMEOUT = 120.0

Turn = list[dict[str, Any]]

#: `has.sh NAME` passes when NAME.txt says so; `room.sh` when all parts together are small.
CHECKS = {
    "checks/has.sh": 'test "$(cat "$1.txt")" = "$1 done"\n',
    "checks/part.sh": 'test -f "parts/$1"\n',
    "checks/shared.sh": 'grep -q "$1" shared.txt\n',
    "checks/room.sh": "test $(cat parts/* | wc -c) -le 10\n",
    "README.md": "A project to be built by a test.\n",
}


def says(text: str) -> dict[str, Any]:
    return {"text": text}


def bash(command: str) -> dict[str, Any]:
    return {"tool": "bash", "command": command}


def creates(path: str, text: str) -> dict[str, Any]:
    return {"tool": "edit", "command": "create", "path": path, "text": text}


def submit(summary: str = "done") -> dict[str, Any]:
    return {"tool": "submit", "summary": summary}


def writes(path: str, text: str) -> list[Turn]:
    """The turns of an attempt that writes one file and submits."""
    return [[says("I write it."), creates(path, text)], [submit()]]


@dataclass(frozen=True)
class End:
    """How the program left."""

    code: int
    out: str
    err: str


@dataclass
class Project:
    """One workspace and the repository beside it; `extra` are further files of its first commit."""

    folder: Path
    cache: Path
    extra: Mapping[str, str] = field(default_factory=dict)
    sandbox: str = "local"

    def __post_init__(self) -> None:
        self.workspace = self.folder / "workspace"
        self.repo = self.folder / "repo"
        self.list = self.workspace / "feature_list.json"
        self.recordings = self.workspace / "recordings"
        self.entries: list[dict[str, Any]] = []
        self.defaults: dict[str, Any] = {"attempts": 1, "rounds": 1, "timeout_minutes": 2}
        self.project: dict[str, Any] = {"repo": "../repo", "recording": "recordings"}
        self.env: dict[str, str] = {}
        self.marker = str(random.Random(str(self.folder)).randrange(10**6, 10**7))
        self.workspace.mkdir(parents=True)
        self.recordings.mkdir()
        self.repo.mkdir()
        for name, text in {**CHECKS, **self.extra}.items():
            path = self.repo / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        self.git("init", "--quiet", "--initial-branch=main")
        self.git("add", "--all")
        self.git("commit", "--quiet", "-m", "Begin")

    # ------------------------------------------------------------- what is given

    def feature(self, id_: str, *depends_on: str, **more: Any) -> None:
        entry = {
            "id": id_,
            "description": f"Write {id_}.txt.",
            "depends_on": list(depends_on),
            "acceptance": [f"sh checks/has.sh {id_}"],
            **more,
        }
        self.entries.append({k: v for k, v in entry.items() if v is not None})

    def record(
        self,
        id_: str,
        turns: Sequence[Turn],
        attempt: str = "any",
        *,
        repeat: bool = False,
        **more: Any,
    ) -> None:
        """What an attempt says; stamped with its task when the list is stored."""
        body = {
            "source": "scripted",
            "task": "",
            "repeat": repeat,
            "turns": [{"content": turn} for turn in turns],
            **more,
        }
        path = self.recordings / id_ / f"{attempt}.yaml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(body), encoding="utf-8")  # JSON is YAML

    def simple(self, *ids: str) -> None:
        """Independent features that every attempt gets right."""
        for id_ in ids:
            self.feature(id_)
            self.record(id_, writes(f"{id_}.txt", f"{id_} done"))

    def store(self) -> None:
        """Writes the list, unless it is there, and stamps the recordings."""
        if not self.list.exists():
            body = {
                "version": 1,
                "project": self.project,
                "defaults": self.defaults,
                "features": self.entries,
            }
            self.list.write_text(json.dumps(body, indent=2) + "\n", encoding="utf-8")
        given = parse(self.list.read_text("utf-8"), str(self.list))
        for path in sorted(self.recordings.glob(f"{rework.PREFIX}*/*.yaml")):
            reason = json.loads(path.read_text("utf-8"))["rejection"]
            number = path.parent.name.removeprefix(rework.PREFIX)
            given = rework.foreseen(given, number, reason)
        tasks = {f.id: section_digest(feature_section(f)) for f in given.features}
        for path in self.recordings.glob("*/*.yaml"):
            body = json.loads(path.read_text("utf-8"))
            task = tasks.get(path.parent.name, "")
            if body["task"] != task:
                path.write_text(json.dumps({**body, "task": task}), encoding="utf-8")

    # ---------------------------------------------------------------- the program

    def start(self, *flags: str, command: str = "run") -> "subprocess.Popen[str]":
        self.store()
        where = ["--workspace", str(self.workspace)]
        plain = [] if "--json" in flags else ["--plain"]
        options = [*where, *plain, "--sandbox", self.sandbox] if command == "run" else where
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("ANTHROPIC", "GIT_"))}
        return subprocess.Popen(
            [sys.executable, str(RUNNER), command, *options, *flags],
            cwd=self.workspace,
            env={**kept, "FIBREFLOW_CACHE": str(self.cache), **self.env},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *flags: str, command: str = "run") -> End:
        return wait(self.start(*flags, command=command))

    # ------------------------------------------------------------- what came of it

    @property
    def runs(self) -> list[str]:
        return sorted(p.parent.name for p in self.workspace.glob("logs/*/run.json"))

    @property
    def run_folder(self) -> Path:
        """Of the newest run."""
        return self.workspace / "logs" / self.runs[-1]

    def events(self, *types: str) -> list[dict[str, Any]]:
        """Of the newest run so far, those of these types or all; a half-written line is left."""
        path = self.run_folder / "events.jsonl" if self.runs else None
        text = path.read_text("utf-8") if path is not None and path.exists() else ""
        lines = [json.loads(line) for line in text.splitlines(keepends=True) if line[-1] == "\n"]
        return [line for line in lines if not types or line["type"] in types]

    def report(self) -> dict[str, Any]:
        data: dict[str, Any] = json.loads((self.run_folder / "report.json").read_bytes())
        return data

    def states(self) -> dict[str, str]:
        return {f["id"]: f["state"] for f in self.report()["features"]}

    def transcript(self, feature: str, attempt: str = "r1-a01") -> list[dict[str, Any]]:
        path = self.run_folder / feature / attempt / "transcript.jsonl"
        return [json.loads(line) for line in path.read_text("utf-8").splitlines()]

    def git(self, *args: str) -> str:
        me = ("-c", "user.name=Test", "-c", "user.email=test@localhost")
        date = "2026-01-01T00:00:00Z"  # the same commit in every test: its base is made once
        env = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
        env |= {"GIT_AUTHOR_DATE": date, "GIT_COMMITTER_DATE": date}
        done = subprocess.run(
            ["git", *me, *args], cwd=self.repo, env=env, check=True, capture_output=True, text=True
        )
        return done.stdout

    def merged(self) -> list[str]:
        """Feature trailers on the integration branch, oldest first."""
        layout = "--format=%(trailers:key=Feature,valueonly,separator=%x2C)"
        return [v for v in self.git("log", "--reverse", layout, "autopilot").split() if v]

    def file(self, path: str) -> str:
        """A file's text on the integration branch."""
        return self.git("show", f"autopilot:{path}")

    # ------------------------------------------------------------ what is left behind

    def processes(self) -> list[str]:
        """Command lines of live processes that work in this folder or carry its marker."""
        words = [str(self.folder).encode(), self.marker.encode(), *(r.encode() for r in self.runs)]
        found = []
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit() or int(entry.name) == os.getpid():
                continue
            try:
                line = (entry / "cmdline").read_bytes()
                where = os.readlink(entry / "cwd").encode()
            except OSError:
                continue
            if any(w in line for w in words) or where.startswith(str(self.folder).encode()):
                found.append(f"{entry.name}: {line.replace(bytes(1), b' ').decode()[:300]}")
        return found

    def mounts(self) -> list[str]:
        words = [str(self.folder), *self.runs]
        lines = Path("/proc/mounts").read_text("utf-8").splitlines()
        return [line for line in lines if any(word in line for word in words)]

    def sandboxes(self) -> list[str]:
        """Workspaces of this project's runs that are still there."""
        names = [n for run in self.runs for n in (run, f"process-{run}")]
        found = (p for name in names for p in self._states() for p in (p / name).glob("*"))
        return [str(p) for p in found]

    def _states(self) -> Iterable[Path]:
        yield self.cache / "state"
        for root in ("/var/tmp", "/tmp", "/dev/shm"):
            yield Path(root) / f"fibreflow-{os.getuid()}" / "state"

    def assert_nothing_left(self) -> None:
        until(lambda: not self.processes(), f"no process left of {self.processes()}")
        assert self.mounts() == []
        assert self.sandboxes() == []

    def assert_no_attempt_twice(self) -> None:
        """No attempt was begun twice, none asked again for a reply that it had."""
        for path in sorted(self.workspace.glob("logs/*/*/*/transcript.jsonl")):
            lines = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
            kinds = Counter(line["type"] for line in lines)
            assert kinds["start"] == 1, path
            assert kinds["end"] <= 1, path
            turns = [line["turn"] for line in lines if line["type"] == "reply"]
            assert turns == list(range(1, len(turns) + 1)), path
        keys = [e["key"] for e in self.events("AttemptFinished")]
        assert len(keys) == len(set(keys))


def until(condition: Callable[[], object], what: str) -> None:
    """Poll, for what another process does can only be looked at."""
    end = time.monotonic() + TIMEOUT
    while not condition():
        assert time.monotonic() < end, f"never: {what}"
        time.sleep(0.005)


def wait(process: "subprocess.Popen[str]", timeout: float = TIMEOUT) -> End:
    """The end of a program, which is killed when it does not come."""
    try:
        out, err = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        out, err = process.communicate()
        raise AssertionError(
            f"no end in {timeout} s; it said:\n{out[-3000:]}\n{err[-3000:]}"
        ) from None
    assert "Traceback" not in err, err
    return End(process.returncode, out, err)
