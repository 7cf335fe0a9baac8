"""A small shop with a bug: bare origin, checkout, an emulated GitHub, and the real program."""

import asyncio
import contextlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from harness.tickets.writing import Desk
from scripts.resolve_ticket import main
from tests.emulators.github import REPO, GitHubServer

SCRIPT = Path(__file__).resolve().parents[3] / "scripts" / "resolve_ticket.py"
PROGRAM = (sys.executable, str(SCRIPT))
BOT = "github-actions[bot]"
DATE = "2026-01-01T00:00:00+00:00"
TITLE = "total() is wrong for an empty cart"
BODY = "`total([])` raises an exception; expected 0."
FILES = {
    "shop.py": "def total(cart):\n    return cart[0] + sum(cart[1:])\n",
    "test_shop.py": (
        "from shop import total\n\n\ndef test_total():\n    assert total([1, 2]) == 3\n"
    ),
    ".github/fibreflow.yaml": "test: python -m pytest -q\nbudget_usd: 1\n",
}
MENDED = "def total(cart):\n    return sum(cart)\n"
TEST = "from shop import total\n\n\ndef test_empty():\n    assert total([]) == 0\n"


def creates(path: str, text: str) -> dict[str, Any]:
    """A model's call that writes a file, whatever is there."""
    line = f"cat > {path} <<'END'\n{text}END"
    return {"type": "tool_use", "name": "bash", "input": {"command": line}}


def submits(summary: str = "done") -> dict[str, Any]:
    return {"type": "tool_use", "name": "submit", "input": {"summary": summary}}


