"""IBM Watson Speech to Text: raw bytes in one call, everything else in the query, words with their times.

Source: ibm-watson 11.2.0 (`speech_to_text_v1.py`), ibm-cloud-sdk-core 3.28.0 (IAM), the API's reference at
cloud.ibm.com/apidocs/speech-to-text (2026). The wording of errors is unconfirmed.

An account names `region` and `instance` in its options; its key is the instance's API key, for which IAM gives tokens
of an hour. A model hears one language. The native models `multimedia`, `telephony` and `large` stand for the one of the
caller's language, or of the account's option `language`; any other is a model's own name, such as `en-US_Multimedia`.
All but the large ones write no punctuation.
"""

from __future__ import annotations

import functools
from http import HTTPStatus
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode

from msgspec.structs import replace
from pydantic import BaseModel, Field, FiniteFloat, SecretStr

from providers.authorize import bearer
from providers.credentials import Token
from providers.errors import CredentialsRejected, JobUnsupported
from providers.exchange import HttpRequest
from providers.languages import code_of
from providers.locales import locale_of
from providers.openai_form import repeated
from providers.polling import parse
from providers.provider import Provider, ProviderOptions, options_for, succeeded
from providers.refusals import by_reply
from providers.sentences import as_asked
from providers.spans import Speaker, segment, word
from providers.types import Capabilities, Container, Segment, Timestamps, Transcript, Word

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from providers.credentials import Ask
    from providers.errors import ProviderError
    from providers.exchange import Exchange, HttpReply
    from providers.types import Account, Deployment, TranscriptionJob

NAME = "ibm-watson"


class IbmWatsonOptions(ProviderOptions):
    """What a caller may set besides."""

    smart_formatting: bool | None = None  # dates, numbers and the like as they are written
    smart_formatting_version: int | None = Field(default=None, ge=0, le=2)
    profanity_filter: bool | None = None  # False unless set: it would write asterisks
    redaction: bool | None = None
    low_latency: bool | None = None
    end_of_phrase_silence_time: float | None = Field(default=None, ge=0, le=120)  # seconds that end a segment
    split_transcript_at_phrase_end: bool | None = None
    speech_detector_sensitivity: float | None = Field(default=None, ge=0, le=1)
    background_audio_suppression: float | None = Field(default=None, ge=0, le=1)
    character_insertion_bias: float | None = Field(default=None, ge=-1, le=1)
    language_customization_id: str | None = Field(default=None, pattern=r"^[0-9A-Za-z-]{1,100}$")
    customization_weight: float | None = Field(default=None, ge=0, le=1)


# --- what each model can do

_TYPES: Final = {
    Container.WAV: "audio/wav",
    Container.FLAC: "audio/flac",
    Container.MP3: "audio/mp3",
    Container.OGG: "audio/ogg",
    Container.WEBM: "audio/webm",
}
_LARGE: Final = Capabilities(
    timestamps=frozenset({Timestamps.SEGMENT, Timestamps.WORD}),
    diarize=True,
    options=frozenset(IbmWatsonOptions.model_fields) - {"low_latency"},
    containers=frozenset(_TYPES),
    max_bytes=100_000_000,  # documented as 100 MB
)
_NEXT: Final = replace(_LARGE, options=frozenset(IbmWatsonOptions.model_fields))
_LOCALES: Final[Mapping[str, tuple[str, ...]]] = {
    family: tuple(locales.split())
    for family, locales in {
        "multimedia": "de-DE en-US en-AU en-GB es-ES fr-FR fr-CA it-IT ja-JP ko-KR nl-NL pt-BR",
        "telephony": "ar-MS cs-CZ de-DE en-US en-AU en-GB en-IN es-ES es-LA fr-FR fr-CA hi-IN it-IT ja-JP ko-KR nl-NL "
        "nl-BE pt-BR sv-SE zh-CN",
        "large": "de-DE en-US en-AU en-GB en-IN es-ES es-AR es-CL es-CO es-MX es-PE fr-FR fr-CA ja-JP pt-BR",
    }.items()
}
_ENDINGS: Final = {"multimedia": "_Multimedia", "telephony": "_Telephony", "large": ""}


def _knowing(can: Capabilities, locales: tuple[str, ...]) -> Capabilities:
    return replace(can, languages=frozenset(locales) | {each.partition("-")[0] for each in locales})


_FAMILIES: Final = {
    family: _knowing(_LARGE if family == "large" else _NEXT, locales) for family, locales in _LOCALES.items()
}


def capabilities(to: Deployment) -> Capabilities:
    """Return what the model can do: one of its own name hears the language in that."""
    return _FAMILIES.get(to.native_model) or _of_its_name(to.native_model)


@functools.lru_cache(maxsize=100)
def _of_its_name(model: str) -> Capabilities:
    locale, _, kind = model.partition("_")
    return _knowing(_NEXT if kind else _LARGE, (locale,))


# --- what is sent


def transcribe(job: TranscriptionJob, to: Deployment) -> Exchange[Transcript]:
    """Take one call. Raises JobUnsupported where no language tells which model is meant."""
    model = model_of(job, to)
    reply = succeeded((yield replace(build_request(job, to, model), bills=True)), classify_error)
    return as_asked(replace(parse_reply(reply), language=code_of(model)), job)


