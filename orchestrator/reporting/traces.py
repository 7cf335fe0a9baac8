"""Turns the events of a run into spans: a fold that says which have ended.

Names are those of OpenTelemetry's conventions for generative AI where they have one
(`invoke_agent`, `chat`, `execute_tool`, `gen_ai.*`), else `fibreflow.*`. A span's id is made from
what it is about, so that every process which sees the same events says the same, and a run that
goes on after a crash stays one trace:

    run
      feature
        invoke_agent AGENT      an attempt
          chat MODEL            a model call
          execute_tool NAME     a tool call
          verification
        merge
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from orchestrator import events as e
from orchestrator.runs.state import seconds
from orchestrator.values import Usage

Attribute = str | bool | int | float | tuple[str, ...]
#: Who is asked. A gateway may stand between, which only its owner knows.
PROVIDER = "anthropic"
#: What is kept of a text that somebody else wrote.
_CHARS = 500


@dataclass(frozen=True, slots=True)
class Span:
    """One stretch of work. `trace` has 128 bits, `id` and `parent` 64; `begin` and `end` are
    seconds since the epoch; `error` says why it failed, empty when it did not. `client`: it
    waited for somebody else's answer."""

    trace: int
    id: int
    parent: int | None
    name: str
    begin: float
    end: float
    attributes: Mapping[str, Attribute]
    client: bool = False
    error: str = ""


@dataclass(frozen=True, slots=True)
class _Part:
    """What a span is about: `id` names it in its run, `parent` what it is a part of."""

    id: str
    name: str
    parent: str | None
    begin: float
    facts: Mapping[str, Any] = field(default_factory=dict)


