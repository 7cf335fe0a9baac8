"""What is asked of docker and podman, without either; with one, the port's own suite runs on it."""

import asyncio
import os
import resource
import sys
from pathlib import Path

import pytest

from harness.ports import BaseSpec, SandboxLimits
from harness.sandboxes import containers, default
from harness.sandboxes import provider as by_name
from harness.sandboxes.bases import Layers
from harness.sandboxes.container_box import ContainerSandbox, environment
from harness.sandboxes.containers import Container, Engine, arguments
from harness.sandboxes.docker import ContainerSandboxProvider
from orchestrator.errors import SandboxError, SandboxUnavailableError

IMAGE = "sha256:" + "a" * 64
DOCKER = Engine("/usr/bin/docker", "docker", IMAGE)
PODMAN = Engine("/usr/bin/podman", "podman", IMAGE)
NOTHING = SandboxLimits(
    memory_mb=None, processes=None, open_files=None, file_mb=None, disk_mb=None, inodes=None
)


def words(engine: Engine = DOCKER, limits: SandboxLimits = NOTHING, **more: bool) -> list[str]:
    mounts = (
        (Path("/ws/upper"), "/work", True),
        (Path("/b.git"), "/run/fibreflow/base.git", False),
    )
    box = Container("c1", mounts, limits, {"fibreflow.workspace": "/ws"}, **more)
    return arguments(engine, box, ["git", "log", "--rm"], {"A": "b c"}, "/work/sub")


@pytest.mark.parametrize("engine", [DOCKER, PODMAN])
def test_a_container_can_do_nothing_it_need_not(engine: Engine) -> None:
    said = words(engine)
    for needed in ("--rm", "--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges",
                   "--network=none", "--pull=never", "--init", "--ipc=private"):  # fmt: skip
        assert needed in said
    for never in ("--privileged", "--cap-add", "--device", "--pid=host", "--volume", "-v"):
        assert not [w for w in said if w.startswith(never)]
    assert not [w for w in said if "docker.sock" in w]
    assert said[said.index("--user") + 1] == f"{os.getuid()}:{os.getgid()}"


def test_mounts_variables_labels_and_the_command_come_through_whole() -> None:
    said = words()
    mounts = [said[n + 1] for n, w in enumerate(said) if w == "--mount"]
    assert mounts == [
        "type=bind,src=/ws/upper,dst=/work",
        "type=bind,src=/b.git,dst=/run/fibreflow/base.git,readonly",
    ]
    assert said[said.index("--env") + 1] == "A=b c"
    assert said[said.index("--label") + 1] == "fibreflow.workspace=/ws"
    assert said[said.index("--workdir") + 1] == "/work/sub"
    # By digest, with the command instead of the image's entry point, options last of all.
    assert said[-5:] == ["--entrypoint", "git", IMAGE, "log", "--rm"]


def test_limits_are_the_engines_own() -> None:
    limits = SandboxLimits(memory_mb=64, processes=10, open_files=99, file_mb=2, cpus=1.5)
    said = words(limits=limits)
    for needed in ("--memory=64m", "--memory-swap=64m", "--pids-limit=11", "--cpus=1.5"):
        assert needed in said
    ulimits = [said[n + 1] for n, w in enumerate(said) if w == "--ulimit"]
    assert ulimits == ["core=0", "nofile=99", "fsize=2097152"]
    assert not [w for w in words() if w.startswith(("--memory", "--pids", "--cpus"))]


def test_podman_asks_for_no_more_than_this_process_has() -> None:
    said = words(PODMAN, SandboxLimits(open_files=1 << 30))
    ulimits = dict(said[n + 1].split("=") for n, w in enumerate(said) if w == "--ulimit")
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    assert int(ulimits["nofile"]) == min(most, 1 << 30)
    # It bounds itself to that many processes at its start, and could give no more.
    assert 0 < int(ulimits["nproc"]) <= 32768
    assert "nofile=1073741824" in words(limits=SandboxLimits(open_files=1 << 30))


def test_setup_alone_has_a_network() -> None:
    assert "--network=bridge" in words(network=True)
    assert "--network=none" not in words(network=True)


