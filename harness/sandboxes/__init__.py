"""Sandbox providers by name."""

from pathlib import Path

from harness.ports import SandboxProvider
from orchestrator.errors import InputError

#: Names that `provider` accepts.
NAMES = ("local", "process")


def provider(
    name: str, namespace: str, *, state: Path | None = None, cache: Path | None = None
) -> SandboxProvider:
    """The provider called `name`; `namespace` (a run's id) keeps its workspaces apart.

    Raises `InputError` for a name that is not one of `NAMES`.
    """
    if name == "local":
        from harness.sandboxes.local import LocalSandboxProvider  # noqa: PLC0415 - load only this one

        return LocalSandboxProvider(namespace, state, cache)
    if name == "process":
        from harness.sandboxes.process import ProcessSandboxProvider  # noqa: PLC0415 - load only this one

        return ProcessSandboxProvider(namespace, state, cache)
    raise InputError(f"no sandbox provider is called {name!r}; choose one of {', '.join(NAMES)}")
