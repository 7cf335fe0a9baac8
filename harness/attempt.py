"""One attempt: open a sandbox, let the agent work, keep its patch, verify it, close.

Its effects are keyed by the attempt's log folder and looked up before they are done again:
`attempt.json` says the agent is through, `evidence.json` says the verification is. An attempt
interrupted before that goes on from its transcript, in its sandbox as it was.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness import attempt_result, patches
from harness.agents.task import Observer, Task
from harness.agents.transcript import NAME as TRANSCRIPT
from harness.agents.transcript import Transcript
from harness.artifacts import passing
from harness.attempt_result import PATCH
from harness.fleet import succession
from harness.learn import brief
from harness.learn.brief import Brief
from harness.ports import Base, ModelReply, Sandbox
from harness.record import files
from harness.repair import Repairs
from harness.services import RUN_ENDING, Services
from harness.verify import record as verification_record
from orchestrator import events
from orchestrator.errors import (
    ModelOverloadedError,
    PatchRejectedError,
    SandboxError,
    TakenOverError,
)
from orchestrator.values import AttemptKey, AttemptLimits, AttemptResult, Tier, Verification

#: How often one attempt may stop the run for a failing provider before it is held to blame.
_STOPS = 2


async def run_attempt(
    services: Services, key: AttemptKey, commit: str, tier: Tier
) -> dict[str, Any]:
    """What the feature needs to know, as JSON: `{"attempt", "ending", "reason", "passed",
    "problems"}`; the evidence itself is in the attempt's folder, or in the artifacts of `files`.

    An attempt that has not begun when its round is decided does not begin.
    """
    if services.is_decided(key.feature, key.round):
        note_cancelled(services, key)
        return _summary(AttemptResult(key, "cancelled", "not needed: the round was decided"), None)
    try:
        await succession.succeed(services, key)
        async with services.stop.work():
            result = await _agent_part(services, key, commit, tier)
            verification = await _verification_part(services, result, commit)
            if not services.is_decided(key.feature, key.round):
                services.stop.hand_over(key.feature)
            published = await passing.told(services.artifacts, services.attempt_folder(key))
    except asyncio.CancelledError:
        note_cancelled(services, key)
        raise
    except TakenOverError:
        raise  # this process alone is concerned; others do the work
    except RUN_ENDING as error:
        await succession.still_ours(services)
        await services.stop_for(error)
    return _summary(result, verification) | published


def note_cancelled(services: Services, key: AttemptKey) -> None:
    """Record that an attempt that had begun was cut short by the decision of its round."""
    journal = services.journal
    # Without a decision the process itself is leaving, and the attempt will go on.
    if not services.is_decided(key.feature, key.round):
        return
    if not journal.has(f"AttemptStarted/{key}") or journal.has(f"VerificationFinished/{key}"):
        return
    journal.write(
        events.AttemptCancelled(
            feature=key.feature, attempt=key.name, reason="its round was decided without it"
        )
    )


def _summary(result: AttemptResult, verification: Verification | None) -> dict[str, Any]:
    return {
        "attempt": result.key.name,
        "ending": result.ending,
        "reason": result.reason,
        "passed": verification is not None and verification.passed,
        "usable": verification is not None and verification.usable,
        "checked": verification is not None and bool(verification.acceptance),
        "problems": list(verification.problems) if verification else [],
    }


# ------------------------------------------------------------------ the agent


async def _agent_part(
    services: Services, key: AttemptKey, commit: str, tier: Tier
) -> AttemptResult:
    folder = services.attempt_folder(key)
    done = attempt_result.load(folder) or attempt_result.through(key, folder)
    if done is None:
        done = await _unaffordable(services, key, tier)
    if done is None:
        _note_start(services, key, tier)
        done = await _work(services, key, commit, tier)
    services.journal.write(attempt_result.finished(done))
    return done


async def _unaffordable(services: Services, key: AttemptKey, tier: Tier) -> AttemptResult | None:
    """The end of an attempt that its feature's budget could not finish, before it begins."""
    if services.journal.has(f"AttemptStarted/{key}"):
        return None
    reason = await services.router.refusal(services.feature(key.feature), tier)
    if reason is None:
        return None
    _note_start(services, key, tier)
    done = AttemptResult(key, "limit", reason, cost_usd=0.0)
    attempt_result.store(services.attempt_folder(key), done)
    return done


