"""Tricks with links, archives and patches: what crosses the border must not carry anything over."""

import io
import os
import stat
import subprocess
import tarfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from harness import patches
from harness.git import create_from
from harness.ports import Base, BaseSpec, Sandbox
from harness.sandboxes.local import LocalSandboxProvider
from harness.verify.bench import Bench
from harness.verify.tree import patched
from orchestrator.errors import PatchRejectedError, SandboxError

pytestmark = pytest.mark.isolation


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    made = tmp_path / "victim"
    made.write_text("untouched")
    made.chmod(0o640)
    return made


# ---------------------------------------------------------------- links


async def test_no_hard_link_to_what_is_outside(box: Sandbox, victim: Path) -> None:
    for source in ("/etc/passwd", "/usr/bin/env", f"{box.base_git}/HEAD", "/opt/env/pyvenv.cfg"):
        assert (await box.exec(["ln", source, "mine"])).exit != 0, source
    # The base's own file seems to be linked; what is written is this workspace's copy of it.
    await box.exec("ln file twin; echo owned > twin")
    assert (await box.exec("cat file")).text in {"owned\n", "base\n"}


async def test_a_link_to_the_bases_file_writes_a_copy(
    provider: LocalSandboxProvider, base: Base, box: Sandbox
) -> None:
    await box.exec("ln file twin; echo owned >> twin; chmod 777 file; : > file")
    await box.upload("file", b"owned")
    fresh = await provider.create(base, "fresh")
    assert await fresh.download("file") == b"base\n"
    assert ((base.folder.parent / "tree" / "file").stat().st_mode & 0o777) != 0o777


READ = ["/dev/zero", "/dev/tty", "/proc/self/mem", "/proc/kcore", "/proc/kmsg", "/dev/mem", "pipe",
        "folder", "socket", "loop", "far", "/proc/1/root/etc/shadow", "/proc/1/cwd/x"]  # fmt: skip


async def test_downloads_of_what_is_no_file_end(box: Sandbox, victim: Path) -> None:
    make = (
        f"mkfifo pipe; mkdir folder; ln -s loop loop; ln -s {victim} far; "
        "python -c 'import socket; socket.socket(socket.AF_UNIX).bind(\"socket\")'"
    )
    await box.exec(make)
    for path in READ:
        with pytest.raises((SandboxError, FileNotFoundError)):
            await box.download(path, limit=1000)


async def test_uploads_through_links_stay_inside(box: Sandbox, victim: Path) -> None:
    await box.exec(
        f"ln -s {victim.parent} out; ln -s ../../../..{victim} up; mkdir d; mv d e; "
        "ln -s /proc/1/root/etc etc; ln -s /proc/self/fd/1 fd; ln -s /dev/full full"
    )
    for path in ("out/victim", "up", "etc/passwd", "full"):
        with pytest.raises(SandboxError):
            await box.upload(path, b"owned")
    await box.upload(f"../../../..{victim}", b"owned")  # into a /tmp of its own
    assert victim.read_text() == "untouched"


async def test_a_folder_that_becomes_a_link_while_it_is_written_to(
    box: Sandbox, victim: Path
) -> None:
    race = (
        "import os, time\nend = time.monotonic() + 1\n"
        "while time.monotonic() < end:\n"
        "    os.makedirs('d', exist_ok=True); os.rename('d', 'e'); "
        f"os.symlink({str(victim.parent)!r}, 'd'); os.unlink('d'); os.rename('e', 'd')\n"
    )
    await box.exec(["python", "-c", race], timeout=30)
    await box.upload("d/victim", b"owned")  # commands take turns, so the race is over by now
    assert victim.read_text() == "untouched"


async def test_removal_follows_no_link(
    provider: LocalSandboxProvider, box: Sandbox, victim: Path
) -> None:
    mode = stat.S_IMODE(victim.stat().st_mode)
    await box.exec(
        f"ln -s {victim.parent} folder; ln -s {victim} file-link; mkdir -m 000 locked; "
        f"rm -rf /tmp/x; ln -s {victim.parent} /tmp/x; mkdir deep; ln -s {victim} deep/link; "
        "chmod 000 deep"
    )
    await box.destroy()
    assert victim.read_text() == "untouched"
    assert stat.S_IMODE(victim.stat().st_mode) == mode


