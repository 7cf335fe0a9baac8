"""The alert state machine: a table of timelines on a fake clock, and what must hold for all.

A timeline has a letter for each check, a minute apart: v violated, h healthy, u unknown,
m maintenance, . not checked; | is a restart between two checks. Expected are the checks (from 0)
and what they announce: F firing, A again, R resolved, M missed (told afterwards).
"""

import json
from dataclasses import asdict, replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.sla.alerts import Book, Memory, Notice, Observation, forget, step
from orchestrator.sla.values import Route, Rule

MINUTE = 60.0
START = 1_800_000_000.0
VERDICTS = {"v": "violated", "h": "healthy", "u": "unknown", "m": "maintenance"}
KINDS = {"firing": "F", "repeated": "A", "resolved": "R", "missed": "M"}
RULE = Rule(
    key="x/error",
    slas=("x",),
    severity="error",
    routes=(Route("log"),),
    states=("error",),
    pending=0.0,
    cooldown=5 * MINUTE,
    repeat=240 * MINUTE,
)


def restarted(book: Book) -> Book:
    """What a file keeps of it."""
    data = json.loads(json.dumps(asdict(book)))
    return Book({k: Memory(**m) for k, m in data["rules"].items()}, data["sent"])


def play(rules: dict[str, Rule], lines: dict[str, str]) -> list[tuple[int, Notice]]:
    """All timelines side by side; restarts are where the first of them has one."""
    (first, *_) = lines.values()
    bare = {name: line.replace("|", "") for name, line in lines.items()}
    restarts = {i - n for n, i in enumerate(j for j, c in enumerate(first) if c == "|")}
    book, said = Book(), []
    table = {rule.key: rule for rule in rules.values()}
    for tick in range(max(map(len, bare.values()))):
        if tick in restarts:
            book = restarted(book)
        seen = [
            Observation(rules[name].key, VERDICTS[line[tick]], 1.0, name)  # type: ignore[arg-type]
            for name, line in bare.items()
            if tick < len(line) and line[tick] != "."
        ]
        book, notices = step(book, table, seen, START + tick * MINUTE)
        said += [(tick, notice) for notice in notices]
    return said


def told(said: list[tuple[int, Notice]]) -> str:
    return " ".join(f"{tick}{KINDS[notice.kind]}" for tick, notice in said)


P1: dict[str, Any] = {"pending": MINUTE}
P3: dict[str, Any] = {"pending": 3 * MINUTE}
NOCOOL: dict[str, Any] = {"cooldown": 0.0}
REPEAT: dict[str, Any] = {"repeat": 6 * MINUTE}

