"""The adapter `ssh`: the real program against a real server; releases, switch, rollback."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.deploy.adapter import Release
from harness.deploy.ssh import SshAdapter
from orchestrator.deploy.values import Deploy, Environment
from orchestrator.errors import DeployError
from tests.emulators.ssh import SshServer
from tests.emulators.sshd import PROGRAM, OpenSshServer

pytestmark = pytest.mark.skipif(shutil.which("ssh") is None, reason="no ssh client is installed")


class Machine:
    """A server, a repository of two commits, and a path with a blank in it."""

    def __init__(self, folder: Path, server: SshServer | OpenSshServer) -> None:
        self.folder, self.server = folder, server
        self.path = folder / "srv" / "my app"
        self.commits: list[str] = []
        (folder / "repo").mkdir()
        for number in (1, 2):
            (folder / "repo" / "app.txt").write_text(f"app {number}")
            if number == 1:
                self.git("init", "-q")
            self.git("add", "-A")
            self.git("commit", "-qm", "x")
            self.commits.append(self.git("rev-parse", "HEAD").strip())

    def git(self, *words: str) -> str:
        me = ["git", "-c", "user.name=x", "-c", "user.email=x@localhost", *words]
        done = subprocess.run(me, cwd=self.folder / "repo", check=True, capture_output=True)
        return done.stdout.decode()

    def adapter(self, **changes: Any) -> SshAdapter:
        own: dict[str, Any] = {
            "host": self.server.host, "path": str(self.path), "url": "http://web",
            "config": "ssh/config", "env": {"WORD": "it's $HOME"},
            "deploy": 'cat app.txt > built && echo "$WORD $FIBREFLOW_COMMIT" >> built',
            "switch": "cat app.txt >> ../../live.log",
        }  # fmt: skip
        place = Environment(**{**own, **changes})
        return SshAdapter(self.folder, "production", Deploy("ssh", place, place, timeout=20))

    def release(self, number: int) -> Release:
        return Release(self.folder / "repo", self.commits[number], "d" * 64)

    def live(self) -> str:
        return (self.path / "current" / "app.txt").read_text()


@pytest.fixture(params=["asyncssh", pytest.param("sshd", marks=pytest.mark.long)])
def machine(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Machine]:
    """Behind a library's server, and behind OpenSSH's own where that is installed."""
    if request.param == "sshd" and PROGRAM is None:
        pytest.skip("no sshd is installed")
    kind = SshServer if request.param == "asyncssh" else OpenSshServer
    with kind(tmp_path / "ssh") as server:
        yield Machine(tmp_path, server)


async def test_releases_stand_beside_each_other_and_a_link_leads_to_the_live_one(
    machine: Machine,
) -> None:
    one, two = machine.release(0), machine.release(1)
    adapter = machine.adapter()
    assert await adapter.live() == ""
    assert await adapter.bring_up(one) == "http://web"
    assert await adapter.live() == ""
    built = machine.path / "releases" / one.commit / "built"
    assert built.read_text() == f"app 1it's $HOME {one.commit}\n"
    assert await adapter.switch(one) == "http://web"
    assert (await adapter.live(), machine.live()) == (one.commit, "app 1")
    # Again, as after a crash: nothing is unpacked or built twice.
    await machine.adapter(deploy="exit 9").bring_up(one)
    await adapter.bring_up(two)
    assert machine.live() == "app 1"
    await adapter.switch(two)
    await adapter.switch(two)  # a crash after the switch: what was live before is still known
    assert machine.live() == "app 2"
    assert await adapter.roll_back(two) == one.commit
    assert machine.live() == "app 1"
    assert not (machine.path / "releases" / two.commit).exists()
    assert (machine.path / "live.log").read_text().startswith("app 1app 2")


async def test_the_first_release_goes_back_to_nothing(machine: Machine) -> None:
    adapter, one = machine.adapter(), machine.release(0)
    await adapter.bring_up(one)
    await adapter.switch(one)
    assert await machine.adapter(roll_back="true").roll_back(one) == ""


async def test_what_fails_is_named_and_leaves_no_half_release(machine: Machine) -> None:
    one = machine.release(0)
    with pytest.raises(DeployError, match="ended with exit 7: broken"):
        await machine.adapter(deploy="echo broken >&2; exit 7").bring_up(one)
    assert not (machine.path / "releases" / one.commit).exists()
    await machine.adapter().bring_up(one)
    (machine.folder / "ssh" / "authorized").unlink()
    (machine.folder / "ssh" / "identity").unlink()
    with pytest.raises(DeployError, match="ended with exit 255"):
        await machine.adapter().live()


async def test_what_is_no_commit_reaches_no_shell(machine: Machine) -> None:
    sly = Release(machine.folder / "repo", f"x; touch {machine.folder}/y", "d")
    with pytest.raises(DeployError, match="is no commit"):
        await machine.adapter().bring_up(sly)
    assert not machine.path.exists() and not (machine.folder / "y").exists()
