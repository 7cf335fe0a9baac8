"""Begins and continues deployments of a workspace, for runs and for people's commands alike."""

import asyncio
from dataclasses import dataclass, replace

from harness import inputs
from harness.approvals.store import ApprovalStore
from harness.cli.commands import user
from harness.cli.flags import RunOptions
from harness.deploy import workflow
from harness.deploy.compose import ComposeAdapter
from harness.deploy.records import Records
from harness.deploy.workflow import Wiring, Workflow
from harness.fleet import books
from harness.inputs import Target
from harness.learn import decisions
from harness.record.clock import SystemClock
from harness.record.workspace import Workspace
from harness.run_file import RunFile
from orchestrator.deploy import course
from orchestrator.deploy.course import EXIT_CODES, Deployment
from orchestrator.deploy.rework import id_of
from orchestrator.deploy.values import ENVIRONMENTS, Deploy
from orchestrator.errors import DeployError, InputError
from orchestrator.reporting.wording import visible
from orchestrator.values import FeatureList


@dataclass(frozen=True, slots=True)
class Asked:
    """`anew`: also what was deployed, refused or failed before. `wait`: for people and data.
    `by_hand`: somebody wants it live, also where it was so already and has been taken down."""

    wait: bool = False
    anew: bool = False
    by_hand: bool = False
    override: str = ""


def store(workspace: Workspace) -> ApprovalStore:
    return books.approvals(workspace)


def read(workspace: Workspace) -> tuple[FeatureList, Deploy]:
    """The list as the newest run had it, its flags laid over. Raises `InputError` when the project
    says nothing about deployment."""
    newest = next((r.id for r in workspace.runs()), "")
    options = options_of_run(workspace, newest)
    if options is None or not options.features.exists():
        options = RunOptions(workspace=workspace.root, features=workspace.feature_list)
    given = inputs.read_features(replace(options, only=()))  # deployed is all that is merged
    if given.project.deploy is None:
        raise InputError(f"{options.features}: there is no project.deploy; see docs/deploy.md")
    return given, given.project.deploy


def options_of_run(workspace: Workspace, run: str) -> RunOptions | None:
    """What a run was begun with; None where it has not begun."""
    if not run or not (path := workspace.run_file(run)).exists():
        return None
    return RunFile.load(path).run_options()


async def after_run(
    given: FeatureList, workspace: Workspace, options: RunOptions, code: int
) -> tuple[int, bool]:
    """What an unattended run does when it has merged: deploy. The exit code of both, and whether a
    person was heard to reject it, which is work. The caller holds the workspace."""
    settings = given.project.deploy
    if settings is None or settings.on == "demand":
        return code, False
    target = await inputs.find_target(given, workspace.root)
    whole = all(f.id in target.integrated for f in given.features)
    if not target.integrated or not (whole or settings.on == "partial"):
        return code, False
    if settings.adapter == "process" and options.sandbox != "local":
        say("not deployed: a supervised process needs the sandbox provider local", options)
        return code, False
    asked = Asked(wait=options.wait, override=options.sla_override)
    run = next((r.id for r in workspace.runs()), "")
    over = {d.id for d in Records(workspace).all() if course.is_over(d)}
    done = await drive(_wiring(workspace, given, target, asked), asked, run)
    gone = await is_gone(_wiring(workspace, given, target, asked), done)
    say(told(workspace, done, gone=gone), options)
    if not course.is_over(done) and done.commit != target.head:
        say(f"then        the branch has gone on to {target.head[:12]}: that is next", options)
    code = max(code, EXIT_CODES[course.status(done)]) if code in {0, 3} else code
    return code, done.answer == "rejected" and done.id not in over


def rejected(workspace: Workspace) -> Deployment | None:
    """The newest deployment where a person has rejected it and no run has worked on the reason."""
    newest = next(iter(Records(workspace).all()), None)
    if newest is None or newest.answer != "rejected":
        return None
    begun = any((run.folder / id_of(newest)).is_dir() for run in workspace.runs())
    return None if begun else newest


def say(text: str, options: RunOptions) -> None:
    """The last words of a run, for people."""
    if options.screen != "json":
        print(text)  # noqa: T201


async def drive(wiring: Wiring, asked: Asked, run: str) -> Deployment:
    """The open deployment, unless the branch has left it behind, else one of the branch as it is,
    as far as it goes. Where an older one had to come to its end first, both."""
    _keep_up(wiring)
    records, head = Records(wiring.workspace), wiring.target.head
    found = await asyncio.to_thread(still_open, wiring, user())
    if found is None and not asked.anew:
        kept = (d for d in records.all() if d.answer != "superseded")
        found = next((d for d in kept if d.commit == head), None)
        if found is not None and asked.by_hand and await is_gone(wiring, found):
            found = None
    if found is None:
        found = await workflow.begin(wiring, run, user())
    done = await _on(wiring, asked, found)
    if done.commit != head and course.status(done) in {"live", "expired"}:
        return await drive(wiring, asked, run)
    return done


