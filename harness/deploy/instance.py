"""One instance of the service: a sandbox of its own with the commit in it, until its input ends.

python -m harness.deploy.instance SPEC.json      # frames of `harness.deploy.relay` on 0 and 1
"""

import asyncio
import contextlib
import json
import os
import sys
import threading
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from harness import sandboxes
from harness.deploy import relay
from harness.ports import BaseSpec, SandboxLimits
from orchestrator.errors import FibreFlowError, SandboxUnavailableError

#: What the relay may say before it is only read on. Bytes.
_WORDS = 65_536
#: A service's share of the machine; what it leaks must not take the rest.
LIMITS = SandboxLimits(memory_mb=2048, processes=256)


@dataclass(frozen=True, slots=True)
class Spec:
    """What an instance is made of. `env` is all of the environment that the service is given
    besides the sandbox's own; `namespace` keeps its sandbox apart. `address` (host:port): it runs
    there already, kept up by others, and is only led to."""

    namespace: str
    repo: str
    commit: str
    digest: str
    setup: str | None
    command: tuple[str, ...]
    port: int
    health: str
    env: dict[str, str]
    address: str = ""

    def store(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def load(cls, data: dict[str, Any]) -> "Spec":
        return cls(**{**data, "command": tuple(data["command"])})


async def run(spec: Spec) -> int:
    provider = sandboxes.provider("local", spec.namespace)
    try:
        base = await provider.prepare(
            BaseSpec(repo=Path(spec.repo), commit=spec.commit, setup=spec.setup)
        )
        box = await provider.create(base, "service", limits=LIMITS)
        attach = getattr(box, "attach", None)
        if attach is None:
            raise SandboxUnavailableError("the adapter process needs the sandbox provider local")
        text = Path(relay.__file__).read_text(encoding="utf-8")
        argv = ["python", "-I", "-c", text, str(spec.port), *spec.command]
        with _words() as words:
            result = await attach(argv, (0, 1, words), env=spec.env)
        return int(result.exit)
    finally:
        await provider.close(remove=True)


@contextlib.contextmanager
def _words() -> Iterator[int]:
    """A descriptor for the relay's own words, of which the first are printed: the log itself is no
    file for a sandbox to hold."""
    ours, theirs = os.pipe()
    printing = threading.Thread(target=_print, args=(ours,), daemon=True)
    printing.start()
    try:
        yield theirs
    finally:
        os.close(theirs)
        printing.join(5)


def _print(source: int) -> None:
    left = _WORDS
    with open(source, "rb", buffering=0) as stream:
        while data := stream.read(_WORDS):
            os.write(2, data[:left])
            left = max(0, left - len(data))


def main() -> int:
    spec = Spec.load(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
    try:
        return asyncio.run(run(spec))
    except FibreFlowError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201 - the supervisor's log
        return error.exit_code


if __name__ == "__main__":
    raise SystemExit(main())
