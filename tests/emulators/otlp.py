"""A collector of OpenTelemetry traces: takes OTLP over HTTP on a socket and keeps the spans."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.emulators.threaded import serving


class Collector:
    """`spans` in the order of their arrival; `resources` as sets of attributes."""

    def __init__(self) -> None:
        self.url = ""
        self.spans: list[Span] = []
        self.resources: list[dict[str, str]] = []
        self._lock = threading.Lock()

    def take(self, body: bytes) -> None:
        request = ExportTraceServiceRequest.FromString(body)
        with self._lock:
            for one in request.resource_spans:
                told = {a.key: a.value.string_value for a in one.resource.attributes}
                self.resources.append(told)
                self.spans += [span for scope in one.scope_spans for span in scope.spans]

    def named(self, name: str) -> list[Span]:
        with self._lock:
            return [span for span in self.spans if span.name == name]


@contextmanager
def collector() -> Iterator[Collector]:
    """At `url`, on loopback and a free port."""
    kept = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            fine = self.path == "/v1/traces"
            if fine:
                kept.take(body)
            self.send_response(200 if fine else 404)
            self.send_header("Content-Type", "application/x-protobuf")
            self.end_headers()
            self.wfile.write(ExportTraceServiceResponse().SerializeToString())

        def log_message(self, *_args: object) -> None:
            return

    with serving(Handler) as kept.url:
        yield kept