def mends(request: dict[str, Any]) -> list[dict[str, Any]]:
    """What a model that knows the answer says; asked for a sort first."""
    if not request.get("tools"):
        return [{"type": "text", "text": '{"sort": "bug"}'}]
    turns = [[creates("shop.py", MENDED), creates("test_issue_7.py", TEST)], [submits()]]
    return turns[min(len(request["messages"]) // 2, 1)]


class Shop:
    def __init__(
        self, folder: Path, github: GitHubServer, cache: Path, source: Path | None = None
    ) -> None:
        """`source`: another project's files instead of the shop's."""
        self.folder = folder
        self.github = github
        self.cache = cache
        self.origin = github.origin = folder / "origin.git"
        self.checkout = folder / "checkout"
        self.out = folder / "artifact"
        self.reader = github.token(BOT, issues="read", pulls="read", contents="read")
        self.writer = github.token(BOT, issues="write", pulls="write")
        github.people |= {"ann": "write", "tom": "triage", "eve": "read"}
        self.checkout.mkdir(parents=True)
        self._git("init", "-q", "--bare", "-b", "main", str(self.origin), at=folder)
        self._git("init", "-q", "-b", "main")
        if source is not None:
            shutil.copytree(source, self.checkout, dirs_exist_ok=True)
        self.commit(FILES if source is None else {}, "Begin")
        self._git("push", "-q", str(self.origin), "main")

    def _git(self, *args: str, at: Path | None = None) -> str:
        git = ["git", "-c", "user.name=t", "-c", "user.email=t@t", *args]
        # At a fixed time: the same files are the same commit, whose base is prepared once.
        env = {**os.environ, "GIT_AUTHOR_DATE": DATE, "GIT_COMMITTER_DATE": DATE}
        done = subprocess.run(
            git, cwd=at or self.checkout, check=True, capture_output=True, text=True, env=env
        )
        return done.stdout

    def commit(self, files: Mapping[str, str], message: str) -> str:
        for name, text in files.items():
            (self.checkout / name).parent.mkdir(parents=True, exist_ok=True)
            (self.checkout / name).write_text(text)
        self._git("add", "-A")
        self._git("commit", "-q", "-m", message)
        return self.head

    @property
    def head(self) -> str:
        return self._git("rev-parse", "HEAD").strip()

    def patch(self, files: Mapping[str, str]) -> bytes:
        """A patch that adds or replaces these files; the checkout stays as it was."""
        for name, text in files.items():
            (self.checkout / name).parent.mkdir(parents=True, exist_ok=True)
            (self.checkout / name).write_text(text)
        self._git("add", "-A")
        made = self._git("diff", "--cached", "--binary", "--full-index").encode()
        self._git("reset", "-q", "--hard")
        return made

    def pushed(self, number: int = 7) -> str:
        """The commit of the ticket's branch at the origin, or nothing."""
        ref = f"refs/heads/fibreflow/issue-{number}"
        return self._git("for-each-ref", "--format=%(objectname)", ref, at=self.origin).strip()

    def shown(self, path: str, number: int = 7) -> str:
        return self._git("show", f"fibreflow/issue-{number}:{path}", at=self.origin)

    def branch(self, folder: Path, number: int = 7) -> Path:
        """A checkout of the ticket's branch."""
        name = f"fibreflow/issue-{number}"
        self._git("clone", "-q", "-b", name, str(self.origin), str(folder), at=self.folder)
        return folder

    def written(self) -> dict[str, str]:
        """What each attempt that wrote something said that it writes."""
        found = {}
        for path in self.folder.glob("workspace/*/logs/*/issue-7/*/transcript.jsonl"):
            said = re.findall(r"I write: (\w+)", path.read_text())
            again = "again/" if "-again/logs/" in str(path) else ""
            if said:
                found[again + path.parent.name] = said[0]
        return found

    def event(self, name: str, **body: Any) -> Path:
        path = self.folder / f"{name}.json"
        given = {"repository": {"full_name": REPO}, "sender": {"login": "ann"}, **body}
        path.write_text(json.dumps(given))
        return path

    def _issue(self, number: int, **more: Any) -> dict[str, Any]:
        """As an event carries it: what it is at that moment."""
        known = self.github.issues.get(number, {})
        return {"number": number, "title": known.get("title"), "body": known.get("body"), **more}

    def labelled(self, actor: str = "ann") -> Path:
        return self.event(
            "issues", action="labeled", label={"name": "fibreflow"},
            issue=self._issue(7), sender={"login": actor},
        )  # fmt: skip

    def commented(self, text: str, actor: str = "ann", number: int = 7, **issue: Any) -> Path:
        return self.event(
            "issue_comment", action="created", comment={"body": text},
            issue=self._issue(number, **issue), sender={"login": actor},
        )  # fmt: skip

    def reviewed(self, text: str, pull: int, actor: str = "ann") -> Path:
        return self.event(
            "pull_request_review", action="submitted", review={"body": text},
            pull_request=self.github.pulls[pull], sender={"login": actor},
        )  # fmt: skip

    def environment(self, token: str, more: Mapping[str, str]) -> dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("GITHUB_", "ANTHROPIC_"))}
        return {
            **kept, "GITHUB_TOKEN": token, "GITHUB_API_URL": self.github.url,
            "GITHUB_SERVER_URL": self.github.url,
            "FIBREFLOW_CACHE": str(self.cache), "FIBREFLOW_STATE": str(self.folder / "state"),
            **more,
        }  # fmt: skip

    def words(self, event: Path, *flags: str) -> list[str]:
        return [
            "--event", str(event), "--event-name", event.stem, "--checkout", str(self.checkout),
            "--workspace", str(self.folder / "workspace"), *flags,
        ]  # fmt: skip

    async def _run(self, words: list[str], environment: dict[str, str]) -> tuple[int, str]:
        process = await asyncio.create_subprocess_exec(
            *words, env=environment, stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        said, _ = await asyncio.wait_for(process.communicate(), 300)
        return process.returncode or 0, said.decode()

    async def work(self, event: Path, **more: str) -> tuple[int, str]:
        """The job with the agent, as a program of its own: the run within is one process's."""
        words = [*PROGRAM, *self.words(event, "--out", str(self.out))]
        return await self._run(words, self.environment(self.reader, more))

    async def gate(self, event: Path) -> tuple[int, str]:
        """The job that asks who may."""
        return await self.here(self.words(event, "--gate"), self.reader)

    async def look(self, event: Path) -> tuple[int, str]:
        """The same job where nothing comes to be run, in this process."""
        return await self.here(self.words(event, "--out", str(self.out)), self.reader)

    async def work_killed(self, program: str, number: int, **more: str) -> int:
        """The exit code of a `program` that is given the moment at which to die."""
        words = [sys.executable, "-c", program, str(number), str(self.checkout),
                 str(self.folder / "workspace"), str(self.out)]  # fmt: skip
        more = {"PYTHONPATH": str(SCRIPT.parents[1]), **more}
        return (await self._run(words, self.environment(self.reader, more)))[0]

    def desk(self, noted: Callable[[str], object]) -> Desk:
        """Where the second job works, in this process."""
        return Desk(
            REPO, 7, self.checkout, self.github.url, self.writer, str(self.origin), "main", BOT,
            noted=noted,
        )  # fmt: skip

    def writing(self, event: Path) -> list[str]:
        return self.words(event, "--write", str(self.out), "--remote", str(self.origin))

    async def write(self, event: Path) -> tuple[int, str]:
        """The job that writes, in this process."""
        return await self.here(self.writing(event), self.writer)

    async def here(self, words: list[str], token: str) -> tuple[int, str]:
        """The program in this process, with these arguments."""
        said = io.StringIO()
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            code = await asyncio.to_thread(main, words, self.environment(token, {}))
        return code, said.getvalue()

    def status(self, number: int = 7) -> list[str]:
        """The bodies of our comments on the issue."""
        rows = self.github.comments.get(number, [])
        return [c["body"] for c in rows if c["user"]["login"] == BOT]
