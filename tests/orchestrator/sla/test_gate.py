"""The ruling on work by the state of the data it needs."""

import pytest

from orchestrator.sla.gate import POLICIES, gating_feature, gating_promotion, gating_run, rule
from orchestrator.sla.values import Gates, Sample, Sla


def sample(state: str, measured: str | None = None, value: float | None = 400.0) -> Sample:
    held = measured or state
    kept = None if held == "no_data" else value
    return Sample("x", 0.0, state, held, kept, "why")  # type: ignore[arg-type]


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize(
    ("state", "no_data", "broken", "doubtful"),
    [
        ("ok", "bad", False, False),
        ("warn", "bad", False, True),
        ("error", "bad", True, False),
        ("no_data", "bad", True, False),
        ("no_data", "excluded", False, True),
        ("no_data", "good", False, False),
    ],
)
def test_ruling(policy: str, state: str, no_data: str, broken: bool, doubtful: bool) -> None:
    sla = Sla("x", error=300.0, warn=200.0, no_data=no_data)  # type: ignore[arg-type]
    ruling = rule(policy, [sla], {"x": sample(state)})  # type: ignore[arg-type]
    expected = policy if broken else "warn" if doubtful and policy != "proceed" else "proceed"
    assert ruling.action == expected
    assert bool(ruling.reasons) == (expected != "proceed")


def test_an_sla_that_was_not_measured_is_no_data() -> None:
    assert rule("hold", [Sla("x", error=1.0)], {}).action == "hold"


def test_maintenance_is_no_reason_to_act_on_stale_data() -> None:
    sla = Sla("x", error=300.0)
    assert rule("hold", [sla], {"x": sample("maintenance", "error")}).action == "hold"
    assert rule("hold", [sla], {"x": sample("maintenance", "ok", 1.0)}).action == "proceed"


def test_an_override_turns_a_hold_into_a_warning_that_names_the_slas() -> None:
    ruling = rule("hold", [Sla("x", error=300.0)], {"x": sample("error")}, "I know")
    assert (ruling.action, ruling.slas) == ("warn", ("x",))
    assert "400" in ruling.why


@pytest.mark.parametrize(
    ("gates", "gated"),
    [
        (Gates(features=("alpha",)), True),
        (Gates(features=("al*",)), True),
        (Gates(features=("beta",)), False),
        (Gates(agents=("builtin",)), True),
        (Gates(agents=("vlm-*",)), False),
        (Gates(scope=("data/**",)), True),
        (Gates(scope=("data/new/*.py",)), True),
        (Gates(scope=("data/x.py",)), True),
        (Gates(scope=("**",)), True),
        (Gates(scope=("src/**",)), False),
        (Gates(scope=("dat.py",)), False),
        (Gates(runs=True), False),
        (Gates(promotion=True), False),
        (Gates(), False),
    ],
)
def test_which_features_an_sla_gates(gates: Gates, gated: bool) -> None:
    sla = Sla("x", error=1.0, gates=gates)
    assert bool(gating_feature([sla], "alpha", "builtin", ["data/**"])) is gated


def test_runs_and_promotion_are_gated_by_their_own_words() -> None:
    run = Sla("run", error=1.0, gates=Gates(runs=True))
    promotion = Sla("promotion", error=1.0, gates=Gates(promotion=True))
    assert gating_run([run, promotion]) == (run,)
    assert gating_promotion([run, promotion]) == (promotion,)
