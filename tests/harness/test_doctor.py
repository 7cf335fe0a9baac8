"""Findings and how they read."""

from pathlib import Path

import pytest

from harness.doctor import Finding, diagnose, render


@pytest.mark.long
def test_this_machine_is_diagnosed_by_trying(tmp_path: Path) -> None:
    findings = {finding.name: finding for finding in diagnose(tmp_path)}
    assert {"python", "git", "unshare", "nsenter", "bubblewrap", "user namespaces", "sandbox",
            "control groups", "disk space"} <= findings.keys()  # fmt: skip
    assert findings["python"].ok
    # The trial of a whole sandbox and the trial of its first ingredient agree.
    assert findings["sandbox"].ok <= findings["user namespaces"].ok
    assert all(finding.ok or finding.remedy for finding in findings.values())


def test_a_failure_is_followed_by_its_remedy_and_counted() -> None:
    text = render(
        [
            Finding("git", True, "git version 2.40", "never shown"),
            Finding("user namespaces", False, "refused", "sudo first\nsudo second"),
            Finding("control groups", False, "none", "not needed", required=False),
        ]
    )
    assert text.splitlines() == [
        "ok    git: git version 2.40",
        "FAIL  user namespaces: refused",
        "        sudo first",
        "        sudo second",
        "weak  control groups: none",
        "        not needed",
        "1 problem to mend before isolated runs",
    ]


def test_a_sound_machine_is_told_so() -> None:
    assert render([Finding("git", True, "x")]).endswith("This machine can run isolated attempts.")
