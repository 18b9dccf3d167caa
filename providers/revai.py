"""Rev AI: a job is started with its audio, asked after, its transcript fetched, and both deleted.

Source: rev_ai 2.21.0, Rev AI's asynchronous speech-to-text API v1 (OpenAPI copy, 2026). No language is detected: unless
named, all is heard as English. From which languages it translates is not documented well enough to offer that.
"""

from __future__ import annotations

import json
import re
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Final, Literal

from pydantic import BaseModel, Field, FiniteFloat

from providers.authorize import bearer
from providers.bodies import multipart
from providers.errors import JobUnsupported, ProviderUnavailable, QuotaExhausted
from providers.jobs import Job, Jobs
from providers.languages import code_of
from providers.polling import parse
from providers.provider import Provider, ProviderOptions, options_for
from providers.refusals import by_reply
from providers.sentences import from_words
from providers.spans import whole, word
from providers.types import Capabilities, Timestamps, Transcript, Word

if TYPE_CHECKING:
    from collections.abc import Iterator

    from providers.errors import ProviderError
    from providers.exchange import Exchange, HttpReply
    from providers.types import Deployment, TranscriptionJob

NAME = "revai"
_FORGOTTEN_S: Final = 3600  # after which it deletes a job itself, whose deletion was lost
_JSON: Final = "application/vnd.rev.transcript.v1.0+json"


class RevaiOptions(ProviderOptions):
    """What a caller may set besides."""

    custom_vocabulary: list[Annotated[str, Field(min_length=1, max_length=200)]] | None = Field(
        default=None, min_length=1, max_length=6000
    )
    speakers_count: int | None = Field(default=None, ge=1, le=50)
    diarization_type: Literal["standard", "premium"] | None = None
    skip_punctuation: bool | None = None
    remove_disfluencies: bool | None = None
    remove_atmospherics: bool | None = None
    filter_profanity: bool | None = None


# --- what its models can do

MODELS: Final = ("machine", "low_cost", "fusion")
_CAPABILITIES: Final = Capabilities(
    timestamps=frozenset({Timestamps.SEGMENT, Timestamps.WORD}),
    diarize=True,
    options=frozenset(RevaiOptions.model_fields),
    speaker_options=frozenset({"speakers_count", "diarization_type"}),
    max_bytes=2_000_000_000,  # of a form, documented as 2 GB
    max_duration_s=12 * 3600.0,  # English may be longer
)

# --- what is sent


def transcribe(job: TranscriptionJob, to: Deployment) -> Exchange[Transcript]:
    """Start with the audio, ask until it is over, fetch. Raises JobUnsupported for people, who take hours and cost."""
    if to.native_model not in MODELS:
        raise JobUnsupported(NAME, f"is no machine that it has: {', '.join(MODELS)}")
    jobs = f"{to.account.base_urls['api']}/jobs"
    create = multipart(jobs, [("options", json.dumps(build_options(job, to)))], job.audio, part="media")
    address, done = yield from _JOBS.run(create, jobs)
    if done.status != "transcribed":
        raise _failure(done.failure)
    heard = parse(NAME, _Heard, (yield from _JOBS.read(f"{address}/transcript", accept=_JSON)))
    return read(heard, done, job)


def build_options(job: TranscriptionJob, to: Deployment) -> dict[str, object]:
    """Return what is wanted. Speakers are told apart unless told otherwise, and that takes time."""
    options = options_for(job, NAME, _CAPABILITIES)
    phrases = options.pop("custom_vocabulary", None)
    return {
        "transcriber": to.native_model,
        **({"language": _language(job.language)} if job.language else {}),
        "skip_diarization": not job.diarize,
        **({"custom_vocabularies": [{"phrases": phrases}]} if phrases else {}),
        **options,
        "delete_after_seconds": _FORGOTTEN_S,
    }


def _language(language: str) -> str:
    """Return its code there: Mandarin is called by its own name."""
    code = code_of(language) or language
    return "cmn" if code == "zh" else code


# --- what comes back


class _Element(BaseModel):
    """A word with its times, what stands between words, or a sound that is none ("unknown")."""

    type: str
    value: str
    ts: FiniteFloat | None = None
    end_ts: FiniteFloat | None = None
    confidence: FiniteFloat | None = None


class _Monologue(BaseModel):
    speaker: int | None = None
    elements: list[_Element]

    @property
    def said(self) -> list[_Element]:
        return [each for each in self.elements if each.type in {"text", "punct"}]


class _Heard(BaseModel):
    monologues: list[_Monologue]


class _Done(Job):
    status: Literal["in_progress", "transcribed", "completed", "failed"]
    id: str
    language: str = "en"
    duration_seconds: FiniteFloat | None = None
    failure: str | None = None


def read(heard: _Heard, done: _Done, job: TranscriptionJob) -> Transcript:
    """Read what a job that is transcribed heard."""
    words = whole(piece for each in heard.monologues for piece in _pieces(each, job))
    text = " ".join("".join(element.value for element in each.said).strip() for each in heard.monologues)
    text = re.sub(r"\s+", " ", text).strip()
    times = job.timestamps is not Timestamps.NONE or job.diarize
    return Transcript(
        text=text,
        segments=tuple(from_words(words, text)) if times else (),
        words=words if job.timestamps is Timestamps.WORD else (),
        language=code_of(done.language),
        duration_s=done.duration_seconds,
        request_id=done.id,
    )


_JOINTS: Final = frozenset({"-", "'", "\u2019", "/"})  # with which a word goes on


def _pieces(each: _Monologue, job: TranscriptionJob) -> Iterator[tuple[Word, bool]]:
    """Yield words and the marks behind them, and whether each belongs to what is before it."""
    speaker = str(each.speaker) if job.diarize and each.speaker is not None else None
    before = " "
    for element in each.said:
        if element.type == "text" and element.ts is not None:
            piece = word(element.value, element.ts, element.end_ts, speaker=speaker, confidence=element.confidence)
            yield piece, before in _JOINTS
        elif element.type == "punct" and element.value.strip() and not before.isspace():
            yield word(element.value, None, None, speaker=speaker), True
        before = element.value


# --- what went wrong

_THEIRS: Final = frozenset({"internal_processing", "transcription", "download_failure"})
_MONEY: Final = frozenset({"insufficient_balance", "invoicing_limit_exceeded"})


def _failure(said: str | None) -> ProviderError:
    """Name why a job failed."""
    if said in _MONEY:
        return QuotaExhausted(NAME, "the account is out of credit")
    if said in _THEIRS:
        return ProviderUnavailable(NAME, "it failed on its side")
    return JobUnsupported(NAME, "it could not transcribe this audio")


def classify_error(reply: HttpReply) -> ProviderError:
    """Name a reply that is not 2xx."""
    return by_reply(NAME, reply)


_JOBS: Final = Jobs(provider=NAME, job=_Done, classify_error=classify_error, kept=frozenset({HTTPStatus.CONFLICT}))

REVAI = Provider(
    name=NAME,
    base_urls={"api": "https://api.rev.ai/speechtotext/v1"},
    key_variable="REVAI_API_KEY",
    authorize=bearer,
    capabilities=lambda _: _CAPABILITIES,
    transcribe=transcribe,
    options=RevaiOptions,
)
