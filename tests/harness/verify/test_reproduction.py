"""A patch's own tests with and without the rest of it, in real sandboxes."""

import pytest

from harness.verify.reproduction import ReproductionJob, reproduce
from orchestrator.tickets.reproduction import Seen, told
from tests.harness.verify.conftest import Edits, Field, diff

pytestmark = [pytest.mark.isolation, pytest.mark.long]

MENDED = "def net(gross):\n    if gross < 0:\n        return 0\n    return gross * 100 // 119\n"
TESTS = (
    "import pytest\nfrom shop.price import net\n\n\n"
    "def test_shows():\n    assert net(-119) == 0\n\n\n"
    "def test_passes_before():\n    assert net(119) == 100\n\n\n"
    "def test_fails_after():\n    assert net(1) == 2\n\n\n"
    "@pytest.mark.skip\ndef test_skipped():\n    assert net(-1) == 0\n"
)
LACKING = "from shop.price import tax\n\n\ndef test_lacks():\n    assert tax(119) == 19\n"
FORGER = MENDED + (
    "\n\nimport sys\n\nif 'pytest' in sys.modules:\n    import _pytest.runner\n\n"
    "    _pytest.runner.pytest_runtest_call = lambda item: None\n"
)


async def seen(field: Field, edits: Edits) -> dict[str, Seen]:
    if not field.repo.exists():
        field.start()
    patch = diff(field.repo, edits)
    job = ReproductionJob(
        provider=field.provider, base=await field.base(), patch=patch, test="python -m pytest -q",
        protected=(), log=field.folder / "proof.log", key="proof",
    )  # fmt: skip
    return {s.test.rpartition("::")[2]: s for s in await reproduce(job)}


async def test_only_what_fails_before_and_passes_after_counts(field: Field) -> None:
    more = MENDED + "\n\ndef tax(gross):\n    return gross - net(gross)\n"
    found = await seen(
        field,
        {"shop/price.py": more, "tests/test_bug.py": TESTS, "tests/test_lacks.py": LACKING},
    )
    assert {name: (s.before, s.after, s.shows) for name, s in found.items()} == {
        "test_shows": (False, True, True),
        "test_passes_before": (True, True, False),
        "test_fails_after": (False, False, False),
        "test_skipped": (None, None, False),
        "test_lacks": (False, True, False),
    }
    assert "assert -100 == 0" in found["test_shows"].why
    lines, open_ = told(tuple(found.values()), bug=True)
    assert len(lines) == 1
    assert "test_bug.py::test_shows fails without the change" in lines[0]
    assert ["test_passes_before" in o for o in open_] == [True, False, False]


async def test_a_change_that_decides_over_tests_proves_nothing(field: Field) -> None:
    found = await seen(field, {"shop/price.py": FORGER, "tests/test_bug.py": TESTS})
    assert not any(s.shows or s.after for s in found.values())
