"""The values that move between callers, planning and providers. Frozen; units in the names.

Structs of msgspec, and no dataclasses: to build a frozen dataclass takes ten times as long, to change a copy twenty.
A copy is made by `msgspec.structs.replace`.
"""

from __future__ import annotations

from datetime import date  # noqa: TC003 - fields are read at run time by tests and the console
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, NewType

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pydantic import BaseModel, SecretStr

    from providers.audio.content import Content

Moment = NewType("Moment", float)
"""A point on the event loop's monotonic clock, in seconds."""


class Container(StrEnum):
    """What an audio file is wrapped in, told from its bytes."""

    WAV = "wav"
    FLAC = "flac"
    MP3 = "mp3"
    OGG = "ogg"
    MP4 = "mp4"
    WEBM = "webm"
    AAC = "aac"
    AMR = "amr"
    AIFF = "aiff"
    CAF = "caf"
    ASF = "asf"
    AU = "au"
    W64 = "w64"
    MPEGTS = "mpegts"
    SAMPLES = "f32le"  # nothing: 32-bit floats, 16 kHz, one channel. No upload is this; a copy may be


class Task(StrEnum):
    """What to do with the utterance: write it down, or write it down in English."""

    TRANSCRIBE = "transcribe"
    TRANSLATE = "translate"


class Timestamps(StrEnum):
    """How finely times are wanted."""

    NONE = "none"
    SEGMENT = "segment"
    WORD = "word"


class GenerationParameters(msgspec.Struct, frozen=True, kw_only=True):
    """The sixteen generation parameters of the Hugging Face ASR specification; None where not given."""

    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    typical_p: float | None = None
    epsilon_cutoff: float | None = None
    eta_cutoff: float | None = None
    max_length: int | None = None
    max_new_tokens: int | None = None
    min_length: int | None = None
    min_new_tokens: int | None = None
    do_sample: bool | None = None
    early_stopping: bool | str | None = None  # True, False or "never"
    num_beams: int | None = None
    num_beam_groups: int | None = None
    penalty_alpha: float | None = None
    use_cache: bool | None = None

    def given(self) -> Iterator[tuple[str, float | bool | str]]:
        """Yield name and value of each parameter that was given."""
        if self == NO_GENERATION:  # compared in C
            return
        for name in GENERATION_NAMES:
            value = getattr(self, name)
            if value is not None:
                yield name, value


GENERATION_NAMES: Final = GenerationParameters.__struct_fields__
"""Of the specification, in its order."""
NO_GENERATION: Final = GenerationParameters()
"""What most jobs ask for."""


NEUTRAL: Final[Mapping[str, tuple[float | bool, ...]]] = {
    "temperature": (0,),
    "do_sample": (False,),
    "num_beams": (1,),
    "num_beam_groups": (1,),
    "use_cache": (True,),
    "min_length": (0,),
    "min_new_tokens": (0,),
    "top_k": (0,),
    "top_p": (1,),
    "typical_p": (1,),
    "epsilon_cutoff": (0,),
    "eta_cutoff": (0,),
    "penalty_alpha": (0,),
    "early_stopping": (False,),
}
"""Values that ask for what every decoder does anyway: honoured by doing nothing."""


class Audio(msgspec.Struct, frozen=True, kw_only=True):
    """One utterance as it was uploaded, readable again for every attempt."""

    content: Content
    media_type: str  # of the container, whatever the caller called it
    container: Container | None
    duration_s: float | None  # None where no header or demuxer could tell
    digest: str  # blake3 of the content, hexadecimal

    @property
    def size_bytes(self) -> int:
        return self.content.size_bytes


class TranscriptionJob(msgspec.Struct, frozen=True, kw_only=True):
    """What a caller wants done, in no API's dialect."""

    model: str
    audio: Audio
    task: Task = Task.TRANSCRIBE
    language: str | None = None  # ISO-639-1, or a longer code where the caller gave one
    prompt: str | None = None
    timestamps: Timestamps = Timestamps.NONE
    generation: GenerationParameters = NO_GENERATION
    diarize: bool = False
    provider_options: Mapping[str, BaseModel] = msgspec.field(
        default_factory=dict
    )  # by adapter name, checked at the edge


class Word(msgspec.Struct, frozen=True, kw_only=True):
    """One recognised word and its place in the utterance."""

    text: str  # without surrounding space
    start_s: float  # from the first audio sample
    end_s: float  # never before start_s
    speaker: str | None = None
    confidence: float | None = None  # 0 to 1; None where the provider gives none


