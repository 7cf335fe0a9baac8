"""What every store of artifacts promises: in memory, in a folder, in a bucket over a socket."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.artifacts.directory import DirectoryStore
from harness.artifacts.naming import name_of, place_of
from harness.artifacts.objects import ObjectStore
from harness.ports import ArtifactStore
from orchestrator.errors import InputError, MachineError
from tests.emulators.s3 import KEY, REGION, SECRET, Bucket, bucket
from tests.fakes.artifacts import MemoryStore

DATA = b"\0 some bytes \xff" * 10_000


def in_bucket(there: Bucket, **more: Any) -> ObjectStore:
    who = {"access_key_id": KEY, "secret_access_key": SECRET, "region": REGION, **more}
    http = {"allow_http": True}
    return ObjectStore("s3://things/of/ours/", endpoint=there.url, client_options=http, **who)


class Placed:
    """A store and a hand that writes into it past its interface."""

    def __init__(self, store: ArtifactStore, folder: Path, there: Bucket | None) -> None:
        self.store, self._folder, self._there = store, folder, there

    def spoil(self, name: str) -> None:
        if isinstance(self.store, MemoryStore):
            self.store.kept[place_of(name)] = b"other"
        elif self._there is not None:
            self._there.objects[f"things/of/ours/{place_of(name)}"] = b"other"
        else:
            (self._folder / place_of(name)).write_bytes(b"other")


@pytest.fixture(params=["memory", "directory", "bucket"])
def placed(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Placed]:
    if request.param == "memory":
        yield Placed(MemoryStore(), tmp_path, None)
    elif request.param == "directory":
        yield Placed(DirectoryStore(tmp_path), tmp_path, None)
    else:
        with bucket() as there:
            yield Placed(in_bucket(there), tmp_path, there)


async def test_what_was_put_comes_back_under_the_name_of_its_content(placed: Placed) -> None:
    store = placed.store
    assert not await store.has(name_of(DATA))
    name = await store.put(DATA)
    assert name == name_of(DATA)
    assert await store.has(name)
    assert await store.get(name) == DATA
    empty = await store.put(b"")
    assert await store.get(empty) == b""


async def test_many_may_put_the_same_at_once(placed: Placed) -> None:
    names = await asyncio.gather(*(placed.store.put(DATA) for _ in range(8)))
    assert set(names) == {name_of(DATA)}
    assert await placed.store.get(names[0]) == DATA


async def test_what_is_not_there_is_no_file(placed: Placed) -> None:
    with pytest.raises(FileNotFoundError, match="has no artifact sha256:"):
        await placed.store.get(name_of(b"never put"))


async def test_what_somebody_changed_is_not_given_out(placed: Placed) -> None:
    name = await placed.store.put(DATA)
    placed.spoil(name)
    with pytest.raises(MachineError, match="something else"):
        await placed.store.get(name)


NO_NAMES = (
    "",
    "sha256:",
    "sha256:../../etc/passwd",
    "md5:" + "a" * 32,
    "sha256:" + "A" * 64,
    "sha256:" + "a" * 64 + "\n",
)


async def test_what_is_no_name_leads_nowhere(placed: Placed) -> None:
    for name in NO_NAMES:
        with pytest.raises(InputError):
            await placed.store.get(name)
        with pytest.raises(InputError):
            await placed.store.has(name)


async def test_a_bucket_is_written_once_and_only_by_who_may() -> None:
    with bucket() as there:
        store = in_bucket(there)
        for _ in range(3):
            await store.put(DATA)
        assert there.puts == 1
        with pytest.raises(MachineError, match="s3://things/of/ours: cannot be used"):
            await in_bucket(there, secret_access_key="another").put(b"new")
        assert there.refused


async def test_a_folder_that_cannot_be_written_is_the_machines_fault(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(MachineError, match="cannot be written"):
        await DirectoryStore(tmp_path / "file").put(DATA)
