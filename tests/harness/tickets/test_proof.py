"""Which of several patches is handed over: the first whose own test shows the bug."""

import pytest

from harness.tickets.proof import Claims, proof
from harness.tickets.settings import TicketSettings
from tests.harness.tickets.shop import MENDED, TEST, Shop

pytestmark = [pytest.mark.isolation, pytest.mark.long]

VAIN = "from shop import total\n\n\ndef test_two():\n    assert total([1, 2]) == 3\n"


async def test_the_first_that_shows_the_bug_is_taken_and_else_the_first(shop: Shop) -> None:
    vain = shop.patch({"shop.py": MENDED, "test_issue_7.py": VAIN})
    good = shop.patch({"shop.py": MENDED, "test_issue_7.py": TEST})
    claims = Claims("x", shop.checkout, shop.head, [vain, good], True, shop.folder / "proof.log")
    settings = TicketSettings(test="python -m pytest -q")
    found = await proof(claims, settings, "local")
    assert found.index == 1
    assert (
        "test_issue_7.py::test_empty fails without the change (shop.py:2: IndexError"
        in found.shown[0]
    )
    assert found.lacking == ()
    claims = Claims("x", shop.checkout, shop.head, [vain, b""], True, shop.folder / "proof.log")
    found = await proof(claims, settings, "local")
    assert (found.index, found.shown) == (0, ())
    assert "the bug itself" in found.lacking[0]
