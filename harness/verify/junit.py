"""Reads a JUnit XML report written by hostile code: bounded, and without entities."""

from dataclasses import dataclass
from xml.parsers import expat

MAX_BYTES = 8_000_000
_MAX_CASES = 100_000
_MAX_DEPTH = 40
_BAD = {"failure": "failed", "error": "failed", "skipped": "skipped"}


@dataclass(frozen=True, slots=True)
class Case:
    """One test case: `outcome` is passed, failed or skipped; `why` is one line."""

    name: str
    outcome: str = "passed"
    why: str = ""

    @property
    def failed(self) -> bool:
        return self.outcome == "failed"


def read_junit(data: bytes) -> tuple[Case, ...]:
    """The cases of a report. Raises `ValueError` for anything but plain, small XML."""
    if len(data) > MAX_BYTES:
        raise ValueError(f"the JUnit report is larger than {MAX_BYTES // 1_000_000} MB")
    reader = _Reader()
    parser = expat.ParserCreate()
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    # Entities are declared in a document type alone; refusing it refuses every entity bomb.
    parser.StartDoctypeDeclHandler = reader.refuse
    try:
        parser.Parse(data, True)
    except expat.ExpatError as error:
        raise ValueError(f"the JUnit report is not XML: {error}") from error
    failed = any(case.outcome == "failed" for case in reader.cases)
    # What a suite counts is told by its cases, or else by itself.
    return tuple(reader.cases if failed else [*reader.cases, *reader.suites])


def _counted(attributes: dict[str, str]) -> bool:
    """Whether a suite counts failures or errors."""
    return any(attributes.get(name, "0").strip(" 0") for name in ("failures", "errors"))


def _message(attributes: dict[str, str]) -> str:
    return attributes.get("message", "")[:600]


class _Reader:
    def __init__(self) -> None:
        self.cases: list[Case] = []
        self.suites: list[Case] = []
        self.depth = 0
        self.inside: Case | None = None

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        self.depth += 1
        if self.depth > _MAX_DEPTH or len(self.cases) > _MAX_CASES:
            raise ValueError("the JUnit report is too deep or has too many cases")
        if tag == "testcase":
            place = attributes.get("classname", "")
            name = attributes.get("name", "")
            self.inside = Case(f"{place}::{name}" if place else name)
        elif tag in {"testsuite", "testsuites"} and _counted(attributes):
            self.suites.append(Case(attributes.get("name", tag), "failed", "its suite says so"))
        elif tag in {"failure", "error"} and self.inside is None:
            self.cases.append(Case("outside of any case", "failed", _message(attributes)))
        elif self.inside is not None and tag in _BAD:
            self.inside = Case(self.inside.name, _BAD[tag], _message(attributes))

    def end(self, tag: str) -> None:
        self.depth -= 1
        if tag == "testcase" and self.inside is not None:
            self.cases.append(self.inside)
            self.inside = None

    def refuse(self, *_: object) -> None:
        raise ValueError("the JUnit report declares a document type, which none needs")
