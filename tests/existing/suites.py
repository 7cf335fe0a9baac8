"""Runs a package's own test suite in a plain subprocess, without anything of the harness."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.existing.packages import Package

_REPORTER = """
import json, os
worst = {}
def pytest_runtest_logreport(report):
    if report.when == "call" or report.outcome != "passed":
        known = worst.get(report.nodeid, "passed")
        worst[report.nodeid] = report.outcome if known == "passed" else known
def pytest_sessionfinish(session):
    with open(os.environ["OUTCOMES"], "w") as file:
        json.dump(sorted(i for i, outcome in worst.items() if outcome == "passed"), file)
"""
_SECONDS = 180


def passing(package: Package, repo: Path) -> frozenset[str]:
    """The ids of the tests that pass; a suite that hangs or dies passes nothing."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "reporter_of_outcomes.py").write_text(_REPORTER, encoding="utf-8")
        outcomes = folder / "outcomes.json"
        roots = [str(folder), *(str(repo / root) for root in package.roots)]
        env = {
            **os.environ,
            **dict(package.env),
            "PYTHONPATH": os.pathsep.join(roots),
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
            "PYTEST_ADDOPTS": "",
            "OUTCOMES": str(outcomes),
        }
        command = [sys.executable, "-m", "pytest", "-q", "--tb=no", "-p", "no:cacheprovider",
                   "-p", "reporter_of_outcomes", f"--rootdir={repo}",
                   "--continue-on-collection-errors", *package.tests]  # fmt: skip
        try:
            subprocess.run(
                command, cwd=repo, env=env, capture_output=True, timeout=_SECONDS, check=False,
                stdin=subprocess.DEVNULL,
            )  # fmt: skip
            return frozenset(json.loads(outcomes.read_text(encoding="utf-8")))
        except (subprocess.TimeoutExpired, OSError):
            return frozenset()
