"""The risk table: what each fact asks for, what the strictest of them makes, what settings may."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.approval import STRATEGIES, Change, Risk, assess, rank

#: Nothing speaks against it.
CLEAN = Change(
    confidence=0.97, consensus=0.9, findings=(), paths=("app/views.py", "tests/test_views.py"),
    cost_usd=1.0,
)  # fmt: skip
A, O, R, E = STRATEGIES  # noqa: E741

CASES: list[tuple[dict[str, Any], str]] = [
    ({}, A),
    # ------------------------------------------------------------------ confidence
    ({"confidence": 1.0}, A),
    ({"confidence": 0.95}, A),
    ({"confidence": 0.949}, O),
    ({"confidence": 0.85}, O),
    ({"confidence": 0.849}, R),
    ({"confidence": 0.5}, R),
    ({"confidence": 0.499}, E),
    ({"confidence": 0.0}, E),
    ({"confidence": None}, R),
    # ------------------------------------------------------------------ consensus
    ({"consensus": 1.0}, A),
    ({"consensus": 0.8}, A),
    ({"consensus": 0.799}, O),
    ({"consensus": 0.5}, O),
    ({"consensus": 0.499}, R),
    ({"consensus": 0.0}, R),
    ({"consensus": None}, O),
    # ------------------------------------------------------------------ findings
    ({"findings": None}, R),
    ({"findings": (("low", "x"),)}, O),
    ({"findings": (("medium", "x"),)}, R),
    ({"findings": (("high", "x"),)}, E),
    ({"findings": (("critical", "x"),)}, E),
    ({"findings": (("low", "x"), ("critical", "y"))}, E),
    ({"findings": (("low", "x"),) * 50}, O),
    # ------------------------------------------------------------------ stored data
    ({"paths": ("app/migrations/0002_add.py",)}, E),
    ({"paths": ("migrations/0002.py",)}, E),
    ({"paths": ("alembic/versions/ab12.py",)}, E),
    ({"paths": ("schema.sql",)}, E),
    ({"paths": ("deep/er/schema.SQL",)}, E),
    ({"paths": ("docs/immigrations.md",)}, A),
    # ------------------------------------------------------------------ sensitive files
    ({"paths": ("app/auth.py",)}, E),
    ({"paths": ("app/OAuth2.py",)}, E),
    ({"paths": ("app/login/form.py",)}, E),
    ({"paths": ("lib/crypto.py",)}, E),
    ({"paths": ("billing/invoice.py",)}, E),
    ({"paths": ("settings/secrets.example",)}, E),
    ({"paths": (".github/workflows/ci.yml",)}, E),
    ({"paths": ("Dockerfile",)}, E),
    ({"paths": ("images/web/Dockerfile",)}, E),
    ({"paths": ("infra/main.tf",)}, E),
    ({"paths": ("app/views.py",)}, A),
    # ------------------------------------------------------------------ what it is built from
    ({"paths": ("pyproject.toml",)}, R),
    ({"paths": ("requirements-dev.txt",)}, R),
    ({"paths": ("package-lock.json",)}, R),
    ({"paths": ("poetry.lock",)}, R),
    ({"paths": ("go.mod",)}, R),
    # ------------------------------------------------------------------ size
    ({"paths": ()}, A),
    ({"paths": tuple(f"a{n}.py" for n in range(10))}, A),
    ({"paths": tuple(f"a{n}.py" for n in range(11))}, O),
    ({"paths": tuple(f"a{n}.py" for n in range(60))}, O),
    ({"paths": tuple(f"a{n}.py" for n in range(61))}, R),
    ({"paths": None}, R),
    # ------------------------------------------------------------------ the rest
    ({"breaking": ("GET /v1/users is gone",)}, R),
    ({"cost_usd": 50.0}, A),
    ({"cost_usd": 50.01}, R),
    ({"cost_usd": None}, R),
    ({"by_hand": 1}, R),
    ({"left_out": 1}, R),
    ({"stale_data": True}, R),
    ({"rejected": True}, R),
    # ------------------------------------------------------------------ several at once
    ({"confidence": 0.9, "breaking": ("x",)}, R),
    ({"confidence": 0.9, "paths": ("app/auth.py",)}, E),
    ({"confidence": 0.4, "breaking": ("x",), "cost_usd": None}, E),
    ({"confidence": None, "consensus": None, "findings": None, "paths": None}, R),
]


def test_the_table_has_more_than_fifty_cases() -> None:
    assert len(CASES) > 50


@pytest.mark.parametrize(("facts", "strategy"), CASES, ids=[str(c[0])[:70] for c in CASES])
def test_each_fact_asks_for_its_strategy_and_says_why(facts: dict[str, Any], strategy: str) -> None:
    found = assess(replace(CLEAN, **facts))
    assert found.strategy == strategy
    assert all(found.reasons)
    assert found.needs_person == (strategy in {R, E})


def test_what_is_not_known_is_never_let_through() -> None:
    assert assess(Change()).needs_person


@pytest.mark.parametrize(
    ("risk", "facts", "strategy"),
    [
        (Risk(at_least=R), {}, R),
        (Risk(at_least=R), {"confidence": 0.1}, E),
        (Risk(at_least=E), {"confidence": 0.9}, E),
        (Risk(at_most=A), {"confidence": 0.1}, E),
        (Risk(at_most=A, accepted="  "), {"confidence": 0.1}, E),
        (Risk(at_most=A, accepted="a toy, nobody uses it"), {"confidence": 0.1}, A),
        (Risk(at_most=R, accepted="x"), {"paths": ("app/auth.py",)}, R),
        (Risk(at_least=R, at_most=A, accepted="x"), {}, R),
        (Risk(sensitive=("app/*",)), {}, E),
        (Risk(cost_usd=None), {"cost_usd": None}, A),
        (Risk(cost_usd=0.5), {}, R),
    ],
)
def test_settings_make_it_stricter_and_milder_only_in_words(
    risk: Risk, facts: dict[str, Any], strategy: str
) -> None:
    assert assess(replace(CLEAN, **facts), risk).strategy == strategy


def test_the_owners_words_are_among_the_reasons() -> None:
    risk = Risk(at_most="AUTO", accepted="a toy, nobody uses it")
    assert any("a toy" in r for r in assess(replace(CLEAN, confidence=0.1), risk).reasons)


CHANGES = st.builds(
    Change,
    confidence=st.none() | st.floats(0, 1),
    consensus=st.none() | st.floats(0, 1),
    findings=st.none()
    | st.lists(st.tuples(st.sampled_from(["low", "medium", "high", "critical"]), st.just("x"))).map(
        tuple
    ),
    paths=st.none() | st.lists(st.sampled_from(["a.py", "auth.py", "x.sql", "go.mod"])).map(tuple),
    breaking=st.sampled_from([(), ("x",)]),
    cost_usd=st.none() | st.floats(0, 100),
    by_hand=st.integers(0, 2),
    left_out=st.integers(0, 2),
    stale_data=st.booleans(),
    rejected=st.booleans(),
)


@given(CHANGES, st.sampled_from(STRATEGIES), st.sampled_from(STRATEGIES))
def test_bounds_hold_for_every_change(change: Change, least: Any, most: Any) -> None:
    plain = rank(assess(change).strategy)
    assert rank(assess(change, Risk(at_least=least)).strategy) == max(plain, rank(least))
    assert rank(assess(change, Risk(at_most=most)).strategy) == plain
    said = assess(change, Risk(at_most=most, accepted="mine"))
    assert rank(said.strategy) == min(plain, rank(most))
