"""Finding probes: only what stands for itself, in closed words, and bounded however hostile."""

import pytest

from orchestrator.verify.probes import Probe, in_turn, of_signatures, of_tests, packages

HEAD = "from shop.total import total, Cart as C, _hidden\nfrom decimal import Decimal\nimport os\n"
PRODUCT = frozenset({"shop"})


def found(body: str, head: str = HEAD) -> list[str]:
    lines = "".join(f"    {line}\n" for line in body.splitlines())
    return [p.expression for p in of_tests(f"{head}def test_x(many):\n{lines}", PRODUCT)]


def test_calls_with_their_imports() -> None:
    (probe,) = of_tests(HEAD + "def test_x():\n    assert total([Decimal('1')]) == 1\n", PRODUCT)
    assert probe.expression == "total([Decimal('1')])"
    assert probe.imports == ("from decimal import Decimal", "from shop.total import total")


def test_names_that_have_one_value_are_replaced_by_it() -> None:
    assert found("x = [1, 2]\ny = C(x)\nassert y.add(3) == 6") == ["C([1, 2])", "C([1, 2]).add(3)"]
    assert found("x = 1\nx = 2\ntotal(x)") == ["total(2)"]
    assert found("for x in [1]:\n    total(x)") == []


def test_the_outermost_call_is_one_probe() -> None:
    assert found("assert sorted(total([n for n in range(3)])) == []") == [
        "sorted(total([n for n in range(3)]))"
    ]


@pytest.mark.parametrize(
    "body",
    [
        "total(many)",  # a fixture
        "total(open('x'))",
        "total(__import__('os'))",
        "total(os.getpid())",
        "total((lambda: 1)())",
        "total(f'{1}')",
        "total([].__class__)",
        "_hidden(1)",  # private: an attempt's own business
        "len([1])",  # nothing of the product
    ],
)
def test_what_does_not_stand_for_itself_is_no_probe(body: str) -> None:
    assert found(body) == []


def test_hostile_text_is_bounded() -> None:
    doubling = "\n".join(f"x{i + 1} = [x{i}, x{i}]" for i in range(60))
    assert all(len(e) < 10_000 for e in found(f"x0 = 'aa'\n{doubling}\ntotal(x60)"))
    assert found("total(" + ", ".join(["1"] * 5000) + ")") == []
    assert found("total(" + "+".join(["1"] * 20_000) + ")") == []
    assert of_tests("def test_x(:", PRODUCT) == ()
    assert of_tests(HEAD + "def test_x():\n    total(" + "(" * 3000, PRODUCT) == ()


def test_relative_imports_name_nothing_that_can_be_asked_for() -> None:
    assert found("total(1)", "from .shop import total\n") == []


def test_signatures_give_the_edges_of_their_types() -> None:
    text = (
        "def area(a: int, b: float | None) -> float: ...\n"
        "def names(of: dict[str, int], sep: str = ','): ...\n"
        "def unknown(a): ...\ndef odd(a: Thing): ...\ndef _own(a: int): ...\n"
        "def rest(*a: int): ...\ndef old(a: int): ...\n"
    )
    probes = of_signatures("src/shop/area.py", text, "def old(a: int): ...\n")
    assert {p.imports for p in probes} == {
        ("from shop.area import area",), ("from shop.area import names",)
    }  # fmt: skip
    told = [p.expression for p in probes]
    assert told[0] == "area(0, 0.0)"
    assert "names({})" in told
    assert len([e for e in told if e.startswith("area")]) == 4


def test_a_package_is_asked_by_its_own_name() -> None:
    (probe, *_) = of_signatures("shop/__init__.py", "def f(a: int): ...")
    assert probe.imports == ("from shop import f",)
    assert of_signatures("my-scripts/x.py", "def f(a: int): ...") == ()
    assert packages(["src/shop/a.py", "tool.py", "lib/b/c.py"]) == {"shop", "tool", "lib"}


def test_in_turn_takes_from_everybody_once() -> None:
    one, two, three = (Probe((), e) for e in "abc")
    assert in_turn([[one, two, two], [three, one]], 3) == (one, three, two)
    assert in_turn([], 3) == ()
