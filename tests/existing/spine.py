"""Runs the real program on a package with deleted functions and gathers what came of it."""

import asyncio
import json
import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.emulators.messages_api import MessagesServer
from tests.existing import packages, suites
from tests.existing.deletions import Deleted, delete, feature_list
from tests.existing.model import Restorer
from tests.existing.packages import Package

BRANCH = "trunk"  # no name that anybody could assume
_SECONDS = 900


@dataclass(frozen=True)
class Restored:
    """What was begun with, and what there is at the end. `before` and `after` are the tests that
    pass in the pristine package and on the integration branch; `attempts` maps the folder of
    each verified attempt to its evidence.
    """

    repo: Path
    base: str
    deleted: tuple[Deleted, ...]
    code: int
    output: str
    report: Mapping[str, Any]
    attempts: Mapping[Path, Mapping[str, Any]]
    before: frozenset[str]
    after: frozenset[str]
    errors: tuple[BaseException, ...]


async def restore(
    package: Package, cache: Path, folder: Path, *, count: int, seed: int, attempts: int = 5
) -> Restored:
    """Raises `IndexUnreachableError` when the package cannot be had."""
    archive = await asyncio.to_thread(packages.fetch, package, cache)
    repo, work = folder / "repo", folder / "work"
    packages.unpack(archive, repo)
    before = await asyncio.to_thread(suites.passing, package, repo)
    deleted = await asyncio.to_thread(delete, package, repo, count, seed)
    packages.commit_all(repo, BRANCH)
    base = packages.git(repo, "rev-parse", "HEAD")
    work.mkdir()
    features = work / "feature_list.json"
    features.write_text(json.dumps(feature_list(package, deleted), indent=2), encoding="utf-8")
    async with MessagesServer(Restorer(deleted, seed)) as server:
        code, output = await _run_program(repo, features, server.url, attempts)
    final = folder / "final"
    if packages.git(repo, "branch", "--list", "autopilot"):
        packages.git(repo, "worktree", "add", "--quiet", "--detach", str(final), "autopilot")
        after = await asyncio.to_thread(suites.passing, package, final)
        packages.git(repo, "worktree", "remove", "--force", str(final))
    else:
        after = frozenset()
    logs = work / "logs"
    report = next(logs.glob("*/report.json"), None)
    attempts = {
        path.parent: json.loads(path.read_bytes()) for path in logs.glob("*/*/*/evidence.json")
    }
    return Restored(
        repo, base, deleted, code, output, json.loads(report.read_bytes()) if report else {},
        attempts, before, after, tuple(server.errors),
    )  # fmt: skip


async def _run_program(repo: Path, features: Path, url: str, attempts: int) -> tuple[int, str]:
    root = Path(__file__).resolve().parents[2]
    env = {**os.environ, "ANTHROPIC_BASE_URL": url, "ANTHROPIC_API_KEY": "any"}
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(root / "harness" / "runner.py"), "--repo", str(repo), "--features",
        str(features), "--attempts", str(attempts), "--workers", "3", "--plain",
        env=env, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    try:
        out, _ = await asyncio.wait_for(process.communicate(), _SECONDS)
    except TimeoutError:
        process.kill()
        raise
    assert process.returncode is not None
    return process.returncode, out.decode("utf-8", "replace")


def agents_own_check(folder: Path) -> bool | None:
    """Whether the acceptance commands passed where the agent itself ran them, or where its submit
    had them run, by the last result before it was taken; None when it never came to that."""
    lines = (folder / "transcript.jsonl").read_text(encoding="utf-8").splitlines()
    results = [line for line in map(json.loads, lines) if line["type"] == "results"]
    if len(results) < 2:
        return None
    (block,) = results[-2]["content"]
    text = block["content"][0]["text"]
    failed = re.search(r"\[(timed out.*|exit status [1-9]\d*)\]$", text)
    return failed is None and not text.startswith("Not taken yet:")


def passed(evidence: Mapping[str, Any]) -> bool:
    checks = evidence["acceptance"]
    return bool(evidence["usable"] and checks and all(check["passed"] for check in checks))
