"""`fibreflow sandbox`, started as a person or a script would."""

import json
import os
import pty
import select
import signal
import subprocess
import sys
import termios
from collections.abc import Callable
from pathlib import Path

import pytest

import harness

pytestmark = pytest.mark.isolation
ROOT = Path(harness.__file__).parent.parent


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory, new_cache: Callable[[Path], Path]) -> Path:
    return new_cache(tmp_path_factory.mktemp("cache"))


def fibreflow(cache: Path, *words: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "harness.runner", "sandbox", *words],
        input=stdin,
        capture_output=True,
        timeout=120,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT), "FIBREFLOW_CACHE": str(cache)},
    )


@pytest.mark.long
@pytest.mark.parametrize("provider", ["local", "process"])
def test_a_command_with_our_streams_and_its_exit_code(cache: Path, provider: str) -> None:
    line = "cat; echo err >&2; exit 7"
    done = fibreflow(
        cache, "run", "--sandbox", provider, "--", "sh", "-c", line, stdin=b"\xff\x00given\n"
    )
    assert done.stdout.startswith(b"\xff\x00given\n")
    assert b"err\n" in done.stderr + done.stdout
    assert done.returncode == 7


def test_the_repository_is_there_as_committed_and_stays_as_it_was(
    cache: Path, tmp_path: Path
) -> None:
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@t"]
    (tmp_path / "file").write_text("committed\n")
    for args in (["init", "-q"], ["add", "-A"], ["commit", "-q", "-m", "one"]):
        subprocess.run([*git, *args], cwd=tmp_path, check=True)
    (tmp_path / "file").write_text("not yet\n")
    done = fibreflow(
        cache, "run", "--repo", str(tmp_path), "--", "sh", "-c", "cat file; rm file; pwd"
    )
    assert done.stdout == b"committed\n/work\n"
    assert (tmp_path / "file").read_text() == "not yet\n"


@pytest.mark.long
def test_limits_of_the_profile_hold_and_connections_are_said(cache: Path) -> None:
    done = fibreflow(cache, "run", "--profile", "quick", "--", "sh", "-c", "ulimit -n")
    assert done.stdout == b"1024\n"
    fetch = "import urllib.request as u; u.urlopen('http://127.0.0.1:9/')"
    done = fibreflow(cache, "run", "--allow", "*", "--", "python", "-c", fetch)
    assert done.returncode == 1
    assert b"fibreflow: connection to 127.0.0.1:9 refused: " in done.stderr


@pytest.mark.long
def test_nothing_is_left(cache: Path) -> None:
    assert fibreflow(cache, "run", "--", "true").returncode == 0
    assert json.loads(fibreflow(cache, "list", "--json").stdout) == []
    assert fibreflow(cache, "reap").stdout == b"removed 0\n"
    assert fibreflow(cache, "reap", "x").stdout == b"removed 0: there is nothing of x\n"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["run", "--profile", "nonesuch", "--", "true"], b"no sandbox profile"),
        (["run", "--allow", "http://x/", "--", "true"], b"is not a host to allow"),
        (["run", "--repo", "/nonesuch", "--", "true"], b"no such folder"),
        (["run", "--sandbox", "process", "--allow", "x", "--", "true"], b"cannot hold allow"),
        ([], b"required: ACTION"),
    ],
)
def test_mistakes_are_said_without_a_traceback(cache: Path, words: list[str], says: bytes) -> None:
    done = fibreflow(cache, *words)
    assert done.returncode in (2, 5)
    assert says in done.stderr
    assert b"Traceback" not in done.stderr