def _note_start(services: Services, key: AttemptKey, tier: Tier) -> None:
    first = services.journal.write(
        events.AttemptStarted(
            feature=key.feature,
            attempt=key.name,
            model=services.model.model_id(tier),
            agent=services.feature(key.feature).agent or services.defaults.agent,
            source=services.model.source,
            tier=tier,
        )
    )
    if not first:
        turns = Transcript(services.attempt_folder(key) / TRANSCRIPT).turns
        services.journal.write(
            events.AttemptResumed(feature=key.feature, attempt=key.name, turns=turns)
        )


def _note_patterns(services: Services, key: AttemptKey, told: Brief) -> None:
    """What it is told of earlier failures, and what is kept from it to see what that is worth."""
    for event in brief.used(key, brief.share(services.settings.run, key, told)):
        services.journal.write(event)


async def _work(services: Services, key: AttemptKey, commit: str, tier: Tier) -> AttemptResult:
    folder = services.attempt_folder(key)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        base = await services.bases.of(commit)
        async with _sandbox(services, base, key) as sandbox:
            if not sandbox.reopened and Transcript(folder / TRANSCRIPT).turns:
                await succession.begin_anew(services.journal, key, folder)
            told = brief.load(services.run_folder, key)
            _note_patterns(services, key, told)
            task = _task(services, key, tier, told)

            async def work(limits: AttemptLimits) -> AttemptResult:
                asked = replace(task, limits=limits)
                result = await _agents_work(services, asked, sandbox)
                return await _with_patch(result, sandbox, base, folder)

            repairs = Repairs(
                folder=folder,
                most=told.repairs,
                limits=task.limits,
                journal=services.journal,
                work=work,
                verify=lambda patch: verified(services, key, commit, patch),
            )
            done = await repairs.run(await work(task.limits))
            # Before the sandbox goes: a crash between the two would find neither.
            attempt_result.store(folder, done)
            return done
    except SandboxError as error:
        done = attempt_result.spoilt(key, folder, f"the sandbox failed: {error}")
    except PatchRejectedError as error:
        done = attempt_result.spoilt(key, folder, str(error))
    attempt_result.store(folder, done)
    return done


async def _agents_work(services: Services, task: Task, sandbox: Sandbox) -> AttemptResult:
    """An error of the provider's that this conversation alone may cause stops the run, for it
    looks like any outage; but not again at each start."""
    try:
        return await services.agent.work(task, sandbox, _observer(services, task.key))
    except ModelOverloadedError as error:
        folder = task.folder
        stops = _stops_here(Transcript(folder / TRANSCRIPT))
        if stops <= _STOPS:
            raise
        why = f"stopped the run {_STOPS} times, and would again: {error.__cause__ or error}"
        return attempt_result.spoilt(task.key, folder, why)


def _stops_here(transcript: Transcript) -> int:
    """How often the provider was given up on since the conversation's last reply."""
    since = transcript.lines
    for number, line in enumerate(transcript.lines):
        if line["type"] == "reply":
            since = transcript.lines[number + 1 :]
    failed = (str(line.get("error", "")) for line in since if line.get("kind") == "failed")
    return sum(error.startswith(ModelOverloadedError.__name__) for error in failed)


