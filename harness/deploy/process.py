"""Deploys to a supervised local service: blue and green instances beside each other, one live."""

import asyncio
import contextlib
import fcntl
import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from harness.deploy.adapter import Release
from harness.deploy.instance import Spec
from harness.record import files
from orchestrator.deploy.values import Deploy, EnvironmentName
from orchestrator.errors import DeployError

#: How often it is looked whether an instance is ready. Seconds.
_LOOK = 0.1
COLOURS = ("blue", "green")


class ProcessAdapter:
    """`harness.deploy.adapter.Adapter` over a folder of `harness.deploy.supervisor`."""

    def __init__(self, folder: Path, name: EnvironmentName, settings: Deploy) -> None:
        self._folder = folder
        self._name = name
        self._settings = settings

    async def live(self) -> str:
        wanted = self._wanted()
        found = wanted["instances"].get(wanted["live"])
        return found["commit"] if found else ""

    async def bring_up(self, release: Release) -> str:
        """Beside the live one; the one that is not live makes room. Its own address."""
        name = self._colour(release)
        with self._changing() as wanted:
            wanted["instances"][name] = self._spec(release).store()
        state = await self._until(lambda s: self._is_ready(s, name, release), release)
        return f"http://127.0.0.1:{state['instances'][name]['port']}"

    async def switch(self, release: Release) -> str:
        """Make it live; the other one stays as it is, to go back to."""
        name = self._colour(release)
        with self._changing() as wanted:
            if wanted["instances"].get(name, {}).get("commit") != release.commit:
                raise DeployError(f"{self._name}: {release.commit[:12]} was never brought up")
            if wanted["live"] != name:
                wanted["before"] = wanted["live"]
            wanted["live"] = name
        state = await self._until(lambda s: s["live"] == name and s["port"], release)
        with self._changing() as wanted:
            wanted["listen"] = state["port"]  # the address stays, whatever is started again
        return f"http://127.0.0.1:{state['port']}"

    def keep_up(self) -> None:
        """What should run, runs: a supervisor does not survive its machine."""
        if self._wanted()["instances"]:
            self._ensure()

    async def roll_back(self, release: Release) -> str:
        """Live is what was live before; the release is taken away. What is live then."""
        with self._changing() as wanted:
            live = wanted["instances"].get(wanted["live"], {}).get("commit")
            if live == release.commit:
                wanted["live"] = wanted.get("before", "")
            keep = wanted["instances"].get(wanted["live"])
            wanted["instances"] = {wanted["live"]: keep} if keep else {}
            name = wanted["live"]
        if not keep:
            return ""
        # Only when the port leads back may what stood there be taken away.
        await self._until(lambda s: s["live"] == name and set(s["instances"]) == {name}, release)
        return str(keep["commit"])

    def _spec(self, release: Release) -> Spec:
        own = self._settings
        env = {
            **own.environment(self._name).env,
            "FIBREFLOW_COMMIT": release.commit,
            "FIBREFLOW_ENVIRONMENT": self._name,
            "PORT": str(own.port),
        }
        return Spec(
            namespace=f"deploy-{self._place()}-{self._colour(release)}",
            repo=str(release.repo),
            commit=release.commit,
            digest=release.digest,
            setup=release.setup,
            command=own.command,
            port=own.port,
            health=own.health,
            env=env,
        )

    def _place(self) -> str:
        """Keeps the sandboxes of this environment apart from those of all others here."""
        return hashlib.sha256(str(self._folder.resolve()).encode()).hexdigest()[:12]

    def _colour(self, release: Release) -> str:
        """That of the commit if it is there, else the one that is not live."""
        wanted = self._wanted()
        for name, data in wanted["instances"].items():
            if data["commit"] == release.commit:
                return str(name)
        return next(name for name in COLOURS if name != wanted["live"])

    def _is_ready(self, state: dict[str, Any], name: str, release: Release) -> bool:
        found = state["instances"].get(name, {})
        # Its own port is there already; the one that it is for has to be as well.
        up = found.get("commit") == release.commit and bool(found.get("healthy"))
        return up and bool(state["port"])

    async def _until(self, ready: Callable[[dict[str, Any]], object], release: Release) -> Any:
        self._ensure()
        end = asyncio.get_running_loop().time() + self._settings.timeout
        while True:
            state = self.state()
            if state is not None and ready(state):
                return state
            if asyncio.get_running_loop().time() > end:
                raise DeployError(self._why(state, release))
            await asyncio.sleep(_LOOK)

    def _why(self, state: dict[str, Any] | None, release: Release) -> str:
        if state is not None and not state["port"]:
            return f"{self._name}: {state['error']}; end what has it, or change `listen`"
        rows = (state or {}).get("instances", {}).values()
        errors = [row["error"] for row in rows if row["commit"] == release.commit]
        said = errors[0] if errors and errors[0] else "it does not answer"
        return (
            f"{self._name}: no healthy service within {self._settings.timeout:g} s at "
            f"{self._settings.health} on port {self._settings.port}: {said}; logs in {self._folder}"
        )

    def state(self) -> dict[str, Any] | None:
        """What the supervisor last said, None when none is at work."""
        if not self._alive():
            return None
        try:
            data: dict[str, Any] = json.loads((self._folder / "state.json").read_bytes())
        except (OSError, ValueError):
            return None
        return data

    def stop(self) -> bool:
        """End the environment with all that runs in it; whether anything did."""
        state = self.state()
        with self._changing() as wanted:
            wanted["instances"], wanted["live"] = {}, ""
        if state is None:
            return False
        with contextlib.suppress(ProcessLookupError):
            os.kill(state["pid"], signal.SIGTERM)
        return True

    def _alive(self) -> bool:
        try:
            with (self._folder / "supervisor.lock").open("a") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False

    def _ensure(self) -> None:
        """A supervisor that outlives this process and its terminal."""
        if self._alive():
            return
        with (self._folder / "supervisor.log").open("ab") as log:
            subprocess.Popen(
                [sys.executable, "-m", "harness.deploy.supervisor", str(self._folder)],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                env={**os.environ, "PYTHONPATH": _root()},
            )  # fmt: skip

    def _wanted(self) -> dict[str, Any]:
        try:
            data: dict[str, Any] = json.loads((self._folder / "wanted.json").read_bytes())
        except FileNotFoundError:
            listen = self._settings.environment(self._name).listen
            return {"listen": listen, "live": "", "before": "", "instances": {}}
        return data

    @contextlib.contextmanager
    def _changing(self) -> Iterator[dict[str, Any]]:
        self._folder.mkdir(parents=True, exist_ok=True)
        wanted = self._wanted()
        before = json.dumps(wanted)
        yield wanted
        if json.dumps(wanted) != before:
            files.replace_json(self._folder / "wanted.json", wanted)


def _root() -> str:
    """Where the packages are, for a program that was started as a file."""
    return str(Path(__file__).resolve().parents[2])
