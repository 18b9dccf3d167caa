"""One request's body, whatever it is, as audio and fields. Content decides; Content-Type lies."""

from __future__ import annotations

import asyncio
import re
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec
from aiohttp import hdrs

from gateway.intake.encoded import address_in, decode_document, decode_text, looks_like_address, looks_like_text
from gateway.intake.fetch import Address
from gateway.intake.form import Form
from gateway.intake.receive import Body, BodyLimits
from gateway.intake.spool import Spool, SpoolBudget
from gateway.policies.addresses import MAX_ADDRESS_CHARACTERS
from gateway.problems import bad_audio, bad_request, unsupported_media, url_input_disabled
from gateway.stages import Stage, timed
from providers.audio.containers import HEAD_BYTES, name_of_other, sniff

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aiohttp import web

    from gateway.intake.fetch import Fetcher
    from providers.audio.content import Content
    from providers.types import Container

_THE_BODY = "the body"
# Without quotes too it may hold what RFC 2045 wants quoted: clients write so.
_BOUNDARY = re.compile(r';\s*boundary=(?:"([^"]+)"|([^;]*))', re.IGNORECASE)


class Upload(msgspec.Struct):
    """What arrived. Close it when the answer is on its way; others may hold it for longer."""

    content: Content
    digest: str
    sniffed: Container | None = None  # what the first bytes of a body that is the audio itself were taken for
    document: dict[str, Any] = msgspec.field(default_factory=dict)  # of a JSON body, without the audio
    fields: list[tuple[str, str]] = msgspec.field(default_factory=list)  # of a form
    spools: list[Spool] = msgspec.field(default_factory=list)
    holders: int = 1

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep it whatever becomes of the request that brought it."""
        self.holders += 1
        try:
            yield
        finally:
            self.close()

    address: Address | None = None  # where the audio is, if that is what was sent; there is no content yet then

    def close(self) -> None:
        """Let go; the last gives back its room."""
        self.holders -= 1
        if not self.holders:
            for spool in self.spools:
                spool.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """Where an API keeps its audio."""

    json_path: tuple[str, ...] | None = None  # of the base64 in a JSON body; None: JSON is not taken
    form_parts: tuple[str, ...] = ("file",)
    raw: bool = True  # whether the body may be the audio itself


class Intake:
    """Receives uploads within one process's limits."""

    def __init__(self, limits: BodyLimits, budget: SpoolBudget, fetcher: Fetcher | None = None) -> None:
        """fetcher: of what callers name instead of sending; None where addresses are refused."""
        self.limits = limits
        self.budget = budget
        self._fetcher = fetcher

    async def fetch(self, upload: Upload, allowed_s: float | None) -> float | None:
        """Get the audio that an upload names, if it does. Return what is left of allowed_s. Raises Problem."""
        if upload.address is None or self._fetcher is None:
            return allowed_s
        clock = asyncio.get_running_loop().time
        started, spool = clock(), Spool(self.budget)
        upload.spools.append(spool)
        with timed(Stage.FETCH):
            await self._fetcher.fetch(upload.address, spool, allowed_s)
        upload.content, upload.digest = await spool.finish()
        return None if allowed_s is None else allowed_s - (clock() - started)

    async def receive(self, request: web.BaseRequest, shape: Shape) -> Upload:
        """Read the body to its end. Raises Problem; nothing is left behind then.

        Where it names its audio by address, that is still to be fetched: only once it is known who may ask for what.
        """
        body = Body(request, self.limits)
        head = await body.head(HEAD_BYTES)
        boundary = _boundary(request, head)
        if boundary:
            return await self._form(body, boundary, shape)
        if shape.raw and (sniffed := sniff(head)) is not None:
            return await self._raw(body, sniffed)
        if shape.json_path and head.lstrip()[:1] == b"{":
            return await self._json(body, shape.json_path)
        if shape.raw and looks_like_address(head):
            return await self._named(body)
        if shape.raw and head and request.content_type != "application/json" and looks_like_text(head):
            return await self._text(body)
        raise _not_an_upload(request, head, shape)

    async def _raw(self, body: Body, sniffed: Container) -> Upload:
        limit = self.limits.max_upload_bytes
        spool, content, digest = await self._spooled(body, limit)
        return Upload(content, digest, sniffed=sniffed, spools=[spool])

    async def _json(self, body: Body, path: tuple[str, ...]) -> Upload:
        spool, content, _ = await self._spooled(body, self.limits.max_json_bytes)
        try:
            decoded = await decode_document(content, path, self.budget, self.limits.max_upload_bytes)
        finally:
            spool.close()
        upload = Upload(decoded.content, decoded.digest, document=decoded.document, spools=[decoded.spool])
        return self._with_address(upload, ".".join(path), decoded.address)

    async def _named(self, body: Body) -> Upload:
        """Read a body that is an address, where it can be of use. Raises Problem 422 before it has arrived."""
        if self._fetcher is None:
            raise url_input_disabled(_THE_BODY)
        return await self._text(body)

    async def _text(self, body: Body) -> Upload:
        spool, content, _ = await self._spooled(body, self.limits.max_json_bytes)
        try:
            decoded = await decode_text(content, self.budget, self.limits.max_upload_bytes)
        finally:
            spool.close()
        upload = Upload(decoded.content, decoded.digest, spools=[decoded.spool])
        return self._with_address(upload, _THE_BODY, decoded.address)

    async def _form(self, body: Body, boundary: str, shape: Shape) -> Upload:
        form = Form(self.budget, shape.form_parts)
        try:
            await form.read(partial(body.chunk, self.limits.max_form_bytes), boundary, self.limits.max_upload_bytes)
            spool = form.file(shape.form_parts[0])
            content, digest = await spool.finish()
        except BaseException:
            if form.spool is not None:
                form.spool.close()
            raise
        upload = Upload(content, digest, fields=form.fields, spools=[spool])
        address = address_in(content.read_at(0, MAX_ADDRESS_CHARACTERS + 1))
        return self._with_address(upload, shape.form_parts[0], address)

    def _with_address(self, upload: Upload, param: str, address: str | None) -> Upload:
        """Note the address that stands where the audio belongs, if one does. Raises Problem 422, the upload closed."""
        if address is None:
            return upload
        if self._fetcher is None:
            upload.close()
            raise url_input_disabled(param)
        upload.address = Address(param, address)
        return upload

    async def _spooled(self, body: Body, max_bytes: int) -> tuple[Spool, Content, str]:
        spool = Spool(self.budget)
        try:
            while chunk := await body.chunk(max_bytes):
                await spool.write(chunk)
            content, digest = await spool.finish()
        except BaseException:
            spool.close()
            raise
        return spool, content, digest


