"""The environment every sandbox finds."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from harness.sandboxes import toolbox as module
from harness.sandboxes.toolbox import toolbox


@pytest.mark.long
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


@pytest.mark.long
def test_it_is_built_once_and_its_byte_code_is_ready(tmp_path: Path) -> None:
    made = toolbox(tmp_path)
    stamp = made.stat().st_mtime_ns
    assert toolbox(tmp_path) == made
    assert made.stat().st_mtime_ns == stamp
    assert list(made.glob("lib/*/site-packages/_pytest/__pycache__/*.pyc"))
    assert (made / "bin" / "pytest").read_text().startswith("#!/opt/env/bin/python\n")


def test_versions_name_what_is_offered() -> None:
    assert {"pytest", "coverage", "ruff"} <= module.versions().keys()


@pytest.mark.long
def test_what_setup_did_to_the_tools_is_undone_and_what_it_added_stays(tmp_path: Path) -> None:
    made = toolbox(tmp_path / "cache")
    env, outside = tmp_path / "env", tmp_path / "outside"
    module.writable_copy(made, env)
    (site,) = env.glob("lib/*/site-packages")
    (outside / "pytest").mkdir(parents=True)
    evil = {
        "pytest/__init__.py": "evil", "_pytest/planted.py": "evil", "py.so": "evil",
        "py.cpython-311-x86_64-linux-gnu.so": "evil", "pytest-0.1.dist-info/METADATA": "evil",
        "../../../bin/python3": "evil", "../../../pyvenv.cfg": "evil",
        "__pycache__/py.cpython-311.pyc": "evil",
    }  # fmt: skip
    added = {
        "theirs/__init__.py": "", "theirs-1.dist-info/METADATA": "", "their.pth": "/work/src",
        "__pycache__/their.cpython-311.pyc": "", "../../../bin/their-tool": "", "../../note": "",
    }  # fmt: skip
    for name, text in (evil | added).items():
        (site / name).parent.mkdir(parents=True, exist_ok=True)
        (site / name).unlink(missing_ok=True)
        (site / name).write_text(text)
    shutil.rmtree(site / "pluggy")
    (site / "pluggy").symlink_to(outside)
    (site / "iniconfig" / "__init__.py").chmod(0)
    module.put_back(made, env)
    ours = {p.relative_to(made) for p in made.rglob("*")}
    for path in ours:
        assert (env / path).is_symlink() == (made / path).is_symlink()
        if (made / path).is_file():
            assert (env / path).read_bytes() == (made / path).read_bytes(), path
    extra = {p.relative_to(env) for p in env.rglob("*") if p.is_file()} - ours
    assert {str(p) for p in extra} == {
        os.path.normpath((site / name).relative_to(env)) for name in added
    }
    assert [p.name for p in outside.rglob("*")] == ["pytest"]
    assert not list(tmp_path.glob(".env*"))


@pytest.mark.long
def test_an_environment_of_links_takes_the_tools_nowhere_else(tmp_path: Path) -> None:
    made = toolbox(tmp_path / "cache")
    env, outside = tmp_path / "env", tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").touch()
    env.mkdir()
    (env / "lib").symlink_to(outside)
    (env / "bin").symlink_to("/")
    module.put_back(made, env)
    assert [p.name for p in outside.iterdir()] == ["kept"]
    assert (env / "lib").is_dir()
    assert not (env / "lib").is_symlink()
    assert (env / "bin" / "pytest").read_bytes() == (made / "bin" / "pytest").read_bytes()
