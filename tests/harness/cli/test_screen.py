"""The screen, really rendered: live, plain, JSON and quiet, on streams of every kind."""

import io
import json
import os
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from harness.cli.screen import Screen, mode_for, where_it_is
from harness.cli.screen_table import Picture, console, rows
from harness.cli.status import render_runs, render_status
from orchestrator import events as e
from orchestrator.reporting import report
from orchestrator.runs.state import FeatureState, fold
from tests.orchestrator.run_script import attempt, run_started, started, timed, whole_run

ROOT = Path(__file__).parents[3]
NOW = 1_795_250_580.0  # 2026-11-21T08:43:00Z, 60 s after the run started


class Ascii(io.StringIO):
    encoding = "ascii"

    def write(self, text: str) -> int:
        text.encode("ascii")  # as a real stream would refuse it
        return super().write(text)


class Gone(io.StringIO):
    def write(self, text: str) -> int:
        raise BrokenPipeError(32, "Broken pipe")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def picture(script, width=100, height=40, stream=None):
    stream = stream if stream is not None else io.StringIO()
    terminal = console(stream, (width, height))
    terminal.print(Picture(terminal).of(fold(script), NOW))
    return stream.getvalue()


@pytest.mark.parametrize("width", [80, 120])
def test_the_picture_has_header_rows_and_footer(width):
    text = picture(whole_run(), width)
    assert "run run-1 · 1m00s" in text
    assert "/srv/demo repo → autopilot" in text
    assert "model: scripted recordings (written by a person, no model was asked)" in text
    assert "sandbox: local" in text
    (disk,) = [line for line in text.splitlines() if line.strip().startswith("disk")]
    for part in ("merged", "1/3", "✓1", "✗1", "!1", "$0.75", "18s", "r1-a01"):
        assert part in disk
    assert "merged 2/6" in text
    assert "1 failed" in text
    assert "1 review" in text
    assert "$1.50 of $5.00" in text
    assert "critical path 1 left, about 18s" in text
    assert "warning: unsafe red" in text
    assert max(len(line) for line in text.splitlines()) <= width


@pytest.mark.parametrize(("width", "shown"), [(60, "cost"), (40, "attempts"), (30, "state")])
def test_a_narrow_terminal_has_fewer_columns_and_whole_ones(width, shown):
    lines = picture(whole_run(), width).splitlines()
    assert max(len(line) for line in lines) <= width
    (disk,) = [line for line in lines if line.strip().startswith("disk")]
    (header,) = [line for line in lines if line.strip().startswith("feature")]
    assert "merged" in disk and shown in header and "winner" not in header
    if width >= 40:
        assert "✓1 ✗1 !1" in disk


def test_running_attempts_are_counted_by_state():
    script = timed(
        [
            run_started(),
            *started("disk"),
            *attempt("disk", "r1-a01"),
            *(attempt("disk", f"r1-a{i:02d}")[0] for i in (2, 3)),
        ]
    )
    text = picture(script)
    assert "●2 ◐1" in text
    assert "3 attempts running" in text


def test_no_isolation_stays_in_the_picture_in_red():
    stream = io.StringIO()
    terminal = console(stream, (100, 30))
    script = timed([run_started(sandbox="process")])
    group = Picture(terminal).of(fold(script), NOW)
    terminal.print(group)
    assert "NO ISOLATION" in stream.getvalue()
    (line,) = [x for x in group.renderables if "NO ISOLATION" in getattr(x, "plain", "")]
    assert "red" in str(line.style)


def test_unknown_cost_is_in_the_picture():
    text = picture(timed([run_started(), *started("disk"), *attempt("disk", "r1-a01", cost=None)]))
    assert "unknown of $5.00" in text


def test_hostile_text_is_shown_as_text():
    text = picture(whole_run())
    assert "[bold]x[/bold]" in text
    for bad in ("\x1b", "\u202e", "\x07", "\ud800"):
        assert bad not in text


def test_ascii_terminals_get_ascii():
    text = picture(whole_run(), stream=Ascii())
    assert "/srv/demo repo -> autopilot" in text
    assert "+1 x1 !1" in text


