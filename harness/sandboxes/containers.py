"""The command line of docker or podman: which engine, which image, which arguments."""

import json
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from harness.ports import SandboxLimits
from orchestrator.errors import SandboxError, SandboxUnavailableError

ENGINES = ("docker", "podman")
WORKDIR = "/work"
BASE_GIT = "/run/fibreflow/base.git"
HOME = "/home/agent"
ENV = "/opt/env"
#: It has git, which the slim ones lack.
_IMAGE = f"docker.io/library/python:{sys.version_info[0]}.{sys.version_info[1]}"
#: Limit -> what docker calls it, and podman.
_HELD_BY = {
    "memory_mb": ("MemoryLimit", "memory"),
    "processes": ("PidsLimit", "pids"),
    "cpus": ("CpuCfsQuota", "cpu"),
}
_NEEDED = frozenset({"memory_mb", "processes"})
_SECONDS = 20.0
_PULL_SECONDS = 900.0
_SHM = "256m"
#: What podman bounds itself to when it starts.
_PODMAN_PROCESSES = 32768


@dataclass(frozen=True, slots=True)
class Engine:
    """A program that answers. `image` is a content digest: a tag may mean another one tomorrow.
    `holds`: the limits that control groups hold for it."""

    program: str
    name: str
    image: str = ""
    holds: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Container:
    """One command's container. `mounts`: host folder, place inside, writable."""

    name: str
    mounts: Sequence[tuple[Path, str, bool]]
    limits: SandboxLimits
    labels: Mapping[str, str] = field(default_factory=dict)
    network: bool = False  # setup alone


def arguments(
    engine: Engine, box: Container, argv: Sequence[str], env: Mapping[str, str], cwd: str
) -> list[str]:
    """The whole command that runs `argv` in the new container `box`, and removes it at its end."""
    args = [
        engine.program, "run", "--rm", "--interactive", "--pull=never", "--name", box.name,
        # PID 1 is the engine's; when the command ends, all that it left ends.
        "--init", "--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges",
        f"--network={'bridge' if box.network else 'none'}", "--ipc=private",
        "--hostname=sandbox", f"--shm-size={_SHM}", "--user", f"{os.getuid()}:{os.getgid()}",
        "--workdir", cwd, "--log-driver=none",
    ]  # fmt: skip
    if engine.name == "podman" and os.getuid() != 0:
        args.append("--userns=keep-id")  # or the files would belong to another user
    args += _limits(box.limits, own=engine.name == "podman")
    for name, value in box.labels.items():
        args += ["--label", f"{name}={value}"]
    for source, target, writable in box.mounts:
        mode = "" if writable else ",readonly"
        args += ["--mount", f"type=bind,src={source},dst={target}{mode}"]
    for name, value in env.items():
        args += ["--env", f"{name}={value}"]
    # The image's own entry point might do anything with the arguments.
    return [*args, "--entrypoint", argv[0], engine.image, *argv[1:]]


def _limits(limits: SandboxLimits, *, own: bool) -> list[str]:
    """`own`: the engine runs as this user, and can give no more than that has been given."""
    ulimits: dict[str, int | None] = {"core": 0, "nofile": limits.open_files}
    ulimits["fsize"] = None if limits.file_mb is None else limits.file_mb << 20
    if own:  # podman itself would ask for all there is, which root without a capability cannot
        most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        ulimits["nofile"] = min(limits.open_files or most, most)
        most = resource.getrlimit(resource.RLIMIT_NPROC)[1]
        ulimits["nproc"] = min(most, _PODMAN_PROCESSES) if most >= 0 else _PODMAN_PROCESSES
    args = [
        word
        for name, value in ulimits.items()
        if value is not None
        for word in ("--ulimit", f"{name}={value}")
    ]
    if limits.memory_mb is not None:
        args += [f"--memory={limits.memory_mb}m", f"--memory-swap={limits.memory_mb}m"]
    if limits.processes is not None:
        args.append(f"--pids-limit={limits.processes + 1}")  # and the engine's PID 1
    if limits.cpus is not None:
        args.append(f"--cpus={limits.cpus:g}")
    return args


def find(wanted: str, path: str | None = None) -> Engine:
    """The engine called `wanted`, with the digest of the image to use, fetched where it is not
    here. Blocks.

    $FIBREFLOW_IMAGE names another image than Python's official one. Raises
    `SandboxUnavailableError` as `answering` does, or where the image cannot be had, or neither
    memory nor processes would be limited.
    """
    engine = answering(wanted, path)
    if missing := _NEEDED - engine.holds:
        raise SandboxUnavailableError(
            f"{wanted} cannot limit {', '.join(sorted(missing))} for this user here: it has no "
            "control group for them (version 1, or not delegated); run it as root, delegate "
            "control groups to this user, or take another --sandbox"
        )
    named = os.environ.get("FIBREFLOW_IMAGE") or _IMAGE
    return replace(engine, image=_digest(engine, named))


