"""What is deployed are the commit's files, whatever the commit says about that."""

import subprocess
from pathlib import Path

import pytest

from harness.deploy.export import archive, unpack
from orchestrator.errors import DeployError

#: Attributes by which `git archive` would leave a file out, and rewrite another.
SLY = "guard.py export-ignore\nversion.txt export-subst\n*.txt text eol=crlf\n"


def git(folder: Path, *words: str) -> str:
    me = ["git", "-c", "user.name=x", "-c", "user.email=x@localhost", *words]
    done = subprocess.run(me, cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


async def test_no_attribute_of_the_commit_changes_what_is_deployed(tmp_path: Path) -> None:
    repo, out = tmp_path / "repo", tmp_path / "out"
    repo.mkdir()
    wanted = {
        "guard.py": b"check()\n",
        "version.txt": b"$Format:%H$\n",
        "a b/nä.bin": b"\0\r\n",
    }
    for name, data in wanted.items():
        path = repo / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
    (repo / "run.sh").write_text("true\n")
    (repo / "run.sh").chmod(0o755)
    (repo / "link").symlink_to("guard.py")
    git(repo, "init", "-q")
    git(repo, "add", "-A")
    git(repo, "commit", "-qm", "x")
    (repo / ".gitattributes").write_text(SLY)
    git(repo, "add", ".gitattributes")
    git(repo, "commit", "-qm", "sly")
    unpack(await archive("production", repo, git(repo, "rev-parse", "HEAD")), out)
    assert {name: (out / name).read_bytes() for name in wanted} == wanted
    assert (out / "run.sh").stat().st_mode & 0o777 == 0o755
    assert (out / "link").readlink() == Path("guard.py")
    assert len(list(out.iterdir())) == 6


async def test_what_is_no_commit_is_named(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    with pytest.raises(DeployError, match="staging: git show"):
        await archive("staging", tmp_path, "0" * 40)
