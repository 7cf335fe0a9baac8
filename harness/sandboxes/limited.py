"""A provider as one run uses it: with its profile's limits wherever no others are asked for."""

from collections.abc import Mapping, Sequence

from harness.ports import (
    Base,
    BaseSpec,
    Capabilities,
    Sandbox,
    SandboxInfo,
    SandboxLimits,
    SandboxProvider,
)
from harness.sandboxes import asking


class LimitedProvider:
    """`provider` with other default limits. See `harness.ports.SandboxProvider`.

    Raises `SandboxUnavailableError` at once when it cannot hold them.
    """

    def __init__(self, provider: SandboxProvider, limits: SandboxLimits) -> None:
        self.name = provider.name
        self._provider = provider
        self._limits = asking.checked(provider.name, provider.capabilities, limits)

    @property
    def capabilities(self) -> Capabilities:
        return self._provider.capabilities

    async def prepare(self, spec: BaseSpec) -> Base:
        return await self._provider.prepare(spec)

    async def create(
        self,
        base: Base,
        key: str,
        *,
        labels: Mapping[str, str] | None = None,
        limits: SandboxLimits | None = None,
    ) -> Sandbox:
        asked = limits or self._limits
        return await self._provider.create(base, key, labels=labels, limits=asked)

    async def fork(
        self,
        base: Base,
        keys: Sequence[str],
        *,
        labels: Mapping[str, str] | None = None,
        limits: SandboxLimits | None = None,
    ) -> tuple[Sandbox, ...]:
        asked = limits or self._limits
        return await self._provider.fork(base, keys, labels=labels, limits=asked)

    async def connect(self, id: str) -> Sandbox:  # noqa: A002 - the port's word for it
        return await self._provider.connect(id)

    async def list(
        self, labels: Mapping[str, str] | None = None, *, namespace: str | None = None
    ) -> tuple[SandboxInfo, ...]:
        return await self._provider.list(labels, namespace=namespace)

    async def snapshot(self, sandbox: Sandbox) -> Base:
        return await self._provider.snapshot(sandbox)

    async def reap(self, namespace: str | None = None) -> int:
        return await self._provider.reap(namespace)

    async def close(self, *, remove: bool = False) -> None:
        await self._provider.close(remove=remove)
