"""The environment every sandbox finds."""

import subprocess
from pathlib import Path

from harness.sandboxes import toolbox as module
from harness.sandboxes.toolbox import toolbox


def test_a_toolbox_for_its_own_place_runs(tmp_path: Path) -> None:
    made = toolbox(tmp_path, None)
    for program in ("pytest", "coverage", "ruff"):
        done = subprocess.run(
            [made / "bin" / program, "--version"], env={}, capture_output=True, check=False
        )
        assert done.returncode == 0, done.stderr
    where = subprocess.run(
        [made / "bin" / "python", "-c", "import pytest, sys; print(pytest.__file__, sys.prefix)"],
        env={}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert all(path.startswith(str(made)) for path in where.stdout.split())
    seen = subprocess.run([made / "bin" / "python", "-c", "import networkx"], env={}, check=False,
                          capture_output=True)  # fmt: skip
    assert seen.returncode == 1


def test_it_is_built_once_and_its_byte_code_is_ready(tmp_path: Path) -> None:
    made = toolbox(tmp_path)
    stamp = made.stat().st_mtime_ns
    assert toolbox(tmp_path) == made
    assert made.stat().st_mtime_ns == stamp
    assert list(made.glob("lib/*/site-packages/_pytest/__pycache__/*.pyc"))
    assert (made / "bin" / "pytest").read_text().startswith("#!/opt/env/bin/python\n")


def test_versions_name_what_is_offered() -> None:
    assert {"pytest", "coverage", "ruff"} <= module.versions().keys()
