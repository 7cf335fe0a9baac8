"""`fibreflow sandbox`, started as a person or a script would."""

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

import harness

pytestmark = pytest.mark.isolation
ROOT = Path(harness.__file__).parent.parent


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


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


def test_on_a_terminal(cache: Path) -> None:
    ours, theirs = pty.openpty()
    program = subprocess.Popen(
        [sys.executable, "-m", "harness.runner", "sandbox", "run"],
        stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "FIBREFLOW_CACHE": str(cache), "PS1": "$ "},
    )  # fmt: skip
    os.close(theirs)
    os.write(ours, b"test -t 0 && test -t 1 && echo on a $((6 * 7)) terminal; exit 5\n")
    seen = b""
    while True:
        try:
            data = os.read(ours, 4096)
        except OSError:  # EIO: nobody has the terminal any more
            break
        if not data:
            break
        seen += data
    os.close(ours)
    assert program.wait(timeout=60) == 5
    assert b"on a 42 terminal" in seen
