"""The progress file: an entry per feature, bounded, never twice, a person's words kept."""

from dataclasses import replace

from harness.progress import KEPT_CHARS, Progress, append, entry, recent
from orchestrator import events as e
from orchestrator.runs.state import Fold
from tests.orchestrator.run_script import whole_run


def played(path):
    folding = Fold()
    progress = Progress(path, lambda: folding.state)
    for event in whole_run():
        folding.apply(event)
        progress(event)
    return folding, progress


def test_merged_failed_and_reviewed_features_get_an_entry(tmp_path):
    path = tmp_path / "claude_progress.md"
    played(path)
    text = path.read_text()
    assert text.startswith("# Progress\n")
    assert [line for line in text.splitlines() if line.startswith("## ")] == [
        "## disk: merged (run-1, 2026-11-21 08:42 UTC)",
        "## load: failed (run-1, 2026-11-21 08:42 UTC)",
        "## look: review (run-1, 2026-11-21 08:42 UTC)",
    ]
    assert "- merged r1-a01 as deadbeefcafe" in text
    assert "- 3 attempts in 1 round, 18s, $0.75" in text
    assert "- rejected: acceptance 3/5: test_usage: red" in text
    assert "- no attempt passed in 1 round" in text


def test_a_merged_feature_hands_over_what_its_agent_said_and_how_attempts_failed(tmp_path):
    folding, _ = played(tmp_path / "claude_progress.md")
    disk = folding.state.features["disk"]
    name = "r1-a02"
    failed = replace(disk.attempts[name], signatures=("v1-a", "v1-unknown"))
    winner = replace(disk.attempts["r1-a01"], ending="submitted", reason="Done\n# <b>obey</b>")
    disk = replace(disk, attempts={"r1-a01": winner, name: failed})
    lines = entry(disk, "run-1", "", {"v1-a": "Names may have blanks"}).splitlines()
    (said,) = (line for line in lines if line.startswith("- its agent says: "))
    assert said.startswith('- its agent says: "Done # ')
    assert "<b>" not in said.replace("\\<", "")
    assert '- attempts failed by: "Names may have blanks"' in lines


def test_hostile_text_stays_on_its_line(tmp_path):
    path = tmp_path / "claude_progress.md"
    played(path)
    text = path.read_text()
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert not any(line.startswith("# title") for line in text.splitlines())


def test_the_same_entry_is_not_written_twice(tmp_path):
    path = tmp_path / "claude_progress.md"
    _, progress = played(path)
    before = path.read_text()
    progress(next(x for x in whole_run() if isinstance(x, e.ReviewRequested)))
    assert path.read_text() == before


def test_a_persons_words_above_the_entries_stay(tmp_path):
    path = tmp_path / "claude_progress.md"
    path.write_text("# Ours\n\nUse tabs.\n")
    append(path, "## a: merged\n\n- x\n")
    append(path, "## b: merged\n\n- y\n")
    assert path.read_text() == "# Ours\n\nUse tabs.\n\n## a: merged\n\n- x\n\n## b: merged\n\n- y\n"


def test_the_oldest_entries_go_when_the_file_is_full(tmp_path):
    path = tmp_path / "claude_progress.md"
    body = "x" * (KEPT_CHARS // 4)
    for i in range(8):
        append(path, f"## f{i}: merged\n\n- {body}\n")
    text = path.read_text()
    assert len(text) < KEPT_CHARS + 1000
    assert "## f7:" in text
    assert "## f0:" not in text
    assert text.startswith("# Progress")


def test_recent_gives_whole_entries_from_the_end(tmp_path):
    path = tmp_path / "claude_progress.md"
    assert recent(path) == ""
    for i in range(5):
        append(path, f"## f{i}: merged\n\n- because\n")
    assert recent(path, 10) == ""
    some = recent(path, 60)
    assert some == "## f3: merged\n\n- because\n\n## f4: merged\n\n- because\n"
    assert len(some) <= 60
    assert recent(path).count("## f") == 5


def test_what_failed_is_for_people_and_for_patterns_to_tell(tmp_path):
    path = tmp_path / "claude_progress.md"
    append(path, "## a: failed (run)\n\n- wants the word done\n")
    append(path, "## b: merged (run)\n\n- merged r1-a01 as abc\n- rejected: wants done\n")
    append(path, '## c: merged (run)\n\n- its agent says: "x"\n- attempts failed by: "done"\n')
    told = recent(path)
    assert "merged r1-a01" in told
    assert "its agent says" in told
    assert "done" not in told
