"""The report says what was merged and why, what was not and why, and what to type next."""

import json
from dataclasses import replace

import pytest

from orchestrator import events as e
from orchestrator.reporting import report
from orchestrator.reporting.wording import (
    duration,
    markdown,
    model_source,
    money,
    one_line,
    unisolated,
    visible,
)
from orchestrator.runs.state import RunState, fold
from tests.orchestrator.run_script import EVIL, attempt, run_started, started, timed, whole_run


def built(*more):
    return report.build(fold(timed(more, 60), fold(whole_run())))


def by_id(final):
    return {feature.id: feature for feature in final.features}


def test_the_json_has_what_is_promised():
    body = json.loads(json.dumps(report.to_json(built(e.RunFinished(exit_code=1)))))
    assert {"run", "repo", "branch", "cost_usd", "seconds", "features"} <= set(body)
    assert (body["run"], body["repo"], body["branch"]) == ("run-1", "/srv/demo repo", "autopilot")
    assert body["cost_usd"] == pytest.approx(1.5)
    assert body["seconds"] == 60.0
    disk = next(f for f in body["features"] if f["id"] == "disk")
    assert {"id", "state", "attempt", "commit", "reasons"} <= set(disk)
    assert (disk["state"], disk["attempt"], disk["commit"]) == (
        "merged",
        "r1-a01",
        "deadbeefcafe0123",
    )
    assert disk["reasons"] == ["5/5 acceptance", "cheapest"]
    states = {f["id"]: f["state"] for f in body["features"]}
    assert states == {
        "old": "merged",
        "disk": "merged",
        "load": "failed",
        "api": "blocked",
        "look": "review",
        "later": "skipped",
    }


def test_a_round_that_was_over_early_says_what_it_spared_and_why():
    early = e.RoundDecided(feature="disk", round=1, started=7, spared=8, why="6 passed")
    state = fold(timed([run_started(), *started("disk"), early]))
    text = report.to_markdown(report.build(state))
    assert "- round 1 was over with 8 of its attempts to spare: 6 passed" in text


def test_losers_say_why_they_lost():
    why = {a.name: a.why for a in by_id(built())["disk"].attempts}
    assert why["r1-a01"] == "5/5 acceptance; cheapest"
    assert why["r1-a02"].startswith("acceptance 3/5: test_usage")
    assert why["r1-a03"] == "nothing to verify: 60 turns used up"


def test_a_loser_that_passed_is_said_to_have_passed():
    final = report.build(
        fold(
            timed(
                [
                    e.VerificationStarted(feature="look", attempt="r1-a01"),
                    run_started(),
                    *started("disk"),
                    *attempt("disk", "r1-a01"),
                    *attempt("disk", "r1-a02"),
                    e.VerificationFinished(
                        feature="disk",
                        attempt="r1-a02",
                        usable=True,
                        passed=True,
                        checks_passed=1,
                        checks=1,
                        coverage=None,
                        quality=None,
                        seconds=None,
                    ),
                    e.FeatureMerged(feature="disk", attempt="r1-a01", commit="abc"),
                ]
            )
        )
    )
    attempts = {a.name: a for a in by_id(final)["disk"].attempts}
    assert attempts["r1-a02"].why == "passed too; r1-a01 ranked above it"
    assert attempts["r1-a02"].coverage is None


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ([e.RunStopped(exit_code=4, reason="budget of $5 reached")], "budget of $5 reached"),
        ([e.DrainRequested(reason="Ctrl-C")], "Ctrl-C"),
        ([e.LimitHit(what="quota")], "quota"),
        ([], "the run did not come to its end"),
    ],
)
def test_what_was_never_started_is_skipped_with_the_reason(more, why):
    final = built(*more, e.FeatureMerged(feature="look", commit="d"))
    assert by_id(final)["later"].state == "skipped"
    assert by_id(final)["later"].reasons == (f"not started: {why}",)
    assert ("fibreflow resume", "go on where this run was stopped") in final.next


def test_what_was_started_and_not_finished_says_so():
    final = built(*started("later"), e.RunStopped(exit_code=130, reason="stopped twice"))
    assert by_id(final)["later"].reasons == ("not finished: stopped twice",)


def test_next_commands_can_be_typed():
    commands = [command for command, _ in built().next]
    assert "git -C '/srv/demo repo' log --oneline autopilot" in commands
    assert "fibreflow accept look r1-a02" in commands  # the usable one of two
    assert "fibreflow resume" in commands
    assert "ls logs/run-1" in commands


def test_next_commands_can_be_typed_anywhere_when_the_workspace_is_known():
    # Longer than a line of prose may be, since a command that is cut short is of no use.
    deep = "/srv/my shop/" + "d" * 400
    script = [replace(x, workspace=deep) if isinstance(x, e.RunStarted) else x for x in whole_run()]
    final = report.build(fold(script))
    commands = [command for command, _ in final.next]
    assert f"fibreflow accept look r1-a02 --workspace '{deep}'" in commands
    assert f"less '{deep}/logs/run-1/look/r1-a02/patch.diff'" in commands
    assert f"ls '{deep}/logs/run-1'" in commands
    assert f"fibreflow report --workspace '{deep}'" in report.summary(final)[-1]


def test_a_run_with_everything_merged_asks_for_nothing_more():
    state = fold(
        timed(
            [
                run_started(features={"old": {}}, integrated=("old",)),
                e.RunFinished(exit_code=0),
            ]
        )
    )
    final = report.build(state)
    assert [purpose for _, purpose in final.next] == ["what was merged"]
    assert report.summary(final)[0].startswith("1 merged in 1s for $0.00")