@pytest.mark.parametrize("height", [16, 24, 50])
def test_many_features_fit_any_height(height):
    features = {f"f{i:03d}": {} for i in range(500)}
    script = timed(
        [
            run_started(features=features, integrated=("f000", "f001")),
            *started("f250"),
        ]
    )
    text = picture(script, 80, height)
    assert len(text.splitlines()) <= height
    assert "f250" in text
    assert "more:" in text
    assert "merged 2/500" in text


def test_rows_keep_the_lists_order_when_they_fit_and_put_work_first_when_not():
    states = ("merged", "waiting", "running", "skipped", "failed")
    features = tuple(FeatureState(s, state=s) for s in states)
    assert rows(features, 5) == (features, ())
    shown, rest = rows(features, 4)
    assert [f.id for f in shown] == ["running", "failed", "waiting"]
    assert [f.id for f in rest] == ["merged", "skipped"]


def shown(mode, script, stream=None, **more):
    stream = stream if stream is not None else io.StringIO()
    screen = Screen(stream, mode, **more)
    with screen:
        for event in script:
            screen(event)
    screen.finish(report.build(screen.state))
    return stream.getvalue()


def test_plain_lines():
    text = shown("plain", whole_run())
    lines = text.splitlines()
    assert "08:42:00 model: scripted recordings (written by a person, no model was asked)" in lines
    assert "08:42:00 5 features to do, 6 in all" in lines
    assert "08:42:01 base abcdef012345 prepared in 1.0s" in lines
    assert any(x.endswith("disk r1-a01 passed: acceptance 5/5") for x in lines)
    assert any("disk r1-a02 rejected: acceptance 3/5: test_usage: red" in x for x in lines)
    assert any("disk r1-a03 failed: limit, nothing to verify: 60 turns used up" in x for x in lines)
    assert any(x.endswith("disk r1-a01 merged as deadbeefcafe, 18s, $0.75") for x in lines)
    assert any(x.endswith("load failed: no attempt passed in 1 round") for x in lines)
    assert any(x.endswith("api blocked: depends on load") for x in lines)
    assert any(x.endswith("look needs review: no trusted check") for x in lines)
    assert any(x.startswith("2 merged, 1 failed") for x in lines)
    assert "\x1b" not in text


def test_plain_lines_on_an_ascii_stream():
    assert "/srv/demo repo -> autopilot" in shown("plain", whole_run(), Ascii())


def test_json_is_one_object_a_line_and_the_report_last():
    script = whole_run()
    lines = [json.loads(line) for line in shown("json", script, Ascii()).splitlines()]
    assert [x["type"] for x in lines[:-1]] == [x.type for x in script]
    assert lines[-1]["run"] == "run-1"
    assert len(lines[-1]["features"]) == 6


def test_quiet_says_the_result_and_missing_isolation_only():
    assert len(shown("quiet", whole_run()).splitlines()) == 1
    script = timed([run_started(sandbox="process")])
    assert "NO ISOLATION" in shown("quiet", script).splitlines()[0]


def test_live_draws_and_leaves_the_last_picture():
    text = shown("live", whole_run(), Terminal(), size=(100, 40))
    assert "merged 2/6" in text
    typed = [line for line in text.splitlines() if line.startswith("  ")]
    assert typed[-2].startswith("  ls logs/run-1")
    assert typed[-1].startswith("  fibreflow report")


def test_a_flood_of_events_does_not_make_a_flood_of_pictures():
    stream = Terminal()
    script = whole_run()
    flood = [e.ModelRetried(feature="later", attempt="r1-a01", error="x", wait=0.0)] * 20_000
    text = shown("live", [*script, *flood], stream, size=(100, 40))
    # 20,000 events and not even a hundredth as many pictures, however slow the machine is.
    assert text.count("merged 2/6") < 200


@pytest.mark.parametrize("mode", ["plain", "json", "quiet", "live"])
def test_a_stream_that_went_away_does_not_stop_the_run(mode):
    stream = Gone()
    screen = Screen(stream, mode, size=(80, 24))
    with screen:
        for event in whole_run():
            screen(event)
    screen.finish(report.build(screen.state))
    assert screen.state.features["disk"].state == "merged"


