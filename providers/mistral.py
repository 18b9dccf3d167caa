"""Mistral: Voxtral in a form like OpenAI's, in which words come as segments and lists have no brackets.

Source: mistralai 3.7.0 (`audiotranscriptionrequest`, `transcriptionresponse`), the offline transcription page, its
glossary of errors and "Migrate from Voxtral 2" (2026-11); what a language beside times does to
Voxtral 2: livekit/agents 4399.
"""

from __future__ import annotations

from functools import partial
from itertools import product
from typing import TYPE_CHECKING, Annotated, Final

from msgspec.structs import replace
from pydantic import Field, ValidationError

from providers import openai_form
from providers.authorize import bearer
from providers.bodies import multipart
from providers.errors import MalformedReply
from providers.provider import Provider, ProviderOptions, options_for, succeeded
from providers.sentences import from_words
from providers.spans import word
from providers.types import Capabilities, Timestamps

if TYPE_CHECKING:
    from collections.abc import Mapping

    from providers.exchange import Exchange, HttpReply, HttpRequest
    from providers.types import Deployment, Transcript, TranscriptionJob

NAME = "mistral"


class MistralOptions(ProviderOptions):
    """What a caller may set besides."""

    context_bias: list[Annotated[str, Field(min_length=1, max_length=200)]] | None = Field(default=None, max_length=100)
    return_language: bool | None = None  # Voxtral 3: tell which language it heard, where none was named


# --- what each model can do

_ANY_MODEL: Final = replace(
    openai_form.PLAIN,
    prompt=False,
    timestamps=frozenset({Timestamps.SEGMENT}),
    diarize=True,
    options=frozenset({"context_bias"}),
)
_VOXTRAL_2: Final = replace(_ANY_MODEL, timestamps=frozenset({Timestamps.SEGMENT, Timestamps.WORD}))
_VOXTRAL_3: Final = replace(_ANY_MODEL, options=frozenset(MistralOptions.model_fields))
_MINI_2602: Final = replace(_VOXTRAL_2, max_duration_s=3 * 3600.0)

_THIRD: Final = tuple(product(("mini", "small"), ("3-0", "3", "latest")))

MODELS: Final[Mapping[str, Capabilities]] = {
    **dict.fromkeys((f"voxtral-{size}-transcribe-{version}" for size, version in _THIRD), _VOXTRAL_3),
    "voxtral-mini-2602": _MINI_2602,
    "voxtral-mini-latest": _MINI_2602,
    "voxtral-mini-2507": replace(_VOXTRAL_2, max_duration_s=15 * 60.0),
}


def capabilities(to: Deployment) -> Capabilities:
    """Return what the model can do; of one unknown here, what all of them can."""
    return MODELS.get(to.native_model, _ANY_MODEL)


# --- what is sent

_classify_error = partial(openai_form.classify_error, NAME)


def transcribe(job: TranscriptionJob, to: Deployment) -> Exchange[Transcript]:
    """Take one call. Who asked for words is given words: the reply calls them segments, as it does those."""
    wanted = _wanted(job, capabilities(to))
    reply = yield replace(build_request(wanted, to), bills=True)
    heard = parse_reply(succeeded(reply, _classify_error))
    return _in_words(heard) if wanted.timestamps is Timestamps.WORD else heard


def _wanted(job: TranscriptionJob, can: Capabilities) -> TranscriptionJob:
    """Return the job with the times its model has; speakers are told of segments at least."""
    job = openai_form.honoured(job, can)
    return replace(job, timestamps=Timestamps.SEGMENT) if job.diarize and job.timestamps is Timestamps.NONE else job


def build_request(job: TranscriptionJob, to: Deployment) -> HttpRequest:
    """Send the form. Voxtral 2 answers a language beside times with nothing, and bills it: there it is left out."""
    timed = job.timestamps is not Timestamps.NONE
    form = [("model", to.native_model)]
    if job.language and not (timed and _is_voxtral_2(to)):
        form.append(("language", openai_form.language(job.language).partition("-")[0]))
    if job.generation.temperature is not None:
        form.append(("temperature", openai_form.text_of(job.generation.temperature)))
    if timed:
        form.append(("timestamp_granularities", job.timestamps.value))
    if job.diarize:
        form.append(("diarize", "true"))
    return multipart(openai_form.url(job, to), form + _option_fields(job, to), job.audio)


def _option_fields(job: TranscriptionJob, to: Deployment) -> list[tuple[str, str]]:
    options = options_for(job, NAME, capabilities(to))
    terms: list[str] = options.get("context_bias", [])
    if _is_voxtral_2(to):  # its terms hold neither space nor comma
        terms = ["_".join(term.replace(",", " ").split()) for term in terms]
    form = [("context_bias", term) for term in terms if term]
    if options.get("return_language") and not job.language:
        form.append(("return_language", "true"))
    return form


def _is_voxtral_2(to: Deployment) -> bool:
    return Timestamps.WORD in capabilities(to).timestamps


# --- what comes back


class _Reply(openai_form.Reply):
    model: str | None = None


def parse_reply(reply: HttpReply) -> Transcript:
    """Read a 200. Raises MalformedReply, and nothing else.

    The seconds it bills are whole ones, so they do not tell how long the audio is.
    """
    try:
        heard = _Reply.model_validate_json(reply.body)
    except ValidationError as error:
        raise MalformedReply(NAME, "a 200 without a transcription's JSON") from error
    told = openai_form.transcript(heard, reply)
    return replace(told, model_version=heard.model, request_id=told.request_id or _correlation(reply))


def _correlation(reply: HttpReply) -> str | None:
    return reply.headers.get("mistral-correlation-id")


def _in_words(heard: Transcript) -> Transcript:
    words = tuple(
        word(each.text, each.start_s, each.end_s, speaker=each.speaker) for each in heard.segments if each.text.strip()
    )
    return replace(heard, words=words, segments=tuple(from_words(words, heard.text)))


MISTRAL = Provider(
    name=NAME,
    base_urls={"api": "https://api.mistral.ai/v1"},
    key_variable="MISTRAL_API_KEY",
    authorize=bearer,
    capabilities=capabilities,
    transcribe=transcribe,
    options=MistralOptions,
)
