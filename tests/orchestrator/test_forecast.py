"""The plan of a run as a value, and as text of 80 columns."""

from dataclasses import replace

import pytest

from orchestrator.forecast import WIDTH, Forecast, dollars, forecast, render
from orchestrator.values import Defaults, Feature, FeatureList, Project

EXAMS = frozenset({"tests/test_load.py", "tests/test_api.py", "README.md"})
LIST = FeatureList(
    (
        Feature("ui", "x", depends_on=("api",)),
        Feature("api", "x", depends_on=("load",), acceptance=("pytest tests/test_api.py",)),
        Feature("load", "x", acceptance=("pytest tests/test_load.py",), attempts=2),
        Feature("docs", "x", acceptance=("grep -q x docs/new.md",), budget_usd=0.25),
    ),
    Project(test="pytest"),
    Defaults(attempts=5, rounds=2),
)


def plan(listed: FeatureList = LIST, price: float | None = 0.5, **more: object) -> Forecast:
    return forecast(
        listed,
        worst_case_attempt_usd=price,
        workers=4,
        **{"existing_files": EXAMS, **more},  # type: ignore[arg-type]
    )


def test_order_levels_and_path() -> None:
    got = plan()
    assert [p.id for p in got.order] == ["load", "api", "ui", "docs"]
    assert got.levels == (("load", "docs"), ("api",), ("ui",))
    assert got.critical_path == ("load", "api", "ui")
    assert (got.done, got.skipped, got.warnings) == ((), (), ())


def test_attempts_are_capped_by_rounds() -> None:
    got = plan()
    assert [(p.attempts, p.cap) for p in got.order] == [(2, 4), (5, 10), (5, 10), (5, 10)]
    assert (got.attempts, got.cap, got.rounds, got.workers) == (17, 34, 2, 4)


def test_worst_cost_is_attempts_times_price_within_budgets() -> None:
    got = plan()
    assert [p.cost_usd for p in got.order] == [2.0, 5.0, 5.0, 0.25]
    assert got.cost_usd == 12.25
    capped = plan(replace(LIST, defaults=replace(LIST.defaults, budget_usd=3.0)))
    assert (capped.cost_usd, capped.budget_usd, capped.uncapped_usd) == (3.0, 3.0, 12.25)
    assert [p.cost_usd for p in capped.order] == [2.0, 3.0, 3.0, 0.25]
    said = "worst cost $3.00, budget $3.00, which caps each (without it $12.25)"
    assert said in render(capped)


def test_an_unknown_price_stays_unknown_unless_a_budget_bounds_it() -> None:
    got = plan(price=None)
    assert [p.cost_usd for p in got.order] == [None, None, None, 0.25]
    assert got.cost_usd is None
    assert "worst cost unknown" in render(got)
    assert plan(
        replace(LIST, defaults=replace(LIST.defaults, budget_usd=3.0)), price=None
    ).cost_usd == 3.0  # fmt: skip


def test_recordings_cost_nothing_and_that_is_known() -> None:
    assert plan(price=0.0).cost_usd == 0.0
    assert "worst cost $0.00" in render(plan(price=0.0))


def test_what_is_done_is_left_out() -> None:
    got = plan(done={"load"})
    assert [p.id for p in got.order] == ["api", "ui", "docs"]
    assert got.critical_path == ("api", "ui")
    assert got.levels == (("api", "docs"), ("ui",))
    assert got.done == ("load",)
    passed = replace(LIST, features=tuple(replace(f, passes=f.id == "load") for f in LIST.features))
    assert plan(passed) == got
    assert plan(passed, done=()).done == ()


def test_only_skips_the_rest_and_warns_of_what_it_waits_for() -> None:
    got = plan(only={"api", "docs"})
    assert [p.id for p in got.order] == ["api", "docs"]
    assert got.skipped == ("ui", "load")
    assert ["api: waits for load" in w for w in got.warnings] == [True]
    assert plan(only={"api"}, done={"load"}).warnings == ()


def test_an_exam_that_does_not_exist_is_warned_of() -> None:
    (warning,) = plan(existing_files=EXAMS - {"tests/test_api.py"}).warnings
    assert warning == (
        "api: acceptance names tests/test_api.py, which is not on the branch: commit it first, for"
        " no attempt may write its own exam"
    )


