"""The names of attempts; the workflows themselves run in tests/spine and tests/chaos."""

import pytest

from harness.rounds import key_of
from orchestrator.values import AttemptKey


@pytest.mark.parametrize("key", [AttemptKey("a", 1, 2), AttemptKey("b-c", 12, 345)])
def test_a_name_says_which_attempt(key: AttemptKey) -> None:
    assert key_of(key.feature, key.name) == key


@pytest.mark.parametrize(
    "name", ["", "r1", "a02", "r1-a", "r-a02", "r1-a2", "R1-a02", "r1-a02 ", "r1-a02/..", "r01-a02"]
)
def test_any_other_name_is_refused(name: str) -> None:
    with pytest.raises(ValueError):
        key_of("a", name)
