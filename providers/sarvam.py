"""Sarvam AI: the languages of India and its English, half a minute in one call, with phrases and their times.

Source: sarvamai 0.1.39 (`speech_to_text`, its docstrings), docs.sarvam.ai (2026). Longer audio has jobs of its own
there, whose uploads go to hosts that are not documented: here it is heard in parts. Words have no times, and nobody
tells speakers apart.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Final, Literal

from msgspec.structs import replace
from pydantic import BaseModel, Field, FiniteFloat, model_validator

from providers.authorize import key_header
from providers.bodies import multipart
from providers.errors import JobUnsupported
from providers.languages import code_of
from providers.polling import parse
from providers.provider import Provider, ProviderOptions, one_timed_call, options_for
from providers.refusals import by_reply
from providers.spans import segment
from providers.terms import terms_of
from providers.types import Capabilities, Container, Task, Timestamps, Transcript

if TYPE_CHECKING:
    from collections.abc import Mapping

    from providers.errors import ProviderError
    from providers.exchange import HttpReply, HttpRequest
    from providers.types import Deployment, TranscriptionJob

NAME = "sarvam"
_MOST_TERMS, _LONGEST_TERM = 50, 64


class SarvamOptions(ProviderOptions):
    """What a caller may set besides."""

    mode: Literal["transcribe", "verbatim", "translit", "codemix"] | None = None
    keyterms: list[Annotated[str, Field(min_length=1, max_length=_LONGEST_TERM)]] | None = Field(
        default=None, min_length=1, max_length=_MOST_TERMS
    )


# --- what each model can do

# As ISO 639 has them, the shortest code of each; Sarvam writes Odia as "od".
_CODES: Final = "hi bn kn ml mr or pa ta te en gu as ur ne kok ks sd sa sat mni brx mai doi".split()  # noqa: SIM905 - 23 quoted words
_V3: Final = Capabilities(
    timestamps=frozenset({Timestamps.SEGMENT}),
    tasks=frozenset(Task),
    # As callers write them: of codes that Whisper does not know the front hands on the lower case.
    languages=frozenset(f"{code}{place}" for code in (*_CODES, "od") for place in ("", "-IN", "-in")),
    options=frozenset({"mode"}),
    containers=frozenset(
        {
            Container.WAV,
            Container.MP3,
            Container.AAC,
            Container.AIFF,
            Container.OGG,
            Container.FLAC,
            Container.MP4,
            Container.AMR,
            Container.WEBM,
        }
    ),
    max_duration_s=30.0,
)
_V4: Final = replace(_V3, prompt=True, options=frozenset(SarvamOptions.model_fields))
MODELS: Final[Mapping[str, Capabilities]] = {"saaras:v4": _V4, "saaras:v3": _V3}


def capabilities(to: Deployment) -> Capabilities:
    """Return what the model can do; of one unknown here, what the older can."""
    return MODELS.get(to.native_model, _V3)


# --- what is sent


def build_request(job: TranscriptionJob, to: Deployment) -> HttpRequest:
    """Send the form. A translation is one of its modes. Raises JobUnsupported for another mode besides."""
    can = capabilities(to)
    options = options_for(job, NAME, can)
    if job.task is Task.TRANSLATE:
        if "mode" in options:
            raise JobUnsupported(NAME, "a translation has no other mode")
        options["mode"] = "translate"
    fields = {
        "model": to.native_model,
        "language_code": _language(job.language),
        **({"with_timestamps": "true"} if job.timestamps is not Timestamps.NONE else {}),
        **({"mode": options["mode"]} if "mode" in options else {}),
        **_terms([*terms_of(job.prompt or "" if can.prompt else ""), *options.get("keyterms", ())]),
    }
    return multipart(f"{to.account.base_urls['api']}/speech-to-text", fields.items(), job.audio)


def _language(language: str | None) -> str:
    if not language:
        return "unknown"
    code = language.partition("-")[0].lower()
    return f"{'od' if code == 'or' else code}-IN"


def _terms(terms: list[str]) -> dict[str, str]:
    """Return the words to expect, as one field of JSON. Raises JobUnsupported where they are more than it takes."""
    if len(terms) > _MOST_TERMS or any(len(each) > _LONGEST_TERM for each in terms):
        raise JobUnsupported(NAME, f"it expects at most {_MOST_TERMS} terms of {_LONGEST_TERM} letters")
    return {"keyterms": json.dumps(terms, ensure_ascii=False)} if terms else {}


# --- what comes back


class _Times(BaseModel):
    words: list[str]  # phrases, each of them
    start_time_seconds: list[FiniteFloat]
    end_time_seconds: list[FiniteFloat]

    @model_validator(mode="after")
    def _are_parallel(self) -> _Times:
        if not len(self.words) == len(self.start_time_seconds) == len(self.end_time_seconds):
            raise ValueError("times for another number of phrases")
        return self


class _Heard(BaseModel):
    transcript: str
    request_id: str | None = None
    timestamps: _Times | None = None
    language_code: str | None = None


def parse_reply(reply: HttpReply) -> Transcript:
    """Read a 200 reply. Raises MalformedReply, and nothing else."""
    heard = parse(NAME, _Heard, reply)
    times = heard.timestamps
    spans = zip(times.words, times.start_time_seconds, times.end_time_seconds, strict=True) if times else ()
    named = (heard.language_code or "").partition("-")[0]
    return Transcript(
        text=heard.transcript.strip(),
        segments=tuple(segment(text.strip(), start, end) for text, start, end in spans),
        language="or" if named == "od" else code_of(named),
        request_id=heard.request_id,
    )


def classify_error(reply: HttpReply) -> ProviderError:
    """Name a reply that is not 2xx."""
    return by_reply(NAME, reply)


SARVAM = Provider(
    name=NAME,
    base_urls={"api": "https://api.sarvam.ai"},
    key_variable="SARVAM_API_KEY",
    authorize=key_header("api-subscription-key"),
    capabilities=capabilities,
    transcribe=one_timed_call(build_request, parse_reply, classify_error),
    options=SarvamOptions,
)
