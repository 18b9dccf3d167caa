"""Google Cloud Speech-to-Text, version 2: up to a minute of audio in one call, longer by way of a bucket.

Source: google-cloud-speech 2.41.0 (REST), cloud.google.com/speech-to-text/docs: quotas, Chirp 2, Chirp 3 (2026).

An account's base_url names project and location, and the location must be the host's:
`https://eu-speech.googleapis.com/v2/projects/my-project/locations/eu`. Its option `bucket` is where longer audio lies
until it was heard (`google_batch.py`); without one it is heard in parts. Its option `language` is what a model that
detects none is told where the caller names none.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Annotated, Any, Final, cast

from msgspec.structs import replace
from pydantic import BaseModel, Field, FiniteFloat, ValidationError

from providers import google_batch, google_form
from providers.authorize import bearer
from providers.bodies import AUDIO, json_with_audio
from providers.errors import CredentialsRejected, JobUnsupported, MalformedReply
from providers.exchange import HttpRequest
from providers.google_form import Offset
from providers.languages import code_of
from providers.locales import locale_of
from providers.polling import parse
from providers.provider import Provider, ProviderOptions, options_for, succeeded
from providers.spans import segment, word
from providers.terms import terms_of
from providers.types import Capabilities, Container, Segment, Task, Timestamps, Transcript, Word

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from providers.credentials import Ask, FetchToken, Token
    from providers.errors import ProviderError
    from providers.exchange import Exchange, HttpReply
    from providers.types import Account, Deployment, TranscriptionJob

NAME = "google-stt"


class GoogleSttOptions(ProviderOptions):
    """What a caller may set besides."""

    language_codes: list[Annotated[str, Field(pattern=r"^[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8}){1,3}$")]] | None = Field(
        default=None, min_length=1, max_length=3
    )
    phrases: list[Annotated[str, Field(min_length=1, max_length=100)]] | None = Field(
        default=None, min_length=1, max_length=1000
    )
    boost: float | None = Field(default=None, ge=0, le=20)  # of the phrases
    profanity_filter: bool | None = None
    denoise_audio: bool | None = None
    min_speaker_count: int | None = Field(default=None, ge=1, le=6)
    max_speaker_count: int | None = Field(default=None, ge=1, le=6)


# --- what each model can do

_SPEAKERS: Final = frozenset({"min_speaker_count", "max_speaker_count"})
_WORDS: Final = frozenset({Timestamps.SEGMENT, Timestamps.WORD})
_CONTAINERS: Final = frozenset(
    {
        Container.WAV,
        Container.FLAC,
        Container.MP3,
        Container.OGG,
        Container.WEBM,
        Container.MP4,
        Container.AMR,
    }
)
_MAX_BYTES: Final = 7_500_000  # 10 MB as base64
_MAX_S: Final = 60.0
_NOT_FOR_ALL: Final = _SPEAKERS | {"denoise_audio"}


def _can(
    *more: str,
    timestamps: frozenset[Timestamps] = _WORDS,
    tasks: frozenset[Task] = frozenset({Task.TRANSCRIBE}),
) -> Capabilities:
    """Return what all can, and what one model can besides. more: options that not all read."""
    return Capabilities(
        timestamps=timestamps,
        tasks=tasks,
        prompt=True,
        diarize=frozenset(more) >= _SPEAKERS,
        options=frozenset(GoogleSttOptions.model_fields) - _NOT_FOR_ALL | frozenset(more),
        speaker_options=_SPEAKERS & frozenset(more),
        containers=_CONTAINERS,
        max_bytes=_MAX_BYTES,
        max_duration_s=_MAX_S,
    )


_OLDER: Final = _can()
_TELLING_SPEAKERS: Final = _can(*_SPEAKERS)
MODELS: Final[Mapping[str, Capabilities]] = {
    # In one call Chirp 3 was not seen to time words or to tell speakers apart.
    "chirp_3": _can("denoise_audio", timestamps=frozenset({Timestamps.SEGMENT})),
    "chirp_2": _can("denoise_audio", tasks=frozenset(Task)),
    "long": _TELLING_SPEAKERS,
    "short": _OLDER,
    "telephony": _TELLING_SPEAKERS,
}
_DETECTS: Final = frozenset({"chirp_2", "chirp_3"})


def capabilities(to: Deployment) -> Capabilities:
    """Return what the model can do; of one unknown here, what all can. A bucket takes hours."""
    can = MODELS.get(to.native_model, _OLDER)
    return replace(can, max_bytes=None, max_duration_s=google_batch.MAX_S) if "bucket" in to.account.options else can


# --- what is sent


def transcribe(job: TranscriptionJob, to: Deployment) -> Exchange[Transcript]:
    """Take one call, or a bucket. Raises JobUnsupported where a model that detects no language is told none."""
    if "bucket" in to.account.options and not _fits_one_call(job):
        return (yield from _by_bucket(job, to))
    return read(parse(NAME, _Recognized, succeeded((yield build_request(job, to)), classify_error)), job)


def _fits_one_call(job: TranscriptionJob) -> bool:
    """Tell whether it may be sent inline; what could not be measured may be longer than it looks."""
    seconds = job.audio.duration_s
    return seconds is not None and seconds <= _MAX_S and job.audio.size_bytes <= _MAX_BYTES


def _by_bucket(job: TranscriptionJob, to: Deployment) -> Exchange[Transcript]:
    config, headers = _config(job, to), _payer(to.account)
    uri = yield from google_batch.store(job, to.account, headers, classify_error)
    found = yield from google_batch.recognize(config, uri, to.account, headers, classify_error)
    try:
        return read(_Recognized.model_validate(found), job)
    except ValidationError as error:
        raise MalformedReply(NAME, "an operation without a transcript") from error


def build_request(job: TranscriptionJob, to: Deployment) -> HttpRequest:
    """Send the audio inline, with all that is configured: no recognizer has to be there before."""
    return HttpRequest(
        method="POST",
        url=f"{to.account.base_urls['api']}/recognizers/_:recognize",
        headers={"content-type": "application/json", **_payer(to.account)},
        body=json_with_audio({"config": _config(job, to), "content": AUDIO}, job.audio, data_uri=False),
        bills=True,
    )


def _payer(account: Account) -> Mapping[str, str]:
    """Name the project whose quota the call counts against, where that is another than the credentials'."""
    project = account.options.get("quota_project")
    return {"x-goog-user-project": project} if project else {}


