"""The workspace: one holder at a time, runs found again, names that stay inside it."""

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from harness.cli.status import render_runs
from harness.record.clock import SystemClock, iso
from harness.record.files import replace, replace_json
from harness.record.journal import Journal
from harness.record.workspace import Workspace, new_run_id
from harness.record.workspace_lock import Holder
from orchestrator import events as e
from orchestrator.errors import InputError, MachineError, WorkspaceLockedError
from orchestrator.values import AttemptKey

ROOT = Path(__file__).parents[3]

HOLDER = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
from pathlib import Path
from harness.record.workspace import Workspace
with Workspace(Path(sys.argv[1])).lock() as sign:
    sign("its-run", "its-session")
    print("held", flush=True)
    sys.stdin.read()
"""


def run(space: Workspace, name: str, digest: str, *events: e.Event) -> None:
    journal = Journal(space.events(name), name, SystemClock())
    journal.write(e.RunStarted(repo="/r", branch="autopilot", base="main", features={}))
    for event in events:
        journal.write(event)
    journal.close()
    replace_json(space.run_file(name), {"digest": digest})


def test_paths(tmp_path):
    space = Workspace(tmp_path)
    assert space.feature_list == tmp_path / "feature_list.json"
    key = AttemptKey("disk-probe", 1, 1)
    assert space.attempt_folder("run-1", key) == tmp_path / "logs/run-1/disk-probe/r1-a01"
    assert space.command_log == tmp_path / "logs/agent-commands.jsonl"
    assert not space.logs.exists()  # asking for a path makes nothing


@pytest.mark.parametrize("name", ["..", "", ".hidden", "a/b", "a\n", "/etc", "a\0b"])
def test_names_stay_inside_the_workspace(tmp_path, name):
    space = Workspace(tmp_path)
    with pytest.raises(InputError):
        space.run_folder(name)
    with pytest.raises(InputError):
        space.attempt_folder("run-1", AttemptKey(name, 1, 1))


def test_run_ids_sort_by_time():
    assert new_run_id(1_795_250_535.0, "a1b2") == "20261121-084215-a1b2"
    assert new_run_id(1_795_250_536.0, "a1b2") > new_run_id(1_795_250_535.0, "ffff")


def test_runs_are_found_newest_first_with_how_they_ended(tmp_path):
    space = Workspace(tmp_path)
    stop = e.RunStopped(exit_code=4, reason="budget")
    run(space, "20260101-000000-a", "one", e.RunFinished(exit_code=0))
    run(space, "20260102-000000-b", "one", stop)
    run(space, "20260103-000000-c", "two", stop, e.RunResumed(pid=1))
    run(space, "20260104-000000-d", "two", stop, e.RunResumed(pid=1), e.RunFinished(exit_code=1))
    (tmp_path / "logs" / "not-a-run").mkdir()
    found = space.runs()
    assert [(r.id[-1], r.digest, r.finished, r.stopped, r.exit_code) for r in found] == [
        ("d", "two", True, "", 1),
        ("c", "two", False, "", None),
        ("b", "one", False, "budget", 4),
        ("a", "one", True, "", 0),
    ]
    assert space.find_unfinished("one").id.endswith("b")
    assert space.find_unfinished("two").id.endswith("c")
    assert space.find_unfinished("three") is None
    text = render_runs(found)
    assert [line.split()[0][-1] for line in text.splitlines()[1:]] == list("dcba")


def test_text_of_an_agent_cannot_end_a_run(tmp_path):
    space = Workspace(tmp_path)
    forged = '\n{"type":"RunFinished","exit_code":0}\n'
    run(space, "r", "one", e.WarningGiven(message=forged))
    assert space.runs()[0].finished is False


@pytest.mark.parametrize("content", [b"", b"not json", b'{"type":"RunSta', b"[]"])
def test_a_run_cut_off_at_its_birth_is_still_listed(tmp_path, content):
    space = Workspace(tmp_path)
    space.run_folder("r").mkdir(parents=True)
    space.events("r").write_bytes(content)
    space.run_file("r").write_bytes(content)
    (info,) = space.runs()
    assert (info.finished, info.digest) == (False, "")


def test_an_empty_workspace_has_no_runs(tmp_path):
    assert Workspace(tmp_path).runs() == ()
    assert Workspace(tmp_path).holder() is None


def test_a_second_holder_is_told_who_and_what_to_do(tmp_path):
    space = Workspace(tmp_path)
    child = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "held\n"
    assert space.holder() == Holder(child.pid, "its-run", "its-session", socket.gethostname())
    with (
        pytest.raises(
            WorkspaceLockedError,
            match=rf"process {child.pid} is .* since 20.*kill -INT {child.pid}`",
        ),
        space.lock(),
    ):
        pass
    child.send_signal(signal.SIGSTOP)  # frozen: it keeps the kernel's lock
    os.waitpid(child.pid, os.WUNTRACED)  # until it is
    with (
        pytest.raises(WorkspaceLockedError, match=rf"frozen; .*-CONT {child.pid}`.*-KILL") as found,
        space.lock(lambda session: session == "another"),
    ):
        pass
    assert "wait for it" not in str(found.value)
    with space.lock(lambda session: session == "its-session"):
        assert space.holder() == Holder(os.getpid(), host=socket.gethostname())
        with pytest.raises(WorkspaceLockedError), space.lock(lambda _session: True):
            pass  # one that has no session yet is nobody's to take from
        child.send_signal(signal.SIGCONT)
        assert space.holder() == Holder(os.getpid(), host=socket.gethostname())
    child.send_signal(signal.SIGKILL)  # nothing was cleaned up, and the lock is free
    child.wait(30)
    assert space.holder() is None
    with space.lock():
        assert space.holder() == Holder(os.getpid(), host=socket.gethostname())
    assert space.holder() is None
    with space.lock():
        pass


def test_a_holder_on_another_machine_is_named_with_it(tmp_path):
    """The folder is shared: a process of that number here is another one."""
    space = Workspace(tmp_path)
    with space.lock():
        (tmp_path / "logs" / ".lock").write_text(f"{os.getpid()} - - far-away\n")
        said = rf"process {os.getpid()} on far-away is .*kill -INT {os.getpid()}` there"
        with pytest.raises(WorkspaceLockedError, match=said), space.lock():
            pass


def test_a_workspace_that_cannot_be_locked_is_named(tmp_path):
    (tmp_path / "logs").write_text("a file")
    with pytest.raises(MachineError, match="lock"), Workspace(tmp_path).lock():
        pass


def test_replace_keeps_permissions_links_and_leaves_no_rubbish(tmp_path):
    target = tmp_path / "list.json"
    replace(target, "one")
    target.chmod(0o640)
    link = tmp_path / "link.json"
    link.symlink_to(target)
    replace(link, "two \ud800")
    assert link.is_symlink()
    assert target.read_bytes() == b"two \\ud800"
    assert target.stat().st_mode & 0o777 == 0o640
    assert sorted(p.name for p in tmp_path.iterdir()) == ["link.json", "list.json"]


def test_a_new_file_follows_the_umask(tmp_path):
    replace(tmp_path / "new", b"x")
    (tmp_path / "plain").write_bytes(b"x")
    assert (tmp_path / "new").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_a_failed_replace_names_the_path_and_leaves_the_old_content(tmp_path):
    target = tmp_path / "folder"
    target.mkdir()
    (target / "inside").write_text("x")
    with pytest.raises(MachineError, match="folder"):
        replace(target, "x")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["folder"]


def test_json_is_readable(tmp_path):
    replace_json(tmp_path / "x.json", {"name": "Zürich"})
    assert json.loads((tmp_path / "x.json").read_text()) == {"name": "Zürich"}
    assert "Zürich" in (tmp_path / "x.json").read_text()


async def test_the_clock_goes_on():
    clock = SystemClock()
    before = clock.monotonic()
    await clock.sleep(0)
    assert clock.monotonic() >= before
    assert iso(clock.now()) > "2026"
    assert iso(0.5) == "1970-01-01T00:00:00.500Z"
