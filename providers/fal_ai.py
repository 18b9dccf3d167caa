"""fal.ai: one synchronous call for a short utterance, the queue for a longer one, its storage for a large one.

Source: fal-client 1.0.3, @fal-ai/client 1.10.1 `types/endpoints.d.ts`, fal.ai/docs "Queue" and "Model errors" (2026),
huggingface_hub 2.4.0 and @huggingface/inference 4.13.30 `fal-ai` helpers.

An account may go through the Hugging Face router instead: its key begins `hf_`, and its "api" and "queue" URLs are
both `https://router.huggingface.co/fal-ai`. Where they are one, `?_subdomain=queue` tells the queue from the rest.
"""

from __future__ import annotations

import json
import math
import re
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Final, Literal
from urllib.parse import quote

from msgspec.structs import replace
from pydantic import BaseModel, Field, FiniteFloat, ValidationError

from providers.audio.containers import file_name
from providers.authorize import bearer, key_header
from providers.bodies import AUDIO, json_body, json_post, json_with_audio
from providers.errors import (
    AttemptTimedOut,
    JobUnsupported,
    MalformedReply,
    ProviderUnavailable,
    QuotaExhausted,
)
from providers.exchange import TRANSIENT, Base64, HttpRequest, IfAbandoned, Over
from providers.fal_endpoints import LABELS, FalOptions, chunk_level, endpoint_of
from providers.languages import code_of
from providers.polling import Url, ask, parse, pauses, submit, until_over
from providers.provider import Provider, options_for, succeeded
from providers.refusals import by_reply
from providers.spans import segment, word
from providers.types import Capabilities, Transcript

if TYPE_CHECKING:
    from collections.abc import Mapping

    from providers.errors import ProviderError
    from providers.exchange import Body, Exchange, HttpReply
    from providers.types import Account, Audio, Deployment, TranscriptionJob

NAME = "fal-ai"
_SYNC_BYTES = 2 * 1024 * 1024  # beyond it a dropped connection costs more than the queue's second call
_URI_BYTES = 10 * 1024 * 1024  # of base64; fal asks for storage above about that
_UPLOAD_LIVES_S = 3600  # storage has no delete call: the upload is told to expire
_TO_QUEUE: Final = "_subdomain=queue"
_TRANSIENT: Final = TRANSIENT | {409}


