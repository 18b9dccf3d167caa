"""Spans on their way to a collector, by OTLP over HTTP, in a thread of OpenTelemetry's own.

Nothing waits for it: where the collector is slow or gone, spans wait up to a bound, the oldest are dropped, and the log
says so once. OpenTelemetry's libraries are imported by this module alone.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from typing import TYPE_CHECKING, Final
from uuid import uuid4

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState

from gateway import tracing
from gateway.logs import event

if TYPE_CHECKING:
    from collections.abc import Sequence

    from config.tracing import Tracing
    from gateway.policies.trace_context import Context
    from gateway.tracing import Span

_NAME: Final = "asr-gateway"
_SCOPE: Final = InstrumentationScope(_NAME)
_KINDS: Final = {
    tracing.SpanKind.INTERNAL: SpanKind.INTERNAL,
    tracing.SpanKind.SERVER: SpanKind.SERVER,
    tracing.SpanKind.CLIENT: SpanKind.CLIENT,
}
_FINE: Final = Status(StatusCode.UNSET)
_LAST_S: Final = 3.0  # to send what is left at the end


class Collector:
    """One process's way there."""

    def __init__(self, settings: Tracing, process: str) -> None:
        """process: what this one is, for whoever reads the traces: gateway or engine."""
        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)  # a line for each batch; ours are below
        headers = {name: value.get_secret_value() for name, value in settings.headers.items()}
        self._exporter = _Told(OTLPSpanExporter(endpoint=settings.url, headers=headers))
        self._batches = BatchSpanProcessor(self._exporter)
        self._resource = Resource.create(
            {
                "service.name": settings.service_name or os.environ.get("OTEL_SERVICE_NAME") or _NAME,
                "service.instance.id": uuid4().hex,
                "process.pid": os.getpid(),
                "asr.process": process,
            }
        )

    def add(self, span: Span) -> None:
        """Let it wait for the next batch."""
        self._batches.on_end(
            ReadableSpan(
                name=span.name,
                context=_context(span.context, is_remote=False),
                parent=_context(span.parent, is_remote=span.is_parent_remote) if span.parent else None,
                resource=self._resource,
                attributes=span.attributes,
                links=[Link(_context(each, is_remote=True)) for each in span.links],
                kind=_KINDS[span.kind],
                status=Status(StatusCode.ERROR) if span.error else _FINE,
                start_time=span.started_ns,
                end_time=span.ended_ns,
                instrumentation_scope=_SCOPE,
            )
        )

    async def close(self) -> None:
        """Send what waits, for a moment. A thread that is at it still must not hold the process's end."""
        ended, loop = asyncio.Event(), asyncio.get_running_loop()

        def end() -> None:
            self._batches.shutdown()  # type: ignore[no-untyped-call] # the library's
            if not loop.is_closed():
                loop.call_soon_threadsafe(ended.set)

        threading.Thread(target=end, name="asr-traces-end", daemon=True).start()
        try:
            async with asyncio.timeout(_LAST_S):
                await ended.wait()
        except TimeoutError:
            event("traces_cut_off", logging.WARNING)


class _Told(SpanExporter):
    """Tells operators when spans can no longer be sent, and when they can again."""

    def __init__(self, inner: OTLPSpanExporter) -> None:
        self._inner = inner
        self._is_lost = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = self._inner.export(spans)
        is_lost = result is not SpanExportResult.SUCCESS
        if is_lost != self._is_lost:
            event("traces_lost" if is_lost else "traces_back", logging.WARNING)
        self._is_lost = is_lost
        return result

    def shutdown(self) -> None:
        self._inner.shutdown()  # type: ignore[no-untyped-call] # the library's


def _context(of: Context, *, is_remote: bool) -> SpanContext:
    flags = TraceFlags(TraceFlags.SAMPLED if of.sampled else TraceFlags.DEFAULT)
    return SpanContext(
        of.trace_id, of.span_id, is_remote, flags, TraceState.from_header([of.state]) if of.state else None
    )