CASES: list[tuple[str, str, dict[str, Any], str]] = [
    # ------------------------------------------------------------------ the plain course
    ("nothing happens", "hhhh", {}, ""),
    ("never checked", "....", {}, ""),
    ("fires at once", "hv", {}, "1F"),
    ("fires at the very first check", "v", {}, "0F"),
    ("is told once", "vvvvv", {}, "0F"),
    ("is resolved once", "vvhhh", {}, "0F 2R"),
    ("a blip without pending", "hvh", {}, "1F 2R"),
    ("fires with gaps between checks", "v...v", {}, "0F"),
    ("is resolved after a gap", "v....h", {}, "0F 5R"),
    # ------------------------------------------------------------------ for-duration
    ("too short for one minute", "hvhh", P1, ""),
    ("just long enough", "hvvh", P1, "2F 3R"),
    ("too short for three", "hvvvhh", P3, ""),
    ("long enough for three", "hvvvvh", P3, "4F 5R"),
    ("pending begins anew after health", "vvvhvvvv", P3, "7F"),
    ("pending goes on over a gap", "v..v", P3, "3F"),
    ("pending goes on over unknown", "vuuv", P3, "3F"),
    ("unknown alone never matures", "vuuuuu", P3, ""),
    ("pending does not survive health seen between unknowns", "vuhuvv", P3, ""),
    # ------------------------------------------------------------------ unknown
    ("unknown from the start", "uuuu", {}, ""),
    ("unknown does not resolve", "vuuu", {}, "0F"),
    ("resolved after unknown", "vuuh", {}, "0F 3R"),
    ("still violated after unknown", "vuuv", {}, "0F"),
    ("unknown between health", "huhuh", {}, ""),
    # ------------------------------------------------------------------ cooldown
    ("flaps once within the cooldown", "vhv", {}, "0F 1R"),
    ("is told when the cooldown ends", "vhvvvvv", {}, "0F 1R 5F"),
    ("a violation over before that is told afterwards", "vhvhhhh", {}, "0F 1R 5M"),
    ("two such are told once", "vhvhvhhh", {}, "0F 1R 5M"),
    ("the last flap carries on", "vhvhvvvv", {}, "0F 1R 5F"),
    ("nothing is owed after it was told", "vhvhhhhhhhhh", {}, "0F 1R 5M"),
    ("a missed one cools down too", "vhvhhhvhhhhhh", {}, "0F 1R 5M 10M"),
    ("no cooldown at all", "vhvhvh", NOCOOL, "0F 1R 2F 3R 4F 5R"),
    ("too short within a cooldown is not owed", "vvhvhhhhhh", P1, "1F 2R"),
    ("long enough within a cooldown is owed", "vvhvvhhhhh", P1, "1F 2R 6M"),
    ("exactly at the end of the cooldown", "vh...v", {}, "0F 1R 5F"),
    ("one check before its end", "vh..vv", {}, "0F 1R 5F"),
    ("resolved does not cool down", "vvvvvvhv", {}, "0F 6R 7F"),
    # ------------------------------------------------------------------ repeat
    ("repeats while it lasts", "vvvvvvvvvvvvv", REPEAT, "0F 6A 12A"),
    ("repeats late when checks come late", "v.......v", REPEAT, "0F 8A"),
    ("does not repeat on unknown", "vuuuuuuuuu", REPEAT, "0F"),
    ("repeats after unknown", "vuuuuuuuuv", REPEAT, "0F 9A"),
    ("resolved instead of repeated", "vvvvvvh", REPEAT, "0F 6R"),
    ("a new violation counts from its own telling", "vhhhhhvvvvvvv", REPEAT, "0F 1R 6F 12A"),
    # ------------------------------------------------------------------ maintenance
    ("in maintenance from the start", "mmmm", {}, ""),
    ("fires after maintenance", "mmv", {}, "2F"),
    ("maintenance hides a violation", "hmmh", {}, ""),
    ("told before, resolved inside", "vmmh", {}, "0F 3R"),
    ("told before, still there after", "vmmv", {}, "0F"),
    ("pending is forgotten in maintenance", "vvmvvvv", P3, "6F"),
    ("no repeat inside", "vmmmmmmmm", REPEAT, "0F"),
    ("a repeat that fell inside comes after", "vmmmmmmmv", REPEAT, "0F 8A"),
    ("owed before, told after maintenance", "vhvmmmmh", {}, "0F 1R 7M"),
    ("owed before, and there again after", "vhvmmmmv", {}, "0F 1R 7F"),
    ("maintenance between two windows", "mvmvm", {}, "1F"),
    # ------------------------------------------------------------------ restart
    ("restart before anything", "|hv", {}, "1F"),
    ("restart while pending", "vv|vv", P3, "3F"),
    ("restart while firing", "vv|vv", {}, "0F"),
    ("restart before the end", "vv|h", {}, "0F 2R"),
    ("restart after the end", "vvh|h", {}, "0F 2R"),
    ("restart within the cooldown", "vhv|vvvv", {}, "0F 1R 5F"),
    ("restart while one is owed", "vhvh|hhh", {}, "0F 1R 5M"),
    ("restart and a long gap", "v|.........v", {}, "0F"),
    ("restart and a long gap, then health", "v|.........h", {}, "0F 10R"),
    ("restart before a repeat", "vvvvv|vv", REPEAT, "0F 6A"),
    ("many restarts", "|v|v|v|h|h", {}, "0F 3R"),
]

#: A violation from check 2 to 7 that must last a minute: maintenance in four places, each with a
#: restart in four places. Wherever the restart is, the same is told.
MAINTENANCE = {
    "no maintenance": ("hhvvvvvvhh", "3F 8R"),
    "maintenance over its beginning": ("hmmmvvvvhh", "5F 8R"),
    "maintenance in its middle": ("hhvvmmvvhh", "3F 8R"),
    "maintenance over its end": ("hhvvvvmmmh", "3F 9R"),
}
RESTARTS = {
    "no restart": None,
    "restart at its beginning": 3,
    "restart in its middle": 5,
    "restart at its end": 8,
}


