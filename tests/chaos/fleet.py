"""A project whose run is spread over processes on one Postgres, to be killed and frozen."""

import json
import os
import signal
import subprocess
import sys
from typing import Any

import psycopg

from tests.spine.project import RUNNER, Project, bash, says, submit, writes

NAMES = ("a", "b", "c", "d")


class FleetProject:
    """A diamond of features; workers are processes of the real program, ended with the test."""

    def __init__(self, project: Project, url: str) -> None:
        self.project = project
        self.env = {"HARNESS_DATABASE_URL": url}
        project.env = dict(self.env)
        self._programs: list[subprocess.Popen[str]] = []

    def diamond(self, attempts: int = 3) -> None:
        """Some attempts are right, one is wrong, one would sleep for ever."""
        project = self.project
        project.defaults |= {"attempts": attempts, "quorum": 1}
        for name, needs in (("a", ()), ("b", ("a",)), ("c", ("a",)), ("d", ("b", "c"))):
            project.feature(name, *needs)
            right = writes(f"{name}.txt", f"{name} done")
            project.record(name, [[bash("sleep 0.3")], *right])
        slow = bash(f"echo begun > begun.txt; sleep 60; : {project.marker}")
        project.record("a", [[says("I wait."), slow], [submit()]], "r1-a01")
        project.record("b", writes("b.txt", "wrong"), "r1-a01")

    def run(self, *flags: str) -> "subprocess.Popen[str]":
        return self._kept(self.project.start(*flags))

    def worker(self, places: int = 2, **more: str) -> "subprocess.Popen[str]":
        """Another machine: all it shares is the database and the folder."""
        env = {**os.environ, **self.env, "FIBREFLOW_CACHE": str(self.project.cache), **more}
        words = [sys.executable, str(RUNNER), "worker", "--workers", str(places)]
        process = subprocess.Popen(
            words,
            cwd=self.project.workspace,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        return self._kept(process)

    def _kept(self, process: "subprocess.Popen[str]") -> "subprocess.Popen[str]":
        self._programs.append(process)
        return process

    def command(self, *words: str) -> Any:
        """What a command with `--json` prints."""
        env = {**os.environ, **self.env}
        out = subprocess.check_output([sys.executable, str(RUNNER), *words], env=env, text=True)
        return json.loads(out)

    def is_over(self) -> bool:
        """Whether nobody is at work for the database any more."""
        return self.command("fleet", "--json")["processes"] == []

    def leave(self, process: "subprocess.Popen[str]") -> None:
        """Told to leave twice, it gives back what it had, and leaves in order."""
        for _ in range(2):
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=60)
        assert "Traceback" not in err, err
        assert process.returncode == 0, err

    def end(self) -> None:
        for process in self._programs:
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.kill()
                process.communicate()

    def works(self, process: "subprocess.Popen[str]") -> list[str]:
        """The attempts that this process has taken and not ended."""
        text = (
            "SELECT id FROM fibreflow_work WHERE outcome IS NULL AND session IN "
            "(SELECT id FROM fibreflow_sessions WHERE pid = %s)"
        )
        try:
            with psycopg.connect(self.env["HARNESS_DATABASE_URL"]) as connection:
                return [str(row[0]) for row in connection.execute(text, (process.pid,))]
        except psycopg.Error:  # no tables yet, or the server is away
            return []

    # ------------------------------------------------------------- what came of it

    def events(self, *types: str) -> list[dict[str, Any]]:
        return self.project.events(*types)

    def assert_whole(self) -> None:
        """As if nothing had happened: each feature merged once, each attempt ended once, the
        book of money and the events agree, and nothing is left."""
        project = self.project
        merged = project.merged()
        assert sorted(merged) == list(NAMES)
        assert merged[0] == "a"
        assert merged[-1] == "d"
        assert len(project.runs) == 1
        assert set(project.states().values()) == {"merged"}
        assert project.report()["anomalies"] == []
        assert "begun.txt" not in project.git("ls-tree", "--name-only", "autopilot")
        features = json.loads(project.list.read_bytes())["features"]
        assert [f["passes"] for f in features] == [True] * len(NAMES)
        keys = [e["key"] for e in self.events() if "key" in e]
        assert len(keys) == len(set(keys))
        for path in project.run_folder.glob("*/*/transcript.jsonl"):
            kinds = [json.loads(line)["type"] for line in path.read_text("utf-8").splitlines()]
            assert kinds.count("start") == 1, path
            assert kinds.count("end") <= 1, path
        for event in self.events("AttemptFinished"):
            folder = project.run_folder / event["feature"] / event["attempt"]
            assert (folder / "attempt.json").is_file(), folder

    def assert_nothing_left(self) -> None:
        """To be asked when every process has left."""
        self.project.assert_nothing_left()
