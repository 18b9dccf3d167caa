"""Replicate: a prediction is created, asked after until it is over, and cancelled if nobody waits for it any more.

Source: replicate 1.0.7, replicate/cog-whisper `predict.py`, replicate.com API pages of the models below, its docs
"Prediction lifecycle" and "Rate limits" (2026).

A native model is `owner/name` for an official model, `owner/name:version` for a community's. A create is not
idempotent and has no key to make it so: an attempt that fails after it was sent may have started a run that is billed.
What is left of our time goes with it (changelog "Prediction deadlines", 2025-10-16), so that a run whose cancelling is
lost ends all the same.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from http import HTTPStatus
from itertools import chain
from typing import TYPE_CHECKING, Annotated, Final, Literal
from urllib.parse import quote

from msgspec.structs import replace
from pydantic import AliasChoices, BaseModel, Field, FiniteFloat

from providers.authorize import bearer
from providers.bodies import AUDIO, json_body, json_with_audio, multipart
from providers.errors import AttemptTimedOut, JobUnsupported, MalformedReply, ProviderUnavailable
from providers.exchange import Afterwards, Base64, HttpReply, HttpRequest, IfAbandoned, Over
from providers.languages import code_of, name_of
from providers.polling import Url, ask, is_transient, parse, pauses, submit, until_over
from providers.provider import Provider, ProviderOptions, options_for, succeeded
from providers.refusals import by_reply
from providers.spans import segment, word
from providers.types import Capabilities, Container, Segment, Task, Timestamps, Transcript, Word

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from providers.errors import ProviderError
    from providers.exchange import Body, Exchange, TimeLeft
    from providers.types import Audio, Deployment, TranscriptionJob

NAME = "replicate"
_URI_BYTES = 256 * 1024  # of base64; Replicate asks for an uploaded file beyond it
_HOLD_S = 5  # of 60 possible: until the create is answered there is no id, and so no way to cancel
_SHORTEST_RUN_S = 5  # that Replicate lets a deadline be
_SOON_S = 0.1  # until a run whose output is there already says that it is over


class ReplicateOptions(ProviderOptions):
    """Inputs of the models below that no job has a word for. Each goes only to the models that know it."""

    batch_size: int | None = Field(default=None, ge=1, le=64)
    num_speakers: int | None = Field(default=None, ge=1, le=50)
    group_segments: bool | None = None
    vad_onset: float | None = Field(default=None, ge=0, le=1)
    vad_offset: float | None = Field(default=None, ge=0, le=1)
    patience: float | None = Field(default=None, gt=0, le=10)
    suppress_tokens: str | None = Field(default=None, pattern=r"^-?[0-9]{1,5}(,-?[0-9]{1,5}){0,63}$")
    condition_on_previous_text: bool | None = None
    temperature_increment_on_fallback: float | None = Field(default=None, ge=0, le=1)
    compression_ratio_threshold: float | None = Field(default=None, ge=0, le=10)
    logprob_threshold: float | None = Field(default=None, ge=-10, le=0)
    no_speech_threshold: float | None = Field(default=None, ge=0, le=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Model:
    """What one model can do, and the names its schema has for it."""

    audio: str  # the input that takes the file
    capabilities: Capabilities
    prompt: str | None = None
    language: Callable[[str | None], str | None] = lambda language: language and (code_of(language) or language)
    more: Callable[[TranscriptionJob], Mapping[str, object]] = lambda _: {}


def _whole_name(language: str | None) -> str:
    """Return the lower-case English name; the word "None", not null, makes that model detect."""
    return name_of(language) if language else "None"


_TEMPERATURE: Final = frozenset({"temperature"})
_SEGMENTS: Final = frozenset({Timestamps.SEGMENT})
_WORDS: Final = frozenset({Timestamps.SEGMENT, Timestamps.WORD})
_GPT_4O: Final = _Model(
    audio="audio_file",
    capabilities=Capabilities(
        generation=_TEMPERATURE,
        prompt=True,
        # OpenAI answers: its list of formats and its limit.
        containers=frozenset(
            {Container.FLAC, Container.MP3, Container.MP4, Container.OGG, Container.WAV, Container.WEBM}
        ),
        max_bytes=25 * 1024 * 1024,
    ),
    prompt="prompt",
)
_MODELS: Final = {
    "openai/whisper": _Model(
        audio="audio",
        capabilities=Capabilities(
            generation=_TEMPERATURE,
            timestamps=_SEGMENTS,
            tasks=frozenset(Task),
            prompt=True,
            options=frozenset(
                {
                    "patience",
                    "suppress_tokens",
                    "condition_on_previous_text",
                    "temperature_increment_on_fallback",
                    "compression_ratio_threshold",
                    "logprob_threshold",
                    "no_speech_threshold",
                }
            ),
        ),
        prompt="initial_prompt",
        more=lambda job: {"translate": True} if job.task is Task.TRANSLATE else {},
    ),
    "vaibhavs10/incredibly-fast-whisper": _Model(
        audio="audio",
        capabilities=Capabilities(timestamps=_WORDS, tasks=frozenset(Task), options=frozenset({"batch_size"})),
        language=_whole_name,
        more=lambda job: {
            "task": job.task.value,
            "timestamp": "word" if job.timestamps is Timestamps.WORD else "chunk",
        },
    ),
    "openai/gpt-4o-transcribe": _GPT_4O,
    "openai/gpt-4o-mini-transcribe": _GPT_4O,
    "thomasmol/whisper-diarization": _Model(
        audio="file",
        capabilities=Capabilities(
            timestamps=_WORDS, prompt=True, diarize=True, options=frozenset({"num_speakers", "group_segments"})
        ),
        prompt="prompt",
    ),
    "victor-upmeet/whisperx": _Model(
        # Its diarization wants a Hugging Face token among the inputs: a credential, so never from here.
        audio="audio_file",
        capabilities=Capabilities(
            generation=_TEMPERATURE,
            timestamps=_WORDS,
            prompt=True,
            options=frozenset({"batch_size", "vad_onset", "vad_offset"}),
        ),
        prompt="initial_prompt",
        more=lambda job: {"align_output": True} if job.timestamps is Timestamps.WORD else {},
    ),
}
_UNKNOWN: Final = _Model(audio="audio", capabilities=Capabilities(language_hint=False), language=lambda _: None)


def _model(native_model: str) -> _Model:
    """Return what is known of a model; of an unknown one, only that most take `audio`."""
    return _MODELS.get(native_model.partition(":")[0], _UNKNOWN)


def transcribe(job: TranscriptionJob, to: Deployment) -> Exchange[Transcript]:
    """Create, ask until it is over, read. What is large is uploaded first and deleted afterwards."""
    inputs = build_inputs(job, to.native_model)
    if Base64(job.audio.content).size_bytes <= _URI_BYTES:
        body = json_with_audio(_create(to, {_model(to.native_model).audio: AUDIO, **inputs}), job.audio, data_uri=True)
        create = _created(to, body, _held)
    else:  # a long run: the id at once is worth more than the answer in one call
        source = yield from _upload(job.audio, to)
        create = _created(to, json_body(_create(to, {_model(to.native_model).audio: source, **inputs})), _cut_off)
    prediction = parse(NAME, _Prediction, (yield from submit(create, _classify_create)))
    if not prediction.is_over:
        prediction = yield from _finish(prediction)
    return read(prediction, job)


def build_inputs(job: TranscriptionJob, native_model: str) -> dict[str, object]:
    """Return the model's input, without the audio."""
    model = _model(native_model)
    inputs = {**model.more(job)}
    if (language := model.language(job.language)) is not None:
        inputs["language"] = language
    if model.prompt and job.prompt:
        inputs[model.prompt] = job.prompt
    inputs |= {name: value for name, value in job.generation.given() if name in model.capabilities.generation}
    return inputs | options_for(job, NAME, model.capabilities)


