"""One program by three names, and what starting it costs."""

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from harness import __version__, runner

ROOT = Path(runner.__file__).resolve().parents[1]
SCRIPT = ROOT / "harness" / "runner.py"

#: What takes longer to import than the whole program may take to start.
HEAVY = {"dbos", "sqlalchemy", "anthropic", "pydantic", "networkx", "rich", "genai_prices",
         "httpx", "psycopg", "yaml", "tenacity", "asyncio"}  # fmt: skip


def process(
    *command: str, cwd: Path, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        cwd=cwd,
        env=os.environ | (env or {}),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def by_module(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return process(
        sys.executable, "-m", "harness.runner", *words, cwd=cwd, env={"PYTHONPATH": str(ROOT)}
    )


def as_a_file(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return process(sys.executable, str(SCRIPT), *words, cwd=cwd)


def as_a_link(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    link = cwd / "flow"
    if not link.is_symlink():
        link.symlink_to(SCRIPT)
    return process(sys.executable, str(link), *words, cwd=cwd)


def as_installed(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """What the console script of pyproject.toml runs, found as an installer finds it."""
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    module, _, function = scripts["fibreflow"].partition(":")
    code = f"import sys; from {module} import {function}; sys.exit({function}())"
    return process(sys.executable, "-c", code, *words, cwd=cwd, env={"PYTHONPATH": str(ROOT)})


WAYS = [by_module, as_a_file, as_a_link, as_installed]


@pytest.mark.parametrize("way", WAYS)
def test_one_program(tmp_path: Path, way) -> None:
    version = way("--version", cwd=tmp_path)
    assert (version.returncode, version.stdout) == (0, f"fibreflow {__version__}\n")
    usage = way("--help", cwd=tmp_path)
    assert (usage.returncode, usage.stderr) == (0, "")
    assert usage.stdout.startswith("usage: fibreflow ")
    wrong = way("--frobnicate", cwd=tmp_path)
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert wrong.stderr == "error: unrecognized arguments: --frobnicate; see `fibreflow --help`\n"
    listed = way("list", cwd=tmp_path)
    assert (listed.returncode, listed.stdout.strip()) == (0, "no runs yet")


def test_run_as_a_file_the_folder_of_the_file_hides_no_module(tmp_path: Path) -> None:
    """`harness/` holds names such as `git` and `report`, which others use too."""
    code = (
        "import runpy, sys\n"
        f"sys.argv = [{str(SCRIPT)!r}, 'list']\n"
        f"sys.path[0] = {str(SCRIPT.parent)!r}\n"
        f"try: runpy.run_path({str(SCRIPT)!r}, run_name='__main__')\n"
        "except SystemExit: pass\n"
        "print(sys.path[0])"
    )
    done = process(sys.executable, "-c", code, cwd=tmp_path)
    assert done.stdout.splitlines()[-1] == str(ROOT)


def imported(*words: str, cwd: Path) -> set[str]:
    """The top-level modules that the program has loaded when it has done `words`."""
    code = (
        "import contextlib, io, json, sys\n"
        "from harness import runner\n"
        f"words = {list(words)!r}\n"
        "with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):\n"
        "    words and runner.main(words)\n"
        "print(json.dumps(sorted({name.split('.')[0] for name in sys.modules})))\n"
    )
    done = process(sys.executable, "-c", code, cwd=cwd, env={"PYTHONPATH": str(ROOT)})
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout))


@pytest.mark.parametrize("words", [(), ("--help",), ("--version",), ("list",), ("list", "--json")])
def test_starting_imports_nothing_heavy(tmp_path: Path, words: tuple[str, ...]) -> None:
    assert imported(*words, cwd=tmp_path) & HEAVY == set()


def test_looking_at_a_run_imports_nothing_heavy(tmp_path: Path) -> None:
    folder = tmp_path / "logs" / "20260101-000000-aaaa"
    folder.mkdir(parents=True)
    begun = {"type": "RunStarted", "time": "2026-01-01T00:00:00.000Z", "run": folder.name,
             "repo": "/r", "branch": "b", "base": "c", "features": {"a": {}}}  # fmt: skip
    (folder / "events.jsonl").write_text(json.dumps(begun) + "\n")
    for command in ("status", "report"):
        assert imported(command, cwd=tmp_path) & HEAVY == set()


def test_doctor_imports_nothing_of_the_engine_or_a_model(tmp_path: Path) -> None:
    # The loop is its own need: it opens a real sandbox.
    assert imported("doctor", cwd=tmp_path) & (HEAVY - {"asyncio"}) == set()


def test_a_reader_that_leaves_is_no_error(tmp_path: Path) -> None:
    """`fibreflow list --json | head -0` with more output than a pipe holds."""
    for number in range(3000):
        folder = tmp_path / "logs" / f"20260101-000000-{number:04d}"
        folder.mkdir(parents=True)
        (folder / "events.jsonl").write_text("{}\n")
    read, write = os.pipe()
    with subprocess.Popen(
        [sys.executable, str(SCRIPT), "list", "--json"],
        cwd=tmp_path,
        stdout=write,
        stderr=subprocess.PIPE,
        text=True,
    ) as program:
        os.close(write)
        os.close(read)
        _, err = program.communicate(timeout=120)
    assert program.returncode == 141
    assert err == ""


def test_a_package_that_is_missing_is_named(tmp_path: Path) -> None:
    """As for somebody who runs the file with the system's Python."""
    done = process(sys.executable, "-S", "-E", str(SCRIPT), "--dry-run", cwd=ROOT)
    assert done.returncode == 5
    assert "is not installed for" in done.stderr
    assert "make setup" in done.stderr
    assert "Traceback" not in done.stderr
