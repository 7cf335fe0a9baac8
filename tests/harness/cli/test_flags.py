"""Command lines and what they mean; bad ones are in tests/bad_input."""

from pathlib import Path

import pytest

from harness import __version__
from harness.cli import flags
from harness.cli.flags import Command, RunOptions


def run(*words: str) -> RunOptions:
    parsed = flags.parse(list(words))
    assert parsed.name == "run"
    assert parsed.run is not None
    return parsed.run


@pytest.mark.parametrize("words", [(), ("--autopilot",), ("run", "--autopilot")])
def test_run_is_what_flags_alone_mean(words: tuple[str, ...]) -> None:
    assert run(*words) == RunOptions(
        workspace=Path(),
        features=Path("feature_list.json"),
        autopilot="--autopilot" in words,
        sandbox="",  # what this machine has
    )


def test_every_flag_of_a_run() -> None:
    words = (
        "--autopilot --repo r --features dir/list.json --attempts 7 --rounds 2 --workers 3 "
        "--agent builtin --model opus --only a --only b --only a --budget 1.5 "
        "--sandbox process --live --dry-run --json"
    )
    assert run(*words.split()) == RunOptions(
        workspace=Path("dir"),
        features=Path("dir/list.json"),
        repo=Path("r"),
        autopilot=True,
        attempts=7,
        rounds=2,
        workers=3,
        agent="builtin",
        tier="opus",
        only=("a", "b"),
        budget_usd=1.5,
        sandbox="process",
        live=True,
        dry_run=True,
        screen="json",
    )


def test_the_limits_themselves_are_allowed() -> None:
    options = run("--attempts", "100", "--rounds", "20", "--workers", "1000", "--budget", "0.01")
    assert (options.attempts, options.rounds, options.workers) == (100, 20, 1000)
    assert options.budget_usd == 0.01
    assert run("--attempts", "1", "--rounds", "1", "--workers", "1").attempts == 1


def test_a_workspace_is_named_or_that_of_the_list_or_here() -> None:
    assert run("--workspace", "w").features == Path("w/feature_list.json")
    both = run("--workspace", "w", "--features", "f/list.json")
    assert (both.workspace, both.features) == (Path("w"), Path("f/list.json"))
    assert flags.parse(["status"]).workspace == Path()


def test_the_other_commands() -> None:
    here = Path()
    parsed = {
        "status": Command("status", here),
        "status RUN --json": Command("status", here, run_id="RUN", json=True),
        "report RUN": Command("report", here, run_id="RUN"),
        "resume": Command("resume", here),
        "list --json": Command("list", here, json=True),
        "accept F r1-a02 --run RUN": Command(
            "accept", here, run_id="RUN", feature="F", attempt="r1-a02"
        ),
        "doctor --workspace w": Command("doctor", Path("w")),
    }
    assert {line: flags.parse(line.split()) for line in parsed} == parsed


@pytest.mark.parametrize("words", [("--help",), ("-h",), ("run", "--help"), ("accept", "-h")])
def test_help_names_every_choice(
    words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        flags.parse(list(words))
    assert caught.value.code == 0
    out, err = capsys.readouterr()
    assert err == ""
    for word in {1: flags.COMMANDS, 2: ("--workspace",)}[len(words)]:
        assert word in out


def test_help_tells_the_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        flags.parse(["--help"])
    out = capsys.readouterr().out
    assert [f"  {code}  " in out for code in (0, 1, 2, 3, 4, 5, 130)] == [True] * 7


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        flags.parse(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"fibreflow {__version__}\n"
