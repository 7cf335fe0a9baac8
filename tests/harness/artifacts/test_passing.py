"""What came of an attempt is the same on the machine that chooses, and nothing else comes along."""

from pathlib import Path

import pytest

from harness.artifacts.directory import DirectoryStore
from harness.artifacts.opening import VARIABLE, open_store
from harness.artifacts.passing import PASSED, collect, publish
from orchestrator.errors import InputError
from tests.fakes.artifacts import MemoryStore


async def test_files_are_the_same_at_the_other_end(tmp_path: Path) -> None:
    here, there, store = tmp_path / "here", tmp_path / "there", MemoryStore()
    here.mkdir()
    for name in (*PASSED[:3], "secrets.txt"):
        (here / name).write_bytes(name.encode() * 3)
    published = await publish(store, here)
    assert list(published) == list(PASSED[:3])
    for _ in range(2):  # as after a crash
        await collect(store, there, published)
        assert {p.name: p.read_bytes() for p in there.iterdir()} == {
            name: name.encode() * 3 for name in PASSED[:3]
        }


async def test_what_is_there_already_is_not_brought_again(tmp_path: Path) -> None:
    store = MemoryStore()
    (tmp_path / PASSED[0]).write_bytes(b"patch")
    published = await publish(store, tmp_path)
    store.kept.clear()
    await collect(store, tmp_path, published)
    (tmp_path / PASSED[0]).write_bytes(b"another")
    with pytest.raises(FileNotFoundError):
        await collect(store, tmp_path, published)


async def test_only_files_of_an_attempt_are_written(tmp_path: Path) -> None:
    store = MemoryStore()
    name = await store.put(b"evil")
    await collect(store, tmp_path / "a", {"../../evil": name, "other.txt": name})
    assert list(tmp_path.rglob("*")) == []


def test_the_environment_says_where_the_store_is(tmp_path: Path) -> None:
    assert open_store({}) is None
    assert isinstance(open_store({VARIABLE: str(tmp_path)}), DirectoryStore)
    assert open_store({VARIABLE: "s3://bucket/x"}) is not None
    for wrong in ("gs://bucket", "relative/folder"):
        with pytest.raises(InputError, match=VARIABLE):
            open_store({VARIABLE: wrong})