def _create(to: Deployment, inputs: Mapping[str, object]) -> dict[str, object]:
    """Return the body of a create. A version goes with the model's name, so that it is known whose it is."""
    version = {"version": to.native_model} if ":" in to.native_model else {}
    return {**version, "input": inputs}


def _cut_off(left_s: float) -> Mapping[str, str]:
    return {"cancel-after": f"{max(_SHORTEST_RUN_S, math.ceil(left_s))}s"}


def _held(left_s: float) -> Mapping[str, str]:
    """Have the answer held back a little, unless the time would be up before there is an id to cancel by."""
    hold_s = min(_HOLD_S, math.floor(left_s) - 1)
    return {**_cut_off(left_s), "prefer": f"wait={hold_s}"} if hold_s > 0 else _cut_off(left_s)


def _created(to: Deployment, body: Body, told: TimeLeft) -> HttpRequest:
    """Build the create: versions have one route, official models each their own."""
    route = "predictions" if ":" in to.native_model else f"models/{quote(to.native_model)}/predictions"
    return HttpRequest(
        method="POST",
        url=f"{to.account.base_urls['api']}/{route}",
        headers={"content-type": "application/json"},
        body=body,
        told=told,
    )


class _Links(BaseModel):
    get: Url
    cancel: Url


class _Chunk(BaseModel):
    text: str
    timestamp: tuple[FiniteFloat | None, FiniteFloat | None]


