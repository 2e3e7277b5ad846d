"""`/metrics` in the text format of Prometheus, and the counters behind it."""

from __future__ import annotations

import logging
import threading
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from headrace.errors import HeadraceError
from headrace.query import QueryLimits

if TYPE_CHECKING:
    from headrace.serve.service import Service

logger = logging.getLogger("headrace")

OWN_LIMITS = QueryLimits(timeout_s=2.0, rows_max=10_000)
"""What one metric of the app may take at a scrape."""
HTTP_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Counters:
    """Counters of the HTTP door. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.requests: dict[tuple[str, str, int], int] = defaultdict(int)
        self.seconds: dict[str, list[int]] = defaultdict(lambda: [0] * (len(HTTP_BUCKETS_S) + 1))
        self.seconds_sum: dict[str, float] = defaultdict(float)

    def request(self, method: str, route: str, status: int, took_s: float) -> None:
        """Count one answered request."""
        bucket = next((i for i, limit in enumerate(HTTP_BUCKETS_S) if took_s <= limit), len(HTTP_BUCKETS_S))
        with self._lock:
            self.requests[(method, route, status)] += 1
            self.seconds[route][bucket] += 1
            self.seconds_sum[route] += took_s


class Text:
    """Collects metrics in Prometheus' text format."""

    def __init__(self) -> None:
        self._lines: list[str] = []

    def add(
        self, name: str, kind: str, about: str, samples: Iterable[tuple[Mapping[str, str], float]]
    ) -> None:
        """Add one metric: a gauge or counter with its samples."""
        self._lines += [f"# HELP headrace_{name} {about}", f"# TYPE headrace_{name} {kind}"]
        self._lines += [f"headrace_{name}{_labels(labels)} {_number(value)}" for labels, value in samples]

    def one(self, name: str, kind: str, about: str, value: float | None) -> None:
        """Add a metric of one sample; nothing where the value is not known."""
        if value is not None:
            self.add(name, kind, about, [({}, value)])

    def histogram(
        self, name: str, about: str, series: Iterable[tuple[Mapping[str, str], Mapping[float, int], float]]
    ) -> None:
        """Add a histogram: per series its labels, the count of each bucket (upper limit in seconds), and
        the sum.
        """
        self._lines += [f"# HELP headrace_{name} {about}", f"# TYPE headrace_{name} histogram"]
        for labels, buckets, total_s in series:
            running = 0
            for limit in sorted(buckets):
                if limit == float("inf"):
                    continue
                running += buckets[limit]
                self._lines.append(
                    f"headrace_{name}_bucket{_labels({**labels, 'le': f'{limit:g}'})} {running}"
                )
            count = sum(buckets.values())
            self._lines.append(f"headrace_{name}_bucket{_labels({**labels, 'le': '+Inf'})} {count}")
            self._lines.append(f"headrace_{name}_sum{_labels(labels)} {_number(total_s)}")
            self._lines.append(f"headrace_{name}_count{_labels(labels)} {count}")

    def render(self) -> str:
        """Return the whole text."""
        return "\n".join(self._lines) + "\n"


