"""Known ways out of a workspace, each tried from inside."""

import errno
import os
import re
import secrets
import signal
import socket
import sys
from pathlib import Path

import pytest

from harness.ports import Base, Sandbox, SandboxLimits
from harness.sandboxes.local import LocalSandboxProvider
from orchestrator.errors import SandboxError

pytestmark = pytest.mark.isolation


@pytest.mark.parametrize(
    "folder",
    ["/", "/usr", "/etc", "/opt/env", "/opt/env/bin", "/run/fibreflow/base.git", "/dev", "/proc",
     "/sys", "/run", "/var", sys.base_prefix],
)  # fmt: skip
async def test_nothing_outside_the_workspace_can_be_written(box: Sandbox, folder: str) -> None:
    result = await box.exec(["sh", "-c", 'touch "$1/probe"', "sh", folder])
    assert result.exit != 0
    result = await box.exec(["sh", "-c", 'chmod 777 "$1"', "sh", folder])
    assert result.exit != 0


async def test_the_pristine_git_directory_cannot_be_changed(box: Sandbox) -> None:
    git = f"{box.base_git}"
    for line in (f"echo x > {git}/HEAD", f"rm -f {git}/index", f"mv {git} /tmp/moved",
                 f"chmod -R 777 {git}", f"git --git-dir={git} update-ref -d HEAD"):  # fmt: skip
        assert (await box.exec(line)).exit != 0, line