async def test_workspace_folders_replaced_by_links(
    provider: LocalSandboxProvider, base: Base, box: Sandbox, victim: Path
) -> None:
    await box.exec(f"rm -rf /work/* /work/.git; rmdir /work /tmp /home/agent; ln -s {victim} /work")
    box.release()  # type: ignore[attr-defined]
    again = await provider.create(base, "agent")
    await again.upload("x", b"1")
    assert (await again.exec("cat x")).text == "1"
    assert victim.read_text() == "untouched"


# ---------------------------------------------------------------- archives


def archive() -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for name, kind, number in (("null", tarfile.CHRTYPE, 1), ("disk", tarfile.BLKTYPE, 8)):
            device = tarfile.TarInfo(name)
            device.type, device.devmajor, device.devminor, device.mode = kind, number, 0, 0o666
            tar.addfile(device)
        for name, target in (("out", "/"), ("up", "../../../../..")):
            link = tarfile.TarInfo(name)
            link.type, link.linkname = tarfile.SYMTYPE, target
            tar.addfile(link)
        hard = tarfile.TarInfo("hard")
        hard.type, hard.linkname = tarfile.LNKTYPE, "/etc/passwd"
        tar.addfile(hard)
        for name in ("../climbed", "/absolute", "out/through", "up/etc/through", "setuid"):
            plain = tarfile.TarInfo(name)
            plain.size, plain.mode = 5, 0o4777
            tar.addfile(plain, io.BytesIO(b"owned"))
    return file.getvalue()


async def test_an_archive_with_devices_links_and_climbing_names(box: Sandbox) -> None:
    await box.upload("evil.tar", archive())
    result = await box.exec("mkdir in; tar -xPpf evil.tar -C in; ls -l in")
    assert b"Cannot mknod" in result.err
    kinds = {line[0] for line in result.text.splitlines()[1:]}
    assert kinds <= {"-", "l"}
    assert (await box.exec("ls /absolute /through /etc/through")).out == b""
    # The bit is set, and gives nothing: no_new_privs, and one user alone.
    assert (
        await box.exec("cp /usr/bin/id in/setuid; chmod 4755 in/setuid; in/setuid -u")
    ).text == ("1000\n")


async def test_no_setuid_program_of_the_host_gains_anything(box: Sandbox) -> None:
    found = await box.exec("find /usr -xdev -perm -4000 -type f 2>/dev/null | head -5")
    for program in found.text.split():
        result = await box.exec([program, "-c", "id -u"], stdin=b"", timeout=10)
        assert "0\n" not in result.text.splitlines(keepends=True)


# ---------------------------------------------------------------- patches


@pytest.fixture
async def place(provider: LocalSandboxProvider, base: Base, tmp_path: Path) -> AsyncIterator[Bench]:
    bench = Bench(provider, "f.a1", tmp_path / "log", 60, 600)
    yield bench
    bench.close()


def new_file(path: str, mode: str = "100644", content: str = "owned") -> bytes:
    return (
        f"diff --git a/{path} b/{path}\nnew file mode {mode}\n--- /dev/null\n+++ b/{path}\n"
        f"@@ -0,0 +1 @@\n+{content}\n"
    ).encode()


PATCHES = {
    "climbs": new_file("../victim"),
    "climbs from within": new_file("a/../../victim"),
    "absolute": new_file("/tmp/victim"),
    "hook": new_file(".git/hooks/post-checkout", "100755"),
    "hook, another case": new_file(".GIT/hooks/post-checkout", "100755"),
    "hook of a nested repository": new_file("sub/.git/hooks/post-checkout", "100755"),
    "hook, by the short name of old systems": new_file("GIT~1/hooks/pre-commit", "100755"),
    "configuration": new_file(".git/config", content="[core] fsmonitor = touch /tmp/owned"),
    "through a link that it makes": (
        new_file("out", "120000", "..").replace(b"+..\n", b"+..\n\\ No newline at end of file\n")
        + new_file("out/victim")
    ),
    "protected": new_file("conftest.py"),
    "protected, by a rename": (
        b"diff --git a/file b/conftest.py\nsimilarity index 100%\n"
        b"rename from file\nrename to conftest.py\n"
    ),
}