def test_streams_of_ours_are_not_the_commands(cache: Path, tmp_path: Path) -> None:
    """Those it has lead to nothing of this machine; and one that is closed is none."""
    given, said = tmp_path / "given", tmp_path / "said"
    given.write_text("given\n")
    said.write_text("before\n")
    evil = (
        "cat; echo evil > /proc/self/fd/0; for n in 1 2; do : > /proc/self/fd/$n; done; "
        "cat /proc/1/cmdline /proc/self/environ; nonesuch; kill -9 0"
    )
    line = f'"$@" < {given} >> {said}; echo "$? went on"; "$@" <&- 2>&-; echo "$?"'
    run = [sys.executable, "-m", "harness.runner", "sandbox", "run", "--", "sh", "-c", evil]
    done = subprocess.run(
        ["sh", "-c", line, "sh", *run],
        capture_output=True, timeout=120, check=False, cwd=tmp_path, start_new_session=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "FIBREFLOW_CACHE": str(cache)},
    )  # fmt: skip
    assert given.read_text() == "given\n"
    assert said.read_text().startswith("before\ngiven\n")
    assert str(cache) not in said.read_text()
    assert done.stdout.startswith(b"137 went on\n"), done
    assert done.stdout.endswith(b"137\n")
    assert b"nonesuch: not found" in done.stderr
    assert b"Traceback" not in done.stderr


@pytest.mark.long
def test_what_there_is_not_and_who_is_told_to_stop(cache: Path) -> None:
    done = fibreflow(cache, "run", "--", "nonesuch")
    assert (done.returncode, done.stdout) == (127, b"")
    bases = set((cache / "bases").glob("*"))
    program = started(cache, "run", "--", "sh", "-c", "echo begun; exec sleep 600")
    assert program.stdout is not None
    assert program.stdout.readline() == b"begun\n"
    program.terminate()
    assert program.wait(timeout=60) == 128 + signal.SIGTERM
    program.stdout.close()
    assert json.loads(fibreflow(cache, "list", "--json").stdout) == []
    # One that could not tidy up is tidied up after.
    program = started(cache, "run", "--", "sh", "-c", "echo begun; exec sleep 600")
    assert program.stdout is not None
    assert program.stdout.readline() == b"begun\n"
    program.kill()
    program.wait(timeout=60)
    program.stdout.close()
    assert len(json.loads(fibreflow(cache, "list", "--json").stdout)) == 1
    assert fibreflow(cache, "run", "--", "true").returncode == 0
    assert json.loads(fibreflow(cache, "list", "--json").stdout) == []
    assert set((cache / "bases").glob("*")) == bases, "of nothing there is one base"


def started(cache: Path, *words: str, **streams: int) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-m", "harness.runner", "sandbox", *words],
        **({"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE} | streams),
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "FIBREFLOW_CACHE": str(cache), "PS1": "$ "},
    )


def test_on_a_terminal(cache: Path) -> None:
    """Job control, its size, Ctrl-C, and ours as it was afterwards."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (33, 77))
    before = termios.tcgetattr(theirs)
    program = started(cache, "run", stdin=theirs, stdout=theirs, stderr=theirs)
    seen = b""

    def until(text: bytes) -> None:
        nonlocal seen
        while text not in seen:
            assert select.select([ours], [], [], 60)[0], seen
            seen += os.read(ours, 4096)

    until(b"$ ")  # its prompt
    os.write(ours, b"test -t 0 && test -t 1 && echo on a $((6 * 7)) terminal, $(stty size)\n")
    until(b"on a 42 terminal, 33 77\r\n")
    os.write(ours, b"sh -c 'echo $((1 + 2)) sleeps; exec sleep 600'\n")
    until(b"3 sleeps\r\n")
    os.write(ours, b"\x1a")
    until(b"Stopped")
    os.write(ours, b"kill -9 %1; sh -c 'echo $((2 + 2)) sleeps; exec sleep 600'; echo by $?\n")
    until(b"4 sleeps\r\n")
    os.write(ours, b"\x03echo by $?; stty raw -echo; exit 5\n")
    until(b"by 130\r\n")
    assert program.wait(timeout=60) == 5
    assert termios.tcgetattr(theirs) == before
    os.close(theirs)
    os.close(ours)
