"""Head and tail of a stream, whatever the chunks."""

from hypothesis import given
from hypothesis import strategies as st

from harness.sandboxes.capture import Capture


@given(st.lists(st.binary(max_size=400), max_size=40), st.integers(0, 2000))
def test_never_more_than_the_limit_and_exact_below_it(chunks: list[bytes], limit: int) -> None:
    capture = Capture(limit)
    for chunk in chunks:
        capture.feed(chunk)
    whole, value = b"".join(chunks), capture.value()
    assert len(value) <= limit
    assert capture.size == len(whole)
    assert capture.truncated == (len(whole) > limit)
    if not capture.truncated:
        assert value == whole


@given(st.integers(1, 5000), st.integers(200, 1000))
def test_head_tail_and_count_are_right(chunk: int, limit: int) -> None:
    whole = b"".join(b"%06d\n" % n for n in range(2000))
    capture = Capture(limit)
    for start in range(0, len(whole), chunk):
        capture.feed(whole[start : start + chunk])
    head, _, rest = capture.value().partition(b"\n[... ")
    count, _, tail = rest.partition(b" bytes left out ...]\n")
    assert whole.startswith(head)
    assert whole.endswith(tail)
    assert len(head) + int(count) + len(tail) == len(whole)
    assert min(len(head), len(tail)) >= (limit - Capture.NOTE) // 2


def test_memory_stays_bounded() -> None:
    capture = Capture(1000)
    for _ in range(2000):
        capture.feed(b"x" * 65536)
    assert len(capture._kept) + len(capture._tail) < 300_000
