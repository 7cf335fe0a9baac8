"""Coverage reports of both formats, honest and hostile."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.verify.coverage_reports import MAX_BYTES, of_repository, read_coverage, united

COBERTURA = b"""<?xml version="1.0" ?>
<!DOCTYPE coverage SYSTEM "http://cobertura.sourceforge.net/xml/coverage-04.dtd">
<coverage line-rate="0.5"><sources><source>/work/src</source></sources><packages><package>
<classes><class name="a" filename="a.js"><methods><method name="f"><lines>
<line number="1" hits="0"/></lines></method></methods>
<lines><line number="1" hits="3"/><line number="2" hits="0" branch="true"/></lines></class>
</classes></package></packages></coverage>"""
LCOV = b"TN:\nSF:src/a.js\nDA:1,3\nDA:2,0,checksum\nBRDA:2,0,0,-\nend_of_record\nSF:b.js\nDA:9,1\n"


def test_both_formats_say_the_same() -> None:
    lines = (frozenset({1, 2}), frozenset({2}))
    for report, name in ((COBERTURA, "/work/src/a.js"), (LCOV, "src/a.js")):
        hits = read_coverage(report)
        assert hits[name] == {1: 1, 2: 0}
        assert of_repository(hits, ["src/a.js", "src/c.js"]) == {"src/a.js": lines}


@pytest.mark.parametrize(
    ("name", "paths", "meant"),
    [
        ("./a.js", ["a.js", "src/a.js"], "a.js"),
        ("./lib/a.js", ["a.js"], None),
        ("example.com/m/pkg/a.go", ["pkg/a.go", "b.go"], "pkg/a.go"),
        ("shop/Cart.java", ["src/main/java/shop/Cart.java"], "src/main/java/shop/Cart.java"),
        ("a.go", ["x/a.go", "y/a.go"], None),
        ("src\\a.cs", ["src/a.cs"], "src/a.cs"),
    ],
)
def test_names_are_taken_for_the_one_path_that_they_can_mean(
    name: str, paths: list[str], meant: str | None
) -> None:
    assert list(of_repository({name: {1: 1}}, paths)) == ([meant] if meant else [])


def test_a_line_is_missing_where_no_run_ran_it() -> None:
    one = {"a": (frozenset({1, 2, 3}), frozenset({2, 3}))}
    other = {"a": (frozenset({2, 4}), frozenset({4})), "b": (frozenset({1}), frozenset())}
    assert united(one, other) == {
        "a": (frozenset({1, 2, 3, 4}), frozenset({3, 4})),
        "b": other["b"],
    }


def test_what_it_refuses() -> None:
    bomb = b'<!DOCTYPE x [<!ENTITY a "aaaa">]><coverage><source>&a;</source></coverage>'
    for data, why in (
        (bomb, "declares entities"),
        (b" " * (MAX_BYTES + 1), "larger than"),
        (b"<a>" * 100, "too deep"),
        (b"<html></html>", "neither"),
        (b"", "neither"),
        (b"<coverage><class/></coverage>", "lacks 'filename'"),
        (b"SF:a\nDA:x,1\n", "invalid literal"),
    ):
        with pytest.raises(ValueError, match=why):
            read_coverage(data)


@given(st.binary(max_size=200))
def test_anything_is_read_or_refused(data: bytes) -> None:
    for start in (b"", b"<coverage>", b"SF:a\nDA:"):
        try:
            read_coverage(start + data)
        except ValueError:
            continue
