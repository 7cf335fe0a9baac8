"""What people decide is learned: told always, compared with nothing, kept once."""

from pathlib import Path

from harness.learn import brief, decisions
from harness.learn.brief import Brief
from harness.learn.store import PatternStore
from harness.record.clock import SystemClock
from harness.record.workspace import Workspace
from orchestrator import learning
from orchestrator.deploy.course import Deployment
from orchestrator.deploy.rework import id_of
from orchestrator.values import AttemptKey, Feature

REASON = "Name the unit: kB, not 1024 bytes.\nToken: sk-ant-" + "b" * 30


def known(workspace: Workspace) -> list[learning.Pattern]:
    return list(PatternStore(workspace.patterns, workspace.patterns_lock).load().values())


def test_a_rejected_attempt_teaches_every_attempt_at_the_feature_and_its_files(
    tmp_path: Path,
) -> None:
    workspace, clock = Workspace(tmp_path), SystemClock()
    (tmp_path / "patch.diff").write_bytes(b"--- a/x.py\n+++ b/x.py\n@@ -0,0 +1 @@\n+y\n")
    for _ in range(2):
        pattern = decisions.learn(workspace, clock, REASON, "f", tmp_path)
    assert known(workspace) == [pattern]
    assert (pattern.by, pattern.status, pattern.files) == ("person", "asked", ("x.py",))
    assert "Name the unit: kB, not 1024 bytes." in pattern.what
    assert "sk-ant-" not in str(pattern)
    for feature in (Feature("f", "F."), Feature("g", "G.", scope=("*.py",))):
        assert learning.applies(feature, pattern, frozenset(), 0) == "same scope"
    (told,) = learning.choose([(pattern, "same scope")], {})
    for n in range(1, 16):
        share = brief.share("run", AttemptKey("f", 1, n), Brief("", (), (told,), 15))
        assert share.shown == (told,)
        assert share.compared == frozenset()


def test_a_refused_deployment_teaches_the_feature_that_mends_it(tmp_path: Path) -> None:
    workspace, clock = Workspace(tmp_path), SystemClock()
    refused = Deployment("d1-x", "run", "c" * 40, "digest", "me", answer="rejected", reason="Slow.")
    for deployment in (refused, refused, Deployment("d2-y", "run", "c" * 40, "digest", "me")):
        decisions.of_deployment(workspace, clock, deployment)
    (pattern,) = known(workspace)
    assert pattern.features == (id_of(refused),)
    assert pattern.what == "Slow."
