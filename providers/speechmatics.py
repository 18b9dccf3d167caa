"""Speechmatics: a job is started with its audio, asked after, its transcript fetched, and all of it deleted.

Source: speechmatics-batch 1.1.0, speechmatics/docs spec/batch.yaml (2026-08-13). A job lives in the region where it was
started: the account's address decides which. One that still runs is stopped by its deletion (`force`).
"""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Final, Literal

from pydantic import AliasPath, BaseModel, Field, FiniteFloat

from providers.authorize import bearer
from providers.bodies import multipart
from providers.errors import JobUnsupported, ProviderUnavailable
from providers.jobs import Job, Jobs
from providers.languages import code_of
from providers.polling import parse
from providers.provider import Provider, ProviderOptions, check_times, options_for
from providers.refusals import by_reply
from providers.sentences import from_words
from providers.spans import segment, whole, word
from providers.types import Capabilities, Container, Task, Timestamps, Transcript, Word

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from providers.errors import ProviderError
    from providers.exchange import Exchange, HttpReply
    from providers.types import Deployment, Segment, TranscriptionJob

NAME = "speechmatics"
_Languages = Annotated[
    list[Annotated[str, Field(pattern=r"^[a-z]{2,3}(_[a-z]{2,3})?$")]], Field(min_length=1, max_length=100)
]


class SpeechmaticsOptions(ProviderOptions):
    """What a caller may set besides."""

    additional_vocab: list[Annotated[str, Field(min_length=1, max_length=200)]] | None = Field(
        default=None, min_length=1, max_length=1000
    )
    expected_languages: _Languages | None = None  # among which to detect
    language_hints: _Languages | None = None  # of a model that hears several at once
    output_locale: str | None = Field(default=None, pattern=r"^[a-z]{2}-[A-Z]{2}$")
    domain: str | None = Field(default=None, pattern=r"^[a-z]{1,40}$")
    enable_entities: bool | None = None
    remove_disfluencies: bool | None = None
    punctuation_sensitivity: float | None = Field(default=None, ge=0, le=1)
    volume_threshold: float | None = Field(default=None, ge=0, le=100)
    speaker_sensitivity: float | None = Field(default=None, ge=0, le=1)
    prefer_current_speaker: bool | None = None


# --- what each model can do

_SPEAKERS: Final = frozenset({"speaker_sensitivity", "prefer_current_speaker"})
_MELIA: Final = Capabilities(
    timestamps=frozenset({Timestamps.SEGMENT, Timestamps.WORD}),
    diarize=True,
    options=_SPEAKERS | {"language_hints", "punctuation_sensitivity", "volume_threshold"},
    speaker_options=_SPEAKERS,
    containers=frozenset(
        {
            Container.WAV,
            Container.MP3,
            Container.AAC,
            Container.OGG,
            Container.AMR,
            Container.MP4,
            Container.FLAC,
        }
    ),
    max_bytes=1_000_000_000,  # of a body, documented as 1 GB
)
_ENHANCED: Final = Capabilities(
    timestamps=_MELIA.timestamps,
    tasks=frozenset(Task),
    diarize=True,
    options=frozenset(SpeechmaticsOptions.model_fields) - {"language_hints"},
    speaker_options=_SPEAKERS,
    containers=_MELIA.containers,
    max_bytes=_MELIA.max_bytes,
)
_SEVERAL_AT_ONCE: Final = "melia-1"
MODELS: Final[Mapping[str, Capabilities]] = {
    "enhanced": _ENHANCED,
    "standard": _ENHANCED,
    _SEVERAL_AT_ONCE: _MELIA,
}


def capabilities(to: Deployment) -> Capabilities:
    """Return what the model can do; of one unknown here, what both older ones can."""
    return MODELS.get(to.native_model, _ENHANCED)


# --- what is sent


def transcribe(job: TranscriptionJob, to: Deployment) -> Exchange[Transcript]:
    """Start with the audio, ask until it is over, fetch. Raises JobUnsupported: a translation's words have no times."""
    check_times(job, NAME)
    jobs = f"{to.account.base_urls['api']}/jobs"
    create = multipart(jobs, [("config", json.dumps(build_config(job, to)))], job.audio, part="data_file")
    address, done = yield from _JOBS.run(create, jobs)
    if done.status != "done":
        raise _failure(done)
    heard = parse(NAME, _Transcript, (yield from _JOBS.read(f"{address}/transcript?format=json-v2")))
    return read(heard, job)


def build_config(job: TranscriptionJob, to: Deployment) -> dict[str, object]:
    """Return the job's configuration."""
    options = options_for(job, NAME, capabilities(to))
    expected = options.pop("expected_languages", None)
    language = _language(job, to)
    config: dict[str, object] = {
        "type": "transcription",
        "transcription_config": {
            "language": language,
            "model": to.native_model,
            **({"diarization": "speaker"} if job.diarize else {}),
            **_placed(options),
        },
    }
    if expected and language == "auto":
        config["language_identification_config"] = {"expected_languages": expected}
    if job.task is Task.TRANSLATE and language != "en":
        config["translation_config"] = {"target_languages": ["en"]}
    return config


def _language(job: TranscriptionJob, to: Deployment) -> str:
    """Return the language, or the word for not knowing it. Mandarin is called by its own name."""
    if not job.language:
        return "multi" if to.native_model == _SEVERAL_AT_ONCE else "auto"
    code = code_of(job.language) or job.language
    return "cmn" if code == "zh" else code


