"""Each of the demo's recordings is what it is meant to be."""

import itertools
import json
import re
from pathlib import Path

import pytest

from harness.agents.prompts import feature_section, section_digest
from orchestrator.values import Feature
from tests.demo.attempts import (
    CORRECT,
    FEATURES,
    LABELS,
    LIST,
    MEANT,
    NAIVELY_GREEN,
    RECORDINGS,
    SEED,
    by_label,
    calls,
    correct_of,
    edit,
    exam,
    needs,
    own_tests,
    recording,
    repository,
    restore_exam,
    run,
    run_pytest,
)


def test_every_recording_is_in_the_table():
    files = {f"{p.parent.name}/{p.stem}" for p in RECORDINGS.glob("*/*.yaml")}
    assert files == set(MEANT)
    assert set(LABELS) == set(FEATURES)


def test_every_exam_is_in_the_seed():
    exams = {exam(feature) for feature in FEATURES}
    found = {f"tests/acceptance/{p.name}" for p in (SEED / "tests/acceptance").glob("test_*.py")}
    assert exams == found


def test_every_recording_is_bound_to_its_feature_and_says_who_wrote_it():
    for name in MEANT:
        played = recording(name)
        feature: Feature = FEATURES[name.partition("/")[0]]
        assert played.source == "scripted", name
        assert "by: " in played.path.read_text("utf-8"), name
        assert played.task == section_digest(feature_section(feature)), f"{name}: stamp it anew"


def test_the_bad_ones_really_run():
    """A round may end after `quorum` correct attempts: no loop or forgery comes after them."""
    for name in by_label("loops", *NAIVELY_GREEN):
        feature, attempt = name.split("/")
        before = [n for n in correct_of(feature) if n < name and attempt[:2] in n]
        assert len(before) < LIST.defaults.quorum, name


def test_only_a_loop_has_no_end():
    for name, label in MEANT.items():
        submits = any(tool == "submit" for tool, _ in calls(name))
        assert submits == (label != "loops"), name
        assert recording(name).repeat == (label == "loops"), name


def test_round_two_exists_where_round_one_has_no_winner_and_only_there():
    for feature, rounds in LABELS.items():
        assert ("r2" in rounds) == (not CORRECT & set(rounds["r1"].split())), feature
        assert any(CORRECT & set(labels.split()) for labels in rounds.values()), feature


def test_round_two_heeds_the_failing_test_only_when_it_was_told():
    first = [recording(f"process-probe/r2-a{n:02d}").when for n in range(1, 6)]
    text = (SEED / exam("process-probe")).read_text("utf-8")
    tests = re.findall(r"def (test_\w+)", text)
    for expect in first:
        assert expect is not None
        assert [t for t in tests if expect.search(t)] == ["test_names_with_spaces_and_parentheses"]
        assert not expect.search(feature_section(FEATURES["process-probe"]))


@pytest.mark.parametrize("name", by_label("wrong", "broken", "loops"))
def test_a_bad_attempt_fails_its_exam(name, tmp_path):
    feature = name.partition("/")[0]
    repo = repository(tmp_path, [*needs(feature), name])
    result = run_pytest(repo, exam(feature))
    assert result.failed, result.output
    label = MEANT[name]
    if label == "broken":
        assert not result.passed, result.passed
        assert "ModuleNotFoundError" in result.output
    if label == "wrong" and name.startswith("process-probe/"):
        # Exactly what the lesson of round two is about.
        assert [f.rpartition("::")[2] for f in result.failed] == [
            "test_names_with_spaces_and_parentheses"
        ]
    elif label == "wrong":
        assert result.passed, result.output


@pytest.mark.parametrize("name", by_label(*NAIVELY_GREEN))
def test_a_forgery_satisfies_the_exit_code_and_nothing_else(name, tmp_path):
    feature = name.partition("/")[0]
    repo = repository(tmp_path, [*needs(feature), name])
    assert run_pytest(repo, exam(feature)).exit == 0
    restore_exam(repo)
    result = run_pytest(repo, exam(feature))
    assert not result.green
    changed = {g["path"] for tool, g in calls(name) if tool == "edit" and g["command"] != "view"}
    if MEANT[name] == "skips":
        assert any(p.endswith("conftest.py") for p in changed)
    if MEANT[name] == "exits":
        assert result.exit == 0  # even then: only the missing or red report gives it away


def test_hollow_tests_pass_whatever_the_code_does_and_others_do_not(tmp_path):
    """Every feature that the table calls hollow, against its neighbours in the same feature."""
    for hollow in by_label("hollow"):
        feature = hollow.partition("/")[0]
        for name in [n for n in correct_of(feature) if MEANT[n] in {"hollow", "best"}]:
            repo = repository(tmp_path / name.replace("/", "-"), [*needs(feature), name])
            (module,) = (g for g in FEATURES[feature].scope if g.startswith("vps_health/"))
            (repo / module).write_text("def read(proc='/proc'):\n    return {'nonsense': 1}\n")
            result = run_pytest(repo, *own_tests(name))
            assert result.green == (name == hollow), result.output


def test_the_best_are_clean_and_tested_and_the_poor_are_not(tmp_path):
    findings: dict[str, int] = {}
    for name in by_label("best", "good", "poor", "hollow"):
        folder = tmp_path / name
        for tool, given in calls(name):
            if tool == "edit" and given["command"] == "create":
                edit(folder, **given)
    rules = ("--isolated", "--line-length=100", "--select=E,F,W,BLE")
    report = run(tmp_path, "ruff", "check", *rules, "--no-cache", "--output-format=json", ".")
    for found in json.loads(report.stdout):
        name = "/".join(Path(found["filename"]).relative_to(tmp_path).parts[:2])
        findings[name] = findings.get(name, 0) + 1
    for name in by_label("best"):
        assert findings.get(name, 0) == 0, name
        text = "".join((tmp_path / name / path).read_text() for path in own_tests(name))
        assert len(re.findall("assert |raises\\(", text)) >= 3, name
    for name in by_label("poor"):
        assert findings.get(name, 0) > 0, name
        assert own_tests(name) == []


def test_features_that_run_side_by_side_touch_no_common_file():
    touched: dict[str, set[str]] = {}
    for name in MEANT:
        paths = {g["path"] for tool, g in calls(name) if tool == "edit" and g["command"] != "view"}
        touched.setdefault(name.partition("/")[0], set()).update(paths)
    for one, other in itertools.combinations(touched, 2):
        assert not touched[one] & touched[other], (one, other)


def test_the_features_are_deep_and_wide_enough_to_show_something():
    def depth(feature: str) -> int:
        return 1 + max((depth(on) for on in FEATURES[feature].depends_on), default=0)

    assert max(map(depth, FEATURES)) >= 3
    assert sum(FEATURES[f].depends_on == ("procfs-reader",) for f in FEATURES) >= 4
