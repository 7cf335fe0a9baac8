"""Runs the planned acceptance tests before anybody builds anything: each has to be red."""

import asyncio
from collections.abc import Mapping

from harness import inputs, sandboxes
from harness.planner.goals import Ground
from harness.planner.papers import Plan
from harness.ports import BaseSpec, ExecResult
from orchestrator.planner.course import Planned
from orchestrator.reporting.wording import one_line

#: Of one test file. It should end within seconds.
_SECONDS = 120.0
#: pytest's own: tests ran, and some failed.
_RED = 1


async def prove(ground: Ground, plan: Plan, made: Planned, sandbox: str) -> Mapping[str, str]:
    """Feature -> what is wrong with its test; empty when every test fails as it should. In a
    sandbox of the commit that was planned for, with the tests in it. Raises `SandboxError`."""
    project = ground.given.project
    provider = await asyncio.to_thread(sandboxes.provider, sandbox, f"{plan.run}-plan")
    try:
        base = await provider.prepare(
            BaseSpec(
                repo=inputs.repo_path(ground.given, ground.workspace.root),
                commit=plan.head,
                setup=project.setup,
                env=project.env,
                workspaces=project.workspaces,
            )
        )
        box = await provider.create(base, "tests")
        for path, text in made.tests:
            await box.upload(path, text.encode())
        found = {}
        for feature in made.features:
            done = await box.exec(feature["acceptance"][0], env=project.env, timeout=_SECONDS)
            found[str(feature["id"])] = _wrong(done)
        return {id_: words for id_, words in found.items() if words}
    finally:
        await provider.close(remove=True)


def _wrong(done: ExecResult) -> str:
    """What is wrong with a test that ended so before its feature is there; empty: it is red."""
    if done.timed_out:
        return f"has not ended within {_SECONDS:.0f} s"
    if done.exit == 0:
        return "passes although nothing is built, so that it proves nothing"
    if done.exit != _RED:
        return f"cannot be run (exit {done.exit}): {one_line(done.text[-1000:], 400)}"
    return ""
