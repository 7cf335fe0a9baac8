"""The services of a run that a test of one module needs; whoever asks for more gets an error."""

from pathlib import Path
from typing import Any

from harness.git import Repository
from harness.record.clock import SystemClock
from harness.record.journal import Journal
from harness.record.workspace import Workspace
from harness.services import Bases, Checker, Services, Settings
from orchestrator.values import FeatureList
from tests.fakes.sandbox import FakeSandboxProvider


def services(
    tmp_path: Path, given: FeatureList, repository: Repository, journal: Journal, checks: Checker
) -> Services:
    """Everything that is not given refuses to be used."""
    provider = FakeSandboxProvider(tmp_path / "bases")
    never: Any = None
    return Services(
        settings=Settings("run-1", workers=1, sandbox="fake"),
        workspace=Workspace(tmp_path),
        features=given,
        repository=repository,
        protected=lambda _feature: (),
        provider=provider,
        bases=Bases(provider, repository, given.project, journal, SystemClock()),
        model=never,
        agent=never,
        checker=checks,
        journal=journal,
        commands=never,
        integrator=never,
        router=never,
        write_passes=never,
        knowledge=never,
    )
