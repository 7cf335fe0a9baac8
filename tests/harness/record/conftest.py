"""A book of money on a file of its own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.record.budget import BudgetBook


@pytest.fixture
def book(tmp_path: Path) -> Iterator[BudgetBook]:
    made = BudgetBook(tmp_path / "budget.sqlite")
    yield made
    made.close()
