"""The journal holds every event once, whatever cut its writer off."""

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from harness.record.journal import (
    CommandLog,
    Journal,
    Lines,
    all_events,
    encode,
    iter_events,
    read_events,
)
from harness.record.workspace import Workspace
from orchestrator import events as e
from orchestrator.errors import InputError, MachineError
from orchestrator.values import AttemptKey, Usage

ROOT = Path(__file__).parents[3]


class StillClock:
    """A clock that a test moves by hand."""

    def __init__(self) -> None:
        self.time = 1_795_250_537.0  # 2026-11-21T08:42:17Z

    def now(self) -> float:
        return self.time

    def monotonic(self) -> float:
        return self.time

    async def sleep(self, seconds: float) -> None:
        self.time += seconds


def opened(path: Path, *listeners) -> Journal:
    return Journal(path, "run-1", StillClock(), listeners)


def test_an_event_gets_time_and_run_and_comes_back_as_it_was(tmp_path):
    path = tmp_path / "run-1" / "events.jsonl"
    journal = opened(path)
    call = e.ModelCalled(
        feature="disk", attempt="r1-a01", turn=1, model="m", usage=Usage(1, 2), cost_usd=None
    )
    assert journal.write(call) is True
    line = json.loads(path.read_text())
    assert list(line)[:4] == ["type", "time", "key", "feature"]
    assert line["time"] == "2026-11-21T08:42:17.000Z"
    assert line["run"] == "run-1"
    (back,) = read_events(path)
    assert isinstance(back, e.ModelCalled)
    assert back.usage == Usage(1, 2)
    assert back.cost_usd is None
    assert back.key == call.key


def test_a_key_is_written_once_in_this_process_and_in_the_next(tmp_path):
    path = tmp_path / "events.jsonl"
    journal = opened(path)
    assert journal.write(e.FeatureStarted(feature="disk"))
    assert not journal.write(e.FeatureStarted(feature="disk"))
    assert journal.write(e.FeatureStarted(feature="load"))
    journal.close()
    again = opened(path)
    assert again.has("FeatureStarted/disk")
    assert not again.write(e.FeatureStarted(feature="load"))
    assert len(path.read_text().splitlines()) == 2


def test_events_that_repeat_are_written_each_time(tmp_path):
    path = tmp_path / "events.jsonl"
    journal = opened(path)
    assert journal.write(e.RunResumed(pid=1))
    assert journal.write(e.RunResumed(pid=1))
    assert len(read_events(path)) == 2


@pytest.mark.parametrize("piece", [b'{"type":"FeatureSta', b"\0\0\0\0", b"not json\n", b"[1]\n"])
def test_a_line_cut_by_a_crash_is_kept_apart_and_said(tmp_path, piece):
    path = tmp_path / "events.jsonl"
    journal = opened(path)
    journal.write(e.FeatureStarted(feature="disk"))
    journal.close()
    with path.open("ab") as file:
        file.write(piece)
    heard = []
    again = opened(path, heard.append)
    assert (tmp_path / "events.jsonl.torn").read_bytes().rstrip(b"\n") == piece.rstrip(b"\n")
    assert [type(event) for event in heard] == [e.WarningGiven]
    assert "events.jsonl.torn" in heard[0].message
    assert again.write(e.FeatureStarted(feature="load"))
    assert [type(event) for event in read_events(path)] == [
        e.FeatureStarted,
        e.WarningGiven,
        e.FeatureStarted,
    ]


def test_every_cut_of_the_last_line_loses_that_line_only(tmp_path):
    whole = encode(e.to_json(e.FeatureStarted(feature="disk")))
    last = encode(e.to_json(e.FeatureStarted(feature="lüft")))
    for size in range(len(last) + 1):
        path = tmp_path / str(size) / "events.jsonl"
        path.parent.mkdir()
        path.write_bytes(whole + last[:size])
        journal = opened(path)
        complete = size >= len(last) - 1  # only the newline is missing: nothing was lost
        assert journal.write(e.FeatureStarted(feature="lüft")) is not complete
        assert journal.write(e.FeatureStarted(feature="more"))
        journal.close()
        started = [x.feature for x in read_events(path) if isinstance(x, e.FeatureStarted)]
        assert started == ["disk", "lüft", "more"]


