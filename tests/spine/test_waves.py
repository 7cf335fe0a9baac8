"""A round begins small, and what its attempts do says whether it goes on."""

import pytest

from tests.spine.project import Project, writes


@pytest.mark.long
def test_a_round_goes_on_where_its_passers_disagree_and_ends_when_they_agree(
    project: Project,
) -> None:
    """The exam sees that there is a function; what it does is seen by comparing them."""
    project.defaults |= {"attempts": 15}
    exam = "python -c 'from alpha import scaled; scaled(1)'"
    project.feature("alpha", acceptance=[exam])
    text = "def scaled(number: int) -> int:\n    return {}\n"
    project.record("alpha", writes("alpha.py", text.format("number * 2")))
    for name, other in (("r1-a01", "number + 7"), ("r1-a02", "-number - 3")):
        project.record("alpha", writes("alpha.py", text.format(other)), name)

    end = project.run("--workers", "3")

    assert end.code == 0, end
    waves = [(e["attempts"], e["why"]) for e in project.events("WaveStarted")]
    assert waves == [(3, "the first of the round"), (4, "3 of 3 passed, and 3 did not agree")]
    (decided,) = project.events("RoundDecided")
    assert decided["started"] == 7
    assert decided["why"] in ("6 passed", "7 passed")
    assert project.file("alpha.py") == text.format("number * 2")
    project.assert_nothing_left()
