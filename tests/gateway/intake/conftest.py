"""A server that does nothing but receive, for what only a socket shows."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from aiohttp import web

from gateway.intake.receive import BodyLimits
from gateway.intake.spool import SpoolBudget
from gateway.intake.upload import Intake, Shape
from gateway.problems import Problem

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

MAX_UPLOAD = 3_000_000
LIMITS = BodyLimits(max_upload_bytes=MAX_UPLOAD, idle_s=0.3, min_rate=1000)
SHAPES = {
    "hf": Shape(json_path=("inputs",), form_parts=("file", "audio", "inputs")),
    "fal": Shape(json_path=("audio_url",), raw=False),
    "openai": Shape(raw=False),
}


@dataclass(slots=True)
class Receiver:
    """Answers an upload with its digest, size, document and fields, and a problem with its type."""

    url: str
    budget: SpoolBudget

    async def until(self, is_so: Callable[[SpoolBudget], bool]) -> None:
        """Return when it is so; pytest's own limit ends the wait."""
        while not is_so(self.budget):  # noqa: ASYNC110 - a budget has no event to wait for
            await asyncio.sleep(0.01)


def is_free(budget: SpoolBudget) -> bool:
    return (budget.memory_used, budget.disk_used) == (0, 0)


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    budget = SpoolBudget(memory_per_upload=100_000, memory_total=1 << 20, disk_total=64 << 20)
    intake = Intake(LIMITS, budget)
    made = Receiver("", budget)

    async def receive(request: web.Request) -> web.Response:
        try:
            upload = await intake.receive(request, SHAPES[request.match_info["shape"]])
        except Problem as problem:
            body = {"type": problem.type, "error": problem.message, "param": problem.param}
            response = web.json_response(body, status=problem.status)
            response.force_close()
            return response
        try:
            size = upload.content.size_bytes
            return web.json_response(
                {"digest": upload.digest, "size": size, "document": upload.document, "fields": upload.fields}
            )
        finally:
            upload.close()

    app = web.Application()
    app.router.add_post("/{shape}", receive)
    runner = web.AppRunner(app, auto_decompress=False, handler_cancellation=True)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield made
    await made.until(is_free)
    await runner.cleanup()
