"""The `e2b` provider over a real socket, with everything that can go wrong on the other side."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from harness.ports import Base, SandboxLimits
from harness.sandboxes.e2b.provider import E2BSandboxProvider
from harness.sandboxes.e2b.sandbox import E2BSandbox
from orchestrator.errors import (
    LimitReachedError,
    SandboxError,
    SandboxGoneError,
    SandboxUnavailableError,
)
from tests.emulators.e2b import E2BServer, Fault
from tests.harness.sandboxes.e2b_bench import Bench, base_cache, bench, cloud, small_repo, until

__all__ = ["base_cache", "bench", "cloud", "small_repo"]

pytestmark = pytest.mark.isolation

CREATE = "POST /v2/sandboxes"
START = "POST /process.Process/Start"
COUNTED = "for i in 1 2 3 4 5 6; do echo line $i; sleep 0.05; done"
LINES = b"".join(b"line %d\n" % i for i in range(1, 7))


@pytest.fixture
async def provider(bench: Bench) -> E2BSandboxProvider:
    return bench.provider()


@pytest.fixture
async def base(bench: Bench, provider: E2BSandboxProvider) -> Base:
    return await bench.base(provider)


@pytest.fixture
async def box(provider: E2BSandboxProvider, base: Base) -> AsyncIterator[E2BSandbox]:
    yield await provider.create(base, "a")


# ------------------------------------------------------------ when it is made


async def test_a_key_that_is_not_accepted(
    bench: Bench, provider: E2BSandboxProvider, base: Base
) -> None:
    account = {**bench.settings.account, "api_key": "e2b_0000000000000000"}
    wrong = bench.provider("run-2", account=account)
    with pytest.raises(SandboxUnavailableError, match="E2B_API_KEY"):
        await wrong.create(base, "a")
    await wrong.close()
    bench.account.faults.append(Fault(CREATE, status=401))  # withdrawn in the middle
    with pytest.raises(SandboxUnavailableError, match="E2B_API_KEY"):
        await provider.create(base, "a")
    assert bench.boxes() == []


async def test_no_room_for_a_while(bench: Bench, provider: E2BSandboxProvider, base: Base) -> None:
    fault = Fault(CREATE, times=2, status=429, headers={"Retry-After": "0"})
    bench.account.faults.append(fault)
    assert (await (await provider.create(base, "a")).exec("true")).ok
    assert fault.times == 0
    assert len(bench.boxes()) == 1


async def test_what_retry_after_asks_for_is_waited_for(bench: Bench, base: Base) -> None:
    patient = bench.provider("run-2")
    bench.account.faults.append(Fault(CREATE, status=429, headers={"Retry-After": "1"}))
    before = asyncio.get_running_loop().time()
    await patient.create(base, "a")
    assert asyncio.get_running_loop().time() - before >= 1


async def test_no_room_for_good_is_a_limit_that_was_reached(
    bench: Bench, provider: E2BSandboxProvider, base: Base
) -> None:
    bench.account.most = 0
    with pytest.raises(LimitReachedError, match="429"):
        await provider.create(base, "a")
    bench.account.most = None
    assert (await (await provider.create(base, "a")).exec("true")).ok


async def test_a_broken_answer_is_not_asked_for_again(
    bench: Bench, provider: E2BSandboxProvider, base: Base
) -> None:
    bench.account.faults.append(Fault(CREATE, status=500))
    bench.account.log.clear()
    with pytest.raises(SandboxError, match="500"):
        await provider.create(base, "a")
    assert bench.account.log.count(CREATE) == 1
    assert (await (await provider.create(base, "a")).exec("true")).ok


async def test_an_answer_that_was_lost_after_the_work_makes_no_second_one(
    bench: Bench, provider: E2BSandboxProvider, base: Base
) -> None:
    bench.account.faults.append(Fault(CREATE, status=503, after=True))
    bench.account.log.clear()
    box = await provider.create(base, "a")
    assert bench.account.log.count(CREATE) == 2
    assert [b.id for b in bench.boxes()] == [box.cloud_id]


async def test_a_fork_that_fails_in_part_leaves_nothing(
    bench: Bench, provider: E2BSandboxProvider, base: Base
) -> None:
    bench.account.most = len(bench.account.live()) + 2
    with pytest.raises(LimitReachedError):
        await provider.fork(base, ["a", "b", "c", "d"])
    assert bench.boxes() == []
    bench.account.most = None
    assert len(await provider.fork(base, ["a", "b", "c", "d"])) == 4


async def test_a_creation_that_is_cancelled_leaves_nothing(
    bench: Bench, provider: E2BSandboxProvider, base: Base
) -> None:
    bench.account.faults.append(Fault(CREATE, delay=0.5))
    bench.account.log.clear()
    task = asyncio.ensure_future(provider.create(base, "a"))
    await until(lambda: CREATE in bench.account.log)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await provider.close()
    assert bench.boxes() == []


async def test_a_crash_between_making_and_noting_is_found_again(
    bench: Bench, provider: E2BSandboxProvider, base: Base
) -> None:
    box = await provider.create(base, "a", labels={"attempt": "f/r1-a01"})
    await box.exec("echo half > done; (setsid sleep 600 &)")
    later = bench.provider()  # the first one is not closed: it was killed
    again = await later.create(base, "a")
    assert again.reopened
    assert again.cloud_id == box.cloud_id
    assert (await again.exec("cat done")).out == b"half\n"
    await again.destroy()
    assert bench.boxes() == []


# ------------------------------------------------------------ while it is used


@pytest.mark.parametrize("after", [0, 1, 3, 100])
async def test_a_cut_stream_is_taken_up_where_it_was(
    bench: Bench, box: E2BSandbox, after: int
) -> None:
    bench.account.faults.append(Fault(START, cut_after=after))
    heard: list[bytes] = []
    result = await box.exec(COUNTED, on_output=heard.append)
    assert (result.exit, result.out, b"".join(heard)) == (0, LINES, LINES)


async def test_a_stream_that_is_cut_again_and_again(bench: Bench, box: E2BSandbox) -> None:
    bench.account.faults.append(Fault(START, times=3, cut_after=1))
    assert (await box.exec(COUNTED)).out == LINES


async def test_a_stream_that_is_always_cut_is_the_sandboxs_failure(
    bench: Bench, box: E2BSandbox
) -> None:
    bench.account.faults.append(Fault(START, times=99, cut_after=0))
    with pytest.raises(SandboxError, match="lost 6 times"):
        await box.exec("echo began; sleep 60")
    bench.account.faults.clear()
    assert (await box.exec("pgrep -c sleep")).text == "0\n"


@pytest.mark.parametrize("status", [429, 500, 502, 503])
async def test_a_start_that_is_refused_is_tried_again(
    bench: Bench, box: E2BSandbox, status: int
) -> None:
    body = {"code": status, "message": "port is not open"}
    bench.account.faults.append(Fault(START, times=2, status=status, body=body))
    result = await box.exec("echo x >> ran; cat ran")
    assert result.out == b"x\n"


async def test_a_start_whose_answer_was_lost_runs_once(bench: Bench, box: E2BSandbox) -> None:
    bench.account.faults.append(Fault(START, status=503, after=True))
    assert (await box.exec("echo x >> ran; cat ran")).out == b"x\n"


async def test_a_slow_stream_delays_and_spoils_nothing(bench: Bench, box: E2BSandbox) -> None:
    bench.account.faults.append(Fault(START, record_delay=0.2))
    assert (await box.exec(COUNTED)).out == LINES


@pytest.mark.parametrize("times", [1, 2])
async def test_a_file_whose_reading_failed_is_asked_for_again(
    bench: Bench, box: E2BSandbox, times: int
) -> None:
    bench.account.faults.append(Fault("GET /files", times=times, status=500))
    assert await box.download("README") == b"hello\n"


async def test_a_file_that_is_cut_off_is_read_to_its_end(bench: Bench, box: E2BSandbox) -> None:
    data = bytes(range(256)) * 4096
    await box.upload("large", data)
    bench.account.faults.append(Fault("GET /files", cut_after=2))
    assert await box.download("large") == data


async def test_a_file_that_can_never_be_read_is_the_sandboxs_failure(
    bench: Bench, box: E2BSandbox
) -> None:
    bench.account.faults.append(Fault("GET /files", times=99, status=500))
    with pytest.raises(SandboxError, match=r"read .* from sandbox"):
        await box.download("README")


async def test_killed_in_the_middle_of_a_command(bench: Bench, box: E2BSandbox) -> None:
    bench.account.faults.append(Fault(START, kill_after=1))
    with pytest.raises(SandboxGoneError):
        await box.exec(COUNTED)
    with pytest.raises(SandboxGoneError):
        await box.exec("true")
    await box.destroy()


async def test_expired_in_the_middle_of_a_command(bench: Bench, base: Base) -> None:
    provider = bench.provider("run-2")
    box = await provider.create(base, "a")
    command = asyncio.ensure_future(box.exec("sleep 600", timeout=600))
    await until(lambda: bench.boxes("a")[0].machine)
    bench.boxes("a")[0].end = 0.0
    with pytest.raises(SandboxGoneError):
        await command


@pytest.mark.long
async def test_the_heartbeat_keeps_a_sandbox_and_nobody_else_does(bench: Bench, base: Base) -> None:
    provider = bench.provider("run-2", lifetime_seconds=2.0)
    box = await provider.create(base, "a")
    assert (await box.exec("sleep 3; echo alive")).out == b"alive\n"
    assert "/timeout" in "".join(bench.account.log)
    provider._heart.cancel()  # as if this process were killed
    await until(lambda: bench.boxes("a")[0].state == "paused")


async def test_a_supervisor_that_was_killed(bench: Bench, box: E2BSandbox) -> None:
    machine = bench.boxes("a")[0].machine
    assert machine is not None
    command = asyncio.ensure_future(box.exec("touch began; sleep 600"))
    while (await machine.seen(["test", "-e", "/home/agent/work/began"]))[0]:
        await asyncio.sleep(0.01)
    await machine.seen(["pkill", "-9", "-f", "inside.py run"])
    with pytest.raises(SandboxError, match="supervisor was killed"):
        await command
    assert (await box.exec("pgrep -c sleep")).text == "0\n"


@pytest.mark.slow
async def test_the_server_goes_down(tmp_path: Path, small_repo: Path, e2b_cloud: E2BServer) -> None:
    layers = e2b_cloud.application.layers
    with E2BServer(tmp_path / "cloud", layers=layers) as server:
        bench = Bench(server, tmp_path, small_repo)
        provider = bench.provider(reconnects=1, request_seconds=5.0)
        base = await bench.base(provider)
        box = await provider.create(base, "a")
        command = asyncio.ensure_future(box.exec("sleep 600"))
        await until(lambda: server.cloud.log[-1] == START)
        server.drop()
        with pytest.raises(SandboxError):
            await command
        with pytest.raises(SandboxError):
            await provider.create(base, "b")
        await provider.close()  # what it cannot reach, it leaves to the lifetimes


async def test_limits_that_the_cloud_holds_are_passed_on(
    bench: Bench, provider: E2BSandboxProvider, base: Base
) -> None:
    closed = await provider.create(base, "closed")
    named = await provider.create(base, "named", limits=SandboxLimits(allow=("*.example.org",)))
    opened = await provider.create(base, "opened", limits=SandboxLimits(allow=("*",)))
    sent = [bench.account.boxes[b.cloud_id].body for b in (closed, named, opened)]
    assert [s.get("allow_internet_access") for s in sent] == [False, None, True]
    assert sent[1]["network"] == {"allowOut": ["*.example.org"], "denyOut": ["0.0.0.0/0"]}
    port = bench.account.url.rpartition(":")[2]
    reach = f"exec 3<>/dev/tcp/127.0.0.1/{port}"
    assert [(await b.exec(reach)).ok for b in (closed, opened)] == [False, True]
    with pytest.raises(SandboxError, match="ports"):
        await provider.create(base, "port", limits=SandboxLimits(allow=("example.org:8443",)))
