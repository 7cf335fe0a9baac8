"""The benchmarks run on the real program, and their last line is the object they promise."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parent.parent / "benchmarks"
_SECONDS = 300


def run(*words: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, BENCHMARKS / words[0], *words[1:]],
        capture_output=True, text=True, timeout=_SECONDS, check=False,
    )  # fmt: skip
    if "ended with exit 5" in done.stderr:
        pytest.skip(f"no isolation here: {done.stderr[-300:]}")
    return done


@pytest.mark.long
@pytest.mark.isolation
def test_overhead_prints_its_figures_as_one_object_last() -> None:
    done = run("overhead.py", "--attempts", "3", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["attempts"] == 3
    # Differences of two runs this short may well be negative; that they are figures is enough.
    for name in ("cpu_ms_per_attempt", "wall_ms_per_attempt", "floor_files_cpu_ms"):
        assert isinstance(found[name], float), name
    # The runner alone, a Python program with an engine, is larger than this.
    assert 40 < found["peak_rss_mb"] < 2000
    assert isinstance(found["cpu_is_of_the_tree_alone"], bool)


@pytest.mark.isolation
@pytest.mark.slow
def test_overhead_says_what_the_time_is_spent_on() -> None:
    done = run("overhead.py", "--attempts", "3", "--profile")
    assert done.returncode == 0, done.stderr
    for part in ("engine", "processes it started", "in all"):
        assert part in done.stdout


def test_overhead_refuses_a_single_attempt() -> None:
    done = run("overhead.py", "--attempts", "1", "--json")
    assert done.returncode == 2
    assert "difference" in done.stderr


@pytest.mark.slow
def test_routing_reports_every_strategy_and_says_whether_the_target_is_met() -> None:
    done = run("routing.py", "--resamples", "20", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    points = found["swebench"]["strategies"]
    router = points["router, perfect verifier"]
    for name in ("always-haiku", "always-sonnet", "always-opus", "random at the router's mix"):
        assert router["above_the_line"] >= points[name]["above_the_line"]
    low, high = router["resolve_rate_95"]
    assert low <= router["resolve_rate"] <= high
    assert found["swebench"]["target"]["imperfect"] == {"line": True, "beside the dear one": True}
    assert found["labelled"]["requests"] == 200
    assert abs(sum(found["labelled"]["share"].values()) - 1) < 0.01


@pytest.mark.long
@pytest.mark.isolation
def test_sandbox_prints_its_figures_as_one_object_last() -> None:
    done = run("sandbox.py", "--files", "60", "--rounds", "2", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    for name in ("local", "bwrap", "worktree", "clone", "copy", "next", "destroy"):
        assert 0 < found[f"{name}_p50_ms"] <= found[f"{name}_p95_ms"], name
    assert found["at_once_15_ms"] > found["local_p50_ms"] / 15
    # A Python program that waits takes megabytes, and not a tenth of a gigabyte.
    assert 1 < found["idle_100_mb_each"] < 100


@pytest.mark.long
def test_slas_prints_its_figures_as_one_object_last() -> None:
    done = run("slas.py", "--slas", "3", "--interval", "0.3", "--minutes", "0.01", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["told"] == found["violations"] == 3
    assert isinstance(found["cpu_percent"], float)


def test_selection_reports_every_rule_with_its_interval() -> None:
    done = run("selection.py", "--draws", "1", "--sizes", "5", "--checks", "1",
               "--resamples", "50", "--json")  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])["settings"]["5 attempts, 1 checks"]
    rules = found["rules"]
    assert set(rules) == {
        "selector", "random", "oracle", "weights alone", "tests passed", "MBR", "CodeT"
    }  # fmt: skip
    for rule in rules.values():
        low, high = rule["right_95"]
        assert low <= rule["right"] <= high
        assert rule["right"] <= rules["oracle"]["right"]
    assert rules["selector"]["selector_ahead_95"] == [0.0, 0.0]
    assert 0 < found["confidence"]["brier"] < 1


@pytest.mark.long
def test_learning_lowers_repeated_failures_and_finds_what_is_harmful() -> None:
    done = run("learning.py", "--features", "60", "--seeds", "1", "--patterns", "2000", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    fall = {(one["p"], one["wrong"]): one["fall"] for one in found["settings"]}
    assert fall[0.0, 0.0] == 0  # nobody heeds anything: nothing changes
    assert fall[0.5, 0.0] < fall[0.9, 0.0] < fall[1.0, 0.0]
    assert fall[0.9, 0.0] > 0.6
    assert found["retrieval"]["p50_cpu_ms"] > 0


def test_schedule_is_no_worse_than_waves_and_never_below_the_bound() -> None:
    done = run("schedule.py", "--graphs", "2", "--features", "60", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert 1 <= found["ratio_to_bound_mean"] < found["means"]["waves"]
    assert found["ratio_to_bound_mean"] <= found["ratio_to_bound_p95"]


@pytest.mark.long
def test_scale_prints_its_figures_as_one_object_last() -> None:
    done = run("scale.py", "--attempts", "20", "--seconds", "0.2", "--sqlite", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["inflight_20_ratio_sqlite"] >= 1
    assert list(found["plan_ms_per_event"]) == ["100", "1000", "10000"]


@pytest.mark.isolation
@pytest.mark.slow
def test_parallel_prints_its_figures_as_one_object_last() -> None:
    words = ("--features", "3", "--seconds", "0.2", "--workers", "3", "--one", "--json")
    done = run("parallel.py", *words)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert (found["features"], found["workers"]) == (3, 3)
    # The seconds are rounded to tenths before they are printed.
    by_hand = found["seconds_with_one"] / found["seconds_with_many"]
    assert found["speed_up"] == pytest.approx(by_hand, rel=0.1)