def test_a_long_torn_line_is_found_from_the_end(tmp_path):
    path = tmp_path / "events.jsonl"
    whole = encode(e.to_json(e.FeatureStarted(feature="disk")))
    path.write_bytes(whole + b'{"type":"' + b"x" * 200_000)
    opened(path)
    assert (tmp_path / "events.jsonl.torn").stat().st_size == 200_010
    assert path.read_bytes().startswith(whole)


@pytest.mark.parametrize(
    "bad", [b"garbage\n", b'{"no": "type"}\n', b"\xff\xfe\n", b"[" * 9999 + b"\n"]
)
def test_a_broken_line_in_the_middle_is_named(tmp_path, bad):
    path = tmp_path / "events.jsonl"
    whole = encode(e.to_json(e.FeatureStarted(feature="disk")))
    path.write_bytes(whole + bad + whole)
    with pytest.raises(InputError, match="line 2"):
        opened(path)
    with pytest.raises(InputError, match="line 2"):
        read_events(path)


def test_a_known_type_without_its_fields_is_named(tmp_path):
    path = tmp_path / "events.jsonl"
    path.write_bytes(b'{"type":"MergeStarted","time":"","run":"r"}\n')
    with pytest.raises(InputError, match=r"line 1.*onto"):
        read_events(path)


def test_reading_skips_types_of_a_newer_version_and_a_line_in_the_writing(tmp_path):
    path = tmp_path / "events.jsonl"
    path.write_bytes(b'{"type":"MoonLanded","time":"","run":"r"}\n{"type":"Feat')
    assert read_events(path) == ()
    assert list(iter_events(tmp_path / "missing.jsonl")) == []


def test_all_runs_of_a_workspace_are_read_oldest_first(tmp_path):
    for run in ("20261121-2", "20261121-1"):
        path = tmp_path / "logs" / run / "events.jsonl"
        path.parent.mkdir(parents=True)
        path.write_bytes(encode(e.to_json(e.FeatureStarted(feature=f"of-{run}"))))
    found = [event.feature for event in all_events(Workspace(tmp_path))]
    assert found == ["of-20261121-1", "of-20261121-2"]


def test_listeners_hear_new_events_only_and_may_write(tmp_path):
    path = tmp_path / "events.jsonl"
    heard = []
    journal = opened(path, heard.append)
    journal.write(e.FeatureStarted(feature="disk"))
    journal.write(e.FeatureStarted(feature="disk"))
    assert [event.time for event in heard] == ["2026-11-21T08:42:17.000Z"]

    def warn(event: e.Event) -> None:
        journal.write(e.WarningGiven(message="heard it"))

    journal.listen(warn)
    journal.write(e.FeatureStarted(feature="load"))
    assert [event.type for event in heard] == ["FeatureStarted", "FeatureStarted", "WarningGiven"]


def test_hostile_text_stays_one_line(tmp_path):
    path = tmp_path / "events.jsonl"
    text = 'a\nb\r\u2028\x1b[31m"}\n{"type":"RunFinished"\ud800 é'
    opened(path).write(e.FeatureFailed(feature="disk", reason=text))
    assert path.read_bytes().count(b"\n") == 1
    (back,) = read_events(path)
    assert isinstance(back, e.FeatureFailed)
    assert back.reason == text


def test_threads_do_not_mix_lines_or_write_a_key_twice(tmp_path):
    path = tmp_path / "events.jsonl"
    journal = opened(path)
    wins = []

    def work() -> None:
        for i in range(200):
            if journal.write(e.FeatureStarted(feature=f"f{i}")):
                wins.append(i)  # noqa: PERF401 - the point is the write

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(wins) == list(range(200))
    assert len(read_events(path)) == 200