@pytest.mark.parametrize(
    ("command", "warned"),
    [
        ("pytest tests", False),
        ("pytest tests/test_*.py", False),
        ("pytest checks/", True),
        ("pytest tests/u/test_*.py", True),
        ("pytest tests/test_{api,load}.py", False),
        ("python app/main.py", False),  # what the feature shall make
        ("grep -q Usage README.md", True),  # there, and protected therefore
        ("sh acceptance/run.sh", True),
        ("pytest -c my.ini tests", True),
        ("go test ./app/...", False),
    ],
)
def test_folders_and_globs_exist_when_something_is_there(command: str, warned: bool) -> None:
    listed = FeatureList((Feature("a", "x", acceptance=(command,)),))
    assert bool(plan(listed).warnings) is warned


def test_a_feature_that_may_not_change_what_its_exam_names_is_warned_of() -> None:
    feature = Feature("a", "x", acceptance=("grep -q Usage README.md", "pytest tests/test_api.py"))
    (warning,) = plan(FeatureList((feature,))).warnings
    assert "a: acceptance names README.md, which no attempt may change" in warning
    assert "scope" in warning
    assert plan(FeatureList((replace(feature, scope=("./README.md",)),))).warnings == ()


def test_features_without_any_judge_are_warned_of_once() -> None:
    unjudged = tuple(Feature(f"f{i}", "x") for i in range(7))
    (warning,) = plan(FeatureList(unjudged)).warnings
    assert warning.startswith("f0, f1, f2, f3, f4 and 2 more: no acceptance commands; will end in")
    assert plan(FeatureList(unjudged, Project(test="pytest"))).warnings == ()


def test_a_protected_list_that_leaves_out_conftest_is_warned_of() -> None:
    for given, warned in [(("data/**",), True), (("**/conftest.py",), False), (("**",), False)]:
        listed = replace(LIST, project=Project(test="pytest", protected=given))
        assert bool(plan(listed).warnings) is warned


def test_text_fits_a_terminal_and_says_everything() -> None:
    many = tuple(
        Feature(
            f"feature-{i}", "x", depends_on=tuple(f"feature-{j}" for j in range(max(0, i - 4), i))
        )
        for i in range(40)
    )
    text = render(plan(FeatureList(many, defaults=Defaults(budget_usd=12345.678))))
    assert max(len(line) for line in text.splitlines()) <= WIDTH
    assert not any(line != line.rstrip() for line in text.splitlines())
    for words in ["40 features in 40 levels", "600 in first rounds, 1800 at most (3 rounds)",
                  "4 at once", "budget $12,345.68", "Side by side", "Critical path, 40 features",
                  "Warnings", "feature-39"]:  # fmt: skip
        assert words in text


def test_text_of_a_small_plan() -> None:
    assert (
        render(plan(existing_files=frozenset({"tests/test_api.py"})))
        == """\
Plan: 4 features in 3 levels
  attempts   17 in first rounds, 34 at most (2 rounds), 4 at once
  worst cost $12.25, budget none set

Order, most urgent first
     #  feature  attempts  checks      worst  after
     1  load            2       1      $2.00  -
     2  api             5       1      $5.00  load
     3  ui              5       -      $5.00  api
     4  docs            5       1      $0.25  -

Side by side
     1  load, docs
     2  api
     3  ui

Critical path, 3 features
  load -> api -> ui

Warnings
  ! load: acceptance names tests/test_load.py, which is not on the branch:
    commit it first, for no attempt may write its own exam"""
    )


def test_text_when_nothing_is_left() -> None:
    assert render(plan(done={"ui", "api", "load", "docs"})) == (
        "Nothing to do: every feature is merged or left out."
    )


def test_dollars_never_show_unknown_or_tiny_as_zero() -> None:
    assert [dollars(x) for x in (None, 0.0, 0.0004, 0.01, 1234.5)] == [
        "unknown", "$0.00", "$0.0004", "$0.01", "$1,234.50",
    ]  # fmt: skip


@pytest.mark.parametrize(("quorum", "warned"), [(None, False), (5, False), (6, True)])
def test_a_quorum_that_no_round_can_reach_is_warned_of(quorum: int | None, warned: bool) -> None:
    features = (Feature("a", "x", acceptance=("true",), attempts=5),)
    found = plan(FeatureList(features, defaults=Defaults(attempts=2, quorum=quorum))).warnings
    assert any("defaults.quorum is 6, above the attempts" in w for w in found) == warned