def combined(line: str, restart: int | None) -> str:
    return line if restart is None else line[:restart] + "|" + line[restart:]


SIXTEEN = [
    (f"{a}, {b}", combined(line, restart), P1, expected)
    for a, (line, expected) in MAINTENANCE.items()
    for b, restart in RESTARTS.items()
]


def test_the_table_is_as_long_as_it_says() -> None:
    assert len(SIXTEEN) == 16
    assert len({name for name, *_ in CASES + SIXTEEN}) >= 60


@pytest.mark.parametrize(("name", "line", "more", "expected"), CASES + SIXTEEN)
def test_timeline(name: str, line: str, more: dict[str, Any], expected: str) -> None:
    assert told(play({"x": replace(RULE, **more)}, {"x": line})) == expected


# ------------------------------------------------------------------------- several rules

DB = replace(RULE, key="db/error", slas=("db",))
NEEDS_DB = replace(RULE, inhibited_by=("db/error", "db/no_data"))
WARN = replace(
    RULE, key="x/warn", severity="warning", states=("warn", "error"), inhibited_by=("x/error",)
)

SIDE_BY_SIDE = [
    ("the database silences what depends on it", "vvv", "vvv", "", "0F"),
    ("it speaks once the database is back", "vvvhv", "vvvvv", "3F", "0F 3R"),
    ("what came first stays told", "hvvh", "vvvv", "0F", "1F 3R"),
    ("resolved is told even then", "hvvv", "vvhh", "0F 2R", "1F"),
    ("no repeat while the database is down", "hvvvvvvvvv", "vvvvvvvvvv", "0F", "1F"),
    ("a pending database silences too", "vh", "vv", "1F", "0F 1R"),
    ("a database in maintenance silences", "mmmh", "vvvv", "3F", ""),
    ("an unknown database that was down still silences", "vuuu", "vvvv", "", "0F"),
    ("violated and over meanwhile: nothing to tell", "vvvh", "hvhh", "", "0F 3R"),
]


@pytest.mark.parametrize(("name", "db", "x", "of_x", "of_db"), SIDE_BY_SIDE)
def test_inhibition(name: str, db: str, x: str, of_x: str, of_db: str) -> None:
    rules = {"x": replace(NEEDS_DB, repeat=6 * MINUTE), "db": DB}
    said = play(rules, {"x": x, "db": db})
    assert told([s for s in said if s[1].rule == "x/error"]) == of_x
    assert told([s for s in said if s[1].rule == "db/error"]) == of_db


def test_each_severity_has_its_own_cooldown_and_the_worse_silences_the_milder() -> None:
    said = play({"error": RULE, "warn": WARN}, {"error": "hhvvhh", "warn": "hvvvvh"})
    assert [(t, n.rule, n.kind) for t, n in said] == [
        (1, "x/warn", "firing"),
        (2, "x/error", "firing"),  # at once, though the warning cools down
        (4, "x/error", "resolved"),
        (5, "x/warn", "resolved"),
    ]


def test_rules_about_the_same_for_the_same_people_share_their_cooldown() -> None:
    other = replace(RULE, key="alert-1/x", condition="x > 3")
    said = play({"a": RULE, "b": other}, {"a": "vvvvvv", "b": ".vvvvv"})
    assert [(t, n.rule) for t, n in said] == [(0, "x/error"), (5, "alert-1/x")]
    elsewhere = replace(other, routes=(Route("slack", "#x"),))
    said = play({"a": RULE, "b": elsewhere}, {"a": "vv", "b": ".v"})
    assert [(t, n.rule) for t, n in said] == [(0, "x/error"), (1, "alert-1/x")]


def test_a_rule_without_routes_is_only_watched_and_silences_all_the_same() -> None:
    rules = {"db": replace(DB, routes=()), "x": NEEDS_DB}
    assert play(rules, {"db": "vv", "x": "vv"}) == []


def test_keys_name_the_occurrence() -> None:
    line = "vhhhhhvvvvvvvh"
    first = play({"x": replace(RULE, **REPEAT)}, {"x": line})
    again = play({"x": replace(RULE, **REPEAT)}, {"x": line.replace("h", "h|", 1)})
    keys = [notice.key for _, notice in first]
    assert keys == [notice.key for _, notice in again]
    assert len(set(keys)) == len(keys) == 5