def _config(job: TranscriptionJob, to: Deployment) -> dict[str, object]:
    options = options_for(job, NAME, capabilities(to))
    config: dict[str, object] = {
        "autoDecodingConfig": {},
        "model": to.native_model,
        "languageCodes": _languages(job, to, options),
        "features": _features(job, to, options),
    }
    if phrases := [*terms_of(job.prompt or ""), *options.get("phrases", ())]:
        boost = {"boost": options["boost"]} if "boost" in options else {}
        values = [{"value": each, **boost} for each in phrases]
        config["adaptation"] = {"phraseSets": [{"inlinePhraseSet": {"phrases": values}}]}
    if job.task is Task.TRANSLATE:
        config["translationConfig"] = {"targetLanguage": "en-US"}
    if options.get("denoise_audio"):
        config["denoiserConfig"] = {"denoiseAudio": True}
    return config


# As this service calls them: macro-languages by their largest, and some by codes of old.
_OWN: Final = {"zh": "cmn-Hans-CN", "yue": "yue-Hant-HK", "he": "iw-IL", "tl": "fil-PH", "jw": "jv-ID", "ar": "ar-EG"}


def _languages(job: TranscriptionJob, to: Deployment, options: Mapping[str, Any]) -> list[str]:
    if job.language:
        own = None if "-" in job.language else _OWN.get(code_of(job.language) or "")
        return [own or locale_of(job.language) or job.language]
    if codes := options.get("language_codes"):
        return list(codes)
    if to.native_model in _DETECTS:
        return ["auto"]
    if usual := to.account.options.get("language"):
        return [usual]
    raise JobUnsupported(NAME, f"{to.native_model} detects no language: name it")