@pytest.mark.parametrize("patch", PATCHES.values(), ids=PATCHES)
async def test_no_patch_writes_where_it_may_not(
    place: Bench, base: Base, repo: Path, victim: Path, patch: bytes
) -> None:
    async with patched(place, base, patch, ("conftest.py",)) as tree:
        assert tree.problems, "the record says why"
        assert tree.base is base
    # Nor into the repository that winners are merged to, were it asked to take it.
    repository = await create_from(repo, victim.parent / "merged")
    head = await repository.commit_of("HEAD")
    assert head is not None
    hooks = sorted((repository.path / ".git" / "hooks").glob("*"))
    try:
        made = await repository.tree_with(head, patch)
    except PatchRejectedError:
        made = head
    names = (await repository.git("ls-tree", "-r", "--name-only", made)).split()
    assert not [n for n in names if ".." in n or n.startswith("/") or ".git/" in n.lower()]
    assert sorted((repository.path / ".git" / "hooks").glob("*")) == hooks
    assert victim.read_text() == "untouched"


async def test_a_patch_makes_no_device(place: Bench, base: Base) -> None:
    async with patched(place, base, new_file("null", "020666"), ()) as tree:
        if not tree.problems:
            async with place.fork(tree.base) as fork:
                assert (await fork.exec("test -f null && cat null")).text == "owned\n"


async def test_what_an_agent_plants_in_git_is_no_part_of_its_patch(
    box: Sandbox, base: Base
) -> None:
    await box.exec(
        "echo 'touch /tmp/owned' > .git/hooks/pre-commit; chmod +x .git/hooks/pre-commit; "
        "ln -s /etc out; mkfifo pipe; echo '[core] fsmonitor = touch /tmp/owned' >> .git/config"
    )
    patch = await patches.export(box, base)
    assert b"hooks" not in patch
    assert b"fsmonitor" not in patch
    assert b"pipe" not in patch
    assert (await box.exec("ls /tmp/owned")).exit != 0


async def test_a_repository_in_the_repository_is_the_attempts_fault(
    box: Sandbox, base: Base
) -> None:
    await box.exec("git init -q sub; echo x > sub/.git/hooks/post-checkout; echo y > sub/y")
    with pytest.raises(PatchRejectedError, match="does not have a commit"):
        await patches.export(box, base)


@pytest.mark.long
async def test_an_endless_patch_is_refused(box: Sandbox, base: Base) -> None:
    await box.exec("head -c 40000000 /dev/urandom > big")
    with pytest.raises(PatchRejectedError, match="larger than 20 MB"):
        await patches.export(box, base)


async def test_a_repository_with_filters_and_hooks_runs_none(
    provider: LocalSandboxProvider, repo: Path, tmp_path: Path
) -> None:
    """The repository itself may be hostile: it was cloned from somewhere."""
    ran = tmp_path / "ran"
    (repo / ".gitattributes").write_text("* filter=evil diff=evil merge=evil\n")
    git = ["git", "-C", str(repo), "-c", "user.name=t", "-c", "user.email=t@t"]
    subprocess.run([*git, "add", "-A"], check=True)
    subprocess.run([*git, "commit", "-qm", "two"], check=True)
    for key in ("filter.evil.smudge", "filter.evil.clean", "diff.evil.command", "core.fsmonitor",
                "core.sshCommand", "uploadpack.packObjectsHook"):  # fmt: skip
        subprocess.run([*git, "config", key, f"touch {ran}; cat"], check=True)
    for name in ("post-checkout", "reference-transaction", "post-index-change"):
        hook = repo / ".git" / "hooks" / name
        hook.parent.mkdir(exist_ok=True)
        hook.write_text(f"#!/bin/sh\ntouch {ran}\n")
        hook.chmod(0o755)
    base = await provider.prepare(BaseSpec(repo, "HEAD"))
    box = await provider.create(base, "a")
    assert (await box.exec("echo more >> file; git status --porcelain")).ok
    assert await patches.export(box, base)
    assert not ran.exists()
    assert os.getuid() == repo.stat().st_uid