def test_events_from_many_threads_are_all_taken_in():
    screen = Screen(io.StringIO(), "plain")
    screen(run_started())
    call = attempt("later", "r1-a01")[1]
    threads = [
        threading.Thread(target=lambda: [screen(call) for _ in range(100)]) for _ in range(5)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert screen.state.calls == 500


def test_a_resumed_run_starts_from_what_was_there():
    first = fold(whole_run())
    stream = io.StringIO()
    screen = Screen(stream, "plain", initial=first)
    screen(e.RunResumed(pid=12))
    assert "resumed by process 12" in stream.getvalue()
    assert screen.state.features["disk"].state == "merged"


def test_the_mode_follows_the_stream_and_the_wish():
    assert mode_for(io.StringIO(), env={"TERM": "xterm"}) == "plain"
    assert mode_for(Terminal(), env={"TERM": "xterm"}) == "live"
    assert mode_for(Terminal(), env={"TERM": "dumb"}) == "plain"
    assert mode_for(Terminal(), env={}) == "plain"
    assert mode_for(Terminal(), as_json=True, env={"TERM": "xterm"}) == "json"
    assert mode_for(Terminal(), quiet=True, env={"TERM": "xterm"}) == "quiet"


@pytest.mark.parametrize(("setting", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_no_color_is_honoured_on_a_real_terminal(setting, coloured):
    script = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
from harness.cli.screen import Screen, mode_for
from tests.orchestrator.run_script import whole_run
screen = Screen(sys.stdout, mode_for(sys.stdout), size=(100, 40))
with screen:
    for event in whole_run():
        screen(event)
"""
    leader, follower = os.openpty()
    env = {"PATH": os.environ["PATH"], "TERM": "xterm-256color", "LANG": "C.UTF-8", **setting}
    child = subprocess.Popen([sys.executable, "-c", script], stdout=follower, env=env)
    os.close(follower)
    out = b""
    while True:
        try:
            piece = os.read(leader, 65536)
        except OSError:  # EIO: the last writer closed the terminal
            break
        if not piece:
            break
        out += piece
    os.close(leader)
    assert child.wait(60) == 0
    assert b"merged 2/6" in out
    assert (b"\x1b[32m" in out) is coloured


def test_importing_the_screen_does_not_import_rich():
    code = "import sys, harness.cli.screen, harness.cli.status; print('rich' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"


def test_status_of_runs_alive_dead_stopped_and_finished():
    script = whole_run()
    state = fold(script)
    text = render_status(state)
    assert "is gone; `fibreflow resume` goes on" in text
    there = replace(state, workspace="/srv/my shop")
    assert "`fibreflow resume --workspace '/srv/my shop'` goes on" in render_status(there)
    assert "no model was asked" in text
    assert "1 of 3 passed" in text
    assert "no attempt passed in 1 round" in text
    assert "critical path 1 left, about 18s" in text
    assert "\x1b" not in text
    assert "running, process" in render_status(state, alive=True)
    draining = fold([e.DrainRequested(reason="Ctrl-C")], state)
    assert "draining: Ctrl-C" in render_status(draining, alive=True)
    stopped = fold(timed([e.RunStopped(exit_code=4, reason="budget")]), state)
    assert "stopped: budget" in render_status(stopped)
    done = fold(timed([e.RunFinished(exit_code=1)], 60), state)
    assert "finished, exit code 1" in render_status(done)


def test_the_table_of_a_status_fits_a_terminal():
    state = fold(whole_run())
    name = "a-feature-whose-name-takes-all-the-room-that-an-id-may-take-64"
    feature = replace(next(iter(state.features.values())), id=name)
    long = replace(state, features={**state.features, name: feature})
    lines = render_status(long).splitlines()
    first = next(n for n, line in enumerate(lines) if line.startswith("feature "))
    table = lines[first : first + 1 + len(long.features)]
    assert max(len(line) for line in table) <= 80
    assert "a-feature-whose-name" in table[-1]


def test_no_runs_is_said():
    assert render_runs(()) == "no runs yet\n"


def test_it_is_said_where_the_program_is_when_the_shell_would_not_find_it(tmp_path):
    assert where_it_is("", str(tmp_path / "python")) == ""
    program = tmp_path / "fibreflow"
    program.touch(mode=0o755)
    assert where_it_is("", str(tmp_path / "python")) == f"fibreflow is {program}"
    assert where_it_is(str(tmp_path), str(tmp_path / "python")) == ""