class _SpokenWord(BaseModel):
    word: str
    start: FiniteFloat | None = None  # whisperx aligns no numerals
    end: FiniteFloat | None = None
    confidence: FiniteFloat | None = Field(default=None, validation_alias=AliasChoices("probability", "score"))
    speaker: str | None = None


class _Span(BaseModel):
    text: str
    start: FiniteFloat
    end: FiniteFloat | None = None
    speaker: str | None = None
    words: list[_SpokenWord] | None = None


class _Heard(BaseModel):
    translation: str | None = None
    transcription: str | None = None
    text: str | None = None
    chunks: list[_Chunk] | None = None
    segments: list[_Span] | None = None
    detected_language: str | None = None
    language: str | None = None


class _Prediction(BaseModel):
    id: str
    status: Literal["starting", "processing", "succeeded", "failed", "canceled", "aborted"]
    version: str | None = None
    output: str | list[str] | _Heard | None = None
    error: object = None
    urls: _Links | None = None

    @property
    def is_over(self) -> bool:
        return self.status not in {"starting", "processing"}


def _finish(prediction: _Prediction) -> Exchange[_Prediction]:
    """Ask until it is over. An output beside "processing" may still grow: it is believed once that says "succeeded"."""
    if prediction.urls is None:
        raise MalformedReply(NAME, "a running prediction without its URLs")
    yield IfAbandoned(HttpRequest(method="POST", url=prediction.urls.cancel))
    poll = HttpRequest(method="GET", url=prediction.urls.get)
    between = chain((_SOON_S,) if prediction.output is not None else (), pauses())
    prediction = yield from until_over(lambda: _asked(poll), between)
    yield Over()
    return prediction


def _asked(poll: HttpRequest) -> Exchange[_Prediction]:
    return parse(NAME, _Prediction, (yield from ask(poll, is_transient, classify_error)))


class _FileLinks(BaseModel):
    get: Url


class _File(BaseModel):
    id: Annotated[str, Field(min_length=1)]
    urls: _FileLinks


def _upload(audio: Audio, to: Deployment) -> Exchange[str]:
    """Upload the audio, ask for its deletion, return what a model reads it by."""
    files = f"{to.account.base_urls['api']}/files"
    stored = parse(NAME, _File, succeeded((yield multipart(files, (), audio, part="content")), classify_error))
    yield Afterwards(HttpRequest(method="DELETE", url=f"{files}/{quote(stored.id, safe='')}"))
    return stored.urls.get


