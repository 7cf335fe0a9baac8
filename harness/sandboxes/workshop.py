"""The sandbox a setup command runs in: the only one with a network and a writable environment."""

import asyncio
import configparser
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from harness.ports import BaseSpec, ExecResult, SandboxLimits
from harness.sandboxes.allowlist import named_services
from harness.sandboxes.bases import COPIES, Layers
from harness.sandboxes.cage import Place
from harness.sandboxes.claim import make_folders
from harness.sandboxes.folders import remove_tree
from harness.sandboxes.opening import Opened
from harness.sandboxes.toolbox import put_back
from harness.sandboxes.workspace import LocalSandbox
from orchestrator.errors import SandboxError

#: The user's settings for package installers, kept for setup and nothing else: they may hold
#: tokens. Compared in lower case. Proxies are not among them: the sandbox has its own, which
#: goes by way of them.
_INSTALLER_SETTINGS = ("pip_", "uv_", "npm_config_", "ssl_cert_file", "requests_ca_bundle",
                       "node_extra_ca_certs", "cargo_http_", "goproxy", "gonosumdb",
                       "goflags")  # fmt: skip
_SETUP_LIMITS = SandboxLimits(
    memory_mb=8192, processes=4096, open_files=65536, file_mb=16384, disk_mb=32768,
    inodes=5_000_000,
)  # fmt: skip
_INSPECT_SECONDS = 120.0
_INDEX_BYTES = 256_000_000  # a git index has about 100 bytes per file


class LocalWorkshop:
    """See `harness.sandboxes.bases.Workshop`."""

    def __init__(self, opened: Opened) -> None:
        self._opened = opened

    async def run(self, spec: BaseSpec, layers: Layers, folder: Path) -> ExecResult:
        text, settings = folder / "pip.conf", _installer_settings()
        text.write_text(_pip_configuration(), encoding="utf-8")
        # What the installers of this machine are told to use is meant, wherever it is.
        named = named_services((text.read_text(encoding="utf-8"), *settings.values()))
        limits = replace(_SETUP_LIMITS, allow=(*spec.allow, *named))

        async def install(layers: Layers) -> ExecResult:
            place = await self._place(layers, folder)
            place = replace(place, writable_env=True, host_files=((text, "/etc/pip.conf"),))
            sandbox = self._sandbox(place, limits)
            return await sandbox.exec(spec.setup or "", env=settings, timeout=spec.setup_timeout)

        try:
            result = await install(layers)
            if spec.workspaces == "auto" and layers.overlay and _refused_by_overlay(result):
                # What it wrote is mended best by running it again where it can do all it wants.
                for left in ("upper", "home"):
                    await asyncio.to_thread(remove_tree, folder / left)
                (folder / COPIES).touch()
                result = await install(replace(layers, overlay=False))
        finally:
            text.unlink()
        if result.ok:
            await asyncio.to_thread(put_back, self._opened.toolbox, folder / "env")
        return result

    async def inspect(self, command: str, layers: Layers, folder: Path) -> bytes:
        sandbox = self._sandbox(await self._place(layers, folder), SandboxLimits())
        result = await sandbox.exec(command, timeout=_INSPECT_SECONDS, limit=_INDEX_BYTES)
        if not result.ok or result.truncated:
            said = result.err.decode("utf-8", "replace").strip()[-500:]
            raise SandboxError(f"`{command}` failed while a base was prepared: {said}")
        return result.out

    async def _place(self, layers: Layers, folder: Path) -> Place:
        make_folders(folder)
        overlay = self._opened.overlay and layers.overlay
        return Place(layers, folder, self._opened.root, overlay=overlay)

    def _sandbox(self, place: Place, limits: SandboxLimits) -> LocalSandbox:
        return LocalSandbox("setup", self._opened.shop, place, limits)


def _refused_by_overlay(result: ExecResult) -> bool:
    """Whether it failed for want of renaming a folder of the base (EXDEV, in the C library's
    words): an overlay that a plain user mounts cannot."""
    return not result.ok and b"cross-device link" in result.out + result.err


def _installer_settings() -> Mapping[str, str]:
    return {
        name: value
        for name, value in os.environ.items()
        if name.lower().startswith(_INSTALLER_SETTINGS) and not name.lower().endswith("_proxy")
    }


def _pip_configuration() -> str:
    """The host's pip configuration files as one, the later ones winning as they do for pip."""
    home = Path(os.path.expanduser("~"))  # noqa: PTH111 - no error without a home
    config_home = Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config")
    files = [Path("/etc/xdg/pip/pip.conf"), Path("/etc/pip.conf"), home / ".pip" / "pip.conf",
             config_home / "pip" / "pip.conf"]  # fmt: skip
    merged = configparser.RawConfigParser(strict=False)
    for file in files:
        try:
            merged.read(file, encoding="utf-8")
        except (OSError, configparser.Error, UnicodeDecodeError):
            continue  # pip would complain about it; a setup that needs it will fail and say so
    lines: list[str] = []
    for section in merged.sections():
        lines.append(f"[{section}]")
        for option, value in merged.items(section):
            if option == "proxy":
                continue
            lines.append(f"{option} = " + value.replace("\n", "\n    "))
    return "\n".join(lines) + "\n"
