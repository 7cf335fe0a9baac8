"""What every sandbox provider keeps to, the one in memory too."""

import os
import time
from io import BytesIO

import pytest

from harness.ports import Base, SandboxLimits, SandboxProvider
from orchestrator.errors import (
    SandboxError,
    SandboxGoneError,
    SandboxUnavailableError,
)


async def test_commands_end_in_values(provider: SandboxProvider, base: Base) -> None:
    box = await provider.create(base, "a")
    assert (await box.exec(["true"])).ok
    assert (await box.exec("exit 7")).exit == 7
    assert (await box.exec(["no-such-program-anywhere"])).exit == 127
    assert (await box.exec(["echo", "a b", "c"])).out == b"a b c\n"


async def test_standard_input_arrives_whole(provider: SandboxProvider, base: Base) -> None:
    box = await provider.create(base, "a")
    data = os.urandom(300_000)
    assert (await box.exec(["cat"], stdin=data)).out == data
    assert (await box.exec(["cat"])).out == b""


async def test_a_command_over_its_time_is_a_value(provider: SandboxProvider, base: Base) -> None:
    box = await provider.create(base, "a")
    result = await box.exec(["sleep", "600"], timeout=0.2)
    assert (result.exit, result.timed_out, result.ok) == (124, True, False)
    assert (await box.exec(["true"])).ok


async def test_output_callback(provider: SandboxProvider, base: Base) -> None:
    box = await provider.create(base, "a")
    seen: list[bytes] = []
    await box.exec(["echo", "heard"], on_output=seen.append)
    assert b"".join(seen) == b"heard\n"


async def test_upload_and_download(provider: SandboxProvider, base: Base) -> None:
    box = await provider.create(base, "a")
    data = os.urandom(20_000_000)
    await box.upload("deep/er/file.bin", data)
    assert await box.download("deep/er/file.bin") == data
    assert await box.download("README") == b"hello\n"
    await box.upload("README", b"")
    assert await box.download(f"{box.workdir}/README") == b""
    with pytest.raises(FileNotFoundError):
        await box.download("missing")
    with pytest.raises(SandboxError, match="larger than 1000 bytes"):
        await box.download("deep/er/file.bin", limit=1000)


async def test_destroyed_is_gone(provider: SandboxProvider, base: Base) -> None:
    box = await provider.create(base, "a")
    await box.destroy()
    await box.destroy()
    with pytest.raises(SandboxGoneError):
        await box.exec(["true"])
    with pytest.raises(SandboxGoneError):
        await box.upload("x", b"")
    with pytest.raises(SandboxGoneError):
        await box.download("x")
    with pytest.raises(SandboxGoneError):
        await provider.snapshot(box)


async def test_a_key_is_free_again_and_fresh_once_destroyed(
    provider: SandboxProvider, base: Base
) -> None:
    box = await provider.create(base, "a")
    await box.upload("mine", b"1")
    with pytest.raises(SandboxError, match="in use"):
        await provider.create(base, "a")
    await box.destroy()
    again = await provider.create(base, "a")
    with pytest.raises(FileNotFoundError):
        await again.download("mine")


async def test_forks_of_a_snapshot_are_independent(provider: SandboxProvider, base: Base) -> None:
    box = await provider.create(base, "patched")
    await box.upload("new", b"patch")
    await box.exec(["rm", "README"])
    patched = await provider.snapshot(box)
    assert patched.commit == base.commit
    assert patched.id != base.id
    with pytest.raises(SandboxError):
        await box.exec(["true"])
    one, two = await provider.create(patched, "one"), await provider.create(patched, "two")
    await one.upload("new", b"changed by one")
    assert await two.download("new") == b"patch"
    with pytest.raises(FileNotFoundError):
        await two.download("README")
    nested = await provider.create(await provider.snapshot(one), "three")
    assert await nested.download("new") == b"changed by one"
    untouched = await provider.create(base, "four")
    assert await untouched.download("README") == b"hello\n"


async def test_streams_in_and_out(provider: SandboxProvider, base: Base) -> None:
    box = await provider.create(base, "a")
    data = os.urandom(1_000_000) * 100
    await box.upload("large", BytesIO(data))
    got = BytesIO()
    assert await box.download_to("large", got) == len(data)
    assert got.getvalue() == data
    assert (await box.exec(["cat"], stdin=BytesIO(b"from a stream"))).out == b"from a stream"
    with pytest.raises(FileNotFoundError):
        await box.download_to("missing", got)
    few = BytesIO()
    with pytest.raises(SandboxError, match="larger than 1000 bytes"):
        await box.download_to("large", few, limit=1000)
    assert len(few.getvalue()) <= 1000


async def test_forked_to_all_or_none(provider: SandboxProvider, base: Base) -> None:
    one, two = await provider.fork(base, ["one", "two"], labels={"run": "7"})
    await one.upload("mine", b"1")
    with pytest.raises(FileNotFoundError):
        await two.download("mine")
    with pytest.raises(SandboxError, match="in use"):
        await provider.fork(base, ["three", "two"])
    assert {s.id for s in await provider.list()} == {"one", "two"}


async def test_listed_by_labels(provider: SandboxProvider, base: Base) -> None:
    before = time.time()
    await provider.create(base, "a", labels={"run": "7", "attempt": "1"})
    last = await provider.create(base, "b", labels={"run": "7", "attempt": "2"})
    await provider.create(base, "c")
    assert {s.id for s in await provider.list({"run": "7"})} == {"a", "b"}
    (found,) = await provider.list({"run": "7", "attempt": "2"}, namespace="conformance")
    assert (found.id, found.live) == ("b", True)
    assert found.labels == {"run": "7", "attempt": "2"}
    assert before - 5 <= found.made_at <= time.time() + 5
    assert await provider.list(namespace="another") == ()
    await last.destroy()
    assert {s.id for s in await provider.list()} == {"a", "c"}


async def test_connected_to_by_id(provider: SandboxProvider, base: Base) -> None:
    box = await provider.create(base, "a")
    await box.upload("mine", b"1")
    again = await provider.connect(box.id)
    assert await again.download("mine") == b"1"
    await again.destroy()
    with pytest.raises(SandboxGoneError):
        await box.exec(["true"])
    with pytest.raises(SandboxGoneError):
        await provider.connect(box.id)


async def test_life_ends_unless_extended(provider: SandboxProvider, base: Base) -> None:
    short = SandboxLimits(wall_seconds=1.0)
    kept, box = await provider.fork(base, ["kept", "box"], limits=short)
    await kept.extend(600)
    result = await box.exec(["sleep", "600"], timeout=600)
    assert (result.exit, result.timed_out) == (124, True)
    with pytest.raises(SandboxGoneError):
        await box.exec(["true"])
    with pytest.raises(SandboxGoneError):
        await box.extend(600)
    assert (await kept.exec(["true"])).ok


async def test_what_cannot_be_held_is_refused(provider: SandboxProvider, base: Base) -> None:
    asked = {"cpus": 0.5, "cpu_seconds": 5.0, "memory_mb": 64, "inodes": 100}
    for name, value in asked.items():
        limits = SandboxLimits(**{name: value})
        if provider.capabilities.limits.get(name, "none") == "none":
            with pytest.raises(SandboxUnavailableError, match=name):
                await provider.create(base, name, limits=limits)
        else:
            assert (await (await provider.create(base, name, limits=limits)).exec(["true"])).ok
    if not provider.capabilities.allow_list:
        with pytest.raises(SandboxUnavailableError, match="allow"):
            await provider.create(base, "n", limits=SandboxLimits(allow=("example.org",)))