_STOPPED: Final = frozenset({"aborted", "canceled"})  # at the deadline it was given: before it ran, while it ran
_ABOUT_THE_AUDIO: Final = re.compile(
    r"failed to load audio|invalid data found|could(?: not|n't) (?:be )?(?:decode|read|open)|soundfile|malformed"
    r"|unsupported (?:audio|file|format)|format is not supported|corrupted|too (?:long|short|large)|no audio",
    re.IGNORECASE,
)


def read(prediction: _Prediction, job: TranscriptionJob) -> Transcript:
    """Read a prediction that is over. Raises ProviderError: a failed run comes with a 2xx like any other."""
    if prediction.status != "succeeded":
        if isinstance(prediction.error, str) and _ABOUT_THE_AUDIO.search(prediction.error):
            raise JobUnsupported(NAME, "the model could not read this audio")
        if prediction.status in _STOPPED:
            raise AttemptTimedOut(NAME, f"the run was {prediction.status} there")
        raise ProviderUnavailable(NAME, f"the run ended as {prediction.status}")
    version = prediction.version if prediction.version != "hidden" else None
    match prediction.output:
        case None:
            raise MalformedReply(NAME, "a run that succeeded without output")
        case str(text):
            heard = Transcript(text=_spoken_text(text))
        case list(parts):
            heard = Transcript(text=_spoken_text("".join(parts)))
        case output:
            heard = _read_object(output, job)
    return replace(heard, model_version=version, request_id=prediction.id)


def _spoken_text(text: str) -> str:
    """Return text that was said. A lone URL is a file the model wrote, on a host that gets no visit from here."""
    if _LONE_URL.fullmatch(text.strip()):
        raise MalformedReply(NAME, "a file instead of text")
    return text.strip()


_LONE_URL: Final = re.compile(r"https?://\S+")


def _read_object(output: _Heard, job: TranscriptionJob) -> Transcript:
    """Read an object: what was asked for of it, for these models time everything."""
    spans = output.segments or []
    chunks = output.chunks or []
    segments: list[Segment] = []
    words: list[Word] = []
    if job.timestamps is Timestamps.WORD:
        words = [word(chunk.text, *chunk.timestamp) for chunk in chunks]
        words += [_spoken(each, span, job) for span in spans for each in span.words or [] if each.start is not None]
    elif job.timestamps is Timestamps.SEGMENT:
        segments = [segment(chunk.text, *chunk.timestamp) for chunk in chunks]
    # Segments beside a translation are still in the language that was spoken.
    if output.translation is None and (job.timestamps is not Timestamps.NONE or job.diarize):
        segments += [segment(span.text, span.start, span.end, span.speaker if job.diarize else None) for span in spans]
    return Transcript(
        text=_text(output).strip(),
        segments=tuple(segments),
        words=tuple(words),
        language=code_of(output.detected_language or output.language or ""),
    )


def _text(output: _Heard) -> str:
    """Return the text, of which several may be there: a translation is there only where it was asked for."""
    for text in (output.translation, output.transcription, output.text):
        if text is not None:
            return text
    if output.segments is not None:
        return " ".join(span.text.strip() for span in output.segments)
    raise MalformedReply(NAME, "an output without text")  # e.g. only `txt_file`, a URL


def _spoken(given: _SpokenWord, span: _Span, job: TranscriptionJob) -> Word:
    speaker = (given.speaker or span.speaker) if job.diarize else None
    return word(given.word, given.start, given.end, speaker=speaker, confidence=given.confidence)


def classify_error(reply: HttpReply) -> ProviderError:
    """Name a reply that is not 2xx."""
    return by_reply(NAME, reply)


def _classify_create(reply: HttpReply) -> ProviderError:
    if reply.status == HTTPStatus.NOT_FOUND:
        return JobUnsupported(NAME, "no such model; one of the community's needs its version: owner/name:version")
    return classify_error(reply)


REPLICATE = Provider(
    name=NAME,
    base_urls={"api": "https://api.replicate.com/v1"},
    key_variable="REPLICATE_API_TOKEN",
    authorize=bearer,
    capabilities=lambda to: _model(to.native_model).capabilities,
    transcribe=transcribe,
    options=ReplicateOptions,
)
