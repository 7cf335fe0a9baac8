"""Sandbox providers by name."""

import os
import sys
from pathlib import Path

from harness.ports import Observe, SandboxProvider
from orchestrator.errors import InputError, SandboxUnavailableError

#: Names that `provider` accepts.
NAMES = ("local", "process", "e2b", "docker", "podman")
#: Where the repository lies inside of a sandbox, for reading what failed there: the local
#: provider's folder, and E2B's. Others print relative paths, or are not recognised.
WORKDIRS = ("/work", "/home/agent/work")


def default(path: str | None = None, *, isolates: bool | None = None) -> str:
    """The provider where none is named: `local`, or the container engine that is installed (on
    `path`) where this machine has no user namespaces for it. With neither it is `local`, which
    refuses to open and says what to do. `isolates` is found by trying where it is not given.
    """
    from harness.sandboxes import containers  # noqa: PLC0415 - of the machine, asked once

    engine = containers.installed(path)
    if not engine or isolates:
        return "local"
    return engine if isolates is False or containers.needed() else "local"


def check(name: str) -> None:
    """What can be said before anything is opened. Raises `SandboxUnavailableError` where the
    provider called `name` lacks something that the user has to set."""
    if name == "e2b":
        from harness.sandboxes.e2b.settings import read_settings  # noqa: PLC0415 - load only this one

        read_settings(os.environ)


def provider(
    name: str,
    namespace: str,
    *,
    state: Path | None = None,
    cache: Path | None = None,
    observe: Observe | None = None,
) -> SandboxProvider:
    """The provider called `name`; `namespace` (a run's id) keeps its workspaces apart.
    `observe` is told of every connection that leaves a sandbox, or was refused.

    Raises `InputError` for a name that is not one of `NAMES`, `SandboxUnavailableError` where it
    cannot be had here, such as `e2b` without its key.
    """
    if name == "local":
        if sys.platform != "linux":
            from harness.sandboxes.containers import refusal  # noqa: PLC0415 - elsewhere only

            raise SandboxUnavailableError(refusal(sys.platform))
        from harness.sandboxes.local import LocalSandboxProvider  # noqa: PLC0415 - load only this one

        return LocalSandboxProvider(namespace, state, cache, observe)
    if name == "process":
        from harness.sandboxes.process import ProcessSandboxProvider  # noqa: PLC0415 - load only this one

        return ProcessSandboxProvider(namespace, state, cache)
    if name == "e2b":
        from harness.sandboxes.e2b.provider import E2BSandboxProvider  # noqa: PLC0415 - load only this one

        return E2BSandboxProvider(namespace, state, cache)
    if name in {"docker", "podman"}:
        from harness.sandboxes.docker import ContainerSandboxProvider  # noqa: PLC0415 - load only this one

        return ContainerSandboxProvider(name, namespace, state, cache)
    raise InputError(f"no sandbox provider is called {name!r}; choose one of {', '.join(NAMES)}")
