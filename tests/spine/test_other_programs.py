"""The real Codex and opencode build a feature in a sandbox, their models behind the proxy.

Answered by a recording: no model is asked. Only where the programs are on PATH, as single binaries
or below /usr.
"""

import json
import shutil

import pytest

from tests.spine.project import Project

SCRIPT = "echo alpha done > alpha.txt"


@pytest.mark.isolation
@pytest.mark.parametrize(
    ("program", "tool", "given"),
    [
        ("codex", "exec_command", {"cmd": SCRIPT}),
        ("opencode", "bash", {"command": SCRIPT, "description": "Write it"}),
    ],
)
def test_another_real_program_builds_a_feature(
    project: Project, program: str, tool: str, given: dict[str, str]
) -> None:
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not on PATH")
    project.feature("alpha", agent=program)
    call = {"type": "tool_use", "name": tool, "input": given}
    project.record("alpha", [[call], [{"text": "alpha.txt is written."}]])
    end = project.run()
    folder = project.run_folder / "alpha" / "r1-a01"
    assert end.code == 0, (end, (folder / "agent.out").read_text("utf-8")[-3000:])
    assert project.merged() == ["alpha"]
    lines = [json.loads(line) for line in (folder / "transcript.jsonl").read_text().splitlines()]
    assert [line["type"] for line in lines] == ["start", "reply", "reply", "end"]
    assert lines[0]["agent"] == program and "alpha.txt is written." in lines[-1]["reason"]
    project.assert_nothing_left()