def test_a_closed_journal_says_so(tmp_path):
    journal = opened(tmp_path / "events.jsonl")
    journal.close()
    journal.close()
    with pytest.raises(MachineError, match="closed"):
        journal.write(e.FeatureStarted(feature="disk"))


def test_an_unwritable_path_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(MachineError, match="file"):
        Lines(tmp_path / "file" / "events.jsonl")


def test_a_full_disk_leaves_whole_lines_only(tmp_path):
    """A file size limit makes the kernel cut a write in the middle, as a full disk does."""
    script = f"""
import resource, signal, sys
sys.path.insert(0, {str(ROOT)!r})
from pathlib import Path
from harness.record.journal import Lines
from orchestrator.errors import MachineError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100, resource.RLIM_INFINITY))
lines = Lines(Path(sys.argv[1]))
for size in (60, 60, 10):
    try:
        lines.append("x" * size)
    except MachineError as error:
        print("refused", "lines.jsonl" in str(error))
"""
    path = tmp_path / "lines.jsonl"
    done = subprocess.run(
        [sys.executable, "-c", script, str(path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout.splitlines() == ["refused True"], done.stderr
    assert path.read_text().splitlines() == ['"' + "x" * 60 + '"', '"' + "x" * 10 + '"']


def test_a_killed_writer_loses_nothing_it_was_told_is_written(tmp_path):
    path = tmp_path / "events.jsonl"
    script = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
from pathlib import Path
from harness.record.clock import SystemClock
from harness.record.journal import Journal
from orchestrator.events import FeatureStarted
journal = Journal(Path(sys.argv[1]), "r", SystemClock())
for i in range(1_000_000):
    journal.write(FeatureStarted(feature=f"f{{i}}"))
    print(i, flush=True)
"""
    writer = subprocess.Popen(
        [sys.executable, "-c", script, str(path)], stdout=subprocess.PIPE, text=True
    )
    assert writer.stdout is not None
    said = [int(writer.stdout.readline()) for _ in range(300)]
    writer.kill()
    said += [int(line) for line in writer.stdout.read().splitlines() if line]
    writer.wait(30)
    opened(path).close()
    kept = [x.feature for x in read_events(path) if isinstance(x, e.FeatureStarted)]
    assert kept[: len(said)] == [f"f{i}" for i in said]


def test_commands_are_logged_bounded_and_after_a_cut_line(tmp_path):
    path = tmp_path / "agent-commands.jsonl"
    path.write_bytes(b'{"cut')
    log = CommandLog(path, "run-1", StillClock())
    log.write(AttemptKey("disk", 1, 2), "x" * 9000, None, 0.12345)
    log.write(AttemptKey("disk", 1, 2), "true", 0, 1)
    log.close()
    first, second = (json.loads(line) for line in path.read_text().splitlines()[1:])
    assert first == {
        "time": "2026-11-21T08:42:17.000Z",
        "run": "run-1",
        "feature": "disk",
        "attempt": "r1-a02",
        "command": first["command"],
        "exit": None,
        "seconds": 0.123,
    }
    assert len(first["command"]) == 2000
    assert first["command"].endswith("[9000 characters]")
    assert second["exit"] == 0


def test_files_are_not_left_to_children(tmp_path):
    lines = Lines(tmp_path / "x.jsonl")
    fds = [int(n) for n in os.listdir("/proc/self/fd")]
    mine = [fd for fd in fds if _target(fd) == str(tmp_path / "x.jsonl")]
    assert mine
    assert not any(os.get_inheritable(fd) for fd in mine)
    lines.close()


def _target(fd: int) -> str:
    try:
        return os.readlink(f"/proc/self/fd/{fd}")
    except OSError:
        return ""
