"""The workflow of a run: it starts features as their dependencies are merged, and sees them end.

run -> feature -> attempt, each durable by its id; features are played by `harness.rounds`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from harness import attempt
from harness.engine import Engine
from harness.rounds import Outcome, Rounds, held, out
from harness.services import Services
from orchestrator import events
from orchestrator.graph import Frontier, Graph
from orchestrator.runs.plan import FinalState
from orchestrator.values import AttemptKey


class Batch:
    """Registers the three workflows and runs them for one run's services."""

    def __init__(self, services: Services, engine: Engine) -> None:
        self._services = services
        self._engine = engine
        # What a person allows a feature tells how long it may take beside the others.
        usual = services.defaults.timeout_minutes
        self._graph = Graph(services.features.features, lambda f: f.timeout_minutes or usual)
        assert services.hand is not None  # only what runs no workflow does without
        self._hand = services.hand
        self._again_of: dict[str, int] = {}
        rounds = Rounds(services, engine, self._graph, self._hand)
        engine.register("run", held(services, self._run))
        engine.register("feature", held(services, rounds.play))
        engine.register("attempt", self._attempt)

    async def run(self, done: Sequence[str], held: Mapping[str, FinalState]) -> dict[str, Any]:
        """Start or continue the run; feature id -> `{"state", "attempt", "commit", "reason"}`.

        `done` are integrated already; `held` take no part (skipped, or waiting for a person).
        """
        run = self._services.settings.run
        result: dict[str, Any] = await self._engine.run("run", run, list(done), dict(held))
        return result

    # ------------------------------------------------------------------ a run

    async def _run(self, done: list[str], held: dict[str, FinalState]) -> Outcome:
        """Start each feature as soon as all its dependencies are integrated."""
        self._again_of.clear()
        frontier = Frontier(self._graph, done=done)
        ended: Outcome = {id_: {"state": "merged"} for id_ in done}
        ended |= {id_: {"state": state} for id_, state in held.items()}
        for id_ in held:
            self._block(id_, ended)
        live: dict[str, str] = {}
        while True:
            await self._start_ready(frontier, live, ended)
            if not live:
                return ended
            finished = await self._engine.finished(sorted(live), or_else=self._hand.asked)
            if not finished:
                await self._asked(await self._engine.step("asked", self._take_asked), live, ended)
            for workflow, outcome in finished.items():
                id_ = live.pop(workflow)
                ended[id_] = self._end_of(id_, outcome)
                if ended[id_]["state"] == "merged":
                    frontier.done(id_)
                else:
                    self._block(id_, ended)

    async def _start_ready(self, frontier: Frontier, live: dict[str, str], ended: Outcome) -> None:
        while (ready := frontier.take()) is not None:
            if ready not in ended:
                live[await self._start_feature(ready)] = ready

    async def _start_feature(self, id_: str, again: int = 0, rounds: int = 0) -> str:
        workflow = f"{self._services.settings.run}/{id_}" + (f"#{again}" if again else "")
        await self._engine.start_child("feature", workflow, id_, again, rounds)
        return workflow

    async def _take_asked(self) -> list[Any]:
        """What was asked of features since, each with what the run needs to know to do it."""
        known = self._hand.state().features
        return [
            [kind, id_, by, known[id_].again + 1, known[id_].round]
            for kind, id_, by in self._hand.take()
        ]

    async def _asked(self, asked: list[Any], live: dict[str, str], ended: Outcome) -> None:
        """Take features out that have not begun, and work on some again that had ended."""
        for kind, id_, by, again, rounds in asked:
            if kind == "skip" and id_ not in live.values() and id_ not in ended:
                self._services.journal.write(
                    events.FeatureSkipped(
                        feature=id_, reason=out(by), again=self._again_of.get(id_, 0)
                    )
                )
                ended[id_] = {"state": "skipped"}
                self._block(id_, ended)
            elif kind == "requeue" and ended.get(id_, {}).get("state") not in (None, "merged"):
                await self._again(id_, by, again, ended)
                if ended.get(id_) is None:
                    live[await self._start_feature(id_, again, rounds)] = id_

    async def _again(self, id_: str, by: str, again: int, ended: Outcome) -> None:
        """Open an ended feature, and what only it had blocked."""
        journal = self._services.journal
        freed = [
            i for i in self._graph.dependents(id_) if ended.get(i, {}).get("state") == "blocked"
        ]
        for one in (id_, *freed):
            ended.pop(one)
            self._again_of[one] = again
            journal.write(events.FeatureRequeued(feature=one, by=by, again=again))
        for other in [i for i, end in ended.items() if end["state"] != "merged"]:
            self._block(other, ended)

    def _end_of(self, id_: str, outcome: Outcome) -> Outcome:
        if "value" in outcome:
            value: Outcome = outcome["value"]
            return value
        reason = f"the harness failed: {outcome.get('error', 'cancelled')}"
        self._services.journal.write(
            events.FeatureFailed(feature=id_, reason=reason, again=self._again_of.get(id_, 0))
        )
        return {"state": "failed", "reason": reason}

    def _block(self, id_: str, ended: Outcome) -> None:
        """A feature that will not be integrated blocks its dependents and nothing else."""
        for dependent in self._graph.dependents(id_):
            if dependent not in ended:
                why = f"{id_} is not integrated"
                ended[dependent] = {"state": "blocked", "reason": why, "on": id_}
                again = self._again_of.get(dependent, 0)
                self._services.journal.write(
                    events.FeatureBlocked(feature=dependent, on=id_, again=again)
                )

    # ------------------------------------------------------------- an attempt

    async def _attempt(self, parts: list[Any], commit: str, tier: str) -> Outcome:
        key = AttemptKey(parts[0], parts[1], parts[2])
        return await attempt.run_attempt(self._services, key, commit, tier)  # type: ignore[arg-type]
