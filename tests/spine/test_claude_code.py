"""The real Claude Code CLI builds a feature in a sandbox, its models behind the harness's proxy.

It is answered by a recording: no model is asked. The program is `claude` on PATH, or the one in
the package `claude-agent-sdk`.
"""

import json
from pathlib import Path

import pytest

from harness.agents.programs import load
from orchestrator.errors import MachineError
from tests.spine.project import Project

#: What would be the key of a real run, in the environment of the runner.
KEY = "sk-ant-secret-of-the-host-0123456789"
#: Looks for the key wherever a process can look: environments, command lines, files, memory. It
#: knows the key in halves only, so that it does not find itself.
PROBE = """\
python3 - <<'END'
import os
key = (b"sk-ant-secret" + b"-of-the-host-0123456789")
found, looked = [], 0
def look(what, read):
    global looked
    try:
        data = read()
    except (OSError, ValueError, OverflowError):
        return
    looked += 1
    if key in data:
        found.append(what)
def regions(pid):
    with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", 0) as mem:
        for line in maps:
            words = line.split()
            begin, end = (int(x, 16) for x in words[0].split("-"))
            if words[1].startswith("rw") and end - begin < 64 << 20:
                mem.seek(begin)
                look(f"memory {pid}", lambda: mem.read(end - begin))
for pid in filter(str.isdigit, os.listdir("/proc")):
    for name in ("environ", "cmdline", "maps"):
        look(f"{name} {pid}", lambda: open(f"/proc/{pid}/{name}", "rb").read())
    if int(pid) != os.getpid():
        try:
            regions(pid)
        except OSError:
            pass
for root in ("/work", "/tmp", "/home", "/opt", "/run", "/etc"):
    for folder, _, names in os.walk(root):
        for name in names:
            path = os.path.join(folder, name)
            if os.path.isfile(path) and os.path.getsize(path) < 1 << 20:
                look(path, lambda: open(path, "rb").read())
token = os.environ.get("ANTHROPIC_API_KEY", "")
with open("probe.txt", "w") as out:
    out.write(f"found: {found}\\n{'much' if looked > 100 else looked} looked at\\n")
    out.write(f"token: {token[:8]}\\n")
END
"""


def available() -> str:
    try:
        load(Path("/nonexistent"))["claude-code"].find()
    except MachineError as error:
        return str(error)
    return ""


pytestmark = [
    pytest.mark.isolation,
    pytest.mark.skipif(bool(available()), reason=available() or "claude is here"),
]


def use(tool: str, **given: object) -> dict[str, object]:
    return {"type": "tool_use", "name": tool, "input": given}


def test_the_real_program_builds_a_feature_and_never_sees_the_key(project: Project) -> None:
    project.env = {"ANTHROPIC_API_KEY": KEY}
    project.feature("alpha", agent="claude-code")
    project.record(
        "alpha",
        [
            [use("Bash", command=PROBE, description="Look around")],
            [use("Write", file_path="/work/alpha.txt", content="alpha done\n")],
            [{"text": "alpha.txt is written."}],
        ],
    )
    end = project.run()
    folder = project.run_folder / "alpha" / "r1-a01"
    said = (folder / "agent.out").read_text("utf-8") if (folder / "agent.out").exists() else ""
    assert end.code == 0, (end, said[-3000:])
    assert project.merged() == ["alpha"]
    lines = [json.loads(line) for line in (folder / "transcript.jsonl").read_text().splitlines()]
    assert [line["type"] for line in lines] == ["start", "reply", "reply", "reply", "end"]
    assert lines[0]["agent"] == "claude-code"
    assert lines[-1]["reason"] == "alpha.txt is written."
    patch = (folder / "patch.diff").read_text("utf-8")
    assert "+found: []\n+much looked at\n+token: attempt-\n" in patch
    assert KEY not in said + patch
    assert len(project.events("ModelCalled")) == 3
    project.assert_nothing_left()
