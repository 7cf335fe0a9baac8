"""Lets Prometheus scrape the metrics of a run from a port."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from harness.record import files
from orchestrator.events import Event
from orchestrator.reporting.metrics import BUCKETS, Family, Histogram, Metrics

#: In the run's folder: where it is scraped, for whoever asked for any free port.
ADDRESS = "metrics.url"


class MetricsView:
    """A `View`. `address`: host and port, 0 for any free one; `folder`: the run's. A port that is
    taken is said by `warn`: a run is worth more than its figures."""

    def __init__(self, address: tuple[str, int], folder: Path, warn: Callable[[str], None]) -> None:
        self._folded = _Folded()
        self._server: _Server | None = None
        registry = CollectorRegistry(auto_describe=False)
        registry.register(self._folded)
        host, port = address
        try:
            self._server = _Server(*start_http_server(port, host, registry))
        except OSError as error:
            warn(f"metrics cannot be scraped from {host}:{port} ({error.strerror or error})")
            return
        shown = f"[{host}]" if ":" in host else host
        files.replace(folder / ADDRESS, f"http://{shown}:{self._server.port}/metrics\n", sync=False)

    def recall(self, event: Event) -> None:
        self._folded.take(event)

    def take(self, event: Event) -> None:
        self._folded.take(event)

    def close(self) -> None:
        if self._server is not None:
            self._server.close()


class _Server:
    def __init__(self, server: object, thread: threading.Thread) -> None:
        self._server: object = server
        self._thread = thread

    @property
    def port(self) -> int:
        return int(self._server.server_port)  # type: ignore[attr-defined]

    def close(self) -> None:
        self._server.shutdown()  # type: ignore[attr-defined]
        self._server.server_close()  # type: ignore[attr-defined]
        self._thread.join(1)


class _Folded(Collector):
    """The fold, which one thread feeds and others read."""

    def __init__(self) -> None:
        self._metrics = Metrics()
        self._lock = threading.Lock()

    def take(self, event: Event) -> None:
        with self._lock:
            self._metrics.apply(event)

    def collect(self) -> Iterator[Metric]:
        with self._lock:
            values = list(self._metrics.values())
            histograms = [(f, labels, _buckets(h), h.total)
                          for f, labels, h in self._metrics.histograms()]  # fmt: skip
        found: dict[str, Metric] = {}
        for family, labels, value in values:
            found.setdefault(family.name, _empty(family)).add_metric(labels, value)  # type: ignore[attr-defined]
        for family, labels, buckets, total in histograms:
            found.setdefault(family.name, _empty(family)).add_metric(labels, buckets, total)  # type: ignore[attr-defined]
        yield from found.values()


_KINDS = {
    "counter": CounterMetricFamily,
    "gauge": GaugeMetricFamily,
    "histogram": HistogramMetricFamily,
}


def _empty(family: Family) -> Metric:
    made: Metric = _KINDS[family.kind](family.name, family.help, labels=family.labels)
    return made


def _buckets(histogram: Histogram) -> list[tuple[str, float]]:
    """Cumulative, as the format wants them."""
    found, so_far = [], 0
    for bound, count in zip((*map(str, BUCKETS), "+Inf"), histogram.counts, strict=True):
        so_far += count
        found.append((bound, float(so_far)))
    return found
