"""Both stores of samples give back what was kept, and compaction loses and doubles nothing."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from harness.sla.store import FileSamples, SampleStore
from harness.sla.store_postgres import PostgresSamples
from orchestrator import slas
from orchestrator.errors import MachineError
from orchestrator.sla.values import DAY, Sample, SlaState
from tests.harness.sla.counterparts import refusing_port

HOUR = 3600.0
NOW = 1_800_000_000.0 // HOUR * HOUR + 1234.0


def sample(hours_ago: float, sla: str = "x", state: SlaState = "ok", value: float | None = 1.5):  # type: ignore[no-untyped-def]
    return Sample(sla, NOW - hours_ago * HOUR, state, state, value, "détail \u2028 \\", 0.25)


MANY = [
    sample(hours / 3, sla, state, value)
    for hours in range(3 * 72)
    for sla, state, value in (("x", "ok", float(hours)), ("y", "no_data", None))
]


@pytest.fixture(params=["files", "postgres"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], SampleStore]:
    """Opens the same store anew at each call."""
    if request.param == "files":
        return lambda: FileSamples(tmp_path)
    database = request.getfixturevalue("database")
    return lambda: PostgresSamples(database)


def test_what_was_kept_comes_back(make: Callable[[], SampleStore]) -> None:
    kept = [sample(2), sample(1, "y", "no_data", None), sample(0.1, state="error")]
    make().append(kept)
    make().append([])
    assert make().samples() == kept
    assert make().samples(NOW - 1.5 * HOUR) == kept[1:]
    assert make().samples(sla="x") == [kept[0], kept[2]]
    assert make().hours() == []


def test_compaction_keeps_the_last_day_and_counts_the_rest(make: Callable[[], SampleStore]) -> None:
    make().append(MANY)
    expected = {(s.sla, s.hour): s for s in slas.summarize(MANY)}
    done = make().compact(NOW, 30 * DAY)
    left = make().samples()
    assert done + len(left) == len(MANY)
    assert all(s.time >= NOW - DAY - HOUR for s in left)
    hours = make().hours()
    assert [h for h in hours if h != expected[h.sla, h.hour]] == []
    assert sum(sum(h.counts.values()) for h in hours) == done
    assert make().compact(NOW, 30 * DAY) == 0
    assert make().hours() == hours


def test_summaries_leave_after_the_retention(make: Callable[[], SampleStore]) -> None:
    make().append(MANY)
    make().compact(NOW, 2 * DAY)
    assert min(h.hour for h in make().hours()) >= NOW - 2 * DAY
    make().compact(NOW + 90 * DAY, 2 * DAY)
    assert (make().samples(), make().hours()) == ([], [])


def test_many_at_once(make: Callable[[], SampleStore]) -> None:
    """Monitors on several machines append and compact at the same time."""
    make().append(MANY)

    def work(number: int) -> None:
        store = make()
        store.append([sample(number / 100, f"n{number}")])
        store.compact(NOW, 30 * DAY)

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(work, range(12)))
    total = len(make().samples()) + sum(sum(h.counts.values()) for h in make().hours())
    assert total == len(MANY) + 12


def test_a_crash_between_summary_and_removal_counts_nothing_twice(tmp_path: Path) -> None:
    """The summary was written, the hour's file is still there: the file counts."""
    store = FileSamples(tmp_path)
    store.append(MANY)
    old = [s for s in MANY if s.time < NOW - 2 * DAY]
    lines = [json.dumps({**vars_of(h)}) for h in slas.summarize(old)]
    (tmp_path / "hourly.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    total = len(store.samples()) + sum(sum(h.counts.values()) for h in store.hours())
    assert total == len(MANY)
    store.compact(NOW, 30 * DAY)
    total = len(store.samples()) + sum(sum(h.counts.values()) for h in store.hours())
    assert total == len(MANY)


def vars_of(hour: object) -> dict[str, object]:
    from dataclasses import asdict

    return asdict(hour)  # type: ignore[call-overload, no-any-return]


def test_a_line_that_a_crash_cut_off_is_left_out(tmp_path: Path) -> None:
    store = FileSamples(tmp_path)
    store.append([sample(1)])
    (file,) = (tmp_path / "samples").glob("*.jsonl")
    with file.open("a", encoding="utf-8") as out:
        out.write('{"sla": "x", "ti')
    store.append([sample(0.99)])
    assert len(store.samples()) in {1, 2}
    assert sample(1) in store.samples()


def test_a_server_that_is_not_there_is_named_without_its_password() -> None:
    store = PostgresSamples(f"postgresql://u:hidden@127.0.0.1:{refusing_port()}/db")
    with pytest.raises(MachineError, match=r"monitoring\.store_env") as caught:
        store.append([sample(0)])
    assert "hidden" not in str(caught.value)