def model_of(job: TranscriptionJob, to: Deployment) -> str:
    """Return the model's own name."""
    locales = _LOCALES.get(to.native_model)
    if locales is None:
        return to.native_model
    wanted = job.language or to.account.options.get("language", "")
    named = locale_of(wanted) or wanted
    known = [each for each in locales if each == named or each.partition("-")[0] == wanted.partition("-")[0]]
    if not known:
        raise JobUnsupported(NAME, f"{to.native_model} is a model for each language: name one that it has")
    return (named if named in known else known[0]) + _ENDINGS[to.native_model]


def build_request(job: TranscriptionJob, to: Deployment, model: str) -> HttpRequest:
    """Send the bytes as they came. What it cannot name, it finds out."""
    asked: dict[str, object] = {
        "model": model,
        "timestamps": True,
        "word_confidence": True,
        "profanity_filter": False,
        "inactivity_timeout": -1,  # else half a minute without a word ends it
    }
    if job.diarize:
        asked["speaker_labels"] = True
    asked |= options_for(job, NAME, capabilities(to))
    kind = _TYPES.get(job.audio.container) if job.audio.container else None
    return HttpRequest(
        method="POST",
        url=f"{to.account.base_urls['api']}/v1/recognize?{urlencode(repeated(asked))}",
        headers={"content-type": kind or "application/octet-stream"},
        body=(job.audio.content,),
    )


# --- how it is let in


class _Given(BaseModel):
    access_token: str = Field(min_length=1)
    expires_in: FiniteFloat


_REFUSED: Final = frozenset({HTTPStatus.BAD_REQUEST, HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN})


async def fetch_token(account: Account, ask: Ask) -> Token:
    """Return IAM's token for the account's key."""
    if account.api_key is None:
        raise CredentialsRejected(NAME, "it has no key")
    asked = {
        "grant_type": "urn:ibm:params:oauth:grant-type:apikey",
        "apikey": account.api_key.get_secret_value(),
        "response_type": "cloud_iam",
    }
    request = HttpRequest(
        method="POST",
        url=f"{account.base_urls['iam']}/identity/token",
        headers={"content-type": "application/x-www-form-urlencoded", "accept": "application/json"},
        body=(urlencode(asked).encode(),),
    )
    reply = await ask(request)
    if reply.status in _REFUSED:
        raise CredentialsRejected(NAME, "no token is given for this key")
    given = parse(NAME, _Given, succeeded(reply, classify_error))
    return Token(secret=SecretStr(given.access_token), lasts_s=given.expires_in)


# --- what comes back


class _Alternative(BaseModel):
    transcript: str
    timestamps: list[tuple[str, FiniteFloat, FiniteFloat]] = []
    word_confidence: list[tuple[str, FiniteFloat]] = []


class _Result(BaseModel):
    alternatives: list[_Alternative] = Field(min_length=1)


class _Label(BaseModel):
    start: FiniteFloat = Field(alias="from")
    speaker: Speaker = None


class _Recognized(BaseModel):
    results: list[_Result]  # none where nobody speaks
    speaker_labels: list[_Label] = []


def parse_reply(reply: HttpReply) -> Transcript:
    """Read a 200 reply: a result for each stretch of speech. Raises MalformedReply, and nothing else."""
    heard = parse(NAME, _Recognized, reply)
    said = [each.alternatives[0] for each in heard.results]
    speakers = {each.start: each.speaker for each in heard.speaker_labels}
    return Transcript(
        text=" ".join(text for each in said if (text := each.transcript.strip())),
        segments=tuple(_segments(said)) if not speakers else (),  # made of words, they change with the speaker
        words=tuple(_words(said, speakers)),
        request_id=reply.headers.get("x-global-transaction-id"),
    )


def _segments(said: list[_Alternative]) -> Iterator[Segment]:
    for each in said:
        if each.timestamps and (text := each.transcript.strip()):
            yield segment(text, each.timestamps[0][1], each.timestamps[-1][2])


def _words(said: list[_Alternative], speakers: Mapping[float, str | None]) -> Iterator[Word]:
    for each in said:
        sure = [confidence for _, confidence in each.word_confidence]
        for number, (text, start, end) in enumerate(each.timestamps):
            confidence = sure[number] if number < len(sure) else None
            yield word(text, start, end, speaker=speakers.get(start), confidence=confidence)


def classify_error(reply: HttpReply) -> ProviderError:
    """Name a reply that is not 2xx."""
    return by_reply(NAME, reply)


IBM_WATSON = Provider(
    name=NAME,
    base_urls={
        "api": "https://api.{region}.speech-to-text.watson.cloud.ibm.com/instances/{instance}",
        "iam": "https://iam.cloud.ibm.com",
    },
    account_options=frozenset({"region", "instance"}),
    key_variable=None,
    exchanges_key=True,
    fetch_token=fetch_token,
    authorize=bearer,
    capabilities=capabilities,
    transcribe=transcribe,
    options=IbmWatsonOptions,
)
