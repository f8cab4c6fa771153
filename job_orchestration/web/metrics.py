"""Figures of the workspace and the server in the text format of Prometheus."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from job_orchestration.notifications import outbox
from job_orchestration.runs import catalog

if TYPE_CHECKING:
    from collections.abc import Iterator

    from job_orchestration.web.job_service import JobService

MEDIA_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    """Counts the requests of a server, and says how its workspace is."""

    def __init__(self) -> None:
        self._requests: Counter[tuple[str, int]] = Counter()
        self._seconds = 0.0

    def count(self, method: str, status: int, seconds: float) -> None:
        """Count an answered request."""
        self._requests[method if method in _METHODS else "other", status] += 1
        self._seconds += seconds

    def text(self, service: JobService, streams: int) -> str:
        """Return all figures."""
        return "".join(f"{line}\n" for line in self._lines(service, streams))

    def _lines(self, service: JobService, streams: int) -> Iterator[str]:
        overview = service.reader.overview()
        yield from _head("jobs", "gauge", "Configs and runs by state.")
        for place, number in overview.counts.items():
            yield f'job_orchestration_jobs{{state="{place}"}} {number}'
        workers = len(catalog.living_workers(service.place))
        gauges = {
            "workers": ("Living workers.", workers),
            "outbox_messages": ("Messages that wait for delivery.", len(outbox.names(service.place))),
            "undelivered_messages": ("Messages that were given up.", overview.undelivered),
            "event_streams": ("Open event streams.", streams),
        }
        for name, (meaning, value) in gauges.items():
            yield from _head(name, "gauge", meaning)
            yield f"job_orchestration_{name} {value}"
        yield from _head("http_requests_total", "counter", "Answered requests by method and status code.")
        for (method, status), number in sorted(self._requests.items()):
            yield f'job_orchestration_http_requests_total{{method="{method}",code="{status}"}} {number}'
        yield from _head("http_seconds_total", "counter", "Seconds that answering took.")
        yield f"job_orchestration_http_seconds_total {self._seconds:.6f}"


_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"})


def _head(name: str, kind: str, meaning: str) -> Iterator[str]:
    yield f"# HELP job_orchestration_{name} {meaning}"
    yield f"# TYPE job_orchestration_{name} {kind}"