def test_unknown_cost_is_said():
    call = attempt("later", "r1-a01", cost=None)
    final = built(*started("later"), *call)
    body = report.to_json(final)
    assert (body["cost_usd"], body["cost_complete"]) == (pytest.approx(1.5), False)
    assert "at least $1.50" in report.to_markdown(final)
    assert "at least $1.50" in report.summary(final)[0]


def test_calls_that_were_lost_are_said_with_the_most_they_can_have_cost():
    who = {"feature": "later", "attempt": "r1-a01"}
    lost = [e.CallLost(**who, entry=n, reserved_usd=0.25) for n in (1, 2)]
    final = built(*started("later"), *attempt("later", "r1-a01"), *lost)
    body = report.to_json(final)
    assert (body["cost_usd"], body["cost_complete"]) == (pytest.approx(1.75), False)
    assert (body["lost_calls"], body["lost_usd"]) == (2, 0.5)
    (later,) = (f for f in final.features if f.id == "later")
    assert later.cost_usd is None and later.attempts[0].cost_usd is None
    said = "2 calls of unknown cost, $0.50 at most"
    assert said in report.to_markdown(final)
    assert any(line.startswith(said) for line in report.summary(final))
    none = built(e.CallLost(**who, entry=3, reserved_usd=None))
    assert "1 call of unknown cost: " in report.to_markdown(none)


def test_a_recording_is_said_to_be_one():
    final = built()
    assert "no model was asked" in final.note
    assert "no model was asked" in report.to_markdown(final).splitlines()[2]
    assert any("no model was asked" in line for line in report.summary(final))


def test_no_isolation_is_said():
    final = report.build(fold([run_started(sandbox="process", model="live")]))
    assert "NO ISOLATION" in final.note
    assert "model" not in final.note
    assert report.build(fold([run_started(model="live")])).note == ""


def test_hostile_text_cannot_leave_its_line_or_table():
    text = report.to_markdown(built())
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "\x07" not in text
    text.encode()  # no half surrogate pairs
    (row,) = [line for line in text.splitlines() if line.startswith("| r1-a02 | rejected")]
    assert "\\| \\[link\\](x) \\<b>" in row
    assert row.replace("\\|", "").count("|") == 9
    assert not any(line.startswith("# title") for line in text.splitlines())


def test_markdown_names_each_outcome():
    text = report.to_markdown(built())
    for title in ("Merged (2)", "Failed (1)", "Review (1)", "Blocked (1)", "Skipped (1)"):
        assert f"## {title}" in text
    assert "- from attempt r1-a01, commit deadbeefcafe" in text
    assert "- look first at attempt r1-a02" in text
    assert "| r1-a01 | passed | 5/5 | 88% |  | $0.25 | 2s |" in text


def test_the_summary_names_failures_reviews_and_warnings():
    lines = report.summary(built())
    assert lines[0].startswith("2 merged, 1 failed, 1 review, 1 blocked, 1 skipped in ")
    assert "failed load: no attempt passed in 1 round" in lines
    assert "review look: no trusted check" in lines
    assert any(line.startswith("warning: unsafe red") for line in lines)


def test_an_empty_state_has_a_report():
    final = report.build(RunState())
    assert report.summary(final)[0].startswith("no features")
    assert report.to_markdown(final).startswith("# Run")


def test_nothing_of_a_patch_is_hidden_from_who_reads_it():
    """A line that moves the cursor could show another over itself."""
    assert visible("+a\n+\x1b[1A\x1b[2K\tb\r\n") == "+a\n+\\x1b[1A\\x1b[2K\tb\\r\n"
    assert visible("if a\u202e b:  # \x9b2J") == "if a\\u202e b:  # \\x9b2J"
    assert visible("+é\u00a0→\n") == "+é\u00a0→\n"


def test_one_line_drops_whole_terminal_sequences():
    assert one_line(EVIL).startswith("red | [link](x) <b> # title")
    assert one_line("\x1b]0;title\x07shown\x1b]8;;http://x\x1b\\link") == "shownlink"
    assert one_line("a\tb\r\nc\u2028d") == "a b c d"
    assert one_line("x" * 10_000, 50) == "x" * 49 + "…"
    assert one_line("\x1b[") == ""


def test_markdown_keeps_test_names_and_takes_markup_apart():
    assert markdown("test_disk_usage") == "test_disk_usage"
    assert markdown("__init__ *bold*") == "\\_\\_init\\_\\_ \\*bold\\*"
    assert markdown("# title") == "\\# title"
    assert markdown("1. item") == "1\\. item"


def test_money_and_time():
    assert money(0) == "$0.00"
    assert money(0.0031) == "$0.0031"
    assert money(0.001) == "$0.0010"
    assert money(1.256) == "$1.26"
    assert money(0, True) == "unknown"
    assert money(1.5, True) == "at least $1.50"
    assert [duration(s) for s in (None, 4.4, 59.6, 185, 7620)] == [
        "",
        "4s",
        "1m00s",
        "3m05s",
        "2h07m",
    ]


def test_the_model_line():
    assert model_source(RunState(model="scripted")).startswith("scripted recordings (written by")
    assert model_source(RunState(model="recorded")).startswith("recorded (a real model's")
    live = RunState(model="live", sources=("live",), models=("claude-sonnet-5-5",))
    assert model_source(live) == "live claude-sonnet-5-5"
    assert unisolated(RunState(sandbox="local")) == ""
