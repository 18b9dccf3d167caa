"""Every metric, declared once. Base units; labels from closed sets only."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

if TYPE_CHECKING:
    from gateway.dispatch.attempts import Attempt
    from gateway.observe import Observed
    from providers.types import Deployment

_SECONDS = (0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0)
_BYTES = (1e4, 1e5, 1e6, 1e7, 1e8, 1e9)


class Metrics:
    """One process's numbers."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "asr_requests",
            "Requests answered, by front, configured model (else other) and status.",
            ("front", "model", "status"),
            registry=self.registry,
        )
        self._request_seconds = Histogram(
            "asr_request_seconds", "Time to answer.", ("front",), buckets=_SECONDS, registry=self.registry
        )
        self._attempts = Counter(
            "asr_attempts", "Calls to deployments.", ("deployment", "outcome"), registry=self.registry
        )
        self._attempt_seconds = Histogram(
            "asr_attempt_seconds", "Time of one call.", ("deployment",), buckets=_SECONDS, registry=self.registry
        )
        self._audio_seconds = Counter("asr_audio_seconds", "Audio transcribed.", ("model",), registry=self.registry)
        self._upload_bytes = Histogram("asr_upload_bytes", "Size of uploads.", buckets=_BYTES, registry=self.registry)
        self.in_flight = Gauge("asr_requests_in_flight", "Requests being answered.", registry=self.registry)
        self.spool_bytes = Gauge("asr_spool_bytes", "Uploads kept, by where.", ("where",), registry=self.registry)
        self.queued = Gauge("asr_local_jobs", "Local jobs queued or running.", ("deployment",), registry=self.registry)

    def request(self, observed: Observed, status: str, seconds: float) -> None:
        """Count a request at its end. status: a number, or "cancelled"."""
        self._requests.labels(observed.front, observed.model or "none", status).inc()
        self._request_seconds.labels(observed.front).observe(seconds)
        if observed.upload_bytes:
            self._upload_bytes.observe(observed.upload_bytes)
        if status.startswith("2") and observed.audio_s:
            self._audio_seconds.labels(observed.model).inc(observed.audio_s)

    def attempt(self, deployment: Deployment, attempt: Attempt, *, configured: bool) -> None:
        """Count a call. configured: False for a deployment that a wildcard route made of a caller's words."""
        name = deployment.name if configured else f"{deployment.account.name}/other"
        self._attempts.labels(name, attempt.outcome).inc()
        self._attempt_seconds.labels(name).observe(attempt.seconds)


METRICS = web.AppKey("metrics", Metrics)
