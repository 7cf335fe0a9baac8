"""The workflow of one feature: rounds of attempts, a choice, the merge of its winner.

What a decision saw is recorded by the engine as a step; the decisions themselves are in
`orchestrator.runs.plan` and `orchestrator.selector`.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from harness import attempt, attempt_result, choice, context
from harness.artifacts import passing
from harness.engine import Engine, Workflow
from harness.hand import Hand
from harness.integrate import Winner
from harness.learn import brief
from harness.learn.knowledge import Tried
from harness.services import RUN_ENDING, Services
from orchestrator import events
from orchestrator.errors import MachineError, MergeRefusedError
from orchestrator.graph import Graph
from orchestrator.routing.odds import RoundOutcome, outcome_of
from orchestrator.runs import plan
from orchestrator.runs.plan import GiveUp, RoundPlan
from orchestrator.selector import Selection
from orchestrator.values import AttemptKey
from orchestrator.waves import Standing, Wave, is_to_compare, next_wave

Outcome = dict[str, Any]


def held(services: Services, body: Workflow) -> Workflow:
    """`body`, for the next start to go on with after an error that concerns the run: an error
    that left it would be its recorded end."""

    async def run(*args: Any) -> Any:
        try:
            return await body(*args)
        except Exception as error:
            for id_ in args[:1]:  # its feature, of all but the run itself
                services.stop.settle(str(id_))
            if not isinstance(error, RUN_ENDING):
                raise
            await services.stop_for(error)

    return run


class Rounds:
    """Plays the features of one run; `play` is the workflow's body."""

    def __init__(self, services: Services, engine: Engine, graph: Graph, hand: Hand) -> None:
        self._services = services
        self._engine = engine
        self._graph = graph
        self._hand = hand

    async def _step(self, name: str, body: Workflow, *args: Any) -> Any:
        return await self._engine.step(name, held(self._services, body), *args)

    async def play(self, id_: str, again: int = 0, before: int = 0) -> Outcome:
        """Rounds until a winner is merged, a person is needed, or it is not worth another.

        `again`: how often it was queued again; `before`: the rounds it has had by then.
        """
        services = self._services
        feature = services.feature(id_)
        started = events.FeatureStarted(feature=id_, again=again)
        # Not a recorded step: what has begun is known by its event, and goes on whatever the data.
        if not services.journal.has(started.key or ""):
            stale = await services.gate.admit(feature)
            if stale:
                on = f"fresh data: {stale}"
                services.journal.write(events.FeatureBlocked(feature=id_, on=on, again=again))
                return {"state": "blocked", "reason": on}
        services.journal.write(started)
        round_: RoundPlan | GiveUp = plan.first_round(feature, services.defaults, before)
        last = before + services.defaults.rounds
        why = ""
        played: list[Outcome] = []
        while isinstance(round_, RoundPlan):
            opened = await self._step("open", self._open_round, id_, round_, why, played)
            if opened.get("skipped"):
                return self._skipped(id_, opened["skipped"], again)
            if opened["give_up"]:
                round_ = GiveUp(opened["give_up"])
                break
            # No more attempts than the money left can finish; a later round may have it again.
            now = replace(round_, attempts=opened["attempts"])
            names = await self._play(id_, now, opened)
            chosen = await self._step("select", self._select, id_, now, opened, names)
            if chosen.get("skipped"):
                end = self._skipped(id_, chosen["skipped"], again)
            else:
                end = await self._take(id_, opened["commit"], chosen)
            await self._cancel_rest(id_, now, names)
            services.stop.settle(id_)
            if end["state"] != "again":
                return end
            why = end["reason"]
            played.append(chosen["played"])
            lessons, repaired = chosen["lessons"] + [why], chosen.get("repaired", 0)
            round_ = plan.next_round(round_, last, lessons, why, repaired)
        services.journal.write(events.FeatureFailed(feature=id_, reason=round_.reason, again=again))
        return {"state": "failed", "reason": round_.reason}

    async def _open_round(
        self, id_: str, round_: RoundPlan, why: str, played: list[Outcome]
    ) -> Outcome:
        """The commit that the round starts from, its tier and its attempts, or why it is not
        played; what its attempts are told is on file."""
        services = self._services
        if (by := self._hand.skipped_by(id_)) is not None:
            return {"skipped": by}
        commit = await services.repository.head_name(services.project.branch)
        if commit is None:
            raise MachineError(
                f"branch {services.project.branch} of {services.repository.path} was deleted "
                "during the run; create it again where it was, then give the same command"
            )
        text = await context.describe(services, commit)
        feature = services.feature(id_)
        route = await services.router.route(
            feature, [RoundOutcome(**one) for one in played], len(text)
        )
        if isinstance(route, GiveUp):
            return {"give_up": route.reason}
        wanted = self._hand.attempts or round_.attempts
        attempts = min(wanted, route.attempts or wanted)
        patterns = await services.knowledge.recall(feature)
        lessons = brief.without_the_covered(round_.lessons, patterns)
        told = brief.Brief(text, lessons, tuple(patterns), attempts, round_.repairs)
        brief.store(services.run_folder, AttemptKey(id_, round_.number, 1), told)
        services.journal.write(
            events.RoundStarted(
                feature=id_,
                round=round_.number,
                attempts=attempts,
                commit=commit,
                why=why,
                tier=route.tier,
                reasons=route.reasons,
                category=feature.category,
            )
        )
        return {"give_up": "", "commit": commit, "tier": route.tier, "attempts": attempts}

    def _workflows(self, id_: str, round_: RoundPlan) -> dict[str, AttemptKey]:
        keys = [AttemptKey(id_, round_.number, n) for n in range(1, round_.attempts + 1)]
        return {f"{self._services.settings.run}/{key}": key for key in keys}

    async def _play(self, id_: str, round_: RoundPlan, opened: Outcome) -> list[str]:
        """Queue the round's attempts and wait until it is decided; who has finished by then.

        When the money is used up and some have passed, the choice is among those: to choose and
        to merge costs nothing. With none, the round waits for more money.
        """
        services = self._services
        waiting = list(self._workflows(id_, round_).items())
        open_: dict[str, AttemptKey] = {}
        finished: list[str] = []
        standing = Standing(round_.attempts, round_.quorum, firm=round_.firm)
        while True:
            standing = await self._compared(id_, round_, opened, finished, standing)
            wave = self._wave(id_, round_, standing)
            if wave.over:
                break
            if wave.size:
                open_ |= waiting[: wave.size]
                await self._enqueue(id_, dict(waiting[: wave.size]), opened)
                del waiting[: wave.size]
                standing = standing.begun(wave.size)
            services.stop.settle(id_)
            enough = self._cut_short(id_, paid=standing.passed > 0)
            ended = await self._engine.finished(list(open_), or_else=enough)
            if not ended:
                break
            passed = sum(bool(o.get("value", {}).get("passed")) for o in ended.values())
            standing = standing.ended(len(ended), passed)
            for workflow, outcome in ended.items():
                key = open_.pop(workflow)
                finished.append(key.name)
                await passing.brought(services.artifacts, services.attempt_folder(key), outcome)
                if "error" in outcome:
                    self._report_defect(key, outcome["error"])
        services.decide(id_, round_.number)
        return finished

    async def _compared(
        self, id_: str, round_: RoundPlan, opened: Outcome, names: list[str], standing: Standing
    ) -> Standing:
        """With what a comparison of those that ended says, where it may decide; recorded."""
        if not is_to_compare(standing, exactly=round_.exactly):
            return standing
        seen = await self._step("compare", self._compare, id_, round_, opened, list(names))
        return standing.told(**seen)

    async def _compare(
        self, id_: str, round_: RoundPlan, opened: Outcome, names: list[str]
    ) -> Outcome:
        async with self._services.stop.work(begun=True):
            keys, found = self._found(id_, round_, names)
            seen = await choice.so_far(self._services, id_, keys, opened["commit"], found)
            return asdict(seen)

    def _wave(self, id_: str, round_: RoundPlan, standing: Standing) -> Wave:
        """What begins now, or that the round is over; on file before it is acted on."""
        wave = next_wave(standing, exactly=round_.exactly)
        number, started = round_.number, standing.started
        spared = standing.most - started + standing.running
        event: events.Event
        if wave.size:
            event = events.WaveStarted(
                feature=id_, round=number, started=started, attempts=wave.size, why=wave.why
            )
            self._services.journal.write(event)
        elif wave.over and spared:
            event = events.RoundDecided(
                feature=id_, round=number, started=started, spared=spared, why=wave.why
            )
            self._services.journal.write(event)
        return wave

    async def _enqueue(self, id_: str, keys: Mapping[str, AttemptKey], opened: Outcome) -> None:
        wanted = {
            workflow: ([key.feature, key.round, key.number], opened["commit"], opened["tier"])
            for workflow, key in keys.items()
        }
        priority = self._graph.urgency(id_) + 1
        await self._engine.enqueue("attempt", wanted, priority=priority, tier=opened["tier"])

    def _cut_short(self, id_: str, *, paid: bool) -> Callable[[], Awaitable[None]]:
        """Returns when the round need not go on: the feature is taken out or, when some attempt
        has passed (`paid`), the money is used up."""

        async def wait() -> None:
            waits = [asyncio.ensure_future(self._hand.skip_asked(id_))]
            if paid:
                waits.append(asyncio.ensure_future(self._services.stop.spent(id_)))
            try:
                await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for one in waits:
                    one.cancel()

        return wait

    def _skipped(self, id_: str, by: str, again: int) -> Outcome:
        self._services.journal.write(
            events.FeatureSkipped(feature=id_, reason=out(by), again=again)
        )
        return {"state": "skipped", "reason": out(by)}

    def _report_defect(self, key: AttemptKey, error: str) -> None:
        """An attempt that died of a mistake of ours has lost, and that must be seen."""
        reason = f"the harness failed: {error}"
        folder = self._services.attempt_folder(key)
        spoilt = attempt_result.spoilt(key, folder, reason)
        if attempt_result.load(folder) is None:
            attempt_result.store(folder, spoilt)
        self._services.journal.write(attempt_result.finished(spoilt))
        self._services.journal.write(events.WarningGiven(message=f"{key}: {reason}"))

    async def _select(
        self, id_: str, round_: RoundPlan, opened: Outcome, names: list[str]
    ) -> Outcome:
        """The choice among what was verified, from the evidence on file, in words."""
        if (by := self._hand.skipped_by(id_)) is not None:
            return {"skipped": by}
        async with self._services.stop.work(begun=True):
            return await self._choose(id_, round_, opened, names)

    async def _choose(
        self, id_: str, round_: RoundPlan, opened: Outcome, names: list[str]
    ) -> Outcome:
        services, feature = self._services, self._services.feature(id_)
        keys, found = self._found(id_, round_, names)
        selection, evidence = await choice.choose(services, id_, keys, opened["commit"], found)
        services.journal.write(_selected(id_, round_, selection, names))
        await services.knowledge.learn(feature, [self._tried(key) for key in keys.values()])
        return {
            "winner": selection.winner,
            "needs_review": selection.needs_review,
            "reasons": list(selection.reasons),
            "lessons": list(found.lessons),
            "repaired": found.repaired,
            "played": asdict(outcome_of(opened["tier"], len(names), evidence)),
        }

    def _found(
        self, id_: str, round_: RoundPlan, names: list[str]
    ) -> tuple[dict[str, AttemptKey], choice.Gathered]:
        """The attempts of the round that have these names, and what they came to."""
        keys = {k.name: k for k in self._workflows(id_, round_).values() if k.name in names}
        return keys, choice.gathered([self._tried(key) for key in keys.values()])

    def _tried(self, key: AttemptKey) -> Tried:
        return choice.tried(key, self._services.attempt_folder(key))

    async def _take(self, id_: str, commit: str, chosen: Outcome) -> Outcome:
        """Merge the winner, or say why there is another round to play (`again`)."""
        name: str | None = chosen["winner"]
        if name is None:
            return {"state": "again", "reason": chosen["reasons"][0]}
        journal = self._services.journal
        if chosen["needs_review"]:
            journal.write(
                events.ReviewRequested(feature=id_, attempt=name, reasons=tuple(chosen["reasons"]))
            )
            return {"state": "review", "attempt": name, "reason": chosen["reasons"][-1]}
        merge = await self._step("merge", self._merge, id_, name, commit)
        if merge["commit"] is None:
            return {"state": "again", "reason": f"{name} was refused: {merge['reason']}"}
        journal.write(
            events.FeatureMerged(
                feature=id_,
                attempt=name,
                commit=merge["commit"],
                reasons=tuple(chosen["reasons"]),
            )
        )
        return {"state": "merged", "attempt": name, "commit": merge["commit"]}

    async def _merge(self, id_: str, name: str, commit: str) -> Outcome:
        services = self._services
        async with services.stop.work(begun=True):
            key = key_of(id_, name)
            patch = (services.attempt_folder(key) / attempt_result.PATCH).read_bytes()
            winner = Winner(key, services.feature(id_), patch, commit)
            try:
                merged = await services.integrator.merge(winner, services.checker.tree)
            except MergeRefusedError as error:
                tried = self._tried(key)
                await services.knowledge.learn_refusal(winner.feature, tried, str(error))
                return {"commit": None, "reason": str(error)}
            await services.write_passes()
            return {"commit": merged, "reason": ""}

    async def _cancel_rest(self, id_: str, round_: RoundPlan, names: list[str]) -> None:
        rest = {w: key for w, key in self._workflows(id_, round_).items() if key.name not in names}
        await self._engine.cancel(list(rest))
        for key in rest.values():
            # Those that run in this process said so themselves; a crash in between says nothing.
            attempt.note_cancelled(self._services, key)


def _selected(
    id_: str, round_: RoundPlan, selection: Selection, names: Sequence[str]
) -> events.Event:
    score = next((r.score for r in selection.ranking if r.attempt == selection.winner), None)
    return events.AttemptSelected(
        feature=id_,
        attempt=selection.winner,
        round=round_.number,
        score=score,
        consensus=selection.consensus,
        confidence=selection.confidence,
        needs_review=selection.needs_review,
        reasons=selection.reasons,
        among=tuple(sorted(names)),
    )


def out(by: str) -> str:
    """Why a feature that somebody took out has ended."""
    return f"taken out by {by}"


def key_of(feature: str, name: str) -> AttemptKey:
    """The key that an attempt's name, such as `r1-a02`, stands for. Raises `ValueError`."""
    round_, _, number = name.removeprefix("r").partition("-a")
    key = AttemptKey(feature, int(round_), int(number))
    if key.name != name:
        raise ValueError(name)
    return key
