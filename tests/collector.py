"""An OpenTelemetry collector: it takes spans by OTLP over HTTP, and shows them as a tree."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.conftest import serve

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One span."""

    name: str
    kind: str  # SERVER, CLIENT, INTERNAL
    trace_id: str
    span_id: str
    parent_id: str
    state: str
    is_error: bool
    started_ns: int
    ended_ns: int
    attributes: Mapping[str, Any]
    resource: Mapping[str, Any]
    links: tuple[tuple[str, str], ...]  # of trace and span


@dataclass(slots=True)
class Collector:
    """What was received."""

    url: str = ""
    spans: list[Seen] = field(default_factory=list)
    headers: list[Mapping[str, str]] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    status: int = 200

    async def receive(self, request: web.Request) -> web.Response:
        body = await request.read()
        if self.status == 200:
            self.headers.append(dict(request.headers))
            self.bodies.append(body)
            self.spans += _spans(ExportTraceServiceRequest.FromString(body))
        return web.Response(status=self.status)

    def named(self, name: str) -> list[Seen]:
        return [each for each in self.spans if each.name == name]

    def below(self, parent: Seen) -> list[Seen]:
        """Return a span's children in the order they began."""
        found = [each for each in self.spans if each.parent_id == parent.span_id]
        return sorted(found, key=lambda each: each.started_ns)

    def attempts_of(self, request: Seen) -> list[Seen]:
        return [each for each in self.below(request) if each.name.startswith("transcription ")]

    async def until(self, count: int) -> None:
        """Return when so many spans are here; pytest's own limit ends the wait."""
        while len(self.spans) < count:  # noqa: ASYNC110 - they come by themselves
            await asyncio.sleep(0.01)


@asynccontextmanager
async def collector() -> AsyncIterator[Collector]:
    """Serve one on a free loopback port."""
    made, runners = Collector(), list[web.AppRunner]()
    app = web.Application(client_max_size=1 << 26)
    app.router.add_post("/v1/traces", made.receive)
    made.url = await serve(app, runners)
    try:
        yield made
    finally:
        await runners[0].cleanup()


def _spans(batch: ExportTraceServiceRequest) -> list[Seen]:
    return [
        _seen(span, _values(group.resource.attributes))
        for group in batch.resource_spans
        for scope in group.scope_spans
        for span in scope.spans
    ]


def _seen(span: Span, resource: Mapping[str, Any]) -> Seen:
    return Seen(
        name=span.name,
        kind=span.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_"),
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex(),
        state=span.trace_state,
        is_error=span.status.code == span.status.STATUS_CODE_ERROR,
        started_ns=span.start_time_unix_nano,
        ended_ns=span.end_time_unix_nano,
        attributes=_values(span.attributes),
        resource=resource,
        links=tuple((each.trace_id.hex(), each.span_id.hex()) for each in span.links),
    )


def _values(attributes: Any) -> dict[str, Any]:
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in attributes}