def answering(wanted: str, path: str | None = None) -> Engine:
    """The engine called `wanted`. Blocks. Raises `SandboxUnavailableError` where there is no such
    program, or it has no service to talk to."""
    program = shutil.which(wanted, path=path)
    if program is None:
        raise SandboxUnavailableError(
            f"{wanted} is not installed; install it, or take another of --sandbox local, process"
        )
    done = _ask([program, "version", "--format", "{{.Server.Version}}"])
    if done.returncode != 0:
        raise SandboxUnavailableError(
            f"{program} does not answer: {_said(done)}; start its service, or let this user talk "
            "to it"
        )
    said = _ask([program, "info", "--format", "{{json .}}"])
    # What is installed as docker may be podman under that name.
    name = "podman" if b'"cgroupControllers"' in said.stdout else wanted
    return Engine(program, name, holds=held(said.stdout))


def held(information: bytes) -> frozenset[str]:
    """The limits that an engine's control groups hold, by what its `info` says as JSON: docker
    of each limit, podman of each controller."""
    try:
        said = json.loads(information)
    except ValueError:
        return frozenset()
    controllers = said.get("host", {}).get("cgroupControllers") or ()
    return frozenset(
        limit
        for limit, (docker, podman) in _HELD_BY.items()
        if said.get(docker) or podman in controllers
    )


def _digest(engine: Engine, image: str) -> str:
    look = [engine.program, "image", "inspect", "--format", "{{.Id}}", image]
    done = _ask(look)
    if done.returncode != 0:
        pulled = _ask([engine.program, "pull", "--quiet", image], _PULL_SECONDS)
        done = _ask(look) if pulled.returncode == 0 else pulled
    found = done.stdout.decode("utf-8", "replace").strip()
    if done.returncode != 0 or not found:
        raise SandboxUnavailableError(
            f"{engine.name} has no image {image} and cannot fetch it: {_said(done)}; set "
            "FIBREFLOW_IMAGE to one that it has, with python and git in it"
        )
    return found if ":" in found else f"sha256:{found}"  # podman leaves the algorithm out


def kill(engine: Engine, name: str) -> None:
    """End a container and wait until it is gone. Blocks. Raises `SandboxError`."""
    # podman asks first, and waits ten seconds for an answer
    at_once = ["--time=0"] if engine.name == "podman" else []
    done = _ask([engine.program, "rm", "--force", *at_once, name])
    if done.returncode != 0 and b"o such container" not in done.stderr:
        raise SandboxError(f"{engine.name} cannot remove the container {name}: {_said(done)}")


def left(engine: Engine, label: str) -> dict[str, str]:
    """Containers with this label, running or not: id -> its value. Blocks."""
    form = f'{{{{.ID}}}} {{{{.Label "{label}"}}}}'
    done = _ask([engine.program, "ps", "--all", "--filter", f"label={label}", "--format", form])
    lines = done.stdout.decode("utf-8", "surrogateescape").splitlines()
    pairs = (line.partition(" ") for line in lines if done.returncode == 0)
    return {id_: value for id_, _, value in pairs}


def first_process(engine: Engine, name: str) -> int:
    """Its number where the engine runs, 0 for a container that does not run. Blocks."""
    done = _ask([engine.program, "inspect", "--format", "{{.State.Pid}}", name])
    return int(done.stdout) if done.stdout.strip().isdigit() else 0


def cpu_seconds(engine: Engine, name: str) -> float:
    """Processor time that a running container has used, 0 where it does not say. Blocks."""
    # Control groups of version 2 count in microseconds, those of version 1 in nanoseconds.
    look = "cat /sys/fs/cgroup/cpu.stat || cat /sys/fs/cgroup/cpuacct/cpuacct.usage"
    done = _ask([engine.program, "exec", name, "/bin/sh", "-c", look])
    words = done.stdout.decode("ascii", "replace").split()
    if words[:1] == ["usage_usec"]:
        return int(words[1]) / 1e6
    return int(words[0]) / 1e9 if words and words[0].isdigit() else 0.0


def _ask(command: list[str], seconds: float = _SECONDS) -> "subprocess.CompletedProcess[bytes]":
    try:
        return subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=seconds, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return subprocess.CompletedProcess(command, 125, b"", str(error).encode())


def _said(done: "subprocess.CompletedProcess[bytes]") -> str:
    return done.stderr.decode("utf-8", "replace").strip()[-300:] or f"exit {done.returncode}"


def refusal(platform: str, path: str | None = None) -> str:
    """Why `local` cannot be had on that platform (as in `sys.platform`), and what there is
    instead; empty on Linux."""
    if platform == "linux":
        return ""
    return f"the provider `local` needs Linux, and this is {platform}; {instead(path)}"


def installed(path: str | None = None) -> str:
    """The engine that is installed here, its service running or not; empty for none."""
    return next((name for name in ENGINES if shutil.which(name, path=path)), "")


def needed() -> bool:
    """Whether this user may make no user namespaces here. Blocks, for milliseconds."""
    words = ["unshare", "--user", "--map-current-user", "--pid", "--fork", "true"]
    return sys.platform != "linux" or _ask(words).returncode != 0


def instead(path: str | None = None) -> str:
    """What to pass where `local` cannot be had."""
    if found := installed(path):
        return f"pass --sandbox {found}, which is installed here"
    return "install docker or podman and pass --sandbox docker, or run it on Linux"
