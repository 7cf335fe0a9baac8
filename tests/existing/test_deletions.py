"""Deleting and mutating functions does to a file what it says, byte for byte elsewhere."""

from pathlib import Path

from tests.existing.deletions import Function, functions
from tests.existing.mutations import answers

TEXT = b'''# caf\xc3\xa9\r
@decorated\r
def first(a,\r
          b=(1, 2)):\r
    """Says\r
    so."""\r
    # why\r
    c = a + 1\r
    if c < 2 and a:\r
        return c\r
    return b\r
\r
def short(a): b = a; c = b; return c\r
class Thing:\r
    def method(self):\r
        one = """x\r
y"""\r
        two = one == "z"\r
        return two'''


def found(folder: Path) -> list[Function]:
    (folder / "thing.py").write_bytes(TEXT)
    (folder / "test_thing.py").write_bytes(TEXT)
    return functions(folder)


def test_functions_are_found_with_their_bytes(tmp_path: Path) -> None:
    first, method = found(tmp_path)
    assert (first.path, first.name) == ("thing.py", "first")
    assert first.whole in TEXT
    assert first.stub.endswith(b'so."""\r\n    # why\r\n    raise NotImplementedError\r\n')
    assert (method.name, method.stub) == (
        "Thing.method",
        b"    def method(self):\r\n        raise NotImplementedError",
    )


def test_mutants_differ_in_one_place_and_still_parse(tmp_path: Path) -> None:
    for function in found(tmp_path):
        right, *wrong = answers(function, seed=1)
        assert right.text == function.whole
        assert {answer.kind for answer in wrong} == {"mutant", "stub", "broken"}
        for answer in wrong:
            assert answer.text != right.text
            assert answer.text.startswith(function.head)
            changed = TEXT.replace(right.text, answer.text)
            if answer.kind != "broken":
                compile(changed, "changed", "exec")


def test_the_seed_alone_decides_the_mutants(tmp_path: Path) -> None:
    first, _ = found(tmp_path)
    assert answers(first, seed=3) == answers(first, seed=3)
    assert len({tuple(a.text for a in answers(first, seed=n)) for n in range(9)}) > 1