def _boundary(request: web.BaseRequest, head: bytes) -> str | None:
    """Return the form's boundary where the header and the body agree that it is one. Raises Problem 400."""
    declared = request.headers.get(hdrs.CONTENT_TYPE, "")
    if not declared.lower().startswith("multipart/"):
        return None
    match = _BOUNDARY.search(declared)
    boundary = (match[1] or match[2].strip()) if match else ""
    if not boundary.isascii():  # RFC 2046 allows fewer still
        raise bad_request("Content-Type: the boundary must be ASCII")
    return boundary if boundary and head.lstrip().startswith(b"--") else None


def _not_an_upload(request: web.BaseRequest, head: bytes, shape: Shape) -> Exception:
    if not head:
        return bad_request("the body is empty; expected audio", kind="no-audio")
    if request.content_type.startswith("multipart/"):
        return bad_request("the body is not the multipart form that Content-Type declares")
    if not shape.raw and not shape.json_path:
        return unsupported_media("Content-Type must be multipart/form-data")
    if request.content_type == "application/json":
        return bad_request("the body is neither the JSON object that Content-Type declares nor audio")
    return _no_audio(head)


def _no_audio(head: bytes) -> Exception:
    if looks_like_address(head):
        return url_input_disabled(_THE_BODY)
    if name := name_of_other(head):
        return unsupported_media(f"the body is {name}, not audio")
    return bad_audio("the body is neither audio in a container known here, nor JSON, base64 or a form")
