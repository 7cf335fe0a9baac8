"""Sends the spans of a run to an OpenTelemetry collector, by OTLP over HTTP."""

import contextlib
import logging
from collections.abc import Callable, Sequence
from pathlib import Path

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, TraceFlags
from opentelemetry.trace.status import Status, StatusCode

from harness import __version__
from harness.agents.transcript import NAME, Transcript
from orchestrator import events
from orchestrator.reporting.traces import Span, Traces

#: Seconds that one batch may take, its retries included.
_TIMEOUT = 5.0
#: Spans that wait for a collector; those beyond are lost, which costs nothing but a picture.
_QUEUE = 20_000


class TraceView:
    """A `View`. `url`: the collector's, without `/v1/traces`; `folder`: the run's, whose
    transcripts have the tool calls. `warn` is told once that nothing arrives."""

    def __init__(self, url: str, folder: Path, warn: Callable[[str], None]) -> None:
        # Its own words would go to the terminal, once for each batch.
        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
        exporter = OTLPSpanExporter(endpoint=f"{url}/v1/traces", timeout=_TIMEOUT)
        self._processor = BatchSpanProcessor(
            _Heard(exporter, url, warn), max_queue_size=_QUEUE, schedule_delay_millis=1000
        )
        self._folder = folder
        self._traces = Traces()
        self._resource = Resource.create(
            {"service.name": "fibreflow", "service.version": __version__}
        )
        self._scope = InstrumentationScope("fibreflow", __version__)

    def recall(self, event: events.Event) -> None:
        self._traces.apply(event)

    def take(self, event: events.Event) -> None:
        spans = self._traces.apply(event)
        if isinstance(event, events.AttemptFinished | events.AttemptCancelled):
            spans += self._tool_calls(event)
        for span in spans:
            self._processor.on_end(self._readable(span))

    def close(self) -> None:
        self._processor.shutdown()  # type: ignore[no-untyped-call]

    def _tool_calls(self, event: events.Event) -> tuple[Span, ...]:
        feature, attempt = event.feature or "", event.attempt or ""
        # One that ran elsewhere, or whose file is not whole, has no tool calls to show here.
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            lines = Transcript(self._transcript(feature, attempt)).lines
            return self._traces.tool_calls(feature, attempt, lines)
        return ()

    def _transcript(self, feature: str, attempt: str) -> Path:
        """In a fleet an attempt has the folder of its generation until its end has arrived."""
        own = self._folder / feature / attempt / NAME
        later = sorted((self._folder / feature).glob(f"{attempt}.g*/{NAME}"))
        return own if own.exists() or not later else later[-1]

    def _readable(self, span: Span) -> ReadableSpan:
        error = Status(StatusCode.ERROR, span.error) if span.error else Status(StatusCode.UNSET)
        return ReadableSpan(
            name=span.name,
            context=_context(span.trace, span.id),
            parent=_context(span.trace, span.parent) if span.parent is not None else None,
            resource=self._resource,
            attributes=dict(span.attributes),
            kind=SpanKind.CLIENT if span.client else SpanKind.INTERNAL,
            status=error,
            start_time=int(span.begin * 1e9),
            end_time=int(span.end * 1e9),
            instrumentation_scope=self._scope,
        )


def _context(trace: int, id_: int) -> SpanContext:
    return SpanContext(trace, id_, is_remote=False, trace_flags=TraceFlags(TraceFlags.SAMPLED))


class _Heard(SpanExporter):
    """Tells once when the collector does not take what it is sent."""

    def __init__(self, exporter: SpanExporter, url: str, warn: Callable[[str], None]) -> None:
        self._exporter = exporter
        self._url = url
        self._warn = warn
        self._told = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = self._exporter.export(spans)
        if result is not SpanExportResult.SUCCESS and not self._told:
            self._told = True
            self._warn(f"traces do not arrive at {self._url}; the run goes on without them")
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self._exporter.force_flush(timeout_millis)