async def test_host_files_are_out_of_sight(box: Sandbox, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("s3cret")
    home = Path.home()
    assert (await box.exec(["cat", str(secret)])).exit != 0
    assert (await box.exec(["ls", "-A", str(home / ".ssh")])).exit != 0
    assert (await box.exec("ls -A /home; ls -A /tmp")).text == "agent\n"
    assert (await box.exec("cat /etc/shadow /etc/ssl/private/* /root/.bashrc")).out == b""


async def test_kernel_switches_are_read_only(box: Sandbox) -> None:
    for switch in (
        "kernel/hostname",
        "kernel/core_pattern",
        "vm/drop_caches",
        "net/ipv4/ip_forward",
    ):
        assert (await box.exec(f"echo 1 > /proc/sys/{switch}")).exit != 0, switch
    for name in ("sysrq-trigger", "irq/default_smp_affinity", "self/oom_score_adj"):
        assert (await box.exec(f"echo 0 > /proc/{name}")).exit != 0, name


async def test_no_capability_and_no_way_to_gain_one(box: Sandbox) -> None:
    status = (await box.exec("cat /proc/self/status")).text
    sets = [line.split()[1] for line in status.splitlines() if line.startswith("Cap")]
    assert len(sets) == 5
    assert {int(value, 16) for value in sets} == {0}
    assert "NoNewPrivs:\t1" in status
    assert "Seccomp:\t2" in status
    assert (await box.exec("id -u")).text == "1000\n"
    assert (await box.exec("mknod d c 1 1 || mount -t tmpfs none /tmp")).exit != 0


CALLS = {
    "keyctl": (250, 219), "add_key": (248, 217), "request_key": (249, 218), "bpf": (321, 280),
    "io_uring_setup": (425, 425), "userfaultfd": (323, 282), "perf_event_open": (298, 241),
    "mount": (165, 40), "umount2": (166, 39), "setns": (308, 268), "fsopen": (430, 430),
    "open_by_handle_at": (304, 265), "init_module": (175, 105), "reboot": (169, 142),
}  # fmt: skip


async def test_denied_system_calls(box: Sandbox) -> None:
    column = 0 if os.uname().machine == "x86_64" else 1
    numbers = {name: pair[column] for name, pair in CALLS.items()}
    script = (
        "import ctypes\nlibc = ctypes.CDLL(None, use_errno=True)\n"
        f"for name, number in {numbers}.items():\n"
        "    ctypes.set_errno(0)\n    result = libc.syscall(number, 0, 0, 0, 0, 0)\n"
        "    print(name, result, ctypes.get_errno())\n"
    )
    result = await box.exec(["python", "-c", script])
    answers = {line.split()[0]: line.split()[1:] for line in result.text.splitlines()}
    assert answers == {name: ["-1", str(errno.EPERM)] for name in CALLS}


async def test_no_socket_that_knows_no_namespaces(box: Sandbox) -> None:
    """AF_VSOCK reaches what this machine runs on, and the sandbox next door."""
    script = (
        "import errno, socket\n"
        "for family in range(60):\n"
        "    try: socket.socket(family, socket.SOCK_STREAM)\n"
        "    except OSError as e:\n"
        "        if e.errno == errno.EAFNOSUPPORT: continue\n"
        "    print(family)\n"
    )
    assert (await box.exec(["python", "-c", script])).text.split() == ["1", "2", "10", "16"]


async def test_what_tells_how_a_command_ended_is_not_taken_over(box: Sandbox) -> None:
    attach, write = ((101, 311), (117, 271))[os.uname().machine == "aarch64"]
    script = (
        "import ctypes; c = ctypes.CDLL(None, use_errno=True)\n"
        f"for call in (({attach}, 16, 1), ({attach}, 0x4206, 1), ({write}, 1, 0, 0, 0, 0, 0)):\n"
        "    print(c.syscall(*call, 0, 0), ctypes.get_errno())\n"
    )
    result = await box.exec(["python", "-c", script], timeout=20)
    assert result.text == f"-1 {errno.EPERM}\n" * 3
    assert result.exit == 0


async def test_nothing_of_the_hosts_is_on_the_command_line_above(box: Sandbox, cache: Path) -> None:
    """Nor variables: the machine's other users can read it too."""
    result = await box.exec("cat /proc/1/cmdline", env={"TOKEN": "s3cret"})
    assert b"bwrap\0" in result.out
    assert str(cache).encode() not in result.out
    assert b"s3cret" not in result.out


async def test_a_zero_byte_begins_no_argument_of_the_cages(box: Sandbox) -> None:
    smuggled = "x\0--bind\0/\0/work"
    for result in (
        await box.exec(["true"], cwd=smuggled),
        await box.exec(["true"], env={"X": smuggled}),
        await box.exec(["true", smuggled]),
    ):
        assert result.exit == 126
        assert b"cannot start the command" in result.err


async def test_a_crash_wakes_no_program_of_the_machine_and_memory_is_ours_last(
    box: Sandbox,
) -> None:
    result = await box.exec("ulimit -c; cat /proc/self/oom_score_adj; kill -SEGV $$")
    assert (
        result.text == "0\n1000\n"
    )  # in kilobytes; it is 1 byte, which the kernel takes for never
    limits = (await box.exec("cat /proc/self/limits")).text
    assert re.search(r"core file size +1 +1 ", limits)
    assert result.exit == 128 + signal.SIGSEGV
    assert (await box.exec("ls -A")).text.split() == [".git", "file"]


async def test_keys_of_the_host_are_not_listed(box: Sandbox) -> None:
    assert (await box.exec("cat /proc/keys")).out == b""


async def test_no_new_namespaces(box: Sandbox) -> None:
    for flag in ("--user", "--mount", "--net", "--pid --fork"):
        assert (await box.exec(f"unshare {flag} true")).exit != 0
    number = 56 if os.uname().machine == "x86_64" else 220
    script = (
        "import ctypes\nlibc = ctypes.CDLL(None, use_errno=True)\n"
        f"r = libc.syscall({number}, 0x10000000 | 17, 0, 0, 0, 0)\n"
        "print(r, ctypes.get_errno())"
    )
    assert (await box.exec(["python", "-c", script])).text == f"-1 {errno.EPERM}\n"
    assert (await box.exec("python -c 'import threading as t; t.Thread(target=print).start()'")).ok


async def test_no_descriptor_of_ours_is_inherited(box: Sandbox) -> None:
    result = await box.exec("ls /proc/self/fd; ls -l /proc/1/fd")
    # 3 is the folder that ls itself reads. PID 1 is bwrap's own and cannot be looked into.
    assert result.text.split()[:4] == ["0", "1", "2", "3"]
    assert len(result.text.split()) == 4 or "socket" not in result.text


async def test_only_own_processes_are_seen(box: Sandbox) -> None:
    result = await box.exec("ls /proc | grep -c '^[0-9]*$'; kill -9 -1; echo lived on")
    assert int(result.text.split()[0]) < 10
    # PID 1 of the cage is ours and survives what the command does to itself.
    assert (await box.exec("echo still here")).text == "still here\n"


async def test_no_network(box: Sandbox) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        connect = f"import socket; socket.create_connection(('127.0.0.1', {port}), 2)"
        assert (await box.exec(["python", "-c", connect])).exit != 0
    name = f"\0fibreflow-{secrets.token_hex(8)}"
    with socket.socket(socket.AF_UNIX) as abstract:
        abstract.bind(name)
        abstract.listen()
        script = f"import socket; socket.socket(socket.AF_UNIX).connect({name!r})"
        assert (await box.exec(["python", "-c", script])).exit != 0
    outward = "import socket; socket.create_connection(('192.0.2.1', 80), 2)"
    result = await box.exec(["python", "-c", outward])
    assert b"unreachable" in result.err
    # A service of its own on loopback works.
    own = (
        "import socket; s = socket.create_server(('127.0.0.1', 0)); "
        "socket.create_connection(s.getsockname()); print('met')"
    )
    assert (await box.exec(["python", "-c", own])).text == "met\n"


async def test_a_planted_link_leads_uploads_nowhere(box: Sandbox, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("untouched")
    await box.exec(f"ln -s {victim} link; ln -s {tmp_path} folder; ln -s /etc/passwd who")
    for name in ("link", "folder/victim"):
        with pytest.raises(SandboxError):
            await box.upload(name, b"owned")
        with pytest.raises(FileNotFoundError):
            await box.download(name)
    with pytest.raises(SandboxError):
        await box.upload("who", b"owned")
    assert victim.read_text() == "untouched"
    assert b"agent:x:1000" in await box.download("who")


async def test_other_workspaces_are_out_of_reach(
    provider: LocalSandboxProvider, base: Base, box: Sandbox
) -> None:
    other = await provider.create(base, "other")
    await other.exec("echo private > mine")
    for line in ("cat /work/../other/upper/mine", f"ls {await provider.workspaces()}"):
        assert (await box.exec(line)).exit != 0
    await box.exec("rm -rf /work/* /work/.git /tmp/* /home/agent/*")
    assert (await other.exec("cat mine file")).text == "private\nbase\n"


async def test_what_is_made_to_resist_removal_is_removed(
    provider: LocalSandboxProvider, base: Base, box: Sandbox
) -> None:
    deep = "import os\nfor n in range(3000):\n    os.mkdir('d' * 40)\n    os.chdir('d' * 40)\n"
    assert (await box.exec(["python", "-c", deep])).ok
    assert (await box.exec("mkdir -p locked/in && touch locked/in/f && chmod 000 locked/in locked; "
                           "chmod 000 $HOME $TMPDIR")).ok  # fmt: skip
    await box.destroy()
    left = [p for p in (await provider.workspaces()).iterdir() if p.name != ".lock"]
    assert left == []


async def test_a_fork_bomb_is_contained(provider: LocalSandboxProvider, base: Base) -> None:
    box = await provider.create(base, "bomb", limits=SandboxLimits(processes=64))
    result = await box.exec(":(){ :|:& };: ; sleep 600", timeout=2)
    assert result.exit != 0
    assert (await box.exec("echo fine")).text == "fine\n"


async def test_git_settings_of_an_agent_do_not_reach_the_base(
    provider: LocalSandboxProvider, base: Base, box: Sandbox
) -> None:
    await box.exec("git config core.fsmonitor 'touch /tmp/ran'; git config user.name evil; "
                   "echo '*.x filter=evil' > .git/info/attributes")  # fmt: skip
    fresh = await provider.create(base, "fresh")
    config = await fresh.exec(f"cat .git/config {fresh.base_git}/config; ls .git/info")
    assert "fsmonitor" not in config.text
    assert "evil" not in config.text
