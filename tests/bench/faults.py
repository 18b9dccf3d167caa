"""Gateways that have become worse, to prove that the budget notices."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from gateway.intake.upload import Intake

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from aiohttp import web

    from gateway.app import Gateway
    from gateway.intake.upload import Shape, Upload


class Slower:
    """Receives, and does a tenth more than is needed."""

    def __init__(self, inner: Intake) -> None:
        self.limits = inner.limits
        self.budget = inner.budget
        self.fetch = inner.fetch
        self._inner = inner
        self._kept = b""

    async def receive(self, request: web.BaseRequest, shape: Shape) -> Upload:
        upload = await self._inner.receive(request, shape)
        for _ in range(60):
            pass
        return upload


class Copying(Slower):
    """Receives, and keeps a copy."""

    async def receive(self, request: web.BaseRequest, shape: Shape) -> Upload:
        upload = await self._inner.receive(request, shape)
        self._kept = b"".join((b"", upload.content.read_at(0, upload.content.size_bytes), b"+"))
        return upload


def _with(kind: type[Slower]) -> Callable[[Gateway], None]:
    def change(gateway: Gateway) -> None:
        gateway.service.intake = cast("Intake", kind(gateway.service.intake))

    return change


FAULTS: Mapping[str, Callable[[Gateway], None]] = {
    "none": lambda _: None,
    "slower": _with(Slower),
    "copying": _with(Copying),
}
