"""The plan that is printed before anything exists, and that nothing comes to exist by it."""

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from harness import runner
from tests.bad_input.test_command_line import contents, make_repo, write_list

ROOT = Path(runner.__file__).resolve().parents[1]


@pytest.fixture
def shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., str]:
    """What a dry run in `tmp_path` prints; it fails the test when anything has changed there."""
    monkeypatch.chdir(tmp_path)
    for name in ("ANTHROPIC_API_KEY", "FIBREFLOW_MODEL_OPUS", "FIBREFLOW_MODEL_HAIKU"):
        monkeypatch.delenv(name, raising=False)

    def show(*words: str) -> str:
        before = contents(tmp_path)
        capsys.readouterr()
        assert runner.main(["--dry-run", *words]) == 0
        out, err = capsys.readouterr()
        assert err == ""
        assert contents(tmp_path) == before
        return out

    return show


@pytest.fixture
def demo(tmp_path: Path) -> Path:
    """The demo as in a fresh clone: no repository yet."""
    shutil.copy(ROOT / "feature_list.json", tmp_path)
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    return tmp_path


def test_the_demo_before_its_repository_exists(demo: Path, shown: Callable[..., str]) -> None:
    out = shown()
    lines = out.splitlines()
    assert lines[0] == "Plan: 10 features in 5 levels"
    assert "worst cost $0.00, budget $5.00" in out
    assert "to be made from examples/vps-health-agent/seed" in out
    assert "recordings in examples/vps-health-agent/recordings: none is asked" in out
    listed = json.loads((demo / "feature_list.json").read_text())["features"]
    order = [line.split()[1] for line in lines if line.strip()[:1].isdigit() and "$" in line]
    assert sorted(order) == sorted(f["id"] for f in listed)
    for feature in listed:
        for needed in feature["depends_on"]:
            assert order.index(needed) < order.index(feature["id"])
    beside = lines[lines.index("Side by side") + 1 :][:5]
    assert {"procfs-reader", "alert-thresholds"} <= set(beside[0].replace(",", "").split())
    path = lines[lines.index("Critical path, 5 features") + 1].split(" -> ")
    assert path[-1].strip() == "service"


def test_as_json_it_is_one_object(demo: Path, shown: Callable[..., str]) -> None:
    plan = json.loads(shown("--json", "--only", "procfs-reader"))
    assert [p["id"] for p in plan["order"]] == ["procfs-reader"]
    assert plan["cost_usd"] == 0.0
    assert len(plan["skipped"]) == 9
    assert plan["repo"] == str(demo / "build" / "vps-health-agent")


def test_prices_of_every_tier_that_may_be_asked(tmp_path: Path, shown: Callable[..., str]) -> None:
    make_repo(tmp_path / "repo")
    write_list(tmp_path / "feature_list.json")
    cascade = shown()
    assert [f"  {tier}" in cascade for tier in ("haiku", "sonnet", "opus")] == [True] * 3
    assert cascade.count("per million tokens") == 3
    assert "worst cost $" in cascade
    assert "worst cost $0.00" not in cascade
    one = shown("--model", "haiku")
    assert one.count("per million tokens") == 1
    assert worst(one) < worst(cascade)


def test_who_stands_in_is_shown_and_what_is_free_costs_nothing(
    tmp_path: Path, shown: Callable[..., str]
) -> None:
    make_repo(tmp_path / "repo")
    write_list(tmp_path / "feature_list.json")
    alone = shown("--model", "haiku")
    spare = {"api": "openai", "base_url": "http://127.0.0.1:8000/v1", "free": True}
    tiers = {"haiku": ["claude-haiku-5-5", "spare/llama"]}
    given = {"providers": {"spare": spare}, "tiers": tiers}
    (tmp_path / "models.yaml").write_text(json.dumps(given))
    both = shown("--model", "haiku")
    assert "  haiku      claude-haiku-5-5, $" in both
    assert "    else     spare/llama, free" in both
    assert worst(both) == worst(alone)
    (tmp_path / "models.yaml").write_text(json.dumps({**given, "tiers": {"haiku": "spare/llama"}}))
    assert worst(shown("--model", "haiku")) == 0.0


def worst(out: str) -> float:
    return float(out.partition("worst cost $")[2].split()[0].strip(",").replace(",", ""))


def test_an_unknown_price_is_said_to_be_unknown(
    tmp_path: Path, shown: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    make_repo(tmp_path / "repo")
    write_list(tmp_path / "feature_list.json")
    monkeypatch.setenv("FIBREFLOW_MODEL_HAIKU", "a-model-nobody-sells")
    out = shown()
    assert "worst cost unknown" in out
    assert "a-model-nobody-sells, price unknown" in out
    assert "$0.00" not in out


def test_what_is_merged_is_not_planned_again(tmp_path: Path, shown: Callable[..., str]) -> None:
    repo = tmp_path / "repo"
    make_repo(repo)
    write_list(tmp_path / "feature_list.json")
    message = "An API\n\nFeature: api\nAttempt: api/r1-a01\nRun: r\n"
    me = ["-c", "user.name=A", "-c", "user.email=a@example.org"]
    for words in (
        ["switch", "--quiet", "-c", "autopilot"],
        ["commit", "--quiet", "--allow-empty", "-m", message],
        ["switch", "--quiet", "main"],
    ):
        subprocess.run(["git", "-C", str(repo), *me, *words], check=True, capture_output=True)
    out = shown()
    assert "Plan: 1 feature in 1 level, 1 merged already" in out
    assert "NO ISOLATION" in shown("--sandbox", "process", "--only", "web")


def test_no_isolation_is_said(demo: Path, shown: Callable[..., str]) -> None:
    assert "sandbox    process (NO ISOLATION)" in shown("--sandbox", "process")
    assert "sandbox    local" in shown()
