"""What a sandbox starts from: the checkout, the tools, what setup made."""

import secrets
import subprocess
from pathlib import Path

import pytest

from harness.ports import BaseSpec, Sandbox, SandboxProvider
from orchestrator.errors import (
    GitError,
    SandboxError,
)
from tests.conformance.conftest import FILES


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


@pytest.mark.long
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
