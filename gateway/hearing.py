"""The engine's side of `providers.local.wire`, whatever HTTP server a request comes through."""

from __future__ import annotations

import asyncio
import hmac
from typing import TYPE_CHECKING, Final

import msgspec
from msgspec.structs import replace

from gateway.intake.spool import Spool
from gateway.problems import Problem
from providers.errors import JobRejected, JobUnsupported, ProviderError, ProviderUnavailable
from providers.exchange import Progress
from providers.local.provider import NAME
from providers.local.wire import JOB_BYTES, MAX_JOB_BYTES, REFUSED, TIME_LEFT, Model, Refusal, Written, refusal
from providers.types import Account, Deployment, Moment

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, Awaitable, Callable, Mapping

    from pydantic import SecretStr

    from gateway.fleet import LocalBackend
    from gateway.intake.spool import SpoolBudget
    from providers.types import TranscriptionJob

READ_BYTES: Final = 256 * 1024
NO_SUCH_MODEL: Final = 404
_HERE: Final = Deployment(account=Account(name=NAME, adapter=NAME, base_urls={}), native_model="")
_LONGEST_S: Final = 24 * 3600.0  # nobody waits for longer, whatever is said


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """What is answered: a status and JSON."""

    status: int = 200
    body: bytes = b""
    outcome: str = "ok"  # in a word, for whoever traces
    failed: bool = False  # the model was there and there was time: its device may be broken


class Hearing:
    """Hears what is asked of models that are looked up as they are asked for."""

    def __init__(
        self,
        model_of: Callable[[str], Awaitable[LocalBackend | None]],
        budget: SpoolBudget,
        max_bytes: int | None = None,
    ) -> None:
        """model_of: returns the model of a name, None where it is not held. max_bytes: of audio; None: all is taken."""
        self._model_of = model_of
        self._budget = budget
        self.max_bytes = max_bytes

    async def model(self, name: str) -> Told:
        """Say what is known of a model once loading it was tried."""
        model = await self._model_of(name)
        if model is None:
            return Told(status=NO_SUCH_MODEL)
        await model.wait_loaded()
        missing = str(model.missing) if model.missing else None
        return Told(body=msgspec.json.encode(Model(capabilities=model.capabilities, missing=missing)))

    async def transcribe(self, name: str, headers: Mapping[str, str], body: AsyncIterable[bytes]) -> Told:
        """Return the transcript, or a refusal. headers: found whatever the case of their names."""
        spool = Spool(self._budget)
        try:
            return await self._heard(name, headers, body, spool)
        except ProviderError as error:
            return _refused(refusal(error), error.outcome)
        except Problem as problem:  # there is no room for the audio
            unavailable = Refusal(kind=ProviderUnavailable.__name__, reason=problem.message)
            return _refused(unavailable, ProviderUnavailable.outcome)
        finally:
            spool.close()

    async def _heard(self, name: str, headers: Mapping[str, str], body: AsyncIterable[bytes], spool: Spool) -> Told:
        """Raise ProviderError, Problem."""
        until = _until(headers)
        try:
            async with asyncio.timeout_at(until):
                job = await self._received(headers, body, spool)
                content, _ = await spool.finish()
                model = await self._model_of(name)
                if model is None:
                    raise ProviderUnavailable(NAME, "the model is not held here any more")
                await model.wait_loaded()  # after a crash it is loaded again: who asked before waits
        except TimeoutError as error:
            raise ProviderUnavailable(NAME, "the audio has not come, or the model is still loading") from error
        return await _answered(model, job.read(content), until)

    async def _received(self, headers: Mapping[str, str], body: AsyncIterable[bytes], spool: Spool) -> Written:
        """Return the job that the body begins with; its audio is in the spool then."""
        size, head = _job_bytes(headers), bytearray()
        async for chunk in body:
            missing = size - len(head)
            head += chunk[:missing]
            if len(chunk) > missing:
                await spool.write(chunk[missing:])
            if self.max_bytes is not None and spool.size_bytes > self.max_bytes:
                raise JobUnsupported(NAME, f"this engine takes at most {self.max_bytes} bytes of audio")
        try:
            return msgspec.json.decode(head, type=Written)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise JobRejected(NAME, "the body does not begin with a job") from error


async def _answered(model: LocalBackend, job: TranscriptionJob, until: Moment) -> Told:
    """Return what the model says, or that it failed. Raises ProviderError for what is no fault of its."""
    try:
        return Told(body=msgspec.json.encode(await model.transcribe(job, _HERE, until, Progress())))
    except ProviderUnavailable as error:
        is_at_fault = model.ready and asyncio.get_running_loop().time() < until
        return replace(_refused(refusal(error), error.outcome), failed=is_at_fault)


def lets_in(key: SecretStr | None, authorization: str) -> bool:
    """Tell whether a caller has the key, whose Authorization that is. None: whoever comes may ask."""
    if key is None:
        return True
    expected = f"Bearer {key.get_secret_value()}".encode()
    return hmac.compare_digest(authorization.encode(errors="surrogateescape"), expected)


def _until(headers: Mapping[str, str]) -> Moment:
    """Return the moment until which somebody waits. Raises JobRejected."""
    try:
        left_s = float(headers.get(TIME_LEFT, ""))
    except ValueError as error:
        raise JobRejected(NAME, f"{TIME_LEFT} is no number of seconds") from error
    if not 0 <= left_s < float("inf"):
        raise JobRejected(NAME, f"{TIME_LEFT} is no number of seconds")
    return Moment(asyncio.get_running_loop().time() + min(left_s, _LONGEST_S))


def _job_bytes(headers: Mapping[str, str]) -> int:
    """Return the length of the job in the body. Raises JobRejected."""
    told = headers.get(JOB_BYTES, "")
    size = int(told) if told.isascii() and told.isdecimal() and len(told) < 12 else 0
    if not 0 < size <= MAX_JOB_BYTES:
        raise JobRejected(NAME, f"{JOB_BYTES} is not the length of any job")
    return size


def _refused(told: Refusal, outcome: str) -> Told:
    return Told(status=REFUSED, body=msgspec.json.encode(told), outcome=outcome)
