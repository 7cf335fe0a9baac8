"""`fibreflow deploy` and `fibreflow approvals`: also while no run is at work."""

import asyncio
import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict

from harness.approvals.store import Asked as AskedFor
from harness.cli import going_on
from harness.cli.commands import user
from harness.cli.deploy_flags import DeployOptions
from harness.cli.flags import Command
from harness.deploy import driving
from harness.deploy.driving import Asked
from harness.deploy.records import Records
from harness.notices import Notices
from harness.record.clock import SystemClock, iso
from harness.record.workspace import Workspace
from orchestrator.approval_requests import Answer, Verdict
from orchestrator.deploy import course
from orchestrator.deploy.course import EXIT_CODES, Deployment
from orchestrator.errors import InputError, WorkspaceLockedError
from orchestrator.reporting.wording import one_line


def _workspace(command: Command) -> tuple[Workspace, DeployOptions]:
    assert command.deploy is not None
    if not command.workspace.is_dir():
        raise InputError(f"--workspace {command.workspace}: there is no such folder")
    return Workspace(command.workspace.resolve()), command.deploy


def deploy(command: Command) -> int:
    workspace, options = _workspace(command)
    return _DEPLOY[options.word](workspace, options)


def _go(workspace: Workspace, options: DeployOptions) -> int:
    asked = Asked(options.wait, options.anew, by_hand=True, override=options.reason)
    return _end(workspace, asyncio.run(driving.deploy(workspace, asked)), options)


def _end(workspace: Workspace, done: Deployment, options: DeployOptions) -> int:
    if options.json:
        print(json.dumps({**asdict(done), "status": course.status(done)}))
    else:
        print(driving.told(workspace, done))
    return EXIT_CODES[course.status(done)]


def _status(workspace: Workspace, options: DeployOptions) -> int:
    found = Records(workspace).all()
    if options.json:
        print(json.dumps([{**asdict(d), "status": course.status(d)} for d in found]))
        return 0
    for one in found:
        last = one.taken[-1] if one.taken else None
        step = f"{last.step}: {one_line(last.detail, 200)}" if last else "not begun"
        print(f"{one.id}  {course.status(one).replace('_', ' ')}  {step}")
    if not found:
        print(f"nothing was deployed yet; `{workspace.hint('deploy')}` begins")
    return 0


def _down(workspace: Workspace, options: DeployOptions) -> int:  # noqa: ARG001
    stopped = driving.stop(workspace)
    print(f"stopped {' and '.join(stopped)}" if stopped else "nothing was running")
    return 0


_DEPLOY: Mapping[str, Callable[[Workspace, DeployOptions], int]] = {
    "go": _go,
    "status": _status,
    "down": _down,
}


def approvals(command: Command) -> int:
    workspace, options = _workspace(command)
    return _APPROVALS[options.word](workspace, options)


def _list(workspace: Workspace, options: DeployOptions) -> int:
    found = driving.store(workspace).all()
    if options.json:
        print(json.dumps([_plain(a) for a in found]))
        return 0
    for asked in found:
        one = asked.request
        print(f"{one.id}  {asked.standing}  {one.strategy}  {one.environment}  {one.commit[:12]}")
    if not found:
        print("no approvals were asked for")
        _point_elsewhere(workspace)
    return 0


def _point_elsewhere(workspace: Workspace) -> None:
    """A goal may be worked on in a workspace of its own below this one."""
    for path in sorted(workspace.root.glob("build/*/logs/approvals.sqlite")):
        other = Workspace(path.parent.parent)
        if driving.store(other).all():
            print(f"{other.root} has some: `{other.hint('approvals', 'list')}`")


def _plain(asked: AskedFor) -> dict[str, object]:
    answer = asdict(asked.answer) if asked.answer is not None else None
    return {**asdict(asked.request), "standing": asked.standing, "answer": answer}


def _find(workspace: Workspace, options: DeployOptions) -> AskedFor:
    found = driving.store(workspace).find(options.id)
    if found is None:
        known = ", ".join(a.request.id for a in driving.store(workspace).all()[:5]) or "none"
        raise InputError(f"no approval is called {options.id!r}; there are: {known}")
    return found


