"""What every sandbox provider keeps to. The fake runs no shell and takes part in the rest."""

import asyncio
import os
import secrets
import subprocess
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from harness.ports import Base, BaseSpec, Sandbox, SandboxLimits, SandboxProvider
from harness.sandboxes import provider as by_name
from orchestrator.errors import (
    GitError,
    InputError,
    SandboxError,
    SandboxGoneError,
    SandboxUnavailableError,
)
from tests.fakes.sandbox import FakeSandboxProvider

FILES = {
    "README": b"hello\n",
    "pkg/__init__.py": b"def one():\n    return 1\n",
    "pkg/data/raw.bin": bytes(range(256)),
    "test_pkg.py": b"import pkg\n\ndef test_one():\n    assert pkg.one() == 1\n",
    "crlf.txt": b"a\r\nb\r\n",
}


@pytest.fixture(scope="session")
def repo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    repo = tmp_path_factory.mktemp("repo")
    for name, data in FILES.items():
        (repo / name).parent.mkdir(parents=True, exist_ok=True)
        (repo / name).write_bytes(data)
    (repo / "run.sh").write_bytes(b"#!/bin/sh\necho ran\n")
    (repo / "run.sh").chmod(0o755)
    (repo / "link").symlink_to("README")
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@t", "-c", "core.autocrlf=false"]
    for args in (["init", "-q", "-b", "main"], ["add", "-A"], ["commit", "-q", "-m", "one"]):
        subprocess.run([*git, *args], cwd=repo, check=True)
    # None of this may ever run: it is the user's, and the base is not the user's checkout.
    hook = repo / ".git" / "hooks" / "post-checkout"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f"#!/bin/sh\ntouch {repo}/hooked\n")
    hook.chmod(0o755)
    return repo


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


async def open_provider(name: str, tmp_path: Path, cache: Path, repo: Path) -> Any:
    if name == "fake":
        return FakeSandboxProvider(tmp_path / "fake", FILES)
    made = by_name(name, "conformance", state=tmp_path / "state", cache=cache)
    try:
        await made.prepare(BaseSpec(repo, "HEAD"))
    except SandboxUnavailableError as error:
        pytest.skip(str(error))
    return made


SHELLS = [pytest.param("local", marks=pytest.mark.isolation), "process"]


@pytest.fixture(params=SHELLS)
async def shells(
    request: pytest.FixtureRequest, tmp_path: Path, cache: Path, repo: Path
) -> AsyncIterator[SandboxProvider]:
    made = await open_provider(request.param, tmp_path, cache, repo)
    yield made
    await made.close()


@pytest.fixture(params=[*SHELLS, "fake"])
async def provider(
    request: pytest.FixtureRequest, tmp_path: Path, cache: Path, repo: Path
) -> AsyncIterator[SandboxProvider]:
    made = await open_provider(request.param, tmp_path, cache, repo)
    yield made
    await made.close()


@pytest.fixture
async def base(provider: SandboxProvider, repo: Path) -> Base:
    return await provider.prepare(BaseSpec(repo, "HEAD"))


@pytest.fixture
async def box(shells: SandboxProvider, repo: Path) -> Sandbox:
    return await shells.create(await shells.prepare(BaseSpec(repo, "HEAD")), "feature/r1-a01")


