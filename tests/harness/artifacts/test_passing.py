"""What came of an attempt is the same on the machine that chooses, and nothing else comes along."""

from pathlib import Path

import pytest

from harness.artifacts.directory import DirectoryStore
from harness.artifacts.opening import VARIABLE, open_store
from harness.artifacts.passing import PASSED, brought, collect, publish, told
from orchestrator.errors import InputError, MachineError
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


async def test_what_an_outcome_names_counts_and_not_what_lies_there(tmp_path: Path) -> None:
    """As when a worker that was taken over writes on into the folder."""
    store, folder = MemoryStore(), tmp_path / "a"
    folder.mkdir()
    (folder / PASSED[0]).write_bytes(b"patch")
    outcome = {"value": {"passed": True, **await told(store, folder)}}
    (folder / PASSED[0]).write_bytes(b"written later")
    await brought(store, folder, outcome)
    assert (folder / PASSED[0]).read_bytes() == b"patch"
    store.kept.clear()
    (folder / PASSED[0]).unlink()
    with pytest.raises(MachineError, match="has no artifact"):
        await brought(store, folder, outcome)


async def test_without_a_store_or_files_nothing_is_asked(tmp_path: Path) -> None:
    assert await told(None, tmp_path) == {}
    for outcome in ({}, {"error": "x"}, {"value": {"passed": False}}):
        await brought(MemoryStore(), tmp_path / "a", outcome)
    await brought(None, tmp_path / "a", {"value": {"files": {PASSED[0]: "sha256:0"}}})
    assert not (tmp_path / "a").exists()


def test_the_environment_says_where_the_store_is(tmp_path: Path) -> None:
    assert open_store({}) is None
    assert isinstance(open_store({VARIABLE: str(tmp_path)}), DirectoryStore)
    assert open_store({VARIABLE: "s3://bucket/x"}) is not None
    for wrong in ("gs://bucket", "relative/folder"):
        with pytest.raises(InputError, match=VARIABLE):
            open_store({VARIABLE: wrong})