def _show(workspace: Workspace, options: DeployOptions) -> int:
    asked = _find(workspace, options)
    if options.json:
        print(json.dumps(_plain(asked)))
        return 0
    one = asked.request
    rows = [
        ("approval", f"{one.id}: {asked.standing}"),
        ("strategy", f"{one.strategy}: {'; '.join(one.reasons)}"),
        ("commit", one.commit),
        ("digest", one.digest),
        *one.facts,
        ("asked", f"{iso(one.asked)} by {one.requester}; expires {iso(one.expires)}"),
    ]
    if asked.answer is not None:
        said = f": {asked.answer.reason}" if asked.answer.reason else ""
        rows.append(("answer", f"{asked.answer.verdict} by {asked.answer.by}{said}"))
    for name, text in rows:
        print(f"{name:10} {text}")
    return 0


def _approve(workspace: Workspace, options: DeployOptions) -> int:
    return _answer(workspace, options, "approved")


def _reject(workspace: Workspace, options: DeployOptions) -> int:
    return _answer(workspace, options, "rejected")


def _answer(workspace: Workspace, options: DeployOptions, verdict: Verdict) -> int:
    """Take the answer in, and go on with the work in this process if no other has it."""
    _find(workspace, options)
    answer = Answer(verdict, user(), options.reason, SystemClock().now(), "cli")
    outcome = driving.store(workspace).answer(options.id, answer)
    print(outcome.words)
    if not outcome.counted:
        print(f"error: {options.id}: this answer did not count", file=sys.stderr)
        return 2
    return going_on.go_on(workspace)


def _continue(workspace: Workspace, options: DeployOptions) -> int:  # noqa: ARG001
    if not going_on.is_answered(workspace):
        print("nothing was answered that nobody has gone on with")
        return 0
    return going_on.go_on(workspace)


def _link(workspace: Workspace, options: DeployOptions) -> int:
    from harness.approvals.links import Link  # noqa: PLC0415

    store, expires = driving.store(workspace), SystemClock().now() + options.hours * 3600
    if options.id:
        asked = _find(workspace, options)
        known = asked.people.approvers
        if known and asked.people.person(options.person) not in known:
            raise InputError(f"{options.person} is no approver; there are: {', '.join(known)}")
        expires = min(expires, asked.request.expires)
    link = Link(options.id, options.person, int(expires))
    print(f"http://127.0.0.1:{options.port}{link.path(store.secret())}")
    return 0


def _serve(workspace: Workspace, options: DeployOptions) -> int:
    from harness.approvals.serving import Service, slack_settings  # noqa: PLC0415

    def go_on() -> None:
        try:
            if not going_on.needs_run(workspace):
                going_on.deployment(workspace)
            if going_on.needs_run(workspace):  # which the end of this service does not end
                _continue_detached(workspace)
        except WorkspaceLockedError as error:
            print(f"{error}\n{going_on.LOCKED}", flush=True)

    def listening(port: int) -> None:
        own = workspace.hint("approvals", "link", "--as", "NAME", "--port", str(port))
        print(f"inbox http://127.0.0.1:{port}/ is opened by the links of `{own}`", flush=True)

    clock = SystemClock()
    service = Service(
        driving.store(workspace),
        clock,
        Notices(workspace, clock),
        slack=slack_settings(),
        go_on=go_on,
        quiet=options.quiet,
        say=lambda text: print(text, flush=True),
        answered=going_on.is_answered(workspace),
    )
    asyncio.run(service.run(options.port, listening))
    return 0


def _continue_detached(workspace: Workspace) -> None:
    from harness.cli import control_commands  # noqa: PLC0415 - only here

    if workspace.holder() is not None:
        print(going_on.LOCKED, flush=True)
        return
    control_commands.detach(
        ["approvals", "continue", "--workspace", str(workspace.root)], workspace
    )


_APPROVALS: Mapping[str, Callable[[Workspace, DeployOptions], int]] = {
    "list": _list,
    "show": _show,
    "approve": _approve,
    "reject": _reject,
    "continue": _continue,
    "link": _link,
    "serve": _serve,
}
