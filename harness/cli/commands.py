"""The commands beside `run`: each looks at a workspace, or decides one thing in it."""

import json
import os
import pwd
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Literal

from harness.cli import control_flags
from harness.cli.at_work import is_at_work
from harness.cli.flags import Command
from harness.record.journal import read_events
from harness.record.workspace import RunInfo, Workspace
from orchestrator.errors import InputError, MachineError
from orchestrator.reporting import report
from orchestrator.runs import state
from orchestrator.runs.state import RunState


def _workspace(command: Command) -> Workspace:
    if not command.workspace.is_dir():
        raise InputError(f"--workspace {command.workspace}: there is no such folder")
    return Workspace(command.workspace.resolve())


def find_run(workspace: Workspace, run: str | None) -> RunInfo:
    """The run with this id, else the newest. Raises `InputError` naming what there is."""
    runs = workspace.runs()
    if not runs:
        start = workspace.hint("run")
        raise InputError(f"{workspace.root}: no run has begun here; start one with `{start}`")
    if run is None:
        return runs[0]
    found = next((r for r in runs if r.id == run), None)
    if found is None:
        known = ", ".join(r.id for r in runs[:5])
        raise InputError(f"no run is called {run!r} in {workspace.root}; the newest: {known}")
    return found


def _state(info: RunInfo) -> RunState:
    return state.fold(read_events(info.events))


def status(command: Command) -> int:
    from harness.cli.status import render_status, to_json  # noqa: PLC0415

    workspace = _workspace(command)
    info = find_run(workspace, command.run_id)
    if command.json:
        print(json.dumps(to_json(_state(info), alive=is_at_work(workspace, info))))
        return 0
    if command.watch:
        from harness.cli import looking  # noqa: PLC0415

        return looking.watch(workspace, info)
    print(render_status(_state(info), info.id, alive=is_at_work(workspace, info)))
    return 0


def show_report(command: Command) -> int:
    built = report.build(_state(find_run(_workspace(command), command.run_id)))
    if command.json:
        print(json.dumps(report.to_json(built)))
    else:
        print(report.to_markdown(built))
    return 0


def list_runs(command: Command) -> int:
    from harness.cli.status import render_runs  # noqa: PLC0415

    runs = _workspace(command).runs()
    if command.json:
        rows = [{"run": r.id, "finished": r.finished, "exit_code": r.exit_code} for r in runs]
        print(json.dumps(rows))
    else:
        print(render_runs(runs))
    return 0


def resume(command: Command) -> int:
    from harness import app, wiring  # noqa: PLC0415
    from harness.run_file import RunFile  # noqa: PLC0415

    workspace = _workspace(command)
    info = find_run(workspace, command.run_id)
    if command.run_id is None:
        info = next((r for r in workspace.runs() if not r.finished), info)
    if info.finished:
        if command.json:
            return show_report(replace(command, run_id=info.id)) or info.exit_code or 0
        print(
            f"nothing to resume: {info.id} has come to its end, exit code {info.exit_code}; "
            f"`{workspace.hint('report', info.id)}` shows it"
        )
        return info.exit_code or 0
    if is_at_work(workspace, info):
        from harness.cli import control_commands  # noqa: PLC0415
        from orchestrator.runs.controls import Control  # noqa: PLC0415

        return control_commands.ask(workspace, info, Control("", "resume", user()))
    if not workspace.run_file(info.id).exists():
        from harness.planner import driving  # noqa: PLC0415
        from harness.planner.papers import Papers  # noqa: PLC0415

        plan = Papers(workspace).of_run(info.id)
        if plan is not None:
            return driving.resume(plan, wiring.choose_model, app.start)
    options = RunFile.load(workspace.run_file(info.id)).run_options()
    # How it is shown depends on who looks now, not on who began it.
    screen: Literal["json"] | None = "json" if command.json else None
    return app.start(replace(options, screen=screen), resume=info.id)


def accept(command: Command) -> int:
    import asyncio  # noqa: PLC0415 - the other commands do without

    from harness import review  # noqa: PLC0415

    workspace = _workspace(command)
    assert command.feature is not None
    assert command.attempt is not None
    info = _run_with(workspace, command.run_id, command.feature, command.attempt)
    with workspace.lock():
        commit = asyncio.run(
            review.accept(workspace, info, command.feature, command.attempt, user())
        )
    print(f"merged {command.feature} from {command.attempt} as {commit[:12]}")
    print("go on with what waited for it: run the same command again")
    return 0


