"""Who may declare others dead: nobody that could be the one who was away."""

import pytest

from orchestrator.runs.signs import Signs

LEASE = 6.0


def after(*beats: tuple[float, float]) -> Signs:
    """Signs at these moments, (here, by the database's clock), since both began at 0 and 1000."""
    signs = Signs(0.0, 0.0)
    for here, there in beats:
        signs = signs.given(here, there, LEASE)
    return signs


def steady(first: int, last: int, ahead: float) -> list[tuple[float, float]]:
    return [(float(n), n + ahead) for n in range(first, last + 1)]


def test_steady_signs_can_tell_after_a_lease_and_while_they_come() -> None:
    signs = after(*steady(1, 8, 1000.0))
    assert not after(*steady(1, 5, 1000.0)).can_tell(5.5, LEASE)
    assert signs.can_tell(8.5, LEASE)
    assert not signs.can_tell(11.5, LEASE)


@pytest.mark.parametrize("ahead", [4600.0, -2600.0])
def test_a_jump_of_either_clock_begins_the_lease_anew(ahead: float) -> None:
    """The database's clock was set; or this machine slept, and its own stood still."""
    jumped = [*steady(1, 20, 1000.0), *steady(21, 26, ahead)]
    assert not after(*jumped).can_tell(26.5, LEASE)
    assert after(*jumped, *steady(27, 28, ahead)).can_tell(28.5, LEASE)


def test_so_does_a_gap() -> None:
    """This process was frozen, or the database away."""
    late = [*steady(1, 20, 1000.0), *steady(40, 45, 1000.0)]
    assert not after(*late).can_tell(45.5, LEASE)
    assert after(*late, *steady(46, 47, 1000.0)).can_tell(47.5, LEASE)
