"""Servers that speak OpenAI's audio form, wherever they run: speaches, vLLM, whisper.cpp, LocalAI, NIM and their like.

An account names the server under `options.server`; without it, only what all of them share is relied on. NIM has a
language or a model in every request: `options.language` is the one where the caller names none.

Source: speaches `src/speaches` (2026-03-26), vLLM `entrypoints/speech_to_text` (2026), whisper.cpp `examples/server`
(2026-08-22), LocalAI `core/http/endpoints/openai/transcription.go` (2026-08-22), NVIDIA's NIM for speech,
docs.nvidia.com/nim/speech, HTTP (2026).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Final, TypeAlias

from msgspec.structs import replace
from pydantic import Field, FiniteFloat

from providers import openai_form
from providers.authorize import bearer
from providers.bodies import multipart
from providers.errors import JobUnsupported
from providers.languages import UNSPACED
from providers.locales import locale_of
from providers.openai_form import Reply, ReplySegment, ReplyWord, text_of
from providers.provider import Provider, ProviderOptions, options_for, succeeded
from providers.types import (
    NO_GENERATION,
    Capabilities,
    Container,
    Deployment,
    GenerationParameters,
    Task,
    Timestamps,
)

if TYPE_CHECKING:
    from providers.errors import ProviderError
    from providers.exchange import Exchange, HttpReply, HttpRequest
    from providers.types import Transcript, TranscriptionJob

NAME = "openai-compatible"

Fields: TypeAlias = list[tuple[str, str]]


class CompatibleOptions(ProviderOptions):
    """What one server or another takes beyond OpenAI's fields; a server that does not take one is not asked."""

    hotwords: Annotated[str, Field(max_length=2000)] | None = None
    seed: int | None = Field(default=None, ge=0)
    min_p: FiniteFloat | None = Field(default=None, ge=0, le=1)
    length_penalty: FiniteFloat | None = None
    frequency_penalty: FiniteFloat | None = Field(default=None, ge=-2, le=2)
    presence_penalty: FiniteFloat | None = Field(default=None, ge=-2, le=2)
    repetition_penalty: FiniteFloat | None = Field(default=None, gt=0)
    best_of: int | None = Field(default=None, ge=1, le=64)
    temperature_inc: FiniteFloat | None = Field(default=None, ge=0, le=1)
    entropy_thold: FiniteFloat | None = None
    logprob_thold: FiniteFloat | None = None
    no_speech_thold: FiniteFloat | None = Field(default=None, ge=0, le=1)
    suppress_nst: bool | None = None
    vad: bool | None = None


# --- how the servers differ


def _plain_fields(job: TranscriptionJob, to: Deployment) -> Fields:
    """Write the form as OpenAI has it."""
    return openai_form.fields(job, to)


def _speaches_fields(job: TranscriptionJob, to: Deployment) -> Fields:
    """Ask faster-whisper for the times inside its windows: unless told, it leaves them out."""
    timed = [] if job.timestamps is Timestamps.NONE else [("without_timestamps", "false")]
    return [*openai_form.fields(job, to), *timed]


def _whisper_cpp_fields(job: TranscriptionJob, to: Deployment) -> Fields:
    """Write only what it reads: no model, no granularity, and a language always, as its own default is English."""
    read = {"response_format", "prompt"}
    form = [(name, text) for name, text in openai_form.fields(job, to) if name in read]
    spoken = openai_form.language(job.language) if job.language else "auto"
    return [*form, ("language", spoken), *_translate(job)]


def _localai_fields(job: TranscriptionJob, to: Deployment) -> Fields:
    """Say whether speakers are wanted: it looks for them unless told not to. They come with the times only."""
    timed = job.diarize and job.timestamps is Timestamps.NONE
    asked = replace(job, timestamps=Timestamps.SEGMENT) if timed else job
    return [*openai_form.fields(asked, to), ("diarize", text_of(job.diarize)), *_translate(job)]


def _nim_fields(job: TranscriptionJob, to: Deployment) -> Fields:
    """Name the language with its region: it chooses the model. The name of one would overrule it, and is left out."""
    named = job.language or to.account.options.get("language", _ANY_LANGUAGE)
    return [("language", named if named == _ANY_LANGUAGE else locale_of(named) or named), ("response_format", "json")]


_ANY_LANGUAGE: Final = "multi"  # NIM's word for: listen for it


def _translate(job: TranscriptionJob) -> Fields:
    return [("translate", "true")] if job.task is Task.TRANSLATE else []


def _as(name: str, value: object) -> Fields:
    return [] if value is None else [(name, text_of(value))]


def _temperature(given: GenerationParameters) -> Fields:
    """Turn transformers' do_sample into the temperature that means the same; its sampling default is 1."""
    if given.do_sample is None:
        return _as("temperature", given.temperature)
    sampling = given.temperature if given.temperature is not None else 1.0
    return _as("temperature", sampling if given.do_sample else 0.0)