class Traces:
    """Takes events in their order; `apply` gives the spans that ended with one."""

    def __init__(self) -> None:
        self._run = ""
        self._now = 0.0
        self._open: dict[str, _Part] = {}
        self._stretch = 0
        self._again: dict[str, int] = {}

    def apply(self, event: e.Event) -> tuple[Span, ...]:
        self._now = seconds(event.time) or self._now
        self._run = self._run or event.run
        does = _RULES.get(type(event))
        return does(self, event) if does is not None else ()

    def begin(self, key: str, part: _Part) -> tuple[Span, ...]:
        """Nothing has ended yet; what has begun already goes on as it is."""
        self._open.setdefault(key, part)
        return ()

    def end(self, key: str, facts: Mapping[str, Any], error: str = "") -> tuple[Span, ...]:
        """The span that was begun under `key`; none when it was not, or has ended already."""
        part = self._open.pop(key, None)
        return () if part is None else (self.span(part, self._now, facts, error=error),)

    def span(
        self,
        part: _Part,
        end: float,
        facts: Mapping[str, Any],
        *,
        client: bool = False,
        error: str = "",
    ) -> Span:
        """What is unknown is left out."""
        told = {"fibreflow.run.id": self._run, **part.facts, **facts}
        known = {k: _bounded(v) for k, v in told.items() if v is not None and v not in ("", ())}
        if error:
            known["error.type"] = "_OTHER"
        parent = part.parent
        return Span(
            trace=_bits(self._run, 128),
            id=_bits(f"{self._run}/{part.id}", 64),
            parent=None if parent is None else _bits(f"{self._run}/{parent}", 64),
            name=part.name,
            begin=part.begin,
            end=max(end, part.begin),  # a clock that was set back made nothing shorter than 0
            attributes=known,
            client=client,
            error=error[:_CHARS],
        )

    # ------------------------------------------------------- what spans are about

    def part(
        self, id_: str, name: str, parent: str | None, facts: Mapping[str, Any] | None = None
    ) -> _Part:
        """One that begins now."""
        return _Part(id_, name, parent, self._now, facts or {})

    def feature(self, id_: str | None) -> str:
        """The id of a feature's span: a new one each time it is worked on again."""
        again = self._again.get(id_ or "", 0)
        return f"feature/{id_}" + (f"#{again}" if again else "")

    def begin_feature(self, event: e.FeatureStarted) -> tuple[Span, ...]:
        self._again[event.feature or ""] = event.again
        id_ = self.feature(event.feature)
        return self.begin(id_, self.part(id_, "feature", "run", _of(event)))

    def begin_run(self, facts: Mapping[str, Any]) -> tuple[Span, ...]:
        """The first stretch is the root; those of later processes are below it."""
        id_ = f"run/{self._stretch}" if self._stretch else "run"
        return self.begin("run", self.part(id_, "run", "run" if self._stretch else None, facts))

    def end_run(self, code: int, reason: str = "") -> tuple[Span, ...]:
        self._stretch += 1
        return self.end("run", {"fibreflow.exit_code": code}, reason)

    def chat(self, event: e.ModelCalled | e.ReflectionFinished, parent: str) -> tuple[Span, ...]:
        facts = {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": PROVIDER,
            "gen_ai.request.model": event.model,
            "gen_ai.response.model": event.model,
            "fibreflow.cost_usd": event.cost_usd,
            **_usage(event.usage),
        }
        begin = self._now - event.seconds
        part = _Part(f"chat/{event.key}", f"chat {event.model}", parent, begin, _of(event))
        return (self.span(part, self._now, facts, client=True),)

    def tool_calls(
        self, feature: str, attempt: str, lines: Sequence[Mapping[str, Any]]
    ) -> tuple[Span, ...]:
        """The tool calls of an attempt, from its transcript (see `harness.agents.transcript`):
        each lasted from the line before its result to its result."""
        found: list[Span] = []
        names: dict[str, str] = {}
        before = 0.0
        for line in lines:
            if line["type"] == "reply":
                calls = (b for b in line["content"] if b.get("type") == "tool_use")
                names |= {str(call["id"]): str(call["name"]) for call in calls}
            for block in line["content"] if line["type"] == "results" else ():
                id_ = str(block.get("tool_use_id", ""))
                name = names.get(id_, "unknown")
                part = _Part(
                    id=f"tool/{feature}/{attempt}/{len(found)}",
                    name=f"execute_tool {name}",
                    parent=f"attempt/{feature}/{attempt}",
                    begin=before,
                    facts={"fibreflow.feature.id": feature, "fibreflow.attempt": attempt},
                )
                failed = "the tool call failed" if block.get("is_error") else ""
                found.append(self.span(part, line["time"], _tool(name, id_), error=failed))
            before = line["time"]
        return tuple(found)


def _tool(name: str, id_: str) -> dict[str, Any]:
    return {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": name,
        "gen_ai.tool.call.id": id_,
        "gen_ai.tool.type": "function",
    }


