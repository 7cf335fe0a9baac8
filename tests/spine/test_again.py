"""A finished run is verified again, played again and compared, and stays as it is."""

import json
from pathlib import Path
from typing import Any

import pytest

from harness import runner
from tests.spine.project import Project, writes


@pytest.fixture
def ended(project: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    """Two features one after the other: the first chosen among a right and a wrong attempt, the
    second failed."""
    project.sandbox = "process"
    project.feature("alpha", attempts=2)
    project.record("alpha", writes("alpha.txt", "wrong"), "r1-a01")
    project.record("alpha", writes("alpha.txt", "alpha done"), "r1-a02")
    project.feature("beta", "alpha")
    project.record("beta", writes("beta.txt", "wrong"))
    assert project.run("--exactly", "--record", "said").code == 1
    monkeypatch.setenv("FIBREFLOW_CACHE", str(project.cache))
    return project


def told(project: Project, capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, Any]:
    """The exit code of one command in this process, and the object that it printed last."""
    capsys.readouterr()
    code = runner.main([*words, "--json", "--workspace", str(project.workspace)])
    return code, json.loads(capsys.readouterr().out)


def contents(folder: Path) -> dict[str, bytes]:
    """Of all files of a run, but for what lies in folders with a dot."""
    files = (p for p in folder.rglob("*") if p.is_file())
    kept = (p for p in files if not any(part[0] == "." for part in p.relative_to(folder).parts))
    return {str(p.relative_to(folder)): p.read_bytes() for p in kept}


def check_lock(ended: Project, capsys: pytest.CaptureFixture[str]) -> None:
    """The lock file says what the run was given."""
    code, lock = told(ended, capsys, "lock")
    assert code == 0
    assert lock["settings"]["exactly"] is True
    assert [f["id"] for f in lock["features"]["features"]] == ["alpha", "beta"]
    assert lock["commits"]["base"] == ended.git("rev-parse", "main").strip()
    assert lock["versions"]["packages"]["dbos"]
    prepared = {e["commit"]: e["id"] for e in ended.events("BasePrepared")}
    assert {c: b["digest"] for c, b in lock["bases"].items()} == prepared
    assert lock["recording"]
    other = ended.folder / "other.json"
    lock["versions"]["python"] = "3.99"
    lock["features"]["features"][1]["description"] = "Otherwise."
    other.write_text(json.dumps(lock))
    code, found = told(ended, capsys, "lock", "--diff", str(other))
    assert code == 1
    assert [line.split(":")[0] for line in found["differences"]] == [
        "features.features.beta.description", "versions.python",
    ]  # fmt: skip
    assert told(ended, capsys, "lock", "--diff", ended.runs[0])[0] == 0
    assert runner.main(["verify", "none", "--workspace", str(ended.workspace)]) == 2


@pytest.mark.long
def test_it_is_verified_and_played_again_and_stays_as_it_is(
    ended: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    check_lock(ended, capsys)
    said = ended.workspace / "said/alpha/r1-a01.yaml"
    assert "wrong" in said.read_text()
    run, branch = contents(ended.run_folder), ended.git("rev-parse", "autopilot")
    code, found = told(ended, capsys, "verify")
    assert (code, found["attempts"], found["rounds"]) == (0, 3, 2), found
    code, found = told(ended, capsys, "replay")
    assert (code, found["exit_code"], found["differences"]) == (0, 1, []), found
    again = Path(found["workspace"])
    assert "alpha done" in (again / "recordings/alpha/r1-a02.yaml").read_text()
    assert contents(ended.run_folder) == run
    assert ended.git("rev-parse", "autopilot") == branch

    # Somebody changed what was written down of the winner.
    path = ended.run_folder / "alpha/r1-a02/evidence.json"
    kept = json.loads(path.read_bytes())
    kept["acceptance"][0]["passed"] = False
    path.write_text(json.dumps(kept))
    code, found = told(ended, capsys, "verify", "--only", "alpha")
    assert (code, found["attempts"]) == (1, 2)
    assert found["differences"] == [
        "alpha/r1-a02: `sh checks/has.sh alpha` failed before, passes now"
    ]
    # And changed the patch itself: nobody can be taken any more.
    (ended.run_folder / "alpha/r1-a02/patch.diff").write_bytes(b"")
    code, found = told(ended, capsys, "verify", "--only", "alpha")
    assert code == 1
    assert "alpha, round 1: r1-a02 won before, nobody now" in found["differences"]
