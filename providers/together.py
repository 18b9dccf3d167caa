"""Together AI: the OpenAI form with diarization, and English for whoever names no language.

Source: together 3.1.1 (`types/audio`), togethercomputer/openapi (2026-04-28), docs.together.ai (2026).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Final, Self

from msgspec.structs import replace
from pydantic import Field, ValidationError, model_validator

from providers import openai_form
from providers.authorize import bearer
from providers.bodies import multipart
from providers.errors import JobUnsupported, MalformedReply
from providers.provider import Provider, ProviderOptions, one_call, options_for
from providers.types import Capabilities, Container, Task, Timestamps

if TYPE_CHECKING:
    from collections.abc import Mapping

    from providers.errors import ProviderError
    from providers.exchange import HttpReply, HttpRequest
    from providers.types import Deployment, Transcript, TranscriptionJob

NAME = "together"


class TogetherOptions(ProviderOptions):
    """What a caller may set besides."""

    min_speakers: Annotated[int, Field(ge=1, le=100)] | None = None
    max_speakers: Annotated[int, Field(ge=1, le=100)] | None = None

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.min_speakers and self.max_speakers and self.min_speakers > self.max_speakers:
            raise ValueError("min_speakers is more than max_speakers")
        return self


# --- what each model can do

_ANY_MODEL: Final = Capabilities(
    timestamps=frozenset({Timestamps.SEGMENT, Timestamps.WORD}),
    containers=frozenset(
        {
            Container.WAV,
            Container.MP3,
            Container.MP4,
            Container.WEBM,
            Container.FLAC,
            Container.OGG,
            Container.AAC,
        }
    ),
    max_bytes=80_000_000,  # of an upload, documented as 80 MB
    max_duration_s=4 * 3600.0,
)
# The model card of nvidia/parakeet-tdt-0.6b-v3 (2025-08); it hears which of them by itself.
_PARAKEET_HEARS: Final = "bg hr cs da nl en et fi fr de el hu it lv lt mt pl pt ro sk sl es sv ru uk"

MODELS: Final[Mapping[str, Capabilities]] = {
    "openai/whisper-large-v3": replace(
        _ANY_MODEL,
        generation=frozenset({"temperature"}),
        tasks=frozenset(Task),
        translation_hint=False,
        prompt=True,
        diarize=True,
        options=frozenset(TogetherOptions.model_fields),
        speaker_options=frozenset(TogetherOptions.model_fields),
    ),
    "nvidia/parakeet-tdt-0.6b-v3": replace(  # takes a prompt, and ignores it
        _ANY_MODEL, languages=frozenset(_PARAKEET_HEARS.split())
    ),
}


def capabilities(to: Deployment) -> Capabilities:
    """Return what the model can do; of one unknown here, no more than the route promises for all."""
    return MODELS.get(to.native_model, _ANY_MODEL)


# --- what is sent


def build_request(job: TranscriptionJob, to: Deployment) -> HttpRequest:
    """Send the OpenAI form to its route for the task. Raises JobUnsupported: who spoke is not told of a translation."""
    can = capabilities(to)
    wanted = replace(openai_form.honoured(job, can), diarize=job.diarize and can.diarize)
    if wanted.diarize and wanted.task is Task.TRANSLATE:
        raise JobUnsupported(NAME, "it does not tell speakers apart while translating")
    return multipart(openai_form.url(job, to), _fields(wanted, to), job.audio)


def _fields(job: TranscriptionJob, to: Deployment) -> list[tuple[str, str]]:
    """Return the text parts: OpenAI's, and what is Together's own."""
    if job.diarize and job.timestamps is Timestamps.NONE:
        job = replace(job, timestamps=Timestamps.SEGMENT)  # verbose_json: plain json drops the speakers
    form = openai_form.fields(job, to)
    if job.task is Task.TRANSCRIBE and not job.language:
        form.append(("language", "auto"))  # left out, everything is heard as English
    if job.task is Task.TRANSLATE and job.timestamps is Timestamps.WORD:  # OpenAI's own route has no words
        form += [("timestamp_granularities[]", "segment"), ("timestamp_granularities[]", "word")]
    if job.diarize:
        form.append(("diarize", "true"))
    return form + openai_form.option_fields(options_for(job, NAME, capabilities(to)))


# --- what comes back


class _Reply(openai_form.Reply):
    speaker_segments: list[openai_form.ReplySegment] | None = None


def parse_reply(reply: HttpReply) -> Transcript:
    """Read a 200. Raises MalformedReply, and nothing else.

    Where there are speakers, their turns are the segments: they alone say who spoke.
    """
    try:
        heard = _Reply.model_validate_json(reply.body)
    except ValidationError as error:
        raise MalformedReply(NAME, "a 200 without a transcription's JSON") from error
    if heard.speaker_segments:
        heard = heard.model_copy(update={"segments": heard.speaker_segments})
    return openai_form.transcript(heard, reply)


# --- what went wrong

_TOO_LARGE: Final = re.compile(r"too (large|long|many)|exceeds?\b", re.IGNORECASE)


def classify_error(reply: HttpReply) -> ProviderError:
    """Name a reply that is not 2xx. A 403 also means an input that is too large, and no fault of the key."""
    if reply.status == 403 and _TOO_LARGE.search(openai_form.read_error(reply).message):
        return JobUnsupported(NAME, "the input is larger than it takes")
    return openai_form.classify_error(NAME, reply)


TOGETHER = Provider(
    name=NAME,
    base_urls={"api": "https://api.together.ai/v1"},
    key_variable="TOGETHER_API_KEY",
    authorize=bearer,
    capabilities=capabilities,
    transcribe=one_call(build_request, parse_reply, classify_error),
    options=TogetherOptions,
)
