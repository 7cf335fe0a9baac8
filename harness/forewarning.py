"""What a person should have known before a run was left alone: said once, as its first warnings."""

from typing import TYPE_CHECKING

from harness.inputs import Target
from orchestrator import forecast
from orchestrator.reporting.wording import counted
from orchestrator.values import FeatureList

if TYPE_CHECKING:
    from harness.wiring import Opened

#: What the harness itself reads in a workspace, whatever is committed of it.
_READ = ("models.yaml", "routing.yaml", "agents.yaml", "data_layer_slas.yaml", "skills")


def warnings(opened: "Opened") -> list[str]:
    """What a person should have known before going to bed."""
    given, target = opened.given, opened.target
    found = [] if not target.behind else [behind(target, given)]
    if opened.model.source == "live" and given.defaults.budget_usd is None:
        found.append("no budget is set: `--budget USD` says the most that this run may cost")
    plan = forecast.forecast(
        given,
        worst_case_attempt_usd=None,
        workers=opened.settings.workers,
        existing_files=target.files,
        done=frozenset(target.integrated),
        only=opened.options.only or None,
    )
    return [*found, *plan.warnings]


async def unseen(opened: "Opened") -> list[str]:
    """What lies in the working tree, and not in the commit that the run starts from."""
    target, workspace = opened.target, opened.workspace
    repository = target.repository
    if await repository.commit_of("HEAD") != target.base:
        return []
    ours = (
        workspace.logs,
        workspace.progress,
        workspace.patterns,
        opened.options.features.resolve(),
        *(workspace.root / name for name in (*_READ, opened.given.project.recording) if name),
    )
    root = repository.path.resolve()
    found = [
        name
        for name in await repository.uncommitted()
        if not any(
            one.is_relative_to(root / name) or (root / name).is_relative_to(one) for one in ours
        )
    ]
    if not found:
        return []
    shown = ", ".join(found[:5]) + (f" and {len(found) - 5} more" if len(found) > 5 else "")
    return [
        f"{root} has changes that are not committed, which no attempt will see: {shown}; commit "
        "what they need and start again"
    ]


def behind(target: Target, given: FeatureList) -> str:
    """The branch lacks commits of the base, and cannot simply be brought forward."""
    base = given.project.base or "what is checked out"
    return (
        f"branch {target.branch} lacks {counted(target.behind, 'commit')} of {base}: files that "
        f"are new there, exams too, are not seen; merge {base} into {target.branch} first"
    )
