"""What old callers lose is found by parsing alone, and what cannot be parsed is not called safe."""

import subprocess
from pathlib import Path

import pytest

from harness.deploy.breaking import breaking, packages
from harness.git import Repository

BEFORE = {
    "app/__init__.py": "",
    "app/mail.py": "def send(to, subject):\n    return to\n\n\ndef _own(x): ...\n\n\nLIMIT = 3\n",
    "src/lib/__init__.py": "class Box:\n    def put(self, x): ...\n",
    "tests/__init__.py": "def helper(a): ...\n",
    "setup.py": "raise SystemExit('never imported')\n",
}


class Project:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.git("init", "-q")
        self.first = self.commit(BEFORE)

    def git(self, *words: str) -> str:
        me = ["git", "-c", "user.name=x", "-c", "user.email=x@localhost", *words]
        done = subprocess.run(me, cwd=self.folder, check=True, capture_output=True)
        return done.stdout.decode().strip()

    def commit(self, files: dict[str, str]) -> str:
        for name, text in files.items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        self.git("add", "-A")
        self.git("commit", "-qm", "x")
        return self.git("rev-parse", "HEAD")

    async def breaks(self, files: dict[str, str]) -> tuple[str, ...]:
        return await breaking(Repository(self.folder), self.first, self.commit(files))


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


async def test_what_old_callers_lose_is_named(project: Project) -> None:
    found = await project.breaks(
        {
            "app/mail.py": "def send(to, subject, tries):\n    return to\n",
            "src/lib/__init__.py": "class Box: ...\n",
            "tests/__init__.py": "",
        }
    )
    text = "\n".join(found)
    for words in ("app.mail.send: parameter was added", "app.mail.LIMIT", "lib.Box.put"):
        assert words in text, text
    assert len(found) == 3 and "_own" not in text and "helper" not in text


async def test_what_only_adds_breaks_nobody(project: Project) -> None:
    """And nothing of it is run: the module would write a file."""
    mail = BEFORE["app/mail.py"] + "\n\ndef more(x=1): ...\n\n\nopen('ran', 'w').write('x')\n"
    assert await project.breaks({"app/mail.py": mail}) == ()
    assert not (project.folder / "ran").exists()
    assert await breaking(Repository(project.folder), "", project.first) == ()


async def test_what_cannot_be_compared_is_no_good_news(project: Project) -> None:
    nested = "x = " + "(" * 5000 + ")" * 5000 + "\n"
    found = await project.breaks({"app/__init__.py": nested})
    assert found != ()
    project.git("rm", "-rq", "app")
    assert "app is gone" in await project.breaks({"other.txt": "x"})


def test_packages_are_those_that_others_import() -> None:
    files = ["app/__init__.py", "app/sub/__init__.py", "src/lib/__init__.py", "tests/__init__.py",
             "_private/__init__.py", "docs/conf.py"]  # fmt: skip
    assert packages(files) == ["app", "src/lib"]
