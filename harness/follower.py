"""Follows a run's events and keeps what people read up to date: progress and report."""

from harness import progress
from harness.record import files
from harness.record.workspace import Workspace
from orchestrator import events, report
from orchestrator.report import Report
from orchestrator.state import Fold, RunState

_ENDS = (events.FeatureMerged, events.FeatureFailed, events.ReviewRequested)


class Follower:
    """A journal listener."""

    def __init__(self, workspace: Workspace, run: str, before: RunState) -> None:
        self._workspace = workspace
        self._run = run
        self._fold = Fold(before)

    def __call__(self, event: events.Event) -> None:
        self._fold.apply(event)
        if isinstance(event, _ENDS) and event.feature is not None:
            feature = self._fold.features.get(event.feature)
            if feature is not None:
                progress.append(
                    self._workspace.progress, progress.entry(feature, self._run, event.time)
                )

    def write_report(self) -> Report:
        """`report.json` and `report.md` of the run as it stands."""
        built = report.build(self._fold.state)
        folder = self._workspace.run_folder(self._run)
        files.replace_json(folder / "report.json", report.to_json(built))
        files.replace(folder / "report.md", report.to_markdown(built))
        return built