def still_open(wiring: Wiring, by: str) -> Deployment | None:
    """The open deployment; None where there is none, or the branch has gone on and `by` withdraws
    what nobody has decided. An answer that was faster stands, and is gone on with first."""
    records, head = Records(wiring.workspace), wiring.target.head
    found = records.open()
    if found is None or not course.gives_way(found, head):
        return found
    why = f"the branch has gone on to {head[:12]}, which is deployed instead"
    # Its request has its name, also where the process died before it was noted.
    if wiring.store.withdraw(found.id, by, why) != "superseded":
        return found
    records.store(course.superseded(found, why))
    return None


def _keep_up(wiring: Wiring) -> None:
    if wiring.settings.adapter in {"process", "compose"}:
        for name in ENVIRONMENTS:
            workflow.local_adapter(wiring.workspace, name, wiring.settings).keep_up()


async def _on(wiring: Wiring, asked: Asked, found: Deployment) -> Deployment:
    if not course.is_over(found):
        going = Workflow(wiring, found)
        found = await (workflow.wait_for_answer(wiring, going) if asked.wait else going.go_on())
    await asyncio.to_thread(decisions.of_deployment, wiring.workspace, SystemClock(), found)
    return found


async def is_gone(wiring: Wiring, deployment: Deployment) -> bool:
    """Whether it came to be live and no longer is: it was ended, or somebody went back by hand."""
    if course.status(deployment) != "live":
        return False
    try:
        return await wiring.adapter("production").live() != deployment.commit
    except DeployError:  # it cannot be asked; that says nothing
        return False


async def go_on(workspace: Workspace, asked: Asked) -> Deployment | None:
    """Continue the open deployment; None when there is none. Raises `WorkspaceLockedError` when
    another process has the workspace, which then goes on by itself if it waits."""
    records = Records(workspace)
    if records.open() is None:
        return None
    given, _ = read(workspace)
    with workspace.lock():
        found = records.open()
        if found is None:
            return None
        target = await inputs.find_target(given, workspace.root)
        wiring = _wiring(workspace, given, target, asked)
        _keep_up(wiring)
        return await _on(wiring, asked, found)


async def deploy(workspace: Workspace, asked: Asked) -> Deployment:
    given, _ = read(workspace)
    with workspace.lock():
        target = await inputs.find_target(given, workspace.root)
        if not target.integrated:
            raise InputError(f"nothing is merged on branch {target.branch} yet")
        run = next((r.id for r in workspace.runs()), "")
        return await drive(_wiring(workspace, given, target, asked), asked, run)


def _wiring(workspace: Workspace, given: FeatureList, target: Target, asked: Asked) -> Wiring:
    assert given.project.deploy is not None
    return Wiring(
        workspace, given, target, given.project.deploy, store(workspace), SystemClock(),
        override=asked.override,
    )  # fmt: skip


def stop(workspace: Workspace) -> list[str]:
    """End the services of both environments; the names of those that were up."""
    _, settings = read(workspace)
    ended: list[str] = []
    for name in ENVIRONMENTS:
        adapter = workflow.local_adapter(workspace, name, settings)
        if adapter.stop():
            ended.append(name)
        if isinstance(adapter, ComposeAdapter) and ended[-1:] == [name]:
            asyncio.run(adapter.take_down())
    return ended


def told(workspace: Workspace, deployment: Deployment, *, gone: bool = False) -> str:
    """Where it stands, for a person, and what to type. `gone`: it is live no more."""
    status, lines = course.status(deployment), []
    urls = dict(deployment.urls)
    if urls.get("staging"):
        lines.append(f"staging     {urls['staging']}")
    if gone:
        commit, again = deployment.commit[:12], workspace.hint("deploy")
        lines = [f"production  {commit} was live and is no more; `{again}` deploys it"]
    elif status == "live":
        where = urls.get("production") or "production"
        lines.append(f"production  {where} has {deployment.commit[:12]}")
    elif deployment.waits and status == "waiting":
        lines.append(f"waits for {deployment.waits}; `{workspace.hint('deploy')}` goes on")
    elif status in {"waiting", "going"}:
        look = workspace.hint("approvals", "show", deployment.request)
        take = workspace.hint("approvals", "approve", deployment.request)
        lines += _left(workspace, deployment)
        lines.append(f"approval    {deployment.strategy} is pending: `{look}`, then `{take}`")
    elif deployment.answer:
        lines.append(f"promotion   {_refused(workspace, deployment)}")
    else:
        failed = deployment.failure
        lines.append(
            f"{status.replace('_', ' ')}: {failed.step}: {visible(failed.detail)}" if failed else ""
        )
    return "\n".join(lines)


def _refused(workspace: Workspace, deployment: Deployment) -> str:
    """How it came to its end without being promoted, and what comes of it."""
    why, again = deployment.reason, workspace.hint("deploy")
    if deployment.answer == "rejected":
        return f"rejected: {why}; that is work for every run now: {id_of(deployment)}"
    if deployment.answer == "superseded":
        return f"withdrawn: {why}; `{again}` goes on with that"
    again = workspace.hint("deploy", "--anew")
    return f"refused: nobody answered in time; `{again}` asks again"


def _left(workspace: Workspace, deployment: Deployment) -> list[str]:
    """That the one before was left for this one, if so."""
    before = next((d for d in Records(workspace).all() if d.id < deployment.id), None)
    if before is None or before.answer != "superseded":
        return []
    return [f"withdrawn   {before.id}: {before.reason}"]