def test_podman_without_root_keeps_the_files_ones_own() -> None:
    assert ("--userns=keep-id" in words(PODMAN)) == (os.getuid() != 0)
    assert "--userns=keep-id" not in words(DOCKER)


def test_nothing_of_the_callers_environment_is_passed() -> None:
    made = environment(Layers((), Path("/g"), Path("/e"), variables={"MINE": "1"}))
    assert made["MINE"] == "1"
    assert not {"SSH_AUTH_SOCK", "ANTHROPIC_API_KEY", "DOCKER_HOST"} & set(made)


# ------------------------------------------------------------- where it cannot be had


def test_a_missing_engine_is_refused_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(SandboxUnavailableError, match="docker is not installed"):
        containers.find("docker", path=str(tmp_path))


def script(folder: Path, name: str, text: str) -> str:
    file = folder / name
    file.write_text(f"#!/bin/sh\n{text}\n")
    file.chmod(0o755)
    return str(folder)


def test_an_engine_without_a_service_is_refused_with_what_it_said(tmp_path: Path) -> None:
    path = script(tmp_path, "docker", "echo 'cannot connect to the daemon' >&2; exit 1")
    with pytest.raises(SandboxUnavailableError, match="cannot connect to the daemon"):
        containers.find("docker", path=path)


ANSWERS = """case "$1 $2" in
"version --format") echo 1.0 ;;
"info --format") echo '{{"MemoryLimit": true, "PidsLimit": true}}' ;;
"image inspect") test -e "$0.pulled" && echo {digest} || {{ echo none >&2; exit 1; }} ;;
"pull --quiet") {pull} ;;
esac"""


def test_the_image_is_fetched_once_and_used_by_its_digest(tmp_path: Path) -> None:
    answers = ANSWERS.format(digest="b" * 64, pull='touch "$0.pulled"')
    path = script(tmp_path, "podman", answers)
    assert containers.find("podman", path=path).image == "sha256:" + "b" * 64


@pytest.mark.parametrize(
    ("said", "held"),
    [
        (b'{"MemoryLimit": true, "PidsLimit": true, "CpuCfsQuota": false}', "memory_mb processes"),
        (b'{"host": {"cgroupControllers": ["cpu", "memory", "pids"]}}', "cpus memory_mb processes"),
        (b'{"host": {"cgroupControllers": null}}', ""),
        (b"Cannot connect", ""),
    ],
)
def test_what_an_engine_holds_is_asked(said: bytes, held: str) -> None:
    assert " ".join(sorted(containers.held(said))) == held


def test_an_engine_that_cannot_limit_memory_is_refused(tmp_path: Path) -> None:
    # Podman without root on control groups of version 1 ignores what it cannot hold.
    path = script(
        tmp_path,
        "docker",
        """test $1 = info && echo '{"host": {"cgroupControllers": []}}'
        test $1 = version""",
    )
    assert containers.answering("docker", path=path).name == "podman"  # under that name
    with pytest.raises(SandboxUnavailableError, match="cannot limit memory_mb, processes for this"):
        containers.find("docker", path=path)


def test_an_image_that_cannot_be_fetched_is_refused(tmp_path: Path) -> None:
    answers = ANSWERS.format(digest="", pull="echo no network >&2; exit 1")
    path = script(tmp_path, "docker", answers)
    with pytest.raises(SandboxUnavailableError, match=r"no network; set\s+FIBREFLOW_IMAGE"):
        containers.find("docker", path=path)


async def test_the_provider_refuses_before_it_makes_anything(tmp_path: Path) -> None:
    path = script(tmp_path, "docker", "exit 1")
    state = tmp_path / "state"
    made = ContainerSandboxProvider("docker", "run", state, tmp_path / "cache", path=path)
    with pytest.raises(SandboxUnavailableError):
        await made.prepare(BaseSpec(tmp_path, "HEAD"))
    assert not state.exists() or not list(state.glob("*/run"))
    assert by_name("podman", "run").name == "podman"