def _features(job: TranscriptionJob, to: Deployment, options: Mapping[str, Any]) -> dict[str, object]:
    features: dict[str, object] = {"enableAutomaticPunctuation": True}
    if Timestamps.WORD in capabilities(to).timestamps and (job.timestamps is not Timestamps.NONE or job.diarize):
        features |= {"enableWordTimeOffsets": True, "enableWordConfidence": True}
    if options.get("profanity_filter"):
        features["profanityFilter"] = True
    if job.diarize:
        least = options.get("min_speaker_count", 1)
        most = max(least, options.get("max_speaker_count", 6))
        features["diarizationConfig"] = {"minSpeakerCount": least, "maxSpeakerCount": most}
    return features


# --- how it is let in


async def fetch_token(account: Account, ask: Ask) -> Token:
    """Return an access token, of the account's `credentials_file` or of what the machine has."""
    try:
        fetch = cast("FetchToken", import_module("providers.google_token").fetch)
    except ModuleNotFoundError as error:
        raise CredentialsRejected(NAME, 'tokens need an extra: pip install "asr-gateway[google]"') from error
    return await fetch(account, ask)


# --- what comes back


class _Word(BaseModel):
    word: str = ""
    start_offset: Offset = Field(default=None, alias="startOffset")
    end_offset: Offset = Field(default=None, alias="endOffset")
    confidence: FiniteFloat | None = None
    speaker: str | None = Field(default=None, alias="speakerLabel")


class _Alternative(BaseModel):
    transcript: str = ""
    words: list[_Word] | None = None


class _Result(BaseModel):
    alternatives: list[_Alternative] | None = None
    end_offset: Offset = Field(default=None, alias="resultEndOffset")
    language: str | None = Field(default=None, alias="languageCode")

    @property
    def best(self) -> _Alternative:
        return next(iter(self.alternatives or ()), _Alternative())


class _Metadata(BaseModel):
    request_id: str | None = Field(default=None, alias="requestId")


class _Recognized(BaseModel):
    results: list[_Result] | None = None  # missing where nobody speaks
    metadata: _Metadata


def read(heard: _Recognized, job: TranscriptionJob) -> Transcript:
    """Read a reply: a result for each stretch of speech, of which only the end is given."""
    results = heard.results or []
    detected = next((each.language for each in results if each.language), "")
    return Transcript(
        text=" ".join(said for each in results if (said := each.best.transcript.strip())),
        segments=tuple(_segments(results)) if job.timestamps is not Timestamps.NONE and not job.diarize else (),
        words=tuple(_word(each) for result in results for each in result.best.words or () if each.end_offset),
        language=code_of(detected),
        request_id=heard.metadata.request_id,
    )


def _segments(results: list[_Result]) -> Iterator[Segment]:
    """Yield the results with speech. Each begins with its first word, or where the one before ended."""
    ended_s = 0.0
    for each in results:
        said = each.best
        start_s = (said.words[0].start_offset or 0.0) if said.words else ended_s
        if said.transcript.strip():
            yield segment(said.transcript.strip(), start_s, each.end_offset)
        ended_s = each.end_offset or ended_s


def _word(given: _Word) -> Word:
    return word(given.word, given.start_offset, given.end_offset, speaker=given.speaker, confidence=given.confidence)


def classify_error(reply: HttpReply) -> ProviderError:
    """Name a reply that is not 2xx."""
    return google_form.classify_error(NAME, reply)


GOOGLE_STT = Provider(
    name=NAME,
    base_urls={"storage": "https://storage.googleapis.com"},  # "api" is each account's own: a project is in it
    key_variable=None,
    key_required=False,  # without one, a token is fetched
    fetch_token=fetch_token,
    authorize=bearer,
    capabilities=capabilities,
    transcribe=transcribe,
    options=GoogleSttOptions,
)
