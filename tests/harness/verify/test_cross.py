"""Attempts' own tests on each other's patches, and shared probes, in real sandboxes."""

from dataclasses import replace

import pytest

from harness.verify.cross import Crossed, CrossJob, Rival, compare, probes_of
from orchestrator.values import FeatureList
from orchestrator.verify.acceptance import protected_globs
from tests.harness.verify.conftest import RIGHT, Edits, Field, diff

pytestmark = pytest.mark.isolation

#: Passes the exam, and is wrong for negative prices.
WRONG = RIGHT.replace("result += price", "result += abs(price)")


def own(body: str) -> str:
    return f"from shop.total import total\n\n\n{body}"


NEGATIVE = "def test_refund():\n    assert total([5, -2]) == 3\n"
SAME = 'def test_other_name():\n    """Other words."""\n    assert total([5, -2]) == 3\n'
PLAIN = (
    "def test_plain():\n    assert total([1, 2]) == 3\n    assert total([]) == 0\n"
    "    assert total([7]) == 7\n"
)


async def crossed(field: Field, **rivals: Edits) -> Crossed:
    if not field.repo.exists():
        field.start()
    base = await field.base()
    feature_list = FeatureList((field.feature,), field.project)
    job = CrossJob(
        provider=field.provider, base=base, project=field.project,
        rivals=tuple(Rival(name, diff(field.repo, edits), True) for name, edits in rivals.items()),
        protected=protected_globs(feature_list, field.feature),
        log=field.folder / "across.log", key="across",
    )  # fmt: skip
    found = await compare(job)
    field.log = job.log.read_text()
    return found


@pytest.mark.long
async def test_a_test_tells_rivals_apart_and_probes_show_it(field: Field) -> None:
    found = await crossed(
        field,
        a={"shop/total.py": RIGHT, "tests/test_refund.py": own(NEGATIVE)},
        b={"shop/total.py": WRONG, "tests/test_mine.py": own(PLAIN)},
        c={"shop/total.py": RIGHT, "tests/test_more.py": own(SAME)},
    )
    (test,) = found.tests  # the plain one all pass, and two that say the same are one
    assert (test.author, test.weight) == ("a", 2.0)
    assert found.outcomes == {"a": (True,), "b": (False,), "c": (True,)}
    told = {p.expression: i for i, p in enumerate(found.probes)}
    refund, plain = told["total([5, -2])"], told["total([1, 2])"]
    answers = {name: row[refund] for name, row in found.digests.items()}
    assert answers["a"] == answers["c"] != answers["b"]
    assert len({row[plain] for row in found.digests.values()}) == 1


@pytest.mark.long
async def test_three_probes_are_too_few_to_hold_anybody_back(field: Field) -> None:
    few = own("def test_few():\n    assert total([5, -2]) == 3\n    assert total([]) == 0\n")
    found = await crossed(
        field,
        a={"shop/total.py": RIGHT, "tests/test_few.py": few},
        b={"shop/total.py": WRONG},
    )
    assert (found.probes, found.digests) == ((), {})
    assert found.outcomes == {"a": (True,), "b": (False,)}


@pytest.mark.long
async def test_what_proves_nothing_counts_for_nothing(field: Field) -> None:
    liar = own(
        "import random, os\n\n\n"
        # Passes for its author alone, because it looks for a file that only its patch has.
        "def test_mine_only():\n    assert os.path.exists('shop/marker.py')\n\n\n"
        # Its author fails it.
        "def test_impossible():\n    assert total([1]) == 2\n\n\n"
        # Differs from run to run.
        "def test_dice():\n    assert random.getrandbits(64) % 2\n"
    )
    old = "from shop.price import net\n\n\ndef test_old():\n    assert net(119) == 100\n"
    found = await crossed(
        field,
        a={"shop/total.py": RIGHT, "shop/marker.py": "", "tests/test_liar.py": liar},
        b={"shop/total.py": RIGHT, "tests/test_old.py": old},
    )
    assert "test_impossible" not in str(found.tests)
    assert "test_old" not in str(found.tests)
    # What only its author passes is left to the selector, which gives it no say.
    assert all(t.author == "a" for t in found.tests)
    assert all(row[0] is (name == "a") for name, row in found.outcomes.items())


@pytest.mark.long
async def test_a_rival_that_forges_its_report_passes_nothing(field: Field) -> None:
    forger = WRONG + (
        "\n\nimport sys\n\nif 'pytest' in sys.modules:\n"
        "    import _pytest.runner\n\n"
        "    _pytest.runner.pytest_runtest_call = lambda item: None\n"
    )
    found = await crossed(
        field,
        a={"shop/total.py": RIGHT, "tests/test_refund.py": own(NEGATIVE)},
        b={"shop/total.py": forger},
        c={"shop/total.py": WRONG},
    )
    assert found.outcomes["a"] == (True,)
    assert found.outcomes["b"] != (True,)
    assert found.outcomes["c"] == (False,)


async def test_without_tests_and_hints_there_is_nothing_to_compare(field: Field) -> None:
    found = await crossed(field, a={"shop/total.py": RIGHT}, b={"shop/total.py": WRONG})
    assert replace(found, seconds=0.0) == Crossed()


async def test_signatures_give_probes_where_there_are_no_tests(field: Field) -> None:
    hints = "def total(prices: list[int], name: str)"
    typed = RIGHT.replace("def total(prices)", hints)
    wrong = WRONG.replace("def total(prices)", hints)
    found = await crossed(field, a={"shop/total.py": typed}, b={"shop/total.py": wrong})
    assert found.digests["a"] != found.digests["b"]
    assert found.digests["a"][0] == found.digests["b"][0]  # of an empty list


def test_who_writes_many_test_files_is_not_heard_more_often() -> None:
    """What one chooses to probe is what it does well."""
    many = {
        f"tests/test_{n}.py": f"from shop.total import total\n\n\ndef test_{n}():\n"
        f"    assert total([{n}]) == {n}\n"
        for n in range(20)
    }
    one = "from shop.total import total\n\n\ndef test_x():\n" + "".join(
        f"    assert total([-{n}, 1]) == {1 - n}\n" for n in range(20)
    )
    product = {"shop/total.py": "def total(prices):\n    return sum(prices)\n"}
    chosen = probes_of({"a": product | many, "b": product | {"tests/test_x.py": one}}, {}, 10)
    assert sum("-" in probe.expression for probe in chosen) == 5