def test_a_container_that_cannot_be_removed_is_an_error(tmp_path: Path) -> None:
    program = Path(script(tmp_path, "docker", "echo busy >&2; exit 1")) / "docker"
    with pytest.raises(SandboxError, match="busy"):
        containers.kill(Engine(str(program), "docker"), "c1")
    script(tmp_path, "docker", "echo 'Error: No such container: c1' >&2; exit 1")
    containers.kill(Engine(str(program), "docker"), "c1")


def sandbox(folder: Path, text: str) -> ContainerSandbox:
    engine = Engine(f"{script(folder, 'podman', text)}/podman", "podman", IMAGE)
    return ContainerSandbox("a", engine, folder, Layers((), folder, folder), NOTHING)


#: Its container is there only once it was asked for in vain.
LATE = """case "$1" in
run) touch "$0.running"; until test -e "$0.removed"; do sleep 0.01; done; exit 137 ;;
rm) test -e "$0.asked" && exec touch "$0.removed"
    touch "$0.asked"; echo no such container >&2; exit 1 ;;
esac"""


async def test_a_container_that_is_just_being_made_is_ended_too(tmp_path: Path) -> None:
    command = asyncio.ensure_future(sandbox(tmp_path, LATE).exec("sleep 600"))
    while not (tmp_path / "podman.running").exists():
        await asyncio.sleep(0.01)
    command.cancel()
    with pytest.raises(asyncio.CancelledError):
        await command
    assert (tmp_path / "podman.removed").exists()


@pytest.mark.parametrize("word", ["x" * 3_000_000, "x\0--privileged"])
async def test_words_that_the_kernel_does_not_take_are_the_commands_failure(
    tmp_path: Path, word: str
) -> None:
    result = await sandbox(tmp_path, "exit 0").exec(["true", word])
    assert result.exit == 126
    assert result.err.startswith(b"cannot start the command: ")


async def test_what_an_engine_leaves_where_it_is_started_is_not_in_the_users_folder(
    tmp_path: Path,
) -> None:
    """podman's monitor writes a file `oom` there when memory was over."""
    assert (await sandbox(tmp_path, "touch oom").exec("true")).exit == 0
    assert (tmp_path / "oom").exists()


def test_what_is_left_is_found_by_its_label(tmp_path: Path) -> None:
    program = Path(script(tmp_path, "docker", "echo 'abc /a folder'; echo 'def /b'")) / "docker"
    found = containers.left(Engine(str(program), "docker"), "fibreflow.workspace")
    assert found == {"abc": "/a folder", "def": "/b"}


@pytest.mark.parametrize(
    ("answer", "seconds"),
    [("usage_usec 2500000\nuser_usec 1", 2.5), ("3000000000", 3.0), ("", 0.0)],
)
def test_processor_time_by_either_version_of_control_groups(
    tmp_path: Path, answer: str, seconds: float
) -> None:
    program = Path(script(tmp_path, "docker", f"printf '{answer}'")) / "docker"
    assert containers.cpu_seconds(Engine(str(program), "docker"), "c1") == seconds


def test_an_engine_stands_in_where_nothing_else_isolates(tmp_path: Path) -> None:
    path = str(tmp_path)
    assert default(path, isolates=True) == "local"
    assert default(path, isolates=False) == "local"  # which says what to do
    script(tmp_path, "podman", "exit 0")
    assert default(path, isolates=True) == "local"
    assert default(path, isolates=False) == "podman"
    script(tmp_path, "docker", "exit 0")
    assert default(path, isolates=False) == "docker"
    assert default(path) == ("docker" if containers.needed() else "local")


def test_systems_without_namespaces_are_sent_to_what_they_have(tmp_path: Path) -> None:
    nothing = str(tmp_path)
    assert containers.refusal("linux") == ""
    said = containers.refusal("darwin", nothing)
    assert "needs Linux, and this is darwin; install docker or podman" in said
    script(tmp_path, "podman", "exit 0")
    assert "pass --sandbox podman" in containers.refusal("darwin", nothing)
    assert sys.platform != "linux" or by_name("local", "run").name == "local"
