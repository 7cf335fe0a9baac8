"""Honest work, from patch to evidence, in real sandboxes."""

import pytest

from tests.harness.verify.conftest import RIGHT, Field

pytestmark = pytest.mark.isolation


async def test_a_right_patch_passes_with_measures(field: Field) -> None:
    found = await field.judge({"shop/total.py": RIGHT})
    assert found.passed, (found, field.log)
    assert found.problems == ()
    assert found.coverage == 1.0
    assert found.quality == 1.0
    assert found.seconds is not None
    assert found.seconds > 0


async def test_wrong_behaviour_fails_and_names_the_test(field: Field) -> None:
    found = await field.judge({"shop/total.py": "def total(prices):\n    return 0\n"})
    assert found.usable
    assert not found.passed
    assert "tests/test_total.py::" in found.acceptance[0].detail
    assert "(and 3 more)" in found.acceptance[0].detail
    assert found.problems[0].startswith(found.acceptance[0].name)
    assert found.coverage is None