@contextlib.asynccontextmanager
async def _sandbox(services: Services, base: Base, key: AttemptKey) -> AsyncIterator[Sandbox]:
    """The attempt's own sandbox. It is destroyed when the attempt is through or not wanted any
    more, and left as it is when the process leaves, for the next start to reopen."""
    limits = await services.agent.sandbox_limits(services.feature(key.feature))
    sandbox = await succession.sandbox(services, base, key, limits)
    try:
        yield sandbox
    except asyncio.CancelledError:
        if services.is_decided(key.feature, key.round):
            await asyncio.shield(sandbox.destroy())
        raise
    except SandboxError:
        with contextlib.suppress(SandboxError):
            await sandbox.destroy()
        raise
    else:
        await sandbox.destroy()


async def _with_patch(
    result: AttemptResult, sandbox: Sandbox, base: Base, folder: Path
) -> AttemptResult:
    """A patch left behind at a limit counts too: it may be right, and verification will tell."""
    if result.ending == "error":
        return result
    patch = await patches.export(sandbox, base)
    if not patch and result.ending != "submitted":
        return result
    if patch:
        await asyncio.to_thread(files.replace, folder / PATCH, patch)
    else:
        files.replace(folder / PATCH, b"", sync=False)  # nothing that could be lost
    return replace(result, patch=PATCH)


def _task(services: Services, key: AttemptKey, tier: Tier, told: Brief) -> Task:
    feature = services.feature(key.feature)
    minutes = feature.timeout_minutes or services.defaults.timeout_minutes
    return Task(
        key=key,
        feature=feature,
        tier=tier,
        limits=AttemptLimits(turns=services.defaults.turns, seconds=minutes * 60),
        folder=services.attempt_folder(key),
        context=told.context,
        lessons=told.lessons,
        patterns=tuple(p.text for p in brief.share(services.settings.run, key, told).shown),
        protected=services.protected(feature),
    )


def _observer(services: Services, key: AttemptKey) -> Observer:
    journal = services.journal

    def called(turn: int, reply: ModelReply, seconds: float) -> None:
        journal.write(
            events.ModelCalled(
                feature=key.feature,
                attempt=key.name,
                turn=turn,
                model=reply.model,
                usage=reply.usage,
                cost_usd=reply.cost_usd,
                seconds=round(seconds, 3),
                again=succession.times(services.attempt_folder(key)),
            )
        )

    def command(text: str, exit_status: int | None, seconds: float) -> None:
        services.commands.write(key, text, exit_status, seconds)

    def retried(error: str, wait: float) -> None:
        journal.write(
            events.ModelRetried(feature=key.feature, attempt=key.name, error=error, wait=wait)
        )

    return Observer(called=called, command=command, retried=retried, idle=services.stop.idle)


# ----------------------------------------------------------- the verification


async def _verification_part(
    services: Services, result: AttemptResult, commit: str
) -> Verification | None:
    """None when there is nothing to verify."""
    if result.patch is None:
        return None
    key = result.key
    folder = services.attempt_folder(key)
    names = {"feature": key.feature, "attempt": key.name}
    verification = verification_record.load(folder)
    if verification is None:
        services.journal.write(events.VerificationStarted(**names))
        verification = await verified(services, key, commit, (folder / result.patch).read_bytes())
    services.journal.write(
        events.VerificationFinished(
            usable=verification.usable,
            passed=verification.passed,
            checks_passed=sum(c.passed for c in verification.acceptance),
            checks=len(verification.acceptance),
            coverage=verification.coverage,
            quality=verification.quality,
            seconds=verification.seconds,
            problems=verification.problems,
            **names,
        )
    )
    return verification


async def verified(services: Services, key: AttemptKey, commit: str, patch: bytes) -> Verification:
    """A sandbox that fails says nothing about the patch: once more, then it stays unverified,
    which is nobody's lesson."""
    feature = services.feature(key.feature)
    try:
        return await services.checker.patch(key, feature, await services.bases.of(commit), patch)
    except SandboxError as error:
        text = f"{key}: its verification is repeated, because the sandbox failed: {error}"
        services.journal.write(events.WarningGiven(message=text))
    try:
        return await services.checker.patch(key, feature, await services.bases.of(commit), patch)
    except SandboxError as error:
        return Verification(usable=False, problems=(f"not verified: {error}",))
