"""Two lock files are told apart by input, features by their id."""

from orchestrator.runs.lock_differences import differences

ONE = {
    "version": 1,
    "run": "a",
    "versions": {"python": "3.11", "packages": {"dbos": "1"}},
    "bases": {},
    "features": {"features": [{"id": "x", "steps": ["1"]}, {"id": "y"}]},
}


def test_what_names_a_run_is_no_difference() -> None:
    assert differences(ONE, {**ONE, "run": "b"}) == ()


def test_what_the_run_itself_has_reached_is_no_difference() -> None:
    merged = {"features": {"features": [{"id": "x", "steps": ["1"], "passes": True}, {"id": "y"}]}}
    assert differences(ONE, {**ONE, **merged}) == ()


def test_every_input_that_differs_is_a_line() -> None:
    other = {
        **ONE,
        "versions": {"python": "3.12", "packages": {}},
        "bases": {"c0": {"digest": "d" * 80}},
        "features": {"features": [{"id": "y"}, {"id": "x", "steps": ["1", "2"]}]},
    }
    assert differences(ONE, other) == (
        "bases: {} -> (absent)",
        f"bases.c0.digest: (absent) -> {'d' * 59}…",
        "features.features.x.steps: ['1'] -> ['1', '2']",
        "versions.packages: (absent) -> {}",
        "versions.packages.dbos: 1 -> (absent)",
        "versions.python: 3.11 -> 3.12",
    )
