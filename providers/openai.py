"""OpenAI, recorded audio: Whisper and the models that follow it.

Source: openai-openapi 2.3.0 (2026-08-21), openai 3.54.0, the speech-to-text guide and the deprecations page (2026-11);
limits and refusals as users report them (speakr 42 and 168, vercel/ai 8214, litellm 18125).
"""

from __future__ import annotations

from datetime import date
from functools import partial
from typing import TYPE_CHECKING, Annotated, Final, Literal

from msgspec.structs import replace
from pydantic import Field

from providers import openai_form
from providers.authorize import bearer
from providers.bodies import multipart
from providers.provider import Provider, ProviderOptions, one_call, options_for
from providers.types import Capabilities, Deployment, Timestamps

if TYPE_CHECKING:
    from collections.abc import Mapping

    from providers.exchange import HttpRequest
    from providers.types import TranscriptionJob

NAME = "openai"
_RETIRES = date(2027, 2, 26)  # announced 2026-08-26, with the translations route

MAX_BYTES: Final = 25 * 1024 * 1024 - openai_form.FORM_BYTES
_PLAIN: Final = replace(openai_form.PLAIN, options=frozenset({"chunking_strategy"}), max_bytes=MAX_BYTES)
_GPT_4O: Final = replace(_PLAIN, max_duration_s=1400.0, retires_on=_RETIRES)
_WHISPER: Final = replace(openai_form.WHISPER, options=_PLAIN.options, max_bytes=_PLAIN.max_bytes, retires_on=_RETIRES)
DIARIZES: Final = "gpt-4o-transcribe-diarize"
_NAMES_LANGUAGES: Final = "gpt-transcribe"
MODELS: Final = {
    "whisper-1": _WHISPER,
    _NAMES_LANGUAGES: replace(_PLAIN, options=_PLAIN.options | {"keywords", "languages"}),
    "gpt-4o-transcribe": _GPT_4O,
    "gpt-4o-mini-transcribe": _GPT_4O,
    "gpt-4o-mini-transcribe-2025-12-15": _GPT_4O,
    "gpt-4o-mini-transcribe-2025-03-20": replace(_GPT_4O, retires_on=date(2027, 1, 20)),
    DIARIZES: replace(
        _GPT_4O,
        prompt=False,
        diarize=True,
        timestamps=frozenset({Timestamps.SEGMENT}),
        options=_PLAIN.options | {"known_speaker_names"},
        speaker_options=frozenset({"known_speaker_names"}),
    ),
}


class ServerVad(ProviderOptions):
    """Where the audio is cut, by loudness."""

    type: Literal["server_vad"]
    prefix_padding_ms: int | None = Field(default=None, ge=0)
    silence_duration_ms: int | None = Field(default=None, ge=0)
    threshold: float | None = Field(default=None, ge=0, le=1)


_Term = Annotated[str, Field(min_length=1, max_length=200)]


class OpenAIOptions(ProviderOptions):
    """What a caller may set besides the job."""

    chunking_strategy: Literal["auto"] | ServerVad | None = None
    keywords: list[_Term] | None = Field(default=None, max_length=100)  # gpt-transcribe
    languages: list[_Term] | None = Field(default=None, min_length=1, max_length=100)  # gpt-transcribe
    known_speaker_names: list[_Term] | None = Field(default=None, max_length=4)  # gpt-4o-transcribe-diarize


def capabilities(to: Deployment) -> Capabilities:
    """Return what the model can do; of one not in the table, what all of them can."""
    return MODELS.get(to.native_model, _PLAIN)


def build_request(job: TranscriptionJob, to: Deployment) -> HttpRequest:
    """Send the form: text parts first, as the SDK does."""
    can = capabilities(to)
    return multipart(openai_form.url(job, to), form(job, to, can, options_for(job, NAME, can)), job.audio)


def form(
    job: TranscriptionJob, to: Deployment, can: Capabilities, options: Mapping[str, object]
) -> list[tuple[str, str]]:
    """Return the text parts as the model of that name wants them. options: the caller's."""
    parts = _FORMS.get(to.native_model, openai_form.fields)(openai_form.honoured(job, can), to)
    if "languages" in options:  # the caller's list stands for the one language too
        parts = [(name, text) for name, text in parts if name != "languages[]"]
    if to.native_model == DIARIZES:
        options = {"chunking_strategy": "auto", **options}  # refused without one
    return [*parts, *openai_form.option_fields(options)]


def _diarized_fields(job: TranscriptionJob, to: Deployment) -> list[tuple[str, str]]:
    """Ask for diarized_json, which has the times too, where speakers or times are wanted."""
    timed = replace(job, timestamps=Timestamps.SEGMENT) if job.diarize else job
    return openai_form.fields(timed, to, timed="diarized_json", granularities=None)


def _fields_with_languages(job: TranscriptionJob, to: Deployment) -> list[tuple[str, str]]:
    """Name the language as gpt-transcribe wants it: in a list."""
    return [("languages[]" if name == "language" else name, text) for name, text in openai_form.fields(job, to)]


_FORMS: Final = {DIARIZES: _diarized_fields, _NAMES_LANGUAGES: _fields_with_languages}


parse_reply = partial(openai_form.parse_reply, NAME)
_classify_error = partial(openai_form.classify_error, NAME)

OPENAI = Provider(
    name=NAME,
    base_urls={"api": "https://api.openai.com/v1"},
    key_variable="OPENAI_API_KEY",
    authorize=bearer,
    capabilities=capabilities,
    transcribe=openai_form.within_limits(NAME, one_call(build_request, parse_reply, _classify_error)),
    options=OpenAIOptions,
)
