"""Reads coverage reports written by hostile code, Cobertura's XML and LCOV's text: bounded."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from posixpath import normpath
from xml.parsers import expat

MAX_BYTES = 16_000_000
_MAX_LINES = 2_000_000
_MAX_DEPTH = 40

#: By path as the report has it: line number -> how often it ran.
Hits = dict[str, dict[int, int]]
#: By path of the repository: executable lines, and those of them that never ran.
Lines = Mapping[str, tuple[frozenset[int], frozenset[int]]]


def read_coverage(data: bytes) -> Hits:
    """Either format. Raises `ValueError` for anything else, or what is too large."""
    if len(data) > MAX_BYTES:
        raise ValueError(f"the coverage report is larger than {MAX_BYTES // 1_000_000} MB")
    return _cobertura(data) if data.lstrip()[:1] == b"<" else _lcov(data)


def of_repository(hits: Hits, paths: Collection[str]) -> Lines:
    """The lines of `paths`. A name that begins with `./` is the repository's; others may begin
    somewhere below, or above, as with a module's name. One that could be two paths is neither's."""
    found: dict[str, dict[int, int]] = {}
    for name, lines in hits.items():
        plain = normpath(name.replace("\\", "/"))
        near = [p for p in paths if p == plain]
        if not near and not name.startswith("./"):
            near = [p for p in paths if _ends(plain, p) or _ends(p, plain)]
        if len(near) == 1:
            own = found.setdefault(near[0], {})
            for number, count in lines.items():
                own[number] = max(own.get(number, 0), count)
    return {
        path: (frozenset(lines), frozenset(n for n, count in lines.items() if not count))
        for path, lines in found.items()
    }


def united(one: Lines, other: Lines) -> Lines:
    """What two runs came to: a line is missing where neither ran it."""
    found = dict(one)
    for path, (statements, missing) in other.items():
        before, lacked = found.get(path, (statements, missing))
        ran = (statements - missing) | (before - lacked)
        found[path] = (statements | before, (statements | before) - ran)
    return found


def _ends(longer: str, shorter: str) -> bool:
    return longer.endswith(f"/{shorter}")


# -------------------------------------------------------------------------- LCOV


def _lcov(data: bytes) -> Hits:
    found: Hits = {}
    own: dict[int, int] = {}
    number = 0
    for number, raw in enumerate(data.splitlines()):
        if number > _MAX_LINES:
            raise ValueError("the coverage report has too many lines")
        key, _, value = raw.decode("utf-8", "replace").partition(":")
        if key == "SF":
            own = found.setdefault(value.strip(), {})
        elif key == "DA":
            line, count = value.split(",")[:2]
            _count(own, line, count)
        elif key == "end_of_record":
            own = {}
    if not found:
        raise ValueError("the coverage report is neither Cobertura nor LCOV")
    return found


def _count(own: dict[int, int], line: str, count: str) -> None:
    """Raises `ValueError` for what is no number; LCOV may write -1, and fractions."""
    number, times = int(line[:9]), float(count[:18])
    own[number] = max(own.get(number, 0), 1 if times > 0 else 0)


# --------------------------------------------------------------------- Cobertura


def _cobertura(data: bytes) -> Hits:
    reader = _Reader()
    parser = expat.ParserCreate()
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.CharacterDataHandler = reader.text
    # Its document type is named in most reports and never fetched; declaring something is refused.
    parser.StartDoctypeDeclHandler = reader.doctype
    try:
        parser.Parse(data, True)
    except expat.ExpatError as error:
        raise ValueError(f"the coverage report is not XML: {error}") from error
    except KeyError as error:
        raise ValueError(f"the coverage report lacks {error}") from error
    if not reader.seen:
        raise ValueError("the coverage report is neither Cobertura nor LCOV")
    return reader.found


@dataclass
class _Reader:
    found: Hits = field(default_factory=dict)
    seen: bool = False
    _sources: list[str] = field(default_factory=list)
    _own: dict[int, int] = field(default_factory=dict)
    _path: list[str] = field(default_factory=list)
    _lines: int = 0

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        self._path.append(tag)
        if len(self._path) > _MAX_DEPTH or self._lines > _MAX_LINES:
            raise ValueError("the coverage report is too deep or has too many lines")
        self.seen = self.seen or tag == "coverage"
        if tag == "source":
            self._sources.append("")
        elif tag == "class":
            # One source folder is where the names begin; of several nobody says which.
            roots = [s.strip().rstrip("/") for s in self._sources if s.strip()]
            root = f"{roots[0]}/" if len(roots) == 1 else ""
            name = attributes["filename"]
            self._own = self.found.setdefault(name if name.startswith("/") else root + name, {})
        elif tag == "line":
            self._lines += 1
            _count(self._own, attributes["number"], attributes["hits"])

    def end(self, _tag: str) -> None:
        self._path.pop()

    def text(self, data: str) -> None:
        if self._path[-1] == "source":
            self._sources[-1] += data[:4096]

    def doctype(self, *declared: object) -> None:
        if declared[-1]:  # it has a part of its own
            raise ValueError("the coverage report declares entities, which none needs")