def capabilities(to: Deployment) -> Capabilities:
    """Return what the endpoint can do. Through the Hugging Face router there is no storage: a data URI must do."""
    known = endpoint_of(to.native_model).capabilities
    return replace(known, max_bytes=_URI_BYTES // 4 * 3) if _is_routed(to.account) else known


def _is_routed(account: Account) -> bool:
    return account.base_urls["queue"] == account.base_urls["api"]


def transcribe(job: TranscriptionJob, to: Deployment) -> Exchange[Transcript]:
    """Call at once what is short, queue what is long, upload first what is too big for a data URI."""
    audio = job.audio
    fields = build_fields(job, to.native_model)
    if Base64(audio.content).size_bytes > _URI_BYTES:
        body = json_body({"audio_url": (yield from _upload(audio, to.account)), **fields})
    else:
        body = json_with_audio({"audio_url": AUDIO, **fields}, _labelled(audio), data_uri=True)
    if audio.size_bytes <= _SYNC_BYTES:
        reply = succeeded((yield replace(_run(to, "api", body), bills=True)), classify_error)
    else:
        reply = yield from _through_queue(body, to)
    return parse_reply(reply, job, to.native_model)


def build_fields(job: TranscriptionJob, native_model: str) -> dict[str, object]:
    """Return the endpoint's input, without the audio."""
    endpoint = endpoint_of(native_model)
    return {**endpoint.fields(job), **options_for(job, NAME, endpoint.capabilities)}


def _labelled(audio: Audio) -> Audio:
    return replace(audio, media_type=LABELS[audio.container]) if audio.container in LABELS else audio


def _run(to: Deployment, base: str, body: Body) -> HttpRequest:
    """Build the run of an endpoint. fal's own ten retries would hide a failure from ours."""
    url = f"{to.account.base_urls[base]}/{quote(to.native_model)}"
    return HttpRequest(
        method="POST",
        url=f"{url}?{_TO_QUEUE}" if base == "queue" and _is_routed(to.account) else url,
        headers={"content-type": "application/json", "x-fal-no-retry": "1"},
        body=body,
        told=_start_by,
    )


def _start_by(left_s: float) -> Mapping[str, str]:
    """Pass the deadline on as the time to start by, the only one fal knows; no less than its SDK allows."""
    return {"x-fal-request-timeout": str(max(2, math.ceil(left_s)))}


class _Ticket(BaseModel):
    request_id: str
    status_url: Url
    response_url: Url
    cancel_url: Url


class _Status(BaseModel):
    status: Literal["IN_QUEUE", "IN_PROGRESS", "COMPLETED"]

    @property
    def is_over(self) -> bool:
        return self.status == "COMPLETED"


def _through_queue(body: Body, to: Deployment) -> Exchange[HttpReply]:
    """Submit, ask until it is done, fetch. COMPLETED is not success: only the fetched reply says that."""
    ticket = parse(NAME, _Ticket, (yield from submit(_run(to, "queue", body), classify_error)))
    yield IfAbandoned(HttpRequest(method="PUT", url=_given(to, ticket.cancel_url)))
    yield from until_over(lambda: _status(_given(to, ticket.status_url)), pauses())
    yield Over()
    fetched = yield from _read(_given(to, ticket.response_url))
    return replace(fetched, headers={"x-fal-request-id": ticket.request_id, **fetched.headers})


def _status(url: str) -> Exchange[_Status]:
    return parse(NAME, _Status, (yield from _read(url)))


def _given(to: Deployment, url: str) -> str:
    """Return a URL of the queue's reply; through the router its path there, for fal names its own host."""
    if not _is_routed(to.account):
        return url
    path = url.split("/", 3)[3].partition("?")[0]
    return f"{to.account.base_urls['queue']}/{path}?{_TO_QUEUE}"


def _read(url: str) -> Exchange[HttpReply]:
    return ask(HttpRequest(method="GET", url=url), _is_transient, classify_error)


def _is_transient(reply: HttpReply) -> bool:
    """Tell whether the reading failed, and not the run: of that the platform says more."""
    return reply.status in _TRANSIENT and not any(header in reply.headers for header in _OF_THE_RUN)


_OF_THE_RUN: Final = ("x-fal-error-type", "x-fal-retryable", "x-fal-needs-retry", "x-fal-request-timeout-type")


class _Token(BaseModel):
    token: Annotated[str, Field(pattern=r"^[!-~]+$")]


class _Uploaded(BaseModel):
    access_url: Url


def _upload(audio: Audio, account: Account) -> Exchange[str]:
    """Put the audio into fal's storage for an hour; return where it is."""
    reply = yield json_post(f"{account.base_urls['storage']}/storage/auth/token?storage_type=fal-cdn-v3", {})
    token = parse(NAME, _Token, succeeded(reply, classify_error))
    lifecycle = json.dumps({"expiration_duration_seconds": _UPLOAD_LIVES_S})
    reply = yield HttpRequest(
        method="POST",
        url=f"{account.base_urls['cdn']}/files/upload",
        headers={
            "authorization": f"Bearer {token.token}",
            "content-type": audio.media_type,
            "x-fal-file-name": file_name(audio.container),
            "x-fal-object-lifecycle": lifecycle,
            "x-fal-object-lifecycle-preference": lifecycle,  # the SDK sends both names
        },
        body=(audio.content,),
        anonymous=True,  # the token above is this host's credential; the key stays at home
    )
    return parse(NAME, _Uploaded, succeeded(reply, classify_error)).access_url


class _Chunk(BaseModel):
    text: str
    timestamp: tuple[FiniteFloat | None, FiniteFloat | None]
    speaker: str | None = None


class _Item(BaseModel):
    text: str
    type: str = "word"  # or "spacing", "audio_event"
    start: FiniteFloat | None = None
    end: FiniteFloat | None = None
    speaker_id: str | None = None


class _Output(BaseModel):
    text: str | None = None
    output: str | None = None
    chunks: list[_Chunk] | None = None  # Whisper
    words: list[_Item] | None = None  # ElevenLabs
    inferred_languages: list[str | None] | None = None  # fal-ai/whisper
    languages: list[str | None] | None = None  # fal-ai/wizper
    language_code: str | None = None  # ElevenLabs


def parse_reply(reply: HttpReply, job: TranscriptionJob, native_model: str) -> Transcript:
    """Read a 200 reply. Raises MalformedReply, and nothing else."""
    heard = parse(NAME, _Output, reply)
    # One chunk comes with the level "none" too, and nobody asked for it.
    level = chunk_level(job, endpoint_of(native_model).capabilities.timestamps)
    chunks = {level: heard.chunks or []}
    words = [word(each.text, *each.timestamp, speaker=each.speaker) for each in chunks.get("word", [])]
    if level != "none":
        items = filter(_timed, heard.words or [])
        words += [word(each.text, each.start, each.end, speaker=each.speaker_id) for each in items]
    return Transcript(
        text=_text(heard).strip(),
        segments=tuple(segment(each.text, *each.timestamp, each.speaker) for each in chunks.get("segment", [])),
        words=tuple(words),
        language=_language(heard),
        request_id=reply.headers.get("x-fal-request-id"),
    )


def _text(heard: _Output) -> str:
    """Return the text under either name; ElevenLabs' items hold it too, with the spaces between words."""
    if heard.text is not None:
        return heard.text
    if heard.output is not None:
        return heard.output
    if heard.words is not None:
        return "".join(item.text for item in heard.words if item.type != "audio_event")
    raise MalformedReply(NAME, "a 200 without text")


def _language(heard: _Output) -> str | None:
    guesses = [heard.language_code, *(heard.inferred_languages or []), *(heard.languages or [])]
    return next((code for code in map(code_of, filter(None, guesses)) if code), None)


def _timed(item: _Item) -> bool:
    return item.type == "word" and item.start is not None


class _Complaint(BaseModel):
    type: str = ""


class _Error(BaseModel):
    detail: str | list[_Complaint] = ""


_ABOUT_THE_AUDIO: Final = {
    "unsupported_audio_format": "it does not take this audio format",
    "file_too_large": "the file is too large for it",
    "audio_duration_too_long": "the audio is too long for it",
    "audio_duration_too_short": "the audio is too short for it",
    "file_download_error": "it could not read the audio it was given",
}
_NO_MONEY: Final = re.compile(r"\bbalance\b", re.IGNORECASE)


def classify_error(reply: HttpReply) -> ProviderError:
    """Name a reply that is not 2xx: a model's complaint is a list of types, the platform's a sentence."""
    try:
        detail = _Error.model_validate_json(reply.body).detail
    except ValidationError:
        detail = ""
    reason = f"status {reply.status}"
    if reply.status == HTTPStatus.GATEWAY_TIMEOUT and "x-fal-request-timeout-type" in reply.headers:
        return AttemptTimedOut(NAME, "it did not start in the time that was left")
    if isinstance(detail, str):
        return _platform_error(reply, detail, reason)
    said = next((_ABOUT_THE_AUDIO[each.type] for each in detail if each.type in _ABOUT_THE_AUDIO), reason)
    if _retryable(reply) == "true":
        return ProviderUnavailable(NAME, f"{said}; it says to try again")
    if said is not reason or _never_again(reply):
        return JobUnsupported(NAME, said)
    return by_reply(NAME, reply)


def _platform_error(reply: HttpReply, detail: str, reason: str) -> ProviderError:
    match reply.status:
        case HTTPStatus.FORBIDDEN if _NO_MONEY.search(detail):
            return QuotaExhausted(NAME, "the account's balance is exhausted")
        case HTTPStatus.CONFLICT:  # its own SDK tries this again, as it does 408 and 429
            return ProviderUnavailable(NAME, reason)
        case HTTPStatus.INTERNAL_SERVER_ERROR if _never_again(reply):
            return JobUnsupported(NAME, "the model failed on this audio and would again")
    return by_reply(NAME, reply)


def _never_again(reply: HttpReply) -> bool:
    return _retryable(reply) == "false"


def _retryable(reply: HttpReply) -> str:
    """Return what fal says of trying again: "true", "false", or nothing. The second name is the older."""
    return (reply.headers.get("x-fal-retryable") or reply.headers.get("x-fal-needs-retry") or "").lower()


def authorize(request: HttpRequest, account: Account) -> HttpRequest:
    """Add `Key <key>`, or `Bearer hf_...` where the account goes through the Hugging Face router."""
    routed = account.api_key is not None and account.api_key.get_secret_value().startswith("hf_")
    return bearer(request, account) if routed else _with_key(request, account)


_with_key = key_header("authorization", "Key ")

FAL_AI = Provider(
    name=NAME,
    base_urls={
        "api": "https://fal.run",
        "queue": "https://queue.fal.run",
        "storage": "https://rest.fal.ai",
        "cdn": "https://v3.fal.media",
    },
    key_variable="FAL_KEY",
    authorize=authorize,
    capabilities=capabilities,
    transcribe=transcribe,
    options=FalOptions,
)