def _labels(labels: Mapping[str, str]) -> str:
    if not labels:
        return ""
    escaped = (
        (name, value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"'))
        for name, value in labels.items()
    )
    return "{" + ",".join(f'{name}="{value}"' for name, value in escaped) + "}"


def _number(value: float) -> str:
    return str(int(value)) if float(value).is_integer() else f"{value:.9g}"


def metrics_text(service: Service) -> str:
    """Return all metrics of a server and its run."""
    text = Text()
    _run_metrics(text, service)
    _http_metrics(text, service)
    _own_metrics(text, service)
    return text.render()


def _run_metrics(text: Text, service: Service) -> None:
    run, stats = service.run, service.run.stats()
    freshness = run.freshness
    text.one("version", "gauge", "The published version.", run.version.number)
    text.one("commits_total", "counter", "Commits in the log.", stats.get("commit"))
    text.one("commits_pending", "gauge", "Commits in no version yet.", freshness.pending_commits)
    text.one("rows_pending", "gauge", "Rows in no version yet.", stats.get("pending_rows"))
    text.one("freshness_seconds", "gauge", "Age of the oldest pending commit.", freshness.freshness_ms / 1000)
    text.one("steps_total", "counter", "Steps of the engine.", stats.get("steps"))
    text.one("step_rows_total", "counter", "Input rows of all steps.", stats.get("step_rows"))
    buckets: dict[float, int] = stats.get("step_buckets", {})
    text.histogram("step_seconds", "Time of one step.", [({}, buckets, stats.get("step_busy_s", 0.0))])
    for name, value in _numbers(stats.get("log")):
        text.one(f"log_{name}", "gauge", f"The log's {name.replace('_', ' ')}.", value)
    rows = [
        ({"name": name, "status": status}, float(count))
        for name, counts in stats.get("intake", {}).items()
        for status, count in _numbers(counts)
    ]
    text.add("rows_total", "counter", "Rows of streams and tables, by what became of them.", rows)
    late = [
        ({"view": view, "stream": stream}, float(count))
        for view, streams in stats.get("late_rows", {}).items()
        for stream, count in streams.items()
    ]
    text.add("view_late_rows", "gauge", "Late rows of the streams behind a view: they are not in it.", late)
    _sink_metrics(text, stats.get("sinks", []))
    infos = run.relations()
    counted = [({"name": i.name, "kind": i.kind}, float(i.rows)) for i in infos if i.rows is not None]
    text.add("relation_rows", "gauge", "Rows of a view, table or side table.", counted)
    in_error = [({"name": i.name}, float(i.error is not None)) for i in infos if i.kind == "view"]
    text.add("view_in_error", "gauge", "1 where a view has no answer.", in_error)


def _sink_metrics(text: Text, sinks: list[dict[str, Any]]) -> None:
    told = [({"sink": sink["name"], "view": sink["view"]}, sink) for sink in sinks]
    lag = [(labels, sink["lag_ms"] / 1000) for labels, sink in told]
    text.add("sink_lag_seconds", "gauge", "Age of the oldest version that a sink lacks.", lag)
    up = [(labels, float(sink["state"] != "down")) for labels, sink in told]
    text.add("sink_up", "gauge", "0 while a sink is down and tried again.", up)
    held = [(labels, float(sink["version"])) for labels, sink in told if sink["version"] is not None]
    text.add("sink_version", "gauge", "The last version that a sink holds.", held)
    for name, about in (("rows", "Rows handed to a sink."), ("failures", "Times a sink failed.")):
        samples = [(labels, float(sink[name])) for labels, sink in told]
        text.add(f"sink_{name}_total", "counter", about, samples)


def _numbers(stats: Any) -> list[tuple[str, float]]:
    if not isinstance(stats, dict):
        return []
    return [(str(name), float(value)) for name, value in stats.items() if isinstance(value, int | float)]


def _http_metrics(text: Text, service: Service) -> None:
    counters = service.counters
    requests = [
        ({"method": method, "route": route, "status": str(status)}, float(count))
        for (method, route, status), count in list(counters.requests.items())
    ]
    text.add("http_requests_total", "counter", "Answered requests.", requests)
    limits = (*HTTP_BUCKETS_S, float("inf"))
    series = [
        ({"route": route}, dict(zip(limits, counts, strict=True)), counters.seconds_sum[route])
        for route, counts in list(counters.seconds.items())
    ]
    text.histogram("http_seconds", "Time to answer a request.", series)
    text.one(
        "http_flight_bytes", "gauge", "Bytes of bodies that are being worked on.", service.flight.bytes_held
    )
    viewers = [({"view": view}, float(n)) for view, n in service.broadcast.viewers_by_view().items()]
    text.add("viewers", "gauge", "Sockets and event streams that follow a view.", viewers)
    text.one("messages_encoded_total", "counter", "Changes encoded.", service.broadcast.messages_encoded)
    text.one("encode_seconds_total", "counter", "Time spent encoding.", service.broadcast.encode_busy_s)
    text.one(
        "viewer_losses_total", "counter", "Times a slow reader had to begin anew.", service.broadcast.losses
    )


def _own_metrics(text: Text, service: Service) -> None:
    """Add what the app declares; a metric whose SQL fails is told as failed, and the others stand."""
    failed = []
    for name, query in service.run.app.metrics.items():
        try:
            rows = service.run.answer(query.text, query.unasked(), limits=OWN_LIMITS).table.to_pylist()
            samples = [(_own_labels(row), float(row["value"])) for row in rows if row["value"] is not None]
        except (HeadraceError, KeyError, TypeError, ValueError) as error:
            logger.warning("the metric %s has no answer: %s", name, error)
            failed.append(({"metric": name}, 1.0))
        else:
            text.add(f"app_{name}", "gauge", query.help or f"The app's own {name}.", samples)
            failed.append(({"metric": name}, 0.0))
    text.add("app_metric_failed", "gauge", "1 where a metric of the app has no answer.", failed)


def _own_labels(row: Mapping[str, Any]) -> dict[str, str]:
    return {name: "" if value is None else str(value) for name, value in row.items() if name != "value"}