def reject(command: Command) -> int:
    import asyncio  # noqa: PLC0415 - as above

    from harness import review  # noqa: PLC0415

    workspace = _workspace(command)
    assert command.feature is not None
    assert command.attempt is not None
    key = review.key_named(command.feature, command.attempt)
    info = _run_with(workspace, command.run_id, command.feature, command.attempt)
    with workspace.lock():
        asyncio.run(review.reject(workspace, info, key, user(), command.words["reason"]))
    print(f"turned down {key}; the next run works on {key.feature} again, and is told why")
    return 0


def _run_with(workspace: Workspace, run: str | None, feature: str, attempt: str) -> RunInfo:
    """The run named, else the newest in which the feature has such an attempt: later runs leave
    a feature that waits for a person alone. Else the newest at all, whose report says why not."""
    newest = find_run(workspace, run)
    if run is not None:
        return newest
    folders = ((r, r.folder / feature / attempt / "attempt.json") for r in workspace.runs())
    return next((r for r, result in folders if result.is_file()), newest)


def user() -> str:
    """Who decides: whose process this is, whatever its environment says of that."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # no entry for this uid, as in a bare container
        return f"uid {os.getuid()}"


def doctor(command: Command) -> int:  # noqa: ARG001 - every command takes its command line
    from harness.doctor import diagnose, render  # noqa: PLC0415

    findings = diagnose()
    print(render(findings))
    return 0 if all(f.ok for f in findings) else MachineError.exit_code


def sandbox(command: Command) -> int:
    from harness.cli import sandbox_command  # noqa: PLC0415 - the other commands do without

    return sandbox_command.sandbox(command)


def sla(command: Command) -> int:
    from harness.cli import sla_commands  # noqa: PLC0415 - the others do without its imports

    return sla_commands.sla(command)


def learn(command: Command) -> int:
    from harness.learn.asking import show  # noqa: PLC0415 - the others do without its imports

    assert command.learn is not None
    print(show(_workspace(command), command.learn))
    return 0


def costs(command: Command) -> int:
    from harness.cli.costs import show  # noqa: PLC0415 - the others do without its imports

    assert command.costs is not None
    print(show(_workspace(command), command.costs))
    return 0


def skill(command: Command) -> int:
    from harness import skills  # noqa: PLC0415 - the others do without its imports

    assert command.skill is not None
    asked, known = command.skill, skills.of_workspace(command.workspace.resolve())
    if asked.word == "run":
        return skills.run(known, asked.name, asked.args)
    if asked.word == "list":
        print("\n".join(f"{s.name:20} {s.description}" for s in known.values()))
        return 0
    if asked.name not in known:
        raise InputError(f"skill {asked.name!r} is not known; there are {', '.join(known)}")
    print(known[asked.name].body)
    return 0


def deploy(command: Command) -> int:
    from harness.cli import deploy_commands  # noqa: PLC0415 - as above

    return deploy_commands.deploy(command)


def approvals(command: Command) -> int:
    from harness.cli import deploy_commands  # noqa: PLC0415 - as above

    return deploy_commands.approvals(command)


def steer(command: Command) -> int:
    from harness.cli import control_commands  # noqa: PLC0415 - the others do without its imports

    workspace = _workspace(command)
    info = find_run(workspace, command.run_id)
    return control_commands.steer(command, workspace, info, user())


def look(command: Command) -> int:
    from harness.cli import looking  # noqa: PLC0415 - the others do without its imports

    workspace = _workspace(command)
    shows = {"logs": looking.logs, "attempt": looking.show_attempt, "diff": looking.diff}
    return shows[command.name](command, workspace, find_run(workspace, command.run_id))


def again(command: Command) -> int:
    from harness.cli import again  # noqa: PLC0415 - the others do without its imports

    workspace = _workspace(command)
    does = {"verify": again.verify, "replay": again.replay, "lock": again.show_lock}
    return does[command.name](command, workspace, find_run(workspace, command.run_id))


def fleet(command: Command) -> int:
    from harness.cli import fleet_commands  # noqa: PLC0415 - the others do without its imports

    return {"worker": fleet_commands.worker, "fleet": fleet_commands.fleet}[command.name](command)


COMMANDS: Mapping[str, Callable[[Command], int]] = {
    "status": status,
    "report": show_report,
    "list": list_runs,
    "resume": resume,
    "accept": accept,
    "reject": reject,
    "sandbox": sandbox,
    "doctor": doctor,
    "sla": sla,
    "costs": costs,
    "learn": learn,
    "skill": skill,
    "deploy": deploy,
    "approvals": approvals,
    **dict.fromkeys(control_flags.ASKING, steer),
    **dict.fromkeys(("worker", "fleet"), fleet),
    **dict.fromkeys(("logs", "attempt", "diff"), look),
    **dict.fromkeys(("verify", "replay", "lock"), again),
}
