"""The same attacks from inside of docker's and podman's containers, where an engine answers."""

import os
import secrets
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from harness.ports import Base, BaseSpec, ExecResult, Sandbox, SandboxProvider
from harness.sandboxes import provider as by_name
from harness.sandboxes.containers import ENGINES
from orchestrator.errors import SandboxError
from tests.conformance.conftest import engine_images
from tests.conformance.looking import alive
from tests.escape.test_exhaustion import DISK, FORKS, HOLDERS, INODES, LIMITS, MEMORY

__all__ = ["engine_images"]

pytestmark = pytest.mark.slow

Engines = tuple[SandboxProvider, Base]


@pytest.fixture(params=ENGINES)
async def engine(
    request: pytest.FixtureRequest, tmp_path: Path, cache: Path, repo: Path
) -> AsyncIterator[Engines]:
    request.getfixturevalue("engine_images")(request.param)
    made = by_name(request.param, "escape", state=tmp_path / "state", cache=cache)
    yield made, await made.prepare(BaseSpec(repo, "HEAD"))
    await made.close(remove=True)


@pytest.fixture
async def inside(engine: Engines) -> Sandbox:
    provider, base = engine
    return await provider.create(base, "agent", limits=LIMITS)


async def attack(box: Sandbox, script: str) -> ExecResult:
    """It must not come to its time-out: the limit has to end it, and the sandbox still works."""
    result = await box.exec(["python", "-c", script], timeout=60)
    assert not result.timed_out, result.err[-300:]
    await box.exec("rm -rf /work/* /tmp/* /home/agent/*")
    assert (await box.exec("echo alive > proof; cat proof")).text == "alive\n"
    return result


async def test_nothing_of_the_host_is_inside(inside: Sandbox, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("s3cret")
    assert (await inside.exec(["cat", str(secret)])).exit != 0
    assert (await inside.exec(["ls", "-A", f"{Path.home()}/.ssh"])).exit != 0
    assert (await inside.exec("ls /var/run/docker.sock /run/podman /run/docker.sock")).out == b""
    seen = (await inside.exec("env; cat /proc/*/environ | tr '\\0' '\\n'")).text
    assert "HOSTNAME=sandbox" in seen
    assert not [name for name in os.environ if f"\n{name}={os.environ[name]}\n" in f"\n{seen}"
                and name not in {"PATH", "HOME", "TERM", "LANG", "USER"}]  # fmt: skip
    assert int((await inside.exec("ls /proc | grep -c '^[0-9]*$'")).text) < 10


async def test_no_capability_and_no_way_to_gain_one(inside: Sandbox) -> None:
    status = (await inside.exec("cat /proc/self/status")).text
    sets = [line.split()[1] for line in status.splitlines() if line.startswith("Cap")]
    assert {int(value, 16) for value in sets} == {0}
    assert "NoNewPrivs:\t1" in status
    assert "Seccomp:\t2" in status
    for line in ("mknod d c 1 1", "mount -t tmpfs none /tmp", "unshare --mount true",
                 "echo 1 > /proc/sys/kernel/core_pattern", "echo 0 > /proc/sysrq-trigger",
                 "touch /usr/x", "touch /etc/x", "touch /opt/env/x", "echo x > /sys/power/state",
                 "touch /run/fibreflow/base.git/x", "chown 1:1 /work"):  # fmt: skip
        assert (await inside.exec(line)).exit != 0, line


async def test_no_network(inside: Sandbox) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        for address in (server.getsockname(), ("192.0.2.1", 80), ("169.254.169.254", 80)):
            script = f"import socket; socket.create_connection({address!r}, 2)"
            assert (await inside.exec(["python", "-c", script])).exit != 0
    lookup = "import socket; socket.getaddrinfo('example.org', 80)"
    assert (await inside.exec(["python", "-c", lookup], timeout=30)).exit == 1


async def test_other_workspaces_are_out_of_reach(engine: Engines, inside: Sandbox) -> None:
    provider, base = engine
    other = await provider.create(base, "other")
    await other.exec("echo private > mine")
    assert (await inside.exec("cat /work/../other/upper/mine")).exit != 0
    await inside.exec("rm -rf /work/* /work/.git /tmp/* /home/agent/*; kill -9 -1")
    assert (await other.exec("cat mine file")).text == "private\nbase\n"


async def test_planted_links_lead_nowhere(inside: Sandbox, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("untouched")
    await inside.exec(f"ln -s {victim} link; ln -s {tmp_path} folder; ln -s /etc/passwd who")
    for name in ("link", "folder/victim", "who"):
        with pytest.raises(SandboxError):
            await inside.upload(name, b"owned")
    with pytest.raises(FileNotFoundError):
        await inside.download("link")
    assert (await inside.exec("pwd", cwd="folder")).exit == 1
    assert victim.read_text() == "untouched"


@pytest.mark.parametrize("script", MEMORY.values(), ids=MEMORY)
async def test_memory(inside: Sandbox, script: str) -> None:
    result = await attack(inside, script)
    assert result.exit == 137
    assert b"killed: over 96 MB of memory" in result.err


@pytest.mark.parametrize("script", DISK.values(), ids=DISK)
async def test_disk(inside: Sandbox, script: str) -> None:
    result = await attack(inside, script)
    assert result.exit == 137
    assert b"killed: over 48 MB of files" in result.err


@pytest.mark.parametrize("script", INODES.values(), ids=INODES)
async def test_inodes(inside: Sandbox, script: str) -> None:
    script = script.replace("input()", "import time; time.sleep(600)")
    result = await attack(inside, script)
    assert result.exit == 137
    assert b"killed: over 2000 files and folders" in result.err


@pytest.mark.parametrize("script", FORKS.values(), ids=FORKS)
async def test_processes(inside: Sandbox, script: str) -> None:
    result = await inside.exec(["timeout", "-k1", "3", "python", "-c", script], timeout=5)
    assert result.exit != 0
    assert (await inside.exec("echo still here")).text == "still here\n"


@pytest.mark.parametrize("script", HOLDERS.values(), ids=HOLDERS)
async def test_nothing_outlives_its_command(inside: Sandbox, script: str) -> None:
    marker = f"marker-{secrets.token_hex(8)}"
    result = await inside.exec(["sh", "-c", f"exec 3>&1 4>&2; {script}", marker], timeout=60)
    assert (result.text, result.exit) == ("done\n", 0)
    assert alive(marker) == []