def _vllm_beams(given: GenerationParameters) -> Fields:
    if (given.num_beams or 1) == 1:
        return []
    return [("use_beam_search", "true"), ("n", str(given.num_beams))]


_Generation: TypeAlias = Mapping[str, Callable[[GenerationParameters], Fields]]
_NO_GENERATION: Final[_Generation] = {}
_ONLY_TEMPERATURE: Final[_Generation] = {"temperature": lambda given: _as("temperature", given.temperature)}
_VLLM_GENERATION: Final[_Generation] = {
    "temperature": _temperature,
    "do_sample": _temperature,
    "top_p": lambda given: _as("top_p", given.top_p),
    "top_k": lambda given: _as("top_k", given.top_k),
    "max_new_tokens": lambda given: _as("max_completion_tokens", given.max_new_tokens),
    "num_beams": _vllm_beams,
}
_WHISPER_CPP_GENERATION: Final[_Generation] = {
    **_ONLY_TEMPERATURE,
    "num_beams": lambda given: _as("beam_size", given.num_beams),
}


def _as_sent(heard: Reply) -> Reply:
    return heard


def _joined_pieces(heard: Reply) -> Reply:
    """Join whisper.cpp's "words", which are tokens, into words; take the line breaks out of its text."""
    segments = heard.segments or []
    if openai_form.language(heard.language or "") not in UNSPACED:  # there a piece is as near to a word as one comes
        segments = [segment.model_copy(update={"words": _words_of(segment)}) for segment in segments]
    return heard.model_copy(update={"segments": segments, "text": heard.text.replace("\n", "")})


def _words_of(segment: ReplySegment) -> list[ReplyWord]:
    words: list[ReplyWord] = []
    for piece in segment.words or []:
        if words and not piece.text.startswith(" "):
            words[-1] = _joined(words[-1], piece)
        else:
            words.append(piece)
    return words


def _joined(word: ReplyWord, piece: ReplyWord) -> ReplyWord:
    """Put a piece behind a word that began before it. The least likely piece says how likely the word is."""
    known = [each.probability for each in (word, piece) if each.probability is not None]
    return word.model_copy(
        update={"text": word.text + piece.text, "end": piece.end, "probability": min(known, default=None)}
    )


_NS_PER_S = 1e9
_LONGEST_S = 1e6  # eleven days: a time beyond it is in nanoseconds


def _in_seconds(heard: Reply) -> Reply:
    """Read the times of an older LocalAI, which wrote nanoseconds."""
    segments = [
        segment.model_copy(update={**_times_s(segment), "words": _words_in_seconds(segment.words)})
        for segment in heard.segments or []
    ]
    return heard.model_copy(update={"segments": segments, "words": _words_in_seconds(heard.words)})


def _words_in_seconds(words: list[ReplyWord] | None) -> list[ReplyWord]:
    return [word.model_copy(update=_times_s(word)) for word in words or []]


def _times_s(timed: ReplySegment | ReplyWord) -> dict[str, object]:
    if (timed.end or 0.0) < _LONGEST_S:
        return {}
    return {"start": (timed.start or 0.0) / _NS_PER_S, "end": (timed.end or 0.0) / _NS_PER_S}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Server:
    """One kind of server: what it can do, and how it wants to be asked and read."""

    capabilities: Capabilities
    fields: Callable[[TranscriptionJob, Deployment], Fields] = _plain_fields
    generation: _Generation = field(default_factory=lambda: _ONLY_TEMPERATURE)
    options: frozenset[str] = frozenset()  # names in CompatibleOptions
    path: str | None = None  # None: OpenAI's two routes
    read: Callable[[Reply], Reply] = _as_sent
    can: Capabilities = field(init=False)  # all of it: with the names of what `generation` writes, and the options

    def __post_init__(self) -> None:
        can = replace(self.capabilities, generation=frozenset(self.generation), options=self.options)
        object.__setattr__(self, "can", can)


_TIMES: Final = frozenset({Timestamps.SEGMENT, Timestamps.WORD})
_READ_EVERYWHERE: Final = frozenset({Container.WAV, Container.FLAC, Container.MP3, Container.OGG})
_CAUTIOUS: Final = Capabilities(
    timestamps=_TIMES, tasks=frozenset(Task), translation_hint=False, prompt=True, containers=_READ_EVERYWHERE
)
_MIB = 1024 * 1024

