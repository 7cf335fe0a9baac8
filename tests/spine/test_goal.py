"""From one sentence to production, by the real program and offline: as a new user would."""

import json
import os
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.spine.project import RUNNER, End, wait

GOAL = "Build an email notification agent"


class Owner:
    """Types commands about one workspace, and has no key."""

    def __init__(self, workspace: Path, cache: Path) -> None:
        self.workspace = workspace
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("ANTHROPIC", "GIT_"))}
        self.env = {**kept, "FIBREFLOW_CACHE": str(cache)}

    def types(self, *words: str) -> End:
        return wait(
            subprocess.Popen(
                [sys.executable, str(RUNNER), *words, "--workspace", str(self.workspace)],
                env=self.env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                stderr=subprocess.PIPE, text=True,
            ), 300
        )  # fmt: skip

    def pending(self) -> list[dict[str, Any]]:
        found = json.loads(self.types("approvals", "list", "--json").out)
        return [a for a in found if a["standing"] == "pending"]


@pytest.mark.slow
def test_a_goal_becomes_a_service_that_waits_for_approval_and_goes_live(
    tmp_path: Path, cache: Path
) -> None:
    owner = Owner(tmp_path / "mail", cache)
    owner.workspace.mkdir()
    try:
        end = owner.types("--autopilot", GOAL, "--plain")
        assert end.code == 3, end.out + end.err
        for words in ("planned 4 features", "service r1-a01 selected", "4 merged", "staging "):
            assert words in end.out, end.out
        (asked,) = owner.pending()
        assert (asked["environment"], asked["strategy"]) == ("production", "REQUIRED")
        # The run that planned is the run that built: one folder, one budget, one account.
        (run,) = (p.parent for p in owner.workspace.glob("logs/*/plan.json"))
        assert asked["run"] == run.name and (run / "report.json").exists()
        assert (run / "documents" / "system_design.md").exists()
        assert owner.types("approvals", "approve", asked["id"]).code == 0
        (record,) = owner.workspace.glob("logs/deployments/*.json")
        url = dict(json.loads(record.read_text())["urls"])["production"]
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"{url}/health", timeout=20) as answer:
            health = json.loads(answer.read())
        assert (health["status"], health["commit"]) == ("ok", asked["commit"])
        assert owner.types("--autopilot", GOAL, "--plain").code == 0
    finally:
        owner.types("deploy", "down")
