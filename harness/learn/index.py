"""Finds the patterns that may apply to a feature: by failure, by file, by words.

Words are looked up in SQLite's FTS5, in memory and filled anew by each process. Where SQLite was
built without it, patterns are found by failure and by file only.
"""

import heapq
import math
import sqlite3
import threading
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

from orchestrator.learning import Pattern, Why, applies, description, words
from orchestrator.values import Feature

#: Of each way to find patterns; the nearest few are all that can be shown.
_MOST = 20
_MOST_FILES = 40
#: A query of many words costs as much as all documents that have one of them.
_MAX_WORDS = 5
#: A word in more than this share of all patterns tells nothing, and costs most.
_TOO_COMMON = 0.003
_FEW = 50
#: A glob that begins with a wildcard names no place.
_MIN_PREFIX = 3

_SCHEMA = """
CREATE TABLE pattern (n INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT UNIQUE, words TEXT);
CREATE TABLE place (path TEXT, n INTEGER, PRIMARY KEY (path, n)) WITHOUT ROWID;
CREATE TABLE feature (id TEXT, n INTEGER, PRIMARY KEY (id, n)) WITHOUT ROWID;
"""
_WORDS = """
CREATE VIRTUAL TABLE text USING fts5(words, tokenize = "ascii", detail = none);
"""
_SAME_FEATURE = """
SELECT pattern.id, pattern.words FROM feature JOIN pattern USING (n)
WHERE feature.id = ? ORDER BY n DESC LIMIT ?
"""
_NEAR = """
SELECT pattern.id, pattern.words FROM place JOIN pattern USING (n)
WHERE path >= ? AND path < ? LIMIT ?
"""
_HAVING = "SELECT rowid FROM text WHERE text MATCH ?"
_NUMBERED = "SELECT id, words FROM pattern WHERE n = ?"


class PatternIndex:
    """Patterns, findable. `refresh` and `find` may be called from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: Mapping[str, Pattern] = {}
        self._frequency: Counter[str] = Counter()
        self._db = sqlite3.connect(":memory:", check_same_thread=False, isolation_level=None)
        self._db.executescript(_SCHEMA)
        try:
            self._db.executescript(_WORDS)
            self.has_words = True
        except sqlite3.OperationalError:
            self.has_words = False

    def close(self) -> None:
        self._db.close()

    def refresh(self, patterns: Mapping[str, Pattern]) -> None:
        """Take in what is new in `patterns`. What a pattern is found by rarely changes, so only
        new ones are written; what is gone from the file is left out when it is found."""
        with self._lock:
            new = [p for p in patterns.values() if not _as_before(self._known.get(p.id), p)]
            self._known = patterns
            self._db.execute("BEGIN")
            self._add(new)
            self._db.execute("COMMIT")

    def _add(self, patterns: Iterable[Pattern]) -> None:
        for pattern in patterns:
            told = words(description(pattern))
            row = self._db.execute("SELECT n, words FROM pattern WHERE id = ?", (pattern.id,))
            before = row.fetchone()
            if before is not None:
                self._frequency.subtract(before[1].split())
                if self.has_words:
                    self._db.execute("DELETE FROM text WHERE rowid = ?", before[:1])
                self._db.execute("DELETE FROM pattern WHERE n = ?", before[:1])
            self._frequency.update(told)
            entry = (pattern.id, " ".join(told))
            n = self._db.execute("INSERT INTO pattern (id, words) VALUES (?, ?)", entry).lastrowid
            places = [(path, n) for path in pattern.files]
            self._db.executemany("INSERT OR IGNORE INTO place VALUES (?, ?)", places)
            features = [(id_, n) for id_ in pattern.features]
            self._db.executemany("INSERT OR IGNORE INTO feature VALUES (?, ?)", features)
            if self.has_words:
                self._db.execute("INSERT INTO text (rowid, words) VALUES (?, ?)", (n, entry[1]))

    def find(self, feature: Feature, failures: Sequence[str] = ()) -> list[tuple[Pattern, Why]]:
        """Patterns that apply to `feature`, which has failed with these signatures so far, and
        why; unordered, and no more than a few dozen."""
        asked = words(" ".join((feature.description, *feature.steps, feature.category)))
        known = frozenset(failures)
        with self._lock:
            rows = [*self._by_scope(feature), *self._by_words(asked)]
            near = dict(rows) | dict.fromkeys(failures, "")
            found = [(self._known[id_], told) for id_, told in near.items() if id_ in self._known]
        applying = (
            (pattern, applies(feature, pattern, known, len(set(asked).intersection(told.split()))))
            for pattern, told in found
        )
        return [(pattern, why) for pattern, why in applying if why is not None]

    def _by_scope(self, feature: Feature) -> list[tuple[str, str]]:
        found = self._db.execute(_SAME_FEATURE, (feature.id, _MOST)).fetchall()
        for glob in feature.scope:
            prefix = _literal(glob)
            if len(prefix) >= _MIN_PREFIX:
                found += self._db.execute(_NEAR, (prefix, f"{prefix}\U0010ffff", _MOST_FILES))
        return found

    def _by_words(self, asked: Sequence[str]) -> list[tuple[str, str]]:
        """Those that share the rarest words; the weight of one is its rarity (as in BM25, whose
        other parts say little of texts as short as these and cost four fifths of the time)."""
        shared: dict[int, float] = defaultdict(float)
        for count, word in self._rarest(asked) if self.has_words else ():
            weight = math.log1p(len(self._known) / count)
            for (n,) in self._db.execute(_HAVING, (f'"{word}"',)):
                shared[n] += weight
        best = heapq.nsmallest(_MOST, shared, key=lambda n: (-shared[n], n))
        return [self._db.execute(_NUMBERED, (n,)).fetchone() for n in best]

    def _rarest(self, asked: Sequence[str]) -> list[tuple[int, str]]:
        """In how many patterns they are, and the words."""
        most = max(_FEW, int(_TOO_COMMON * len(self._known)))
        counts = sorted((self._frequency[w], w) for w in asked if self._frequency[w] > 0)
        return [(count, word) for count, word in counts if count <= most][:_MAX_WORDS]


def _as_before(old: Pattern | None, new: Pattern) -> bool:
    """Whether it is found by the same words, files and features."""
    if old is None:
        return False
    return old is new or (
        (old.title, old.what, old.fix, old.files, old.features)
        == (new.title, new.what, new.fix, new.files, new.features)
    )


def _literal(glob: str) -> str:
    """What stands before the first wildcard."""
    for n, character in enumerate(glob):
        if character in "*?[":
            return glob[:n]
    return glob