def alive(marker: str) -> list[int]:
    """Processes whose command line holds `marker`; zombies have none."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and marker.encode() in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
        except OSError:
            continue
    return [pid for pid in found if pid != os.getpid()]


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.01)


# ------------------------------------------------------------ every provider


async def test_commands_end_in_values(provider: SandboxProvider, base: Base) -> None:
    box = await provider.create(base, "a")
    assert (await box.exec(["true"])).ok
    assert (await box.exec("exit 7")).exit == 7
    assert (await box.exec(["no-such-program-anywhere"])).exit == 127
    assert (await box.exec(["echo", "a b", "c"])).out == b"a b c\n"


async def test_standard_input_arrives_whole(provider: SandboxProvider, base: Base) -> None:
    box = await provider.create(base, "a")
    data = os.urandom(300_000)
    assert (await box.exec(["cat"], stdin=data)).out == data
    assert (await box.exec(["cat"])).out == b""


async def test_a_command_over_its_time_is_a_value(provider: SandboxProvider, base: Base) -> None:
    box = await provider.create(base, "a")
    result = await box.exec(["sleep", "600"], timeout=0.2)
    assert (result.exit, result.timed_out, result.ok) == (124, True, False)
    assert (await box.exec(["true"])).ok


async def test_output_callback(provider: SandboxProvider, base: Base) -> None:
    box = await provider.create(base, "a")
    seen: list[bytes] = []
    await box.exec(["echo", "heard"], on_output=seen.append)
    assert b"".join(seen) == b"heard\n"


async def test_upload_and_download(provider: SandboxProvider, base: Base) -> None:
    box = await provider.create(base, "a")
    data = os.urandom(20_000_000)
    await box.upload("deep/er/file.bin", data)
    assert await box.download("deep/er/file.bin") == data
    assert await box.download("README") == b"hello\n"
    await box.upload("README", b"")
    assert await box.download(f"{box.workdir}/README") == b""
    with pytest.raises(FileNotFoundError):
        await box.download("missing")
    with pytest.raises(SandboxError, match="larger than 1000 bytes"):
        await box.download("deep/er/file.bin", limit=1000)


async def test_destroyed_is_gone(provider: SandboxProvider, base: Base) -> None:
    box = await provider.create(base, "a")
    await box.destroy()
    await box.destroy()
    with pytest.raises(SandboxGoneError):
        await box.exec(["true"])
    with pytest.raises(SandboxGoneError):
        await box.upload("x", b"")
    with pytest.raises(SandboxGoneError):
        await box.download("x")
    with pytest.raises(SandboxGoneError):
        await provider.snapshot(box)


async def test_a_key_is_free_again_and_fresh_once_destroyed(
    provider: SandboxProvider, base: Base
) -> None:
    box = await provider.create(base, "a")
    await box.upload("mine", b"1")
    with pytest.raises(SandboxError, match="in use"):
        await provider.create(base, "a")
    await box.destroy()
    again = await provider.create(base, "a")
    with pytest.raises(FileNotFoundError):
        await again.download("mine")


async def test_forks_of_a_snapshot_are_independent(provider: SandboxProvider, base: Base) -> None:
    box = await provider.create(base, "patched")
    await box.upload("new", b"patch")
    await box.exec(["rm", "README"])
    patched = await provider.snapshot(box)
    assert patched.commit == base.commit
    assert patched.id != base.id
    with pytest.raises(SandboxError):
        await box.exec(["true"])
    one, two = await provider.create(patched, "one"), await provider.create(patched, "two")
    await one.upload("new", b"changed by one")
    assert await two.download("new") == b"patch"
    with pytest.raises(FileNotFoundError):
        await two.download("README")
    nested = await provider.create(await provider.snapshot(one), "three")
    assert await nested.download("new") == b"changed by one"
    untouched = await provider.create(base, "four")
    assert await untouched.download("README") == b"hello\n"


# ---------------------------------------------------- those that run a shell


@pytest.mark.parametrize(
    ("command", "exit_status"),
    [
        ("kill -9 $$", 137),
        ("kill -TERM $$", 143),
        ("false | true", 0),
        ("nonesuch", 127),
        (["sh", "-c", "exit 200"], 200),
    ],
)
async def test_exit_statuses(box: Sandbox, command: str, exit_status: int) -> None:
    assert (await box.exec(command)).exit == exit_status


async def test_streams_are_apart_and_binary(box: Sandbox) -> None:
    result = await box.exec(r"printf '\377\000\n'; printf 'e\370' >&2")
    assert (result.out, result.err) == (b"\xff\x00\n", b"e\xf8")
    assert "\ufffd" in result.text


async def test_arguments_environment_and_folder(box: Sandbox) -> None:
    many = [str(n) * 20 for n in range(4000)]
    assert (await box.exec(["sh", "-c", "echo $#", "sh", *many])).text == "4000\n"
    assert (await box.exec(["true", "x" * 3_000_000])).exit == 126
    env = {"GREETING": "o=n e\n$two", "LANG": "C"}
    result = await box.exec('printf %s "$GREETING$LANG"', env=env)
    assert result.text == "o=n e\n$twoC"
    assert (await box.exec("pwd")).text == f"{box.workdir}\n"
    assert (await box.exec("pwd", cwd="pkg/data")).text == f"{box.workdir}/pkg/data\n"
    assert (await box.exec("pwd", cwd="/")).text == "/\n"
    assert (await box.exec("pwd", cwd="no/such")).exit == 1


async def test_nothing_of_the_callers_environment_is_seen(box: Sandbox) -> None:
    os.environ["SECRET_KEY_OF_A_TEST"] = marker = secrets.token_hex(8)
    try:
        assert marker not in (await box.exec("env; cat /proc/self/environ")).text
    finally:
        del os.environ["SECRET_KEY_OF_A_TEST"]


async def test_home_and_temporary_files_stay_between_commands(box: Sandbox) -> None:
    await box.exec('echo 1 > "$HOME/.rc"; echo 2 > "$TMPDIR/t"')
    assert (await box.exec('cat "$HOME/.rc" "$TMPDIR/t"')).text == "1\n2\n"


async def test_endless_output_is_cut_in_the_middle(box: Sandbox) -> None:
    result = await box.exec(
        "echo first; yes | head -c 200000000; echo last; echo small >&2", limit=10_000
    )
    assert result.exit == 0
    assert result.truncated
    assert len(result.out) <= 10_000
    assert result.out.startswith(b"first\n")
    assert result.out.endswith(b"last\n")
    assert b"bytes left out" in result.out
    assert result.err == b"small\n"


async def test_what_a_command_started_ends_with_it(box: Sandbox) -> None:
    marker = f"marker-{secrets.token_hex(8)}"
    sleeper = f"sh -c 'sleep 600; : {marker}'"
    result = await box.exec(f"setsid {sleeper} & ({sleeper} &) ; echo started", timeout=60)
    assert (result.exit, result.text) == (0, "started\n")
    assert alive(marker) == []


async def test_time_out_ends_grandchildren(box: Sandbox) -> None:
    marker = f"marker-{secrets.token_hex(8)}"
    sleeper = f"sh -c 'sleep 600; : {marker}'"
    result = await box.exec(f"setsid {sleeper} & {sleeper} & echo x; wait", timeout=0.7)
    assert (result.exit, result.timed_out, result.out) == (124, True, b"x\n")
    assert alive(marker) == []


async def test_cancelling_ends_the_command(box: Sandbox) -> None:
    marker = f"marker-{secrets.token_hex(8)}"
    task = asyncio.ensure_future(box.exec(f"setsid sh -c 'sleep 600; : {marker}' & wait"))
    await until(lambda: len(alive(marker)) >= 2)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert alive(marker) == []
    assert (await box.exec("true")).ok


@pytest.mark.parametrize("delay", [0, 0.001, 0.003, 0.006])
async def test_cancelling_at_the_very_start_leaves_nothing(box: Sandbox, delay: float) -> None:
    marker = f"marker-{secrets.token_hex(8)}"
    task = asyncio.ensure_future(box.exec(f"sleep 600; : {marker}"))
    await asyncio.wait([task], timeout=delay)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert alive(marker) == []


async def test_commands_of_one_sandbox_take_turns(box: Sandbox) -> None:
    line = "test ! -e busy && touch busy && sleep 0.05 && rm busy"
    results = await asyncio.gather(*(box.exec(line) for _ in range(4)))
    assert [r.exit for r in results] == [0, 0, 0, 0]


async def test_reopened_by_key_as_it_was(
    shells: SandboxProvider, repo: Path, tmp_path: Path, cache: Path
) -> None:
    base = await shells.prepare(BaseSpec(repo, "HEAD"))
    box = await shells.create(base, "feature/r1-a01")
    await box.exec("echo half > done; rm README; echo h > $HOME/h")
    await shells.close()
    later = by_name(shells.name, "conformance", state=tmp_path / "state", cache=cache)
    try:
        base = await later.prepare(BaseSpec(repo, "HEAD"))
        assert await later.reap() == 0
        again = await later.create(base, "feature/r1-a01")
        assert (await again.exec("cat done $HOME/h; ls README")).out == b"half\nh\n"
        await again.destroy()
    finally:
        await later.close()


async def test_other_namespaces_are_reaped_only_when_dead(
    shells: SandboxProvider, repo: Path, tmp_path: Path, cache: Path
) -> None:
    base = await shells.prepare(BaseSpec(repo, "HEAD"))
    box = await shells.create(base, "a")
    other = by_name(shells.name, "another run", state=tmp_path / "state", cache=cache)
    try:
        assert await other.reap() == 0
        assert (await box.exec("true")).ok
        await shells.close()
        assert await other.reap() == 0  # a run that was stopped may be resumed
        folder = getattr(box, "folder", None) or box.place.folder
        os.utime(folder.parent, (0, 0))
        assert await other.reap() == 1
        assert await other.reap() == 0
    finally:
        await other.close()


async def test_a_download_is_of_regular_files_only(box: Sandbox) -> None:
    await box.exec("mkfifo pipe; mkdir folder")
    for name in ("pipe", "folder"):
        with pytest.raises(SandboxError, match="not a regular file"):
            await box.download(name)
    with pytest.raises(SandboxError, match="upload"):
        await box.upload("folder", b"x")


async def test_git_works_inside(box: Sandbox) -> None:
    assert (await box.exec("git status --porcelain")).text == ""
    assert (await box.exec("git rev-list --all --count; git remote; git branch")).text == (
        "1\n* main\n"
    )
    result = await box.exec("echo more >> README && git commit -qam two && git show --stat HEAD")
    assert result.ok, result.err
    assert "README" in result.text
    export = f"GIT_DIR={box.base_git} GIT_INDEX_FILE=$TMPDIR/i git"
    assert (await box.exec(f"cp {box.base_git}/index $TMPDIR/i; {export} diff")).text.endswith(
        "+more\n"
    )


async def test_the_checkout_is_as_committed(box: Sandbox, repo: Path) -> None:
    assert (await box.exec("./run.sh; readlink link")).text == "ran\nREADME\n"
    for name, data in FILES.items():
        assert await box.download(name) == data
    assert not (repo / "hooked").exists()


async def test_python_finds_tools_and_code(box: Sandbox) -> None:
    result = await box.exec("python -m pytest -q -p no:cacheprovider && ruff --version")
    assert result.ok, result.text + result.err.decode()
    assert (await box.exec("pytest -q test_pkg.py && coverage --version")).ok
    assert (await box.exec("python -c 'import harness'", cwd="/")).exit == 1


async def test_the_base_stays_as_it_was(shells: SandboxProvider, repo: Path) -> None:
    base = await shells.prepare(BaseSpec(repo, "HEAD"))
    box = await shells.create(base, "a")
    await box.exec("echo x > README; rm -r test_pkg.py .git; mv pkg other; mkdir pkg; touch pkg/x")
    assert (await box.exec("ls pkg other")).text == "other:\n__init__.py\ndata\n\npkg:\nx\n"
    fresh = await shells.create(await shells.prepare(BaseSpec(repo, "HEAD")), "b")
    assert (await fresh.exec("git status --porcelain && cat README && ls pkg")).text == (
        "hello\n__init__.py\ndata\n"
    )


async def test_replaced_folders_stay_replaced_in_forks(shells: SandboxProvider, repo: Path) -> None:
    box = await shells.create(await shells.prepare(BaseSpec(repo, "HEAD")), "a")
    assert (await box.exec("rm -r pkg README && mkdir pkg && echo n > pkg/n")).ok
    fork = await shells.create(await shells.snapshot(box), "b")
    assert (await fork.exec("ls pkg; ls README")).out == b"n\n"
    assert (await fork.exec("rm -r pkg && mkdir pkg && echo README > README")).ok
    last = await shells.create(await shells.snapshot(fork), "c")
    assert (await last.exec("ls pkg; cat README")).out == b"README\n"


@pytest.mark.parametrize(
    ("limits", "command", "says"),
    [
        (SandboxLimits(memory_mb=100), "python -c \"x = b'x' * (400 << 20); input()\"", b"memory"),
        (SandboxLimits(processes=20), "for i in $(seq 60); do sleep 600 & done; wait", b""),
        (SandboxLimits(disk_mb=20), "head -c 60000000 /dev/zero > big; sleep 600", b"of files"),
    ],
)
async def test_watched_limits_end_the_command(
    shells: SandboxProvider, repo: Path, limits: SandboxLimits, command: str, says: bytes
) -> None:
    base = await shells.prepare(BaseSpec(repo, "HEAD"))
    box = await shells.create(base, "a", limits=limits)
    # A process limit held by the kernel makes fork fail; a watched one kills.
    result = await box.exec(f"{command} || exit 9", stdin=b"", timeout=60)
    if "input" in command:
        result = await box.exec(["sh", "-c", f"{command} < /dev/zero"], timeout=60)
    assert not result.timed_out
    assert result.exit != 0
    assert says in result.err


async def test_kernel_limits(shells: SandboxProvider, repo: Path) -> None:
    base = await shells.prepare(BaseSpec(repo, "HEAD"))
    box = await shells.create(base, "a", limits=SandboxLimits(file_mb=1, open_files=64))
    assert (await box.exec("ulimit -n; ulimit -c")).text == "64\n0\n"
    assert (await box.exec("head -c 3000000 /dev/zero > big")).exit != 0
    assert (await box.exec("stat -c %s big")).text == f"{1 << 20}\n"


async def test_setup_runs_once_and_its_files_stay_out_of_patches(
    shells: SandboxProvider, repo: Path, tmp_path: Path
) -> None:
    setup = (
        "echo made > generated.txt; mkdir -p build/deep; echo x > build/deep/x; "
        'echo cached > "$HOME/.cache-of-setup"; date +%N > stamp; '
        'printf "#!/bin/sh\\necho tool of $WHO\\n" > "$VIRTUAL_ENV/bin/our-tool"; '
        'chmod +x "$VIRTUAL_ENV/bin/our-tool"'
    )
    spec = BaseSpec(repo, "HEAD", setup, {"WHO": secrets.token_hex(4)})
    base = await shells.prepare(spec)
    box = await shells.create(base, "a")
    seen = "cat generated.txt build/deep/x $HOME/.cache-of-setup; our-tool; git status --porcelain"
    assert (await box.exec(seen)).text == f"made\nx\ncached\ntool of {spec.env['WHO']}\n"
    stamp = await box.download("stamp")
    assert (await shells.prepare(spec)).id == base.id
    # Another commit with the same manifests reuses what setup made.
    subprocess.run(["git", "clone", "-q", str(repo), str(tmp_path / "clone")], check=True)
    clone = tmp_path / "clone"
    (clone / "README").write_text("second\n")
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@t"]
    subprocess.run([*git, "commit", "-qam", "two"], cwd=clone, check=True)
    later = await shells.prepare(BaseSpec(clone, "HEAD", setup, spec.env))
    second = await shells.create(later, "b")
    assert await second.download("stamp") == stamp
    assert (await second.exec("cat README; git status --porcelain")).text == "second\n"


async def test_a_failing_setup_says_why(shells: SandboxProvider, repo: Path) -> None:
    with pytest.raises(SandboxError, match=r"exit status 3(.|\n)*the reason"):
        await shells.prepare(BaseSpec(repo, "HEAD", "echo the reason >&2; exit 3"))


async def test_an_unknown_commit_is_an_error_of_git(shells: SandboxProvider, repo: Path) -> None:
    with pytest.raises(GitError, match="no such commit"):
        await shells.prepare(BaseSpec(repo, "f" * 40))


async def test_fifteen_at_once(shells: SandboxProvider, repo: Path) -> None:
    base = await shells.prepare(BaseSpec(repo, "HEAD"))
    boxes = await asyncio.gather(*(shells.create(base, f"k{n}") for n in range(15)))
    results = await asyncio.gather(*(b.exec(f"echo {b.id} > id; cat id") for b in boxes))
    assert [r.text for r in results] == [f"{b.id}\n" for b in boxes]
    await asyncio.gather(*(b.destroy() for b in boxes))


def test_an_unknown_provider_is_the_users_error() -> None:
    with pytest.raises(InputError, match="local, process"):
        by_name("nonesuch", "run")