_SERVERS: Final[Mapping[str | None, _Server]] = {
    None: _Server(capabilities=_CAUTIOUS),
    "openai": _Server(
        capabilities=replace(
            _CAUTIOUS,
            containers=_READ_EVERYWHERE | {Container.MP4, Container.WEBM},
            max_bytes=25 * _MIB - openai_form.FORM_BYTES,
        )
    ),
    "speaches": _Server(
        capabilities=replace(_CAUTIOUS, containers=None),
        fields=_speaches_fields,
        options=frozenset({"hotwords"}),
    ),
    "vllm": _Server(
        # Word granularity is accepted there, and no word ever comes.
        capabilities=replace(_CAUTIOUS, timestamps=frozenset({Timestamps.SEGMENT}), max_bytes=25 * _MIB),
        generation=_VLLM_GENERATION,
        options=frozenset(
            {
                "hotwords",
                "seed",
                "min_p",
                "length_penalty",
                "frequency_penalty",
                "presence_penalty",
                "repetition_penalty",
            }
        ),
    ),
    "whisper-cpp": _Server(
        capabilities=replace(_CAUTIOUS, translation_hint=True),  # one route for both tasks
        fields=_whisper_cpp_fields,
        generation=_WHISPER_CPP_GENERATION,
        options=frozenset(
            {
                "best_of",
                "temperature_inc",
                "entropy_thold",
                "logprob_thold",
                "no_speech_thold",
                "suppress_nst",
                "vad",
            }
        ),
        path="/inference",
        read=_joined_pieces,
    ),
    "localai": _Server(
        # Its upload limit is 15 MB unless the operator raised it.
        capabilities=replace(
            _CAUTIOUS,
            translation_hint=True,  # one route for both tasks
            containers=None,
            diarize=True,
            max_bytes=15_000_000 - openai_form.FORM_BYTES,
        ),
        fields=_localai_fields,
        path="/audio/transcriptions",
        read=_in_seconds,
    ),
    "nim": _Server(
        # Times and speakers come over gRPC alone. A temperature is accepted, and its models take no notice.
        capabilities=Capabilities(
            tasks=frozenset(Task), containers=frozenset({Container.WAV, Container.FLAC, Container.OGG})
        ),
        fields=_nim_fields,
        generation=_NO_GENERATION,
    ),
}


def _server(to: Deployment) -> _Server:
    named = to.account.options.get("server")
    server = _SERVERS.get(named)
    if server is None:
        known = ", ".join(sorted(name for name in _SERVERS if name))
        raise ValueError(f"account {to.account.name}: options.server is {named!r}, but only these are known: {known}")
    return server


# --- the translation


def capabilities(to: Deployment) -> Capabilities:
    """Return what the account's server can do. Raises ValueError where it names one nobody knows."""
    return _server(to).can


def build_request(job: TranscriptionJob, to: Deployment) -> HttpRequest:
    """Send the form as the account's server reads it. Raises JobUnsupported."""
    server = _server(to)
    options = options_for(job, NAME, server.can)
    if job.task is Task.TRANSLATE and job.timestamps is Timestamps.WORD and server.path is None:
        raise JobUnsupported(NAME, "a translation has no word times there")
    form = server.fields(replace(job, generation=NO_GENERATION), to)
    url = to.account.base_urls["api"] + server.path if server.path else openai_form.url(job, to)
    written = [*form, *_generation(server, job).items(), *openai_form.option_fields(options)]
    return multipart(url, written, job.audio)


def _generation(server: _Server, job: TranscriptionJob) -> dict[str, str]:
    """Return the generation parameters by field: temperature and do_sample write the same one."""
    written: dict[str, str] = {}
    if job.generation != NO_GENERATION:  # few jobs have any
        for write in server.generation.values():
            written.update(write(job.generation))
    return written


def transcribe(job: TranscriptionJob, to: Deployment) -> Exchange[Transcript]:
    """Ask once. A server of unknown skill is not believed to have given times until they are seen."""
    asked = openai_form.honoured(job, capabilities(to))
    reply = succeeded((yield replace(build_request(asked, to), bills=True)), classify_error)
    heard = openai_form.transcript(_server(to).read(openai_form.read_reply(NAME, reply)), reply)
    has_times = heard.words if asked.timestamps is Timestamps.WORD else heard.segments
    if heard.text and asked.timestamps is not Timestamps.NONE and not has_times:
        raise JobUnsupported(NAME, f"this server answered without the {asked.timestamps} times it was asked for")
    return heard


def classify_error(reply: HttpReply) -> ProviderError:
    """Name a reply that is not 2xx. whisper.cpp answers 500 where ffmpeg could not read the file."""
    if reply.status == 500 and "ffmpeg" in openai_form.read_error(reply).message.lower():
        return JobUnsupported(NAME, "it could not convert this kind of file")
    return openai_form.classify_error(NAME, reply)


OPENAI_COMPATIBLE = Provider(
    name=NAME,
    base_urls={},  # every account says where its server is; with /v1 where the server has it
    key_variable=None,
    key_required=False,
    authorize=bearer,
    capabilities=capabilities,
    transcribe=transcribe,
    options=CompatibleOptions,
)