def _bits(text: str, bits: int) -> int:
    """Never 0, which would be no id."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[: bits // 8], "big") or 1


def _bounded(value: Any) -> Attribute:
    if isinstance(value, str):
        return value[:_CHARS]
    if isinstance(value, tuple):
        return tuple(str(one)[:_CHARS] for one in value[:5])
    bare: Attribute = value
    return bare


def _of(event: e.Event) -> dict[str, Any]:
    return {"fibreflow.feature.id": event.feature, "fibreflow.attempt": event.attempt}


def _usage(usage: Usage | None) -> dict[str, Any]:
    """The conventions count what was read from or written to a cache as input."""
    if usage is None:
        return {}
    return {
        "gen_ai.usage.input_tokens": usage.input + usage.cache_read + usage.cache_write,
        "gen_ai.usage.output_tokens": usage.output,
        "gen_ai.usage.cache_read.input_tokens": usage.cache_read,
        "gen_ai.usage.cache_creation.input_tokens": usage.cache_write,
    }


def _where(kind: str, event: e.Event) -> str:
    return f"{kind}/{event.feature}/{event.attempt}"


def _run_started(t: Traces, event: e.RunStarted) -> tuple[Span, ...]:
    return t.begin_run(
        {"fibreflow.features": len(event.features), "fibreflow.sandbox": event.sandbox}
    )


def _feature_over(t: Traces, event: e.Event, state: str, error: str = "") -> tuple[Span, ...]:
    facts = {**_of(event), "fibreflow.feature.state": state}
    return t.end(t.feature(event.feature), facts, error)


def _attempt_started(t: Traces, event: e.AttemptStarted) -> tuple[Span, ...]:
    facts = {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.provider.name": PROVIDER,
        "gen_ai.agent.name": event.agent,
        "gen_ai.request.model": event.model,
        "gen_ai.conversation.id": f"{event.run}/{event.feature}/{event.attempt}",
        "fibreflow.tier": event.tier,
        "fibreflow.source": event.source,
        **_of(event),
    }
    id_ = _where("attempt", event)
    part = t.part(id_, f"invoke_agent {event.agent}", t.feature(event.feature), facts)
    return t.begin(id_, part)


def _attempt_finished(t: Traces, event: e.AttemptFinished) -> tuple[Span, ...]:
    facts = {
        "fibreflow.ending": event.ending,
        "fibreflow.turns": event.turns,
        "fibreflow.cost_usd": event.cost_usd,
    }
    error = event.reason if event.ending == "error" else ""
    return t.end(_where("attempt", event), facts, error)


def _verification_started(t: Traces, event: e.VerificationStarted) -> tuple[Span, ...]:
    id_ = _where("verification", event)
    return t.begin(id_, t.part(id_, "verification", _where("attempt", event), _of(event)))


def _verification_finished(t: Traces, event: e.VerificationFinished) -> tuple[Span, ...]:
    facts = {
        "fibreflow.verification.usable": event.usable,
        "fibreflow.verification.passed": event.passed,
        "fibreflow.verification.checks": event.checks,
        "fibreflow.verification.checks_passed": event.checks_passed,
        "fibreflow.verification.coverage": event.coverage,
        "fibreflow.verification.problems": event.problems,
    }
    return t.end(_where("verification", event), facts)


def _merge_started(t: Traces, event: e.MergeStarted) -> tuple[Span, ...]:
    part = t.part(
        f"merge/{event.feature}/{event.onto}", "merge", t.feature(event.feature), _of(event)
    )
    return t.begin(f"merge/{event.feature}", part)


def _merge_over(t: Traces, event: e.Event, error: str = "") -> tuple[Span, ...]:
    return t.end(f"merge/{event.feature}", {}, error)


_RULES: Mapping[type[e.Event], Callable[[Traces, Any], tuple[Span, ...]]] = {
    e.RunStarted: _run_started,
    e.RunResumed: lambda t, _event: t.begin_run({}),
    e.RunFinished: lambda t, event: t.end_run(event.exit_code),
    e.RunStopped: lambda t, event: t.end_run(event.exit_code, event.reason),
    e.FeatureStarted: Traces.begin_feature,
    e.FeatureMerged: lambda t, event: _feature_over(t, event, "merged"),
    e.FeatureFailed: lambda t, event: _feature_over(t, event, "failed", event.reason),
    e.FeatureSkipped: lambda t, event: _feature_over(t, event, "skipped"),
    e.ReviewRequested: lambda t, event: _feature_over(t, event, "review"),
    e.AttemptStarted: _attempt_started,
    e.AttemptFinished: _attempt_finished,
    e.AttemptCancelled: lambda t, event: t.end(
        _where("attempt", event), {"fibreflow.ending": "cancelled"}
    ),
    e.ModelCalled: lambda t, event: t.chat(event, _where("attempt", event)),
    e.ReflectionFinished: lambda t, event: t.chat(
        event, t.feature(event.feature) if event.feature else "run"
    ),
    e.VerificationStarted: _verification_started,
    e.VerificationFinished: _verification_finished,
    e.MergeStarted: _merge_started,
    e.MergeFinished: _merge_over,
    e.MergeRejected: lambda t, event: _merge_over(t, event, event.reason),
}
