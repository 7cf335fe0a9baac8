"""Learns from people: what they turned down becomes a pattern, what they took counts as right."""

from dataclasses import replace
from pathlib import Path

from harness.learn import knowledge
from harness.learn.knowledge import joining, touched
from harness.learn.store import PatternStore
from harness.ports import Clock
from harness.record.clock import iso
from harness.record.workspace import Workspace
from orchestrator import learning
from orchestrator.deploy.course import Deployment
from orchestrator.deploy.rework import id_of
from orchestrator.learn.signatures import of_review
from orchestrator.learning import Pattern
from orchestrator.runs.state import RunState


def learn(
    workspace: Workspace, clock: Clock, reason: str, feature: str, folder: Path | None = None
) -> Pattern:
    """Keep the reason, once, and where it applies: to `feature`, and to the files that the patch
    in `folder` touched. A person's words are told always and compared with nothing: no check
    could say whether the reason is gone."""
    pattern = replace(
        learning.by_rules(of_review(reason)),
        title=learning.clean(f"a person turned it down: {reason}", learning.TITLE_CHARS),
        what=learning.clean(reason, learning.TEXT_CHARS),
        by="person",
        status="asked",
        status_why="a person's reason",
        learned=iso(clock.now()),
        features=(feature,),
        files=touched(folder) if folder is not None else (),
    )
    store = PatternStore(workspace.patterns, workspace.patterns_lock)
    return store.update(joining(pattern))[pattern.id]


def count(workspace: Workspace, clock: Clock, run: str, state: RunState) -> None:
    """What each pattern was worth in `run`, now that a person has decided."""
    store = PatternStore(workspace.patterns, workspace.patterns_lock)
    knowledge.count(store, run, state, iso(clock.now()))


def of_deployment(workspace: Workspace, clock: Clock, deployment: Deployment) -> None:
    """The reason why a deployment was refused, for the feature that mends it and for what is like
    it. Learned again changes nothing."""
    if deployment.answer == "rejected" and deployment.reason.strip():
        learn(workspace, clock, deployment.reason, id_of(deployment))
