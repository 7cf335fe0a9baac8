"""Runs a project's tests within a time limit, and prints what failed."""

import os
import shutil
import signal
import subprocess
import sys

LAST_LINES = 25
MOST_BYTES = 4_000_000  # of output that is looked at; its end counts


def command_for(folder):
    """The test command of the project in a folder, None when there is none that is known."""

    def has(name):
        return os.path.exists(os.path.join(folder, name))

    def says(name, text):
        if not has(name):
            return False
        with open(os.path.join(folder, name), encoding="utf-8", errors="replace") as file:
            return text in file.read()

    python = shutil.which("python3") or shutil.which("python") or sys.executable
    if any(map(has, ("pytest.ini", "pyproject.toml", "setup.cfg", "tests", "test"))):
        probe = [python, "-c", "import pytest"]
        if subprocess.run(probe, cwd=folder, capture_output=True, check=False).returncode == 0:
            return [python, "-m", "pytest", "-q"]
        if has("tests") or has("test"):
            return [python, "-m", "unittest", "discover", "-s", "tests" if has("tests") else "test"]
    if says("package.json", '"test"'):
        return ["npm", "test", "--silent", "--"]
    if has("go.mod"):
        return ["go", "test", "./..."]
    if has("Cargo.toml"):
        return ["cargo", "test", "--quiet"]
    if says("Makefile", "\ntest:"):
        return ["make", "test"]
    return None


def failing(lines):
    """Names of tests that the usual runners report as failed, in their order, once."""
    found = {}
    for line in lines:
        words = line.split()
        if len(words) > 1 and words[0] in ("FAILED", "ERROR", "FAIL:", "ERROR:"):
            found[words[1]] = None  # pytest, unittest
        elif line.startswith("--- FAIL: ") and len(words) > 2:
            found[words[2]] = None  # go
        elif line.startswith("test ") and line.endswith("FAILED") and len(words) > 2:
            found[words[1]] = None  # cargo
    return list(found)


def run(command, folder, seconds):
    """(exit status or None for a time-out, output). Everything it started ends with it."""
    process = subprocess.Popen(
        command,
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        out, _ = process.communicate(timeout=seconds)
        return process.returncode, out[-MOST_BYTES:].decode("utf-8", "replace")
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        out, _ = process.communicate()
        return None, out[-MOST_BYTES:].decode("utf-8", "replace")


def options(words):
    """(folder, seconds, json, more). Raises ValueError."""
    folder, seconds, as_json, more = ".", 300.0, False, []
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if word == "--":
            more, rest = rest, []
        elif word == "--json":
            as_json = True
        elif word == "--timeout" and rest:
            seconds = float(rest.pop(0))
        elif word.startswith("-"):
            raise ValueError(word)
        else:
            folder = word
    return folder, seconds, as_json, more


def main(words):
    try:
        folder, seconds, as_json, more = options(words)
    except ValueError:
        print("usage: run.py [FOLDER] [--timeout SECONDS] [--json] [-- MORE]", file=sys.stderr)
        return 2
    command = command_for(folder)
    if command is None:
        print(f"no test command is known for {folder}", file=sys.stderr)
        return 2
    try:
        status, output = run([*command, *more], folder, seconds)
    except OSError as error:
        print(f"{command[0]} cannot be run: {error.strerror}", file=sys.stderr)
        return 2
    lines = output.splitlines()
    found = {
        "command": [*command, *more],
        "exit": status,
        "timed_out": status is None,
        "failed": failing(lines),
        "end": lines[-LAST_LINES:],
    }
    if as_json:
        import json

        print(json.dumps(found))
    else:
        how = f"timed out after {seconds:g} s" if status is None else f"exit status {status}"
        print(f"{' '.join(found['command'])}: {how}")
        for name in found["failed"]:
            print(f"failed: {name}")
        print("\n".join(found["end"]))
    return 0 if status == 0 else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