class Segment(msgspec.Struct, frozen=True, kw_only=True):
    """Words that share one time span."""

    text: str
    start_s: float  # from the first audio sample
    end_s: float | None  # None where the model left it open: the end of the audio
    speaker: str | None = None
    confidence: float | None = None


class Transcript(msgspec.Struct, frozen=True, kw_only=True):
    """What was heard. An empty text means silence."""

    text: str
    segments: tuple[Segment, ...] = ()
    words: tuple[Word, ...] = ()
    language: str | None = None  # ISO-639-1 where it could be mapped
    duration_s: float | None = None  # as the provider measured the audio
    model_version: str | None = None  # what the provider says really answered
    cost_usd: float | None = None  # as the provider billed it
    request_id: str | None = None  # the provider's own, for its support desk
    spent_for_s: float | None = None  # how long the provider will allow no more; None: it does, or does not say


class Capabilities(msgspec.Struct, frozen=True, kw_only=True):
    """What one native model can do. Planning reads it; nothing else decides what is sent where."""

    generation: frozenset[str] = frozenset()  # names in GenerationParameters that are honoured
    timestamps: frozenset[Timestamps] = frozenset()  # besides none
    tasks: frozenset[Task] = frozenset({Task.TRANSCRIBE})
    languages: frozenset[str] | None = None  # None: any; else the only ones it can hear
    language_hint: bool = True  # whether the request can name the language
    translation_hint: bool = True  # whether it can do so where a translation is asked for
    prompt: bool = False
    diarize: bool = False
    options: frozenset[str] = frozenset()  # of its provider's, those that this model reads
    speaker_options: frozenset[str] = frozenset()  # those of them that it reads only where it tells speakers apart
    containers: frozenset[Container] | None = None  # None: any; else what is not here is transcoded
    transcode_to: Container = Container.FLAC
    max_bytes: int | None = None
    max_duration_s: float | None = None
    retires_on: date | None = None  # announced by the provider; unsupported from that day

    def honours(self, name: str, value: float | bool | str) -> bool:  # noqa: FBT001 - a value as it was given
        """Tell of a generation parameter that was given."""
        return name in self.generation or value in NEUTRAL.get(name, ())


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """One configured provider: where it is and what it lets us in with."""

    name: str
    adapter: str
    base_urls: Mapping[str, str]  # "api" and whatever else the adapter names; no trailing slash
    api_key: SecretStr | None = None
    options: Mapping[str, str] = msgspec.field(default_factory=dict)  # what one adapter needs more, e.g. a region


class Price(msgspec.Struct, frozen=True, kw_only=True):
    """What audio costs: per minute, of at least so many seconds, rounded up to a multiple of so many; and per call."""

    usd_per_minute: float
    usd_per_request: float = 0.0
    minimum_s: float = 0.0
    step_s: float = 0.0  # 0: billed exactly


class Deployment(msgspec.Struct, frozen=True, kw_only=True):
    """One model on one account."""

    account: Account
    native_model: str
    price: Price | None = None  # None where it is not known, or billed by compute time
    options: BaseModel | None = None  # of the provider's own, for jobs that do not say otherwise
    weight: float = 1.0  # its part of the jobs, where the route shares them out
    max_concurrent: int | None = None  # calls at once
    requests_per_minute: int | None = None  # as the provider allows; None: no end, or not known
    audio_seconds_per_minute: int | None = None
    name: str = ""  # account and native model, whatever is given: it is asked for ten times in a request

    def __post_init__(self) -> None:
        msgspec.structs.force_setattr(self, "name", f"{self.account.name}/{self.native_model}")


def with_usual_options(job: TranscriptionJob, to: Deployment) -> TranscriptionJob:
    """Return the job with what the deployment is told besides, where the caller has not said otherwise."""
    if to.options is None:
        return job
    adapter = to.account.adapter
    given = job.provider_options.get(adapter)
    said = {name: getattr(given, name) for name in given.model_fields_set} if given else {}
    options = {**job.provider_options, adapter: to.options.model_copy(update=said)}
    return msgspec.structs.replace(job, provider_options=options)


def option_values(job: TranscriptionJob, adapter: str) -> dict[str, Any]:
    """Return the caller's provider options for one adapter, without those not given."""
    options = job.provider_options.get(adapter)
    return options.model_dump(exclude_none=True, by_alias=True) if options else {}