def test_what_was_missed_is_counted_and_dated() -> None:
    (_, _, (tick, missed)) = play({"x": RULE}, {"x": "vhvhvhhh"})
    assert (tick, missed.missed, missed.since) == (5, 2, START + 2 * MINUTE)
    assert "2 times" in missed.text


def test_a_rule_that_the_file_lost_is_forgotten() -> None:
    book, _ = step(Book(), {"x/error": RULE}, [Observation("x/error", "violated")], START)
    assert forget(book, []).rules == {}
    assert step(book, {}, [Observation("x/error", "violated")], START) == (book, ())


# ------------------------------------------------------------------- what holds for all timelines

TIMELINES = st.lists(
    st.tuples(st.sampled_from("vvvhhum|"), st.integers(1, 8)), min_size=1, max_size=60
)


def owed(line: list[tuple[str, float]], pending: float) -> list[float]:
    """The brute-force oracle: when each violation began that lasted for `pending` or longer,
    cut by health and by maintenance."""
    found, since, matured = [], None, False
    for verdict, time in line:
        if verdict in "hm":
            found += [since] if since is not None and matured else []
            since, matured = None, False
        elif verdict == "v":
            since = time if since is None else since
            matured = time - since >= pending
    return found + ([since] if since is not None and matured else [])


@settings(max_examples=400, deadline=None)
@given(
    timeline=TIMELINES,
    pending=st.sampled_from([0.0, 60.0, 150.0, 300.0]),
    cooldown=st.sampled_from([0.0, 60.0, 300.0, 700.0]),
    more=st.sampled_from([700.0, 1500.0, 10_000.0]),
)
def test_every_long_violation_is_told_and_none_twice_within_the_cooldown(
    timeline: list[tuple[str, int]], pending: float, cooldown: float, more: float
) -> None:
    rule = replace(RULE, pending=pending, cooldown=cooldown, repeat=more)
    # A quiet end, long enough for whatever is still owed.
    whole = [*timeline, ("h", 1), ("h", 20)]
    book, now, line = Book(), START, []
    said: list[Notice] = []
    told_of: set[float] = set()
    for verdict, minutes in whole:
        if verdict == "|":
            book = restarted(book)
            continue
        now += minutes * MINUTE
        line.append((verdict, now))
        open_ = [since for since in owed(line, pending) if since not in told_of]
        seen = [Observation(rule.key, VERDICTS[verdict], 1.0)]  # type: ignore[arg-type]
        book, notices = step(book, {rule.key: rule}, seen, now)
        said += notices
        for notice in notices:
            assert verdict in "vh"
            if notice.kind == "firing":
                told_of.add(notice.since)
            # What is told of others is exactly what was open, no more and no less.
            if notice.kind in {"firing", "missed"}:
                others = [since for since in open_ if since != notice.since or notice.missed]
                before = [s for s in others if s not in told_of]
                assert len(before) == notice.missed
                told_of.update(before)
        memory = book.rules.get(rule.key)
        if verdict == "v" and memory is not None and memory.announced is not None:
            told_of.update(owed(line, pending)[-1:])  # went on after maintenance
    assert set(owed(line, pending)) <= told_of
    announced = [n.time for n in said if n.kind != "resolved"]
    gaps = [b - a for a, b in pairwise(announced)]
    assert all(gap >= cooldown for gap in gaps)
    course = [n.kind for n in said if n.kind in {"firing", "resolved"}]
    assert course == ["firing", "resolved"] * (len(course) // 2)
    assert len({n.key for n in said}) == len(said)


@settings(max_examples=150, deadline=None)
@given(timeline=TIMELINES)
def test_a_restart_changes_nothing(timeline: list[tuple[str, int]]) -> None:
    def run(*, restarts: bool) -> list[Notice]:
        book, now, said = Book(), START, []
        for verdict, minutes in timeline:
            if restarts:
                book = restarted(book)
            if verdict != "|":
                now += minutes * MINUTE
                seen = [Observation(RULE.key, VERDICTS[verdict])]  # type: ignore[arg-type]
                book, notices = step(book, {RULE.key: RULE}, seen, now)
                said += notices
        return said

    assert run(restarts=True) == run(restarts=False)