_PLACES: Final = {
    "punctuation_sensitivity": ("punctuation_overrides", "sensitivity"),
    "remove_disfluencies": ("transcript_filtering_config", "remove_disfluencies"),
    "volume_threshold": ("audio_filtering_config", "volume_threshold"),
    "speaker_sensitivity": ("speaker_diarization_config", "speaker_sensitivity"),
    "prefer_current_speaker": ("speaker_diarization_config", "prefer_current_speaker"),
}


def _placed(options: Mapping[str, object]) -> dict[str, object]:
    """Return the options where Speechmatics wants them."""
    placed: dict[str, object] = {}
    for name, value in options.items():
        if name in _PLACES:
            section, inner = _PLACES[name]
            earlier = placed.get(section)
            placed[section] = {**(earlier if isinstance(earlier, dict) else {}), inner: value}
        elif name == "additional_vocab" and isinstance(value, list):
            placed[name] = [{"content": term} for term in value]
        else:
            placed[name] = value
    return placed


# --- what comes back


class _Alternative(BaseModel):
    content: str
    confidence: FiniteFloat | None = None
    language: str | None = None
    speaker: str | None = None


class _Item(BaseModel):
    type: str  # "word", "punctuation", "entity"
    start_time: FiniteFloat
    end_time: FiniteFloat
    attaches_to: str | None = None
    alternatives: list[_Alternative] = []


class _Pack(BaseModel):
    word_delimiter: str = " "
    per_language_word_delimiters: dict[str, str] = {}


class _Config(BaseModel):
    language: str = ""


class _Metadata(BaseModel):
    language_pack_info: _Pack = _Pack()
    transcription_config: _Config = _Config()


class _Sentence(BaseModel):
    content: str
    start_time: FiniteFloat
    end_time: FiniteFloat
    speaker: str | None = None


class _Made(BaseModel):
    id: str


class _Transcript(BaseModel):
    job: _Made
    metadata: _Metadata = _Metadata()
    results: list[_Item]
    translations: dict[str, list[_Sentence]] | None = None


def read(heard: _Transcript, job: TranscriptionJob) -> Transcript:
    """Read a transcript. Raises JobUnsupported where it could not be translated."""
    language = _spoken_language(heard)
    words: tuple[Word, ...] = ()
    if job.task is Task.TRANSLATE and language != "en" and heard.results:  # into English only what is none, nor silence
        text, segments = _translated(heard, job)
    else:
        pieces = list(_pieces(heard, job))
        words = whole((piece, belongs) for piece, belongs, _ in pieces)
        text = "".join(("" if belongs else delimiter) + piece.text for piece, belongs, delimiter in pieces).strip()
        segments = tuple(from_words(words, text))
    return Transcript(
        text=text,
        segments=segments if job.timestamps is not Timestamps.NONE or job.diarize else (),
        words=words if job.timestamps is Timestamps.WORD else (),
        language=language,
        request_id=heard.job.id,
    )


def _spoken_language(heard: _Transcript) -> str | None:
    """Return the language of the first word, or the one that was named."""
    told = [each.language for item in heard.results for each in item.alternatives[:1] if each.language]
    return next(filter(None, map(code_of, [*told[:1], heard.metadata.transcription_config.language])), None)


def _pieces(heard: _Transcript, job: TranscriptionJob) -> Iterator[tuple[Word, bool, str]]:
    """Yield words and punctuation, whether each belongs to what is before it, and what stands between otherwise."""
    pack = heard.metadata.language_pack_info
    belongs = False
    for item in heard.results:
        if not item.alternatives:
            continue
        said = item.alternatives[0]
        belongs = belongs or item.attaches_to in {"previous", "both"}
        piece = word(
            said.content, item.start_time, item.end_time, speaker=_speaker(said, job), confidence=said.confidence
        )
        yield piece, belongs, pack.per_language_word_delimiters.get(said.language or "", pack.word_delimiter)
        belongs = item.attaches_to in {"next", "both"}


_NOBODY: Final = "UU"


def _speaker(said: _Alternative | _Sentence, job: TranscriptionJob) -> str | None:
    return said.speaker if job.diarize and said.speaker != _NOBODY else None


def _translated(heard: _Transcript, job: TranscriptionJob) -> tuple[str, tuple[Segment, ...]]:
    """Return the English text and its sentences."""
    sentences = (heard.translations or {}).get("en")
    if sentences is None:
        raise JobUnsupported(NAME, "it could not translate this")
    segments = tuple(segment(each.content, each.start_time, each.end_time, _speaker(each, job)) for each in sentences)
    return " ".join(each.content.strip() for each in sentences), segments


# --- what went wrong


class _Done(Job):
    status: Literal["running", "done", "rejected", "deleted", "expired"] = Field(
        validation_alias=AliasPath("job", "status")
    )


def _failure(done: _Done) -> ProviderError:
    """Name how a job ended. What is wrong with the audio is told so late, and only here."""
    if done.status == "rejected":
        return JobUnsupported(NAME, "it rejected this audio")
    return ProviderUnavailable(NAME, f"the job is {done.status} there")


def classify_error(reply: HttpReply) -> ProviderError:
    """Name a reply that is not 2xx."""
    return by_reply(NAME, reply)


_JOBS: Final = Jobs(
    provider=NAME,
    job=_Done,
    classify_error=classify_error,
    kept=frozenset({HTTPStatus.LOCKED}),
    stopped_by="?force=true",
)

SPEECHMATICS = Provider(
    name=NAME,
    base_urls={"api": "https://eu1.asr.api.speechmatics.com/v2"},
    key_variable="SPEECHMATICS_API_KEY",
    authorize=bearer,
    capabilities=capabilities,
    transcribe=transcribe,
    options=SpeechmaticsOptions,
)
