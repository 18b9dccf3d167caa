"""The OpenAI front: multipart in, six response formats out, each rendered here whatever the provider speaks.

Source: openai-openapi v2.3.0 and the typed models of the `openai` package 3.54.0 (`openai/types/audio`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec
from msgspec.structs import replace

from gateway.api.front import Asked
from gateway.api.hf import json_response
from gateway.api.parameters import GENERATION, Parameters, check_together, from_text
from gateway.api.response import Response
from gateway.api.subtitles import render_subtitles
from gateway.api.values import LANGUAGE, PROMPT, number
from gateway.intake.upload import Shape
from gateway.problems import Problem, bad_request
from providers.languages import name_of
from providers.types import GenerationParameters, Task, Timestamps

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.api.request import Request
    from gateway.dispatch.answers import Answer
    from gateway.intake.upload import Upload
    from providers.types import Audio, Segment, Transcript

FORMATS: Final = ("json", "text", "srt", "vtt", "verbose_json", "diarized_json")
TRANSLATION_FORMATS: Final = FORMATS[:-1]  # who spoke is not told of a translation
PARAMETERS: Final = {**GENERATION, "temperature": number(0, 1)}  # the specification's, under their own names
OWN_OPTIONS: Final = ("keywords", "known_speaker_names", "languages")  # lists; chunking_strategy has three spellings
_TIMED: Final = frozenset({"srt", "vtt", "verbose_json"})
GRANULARITIES: Final = ("segment", "word")
# Fields of the current SDK that shape a stream, bias or extra output no part of a job stands for.
_REFUSED: Final = {
    "stream": "streamed transcripts are not served yet; leave stream out",
    "include": "logprobs are not returned by this gateway; leave include out",
    "known_speaker_references": "speaker references are not taken; leave them out",
}
# What planning refuses by the specification's names, in this API's own.
_OWN_NAMES: Final = {"return_timestamps": "response_format", "diarize": "response_format", "task": "model"}


class OpenAI:
    """`/v1/audio/transcriptions`, or `/v1/audio/translations` with task translate."""

    shape = Shape(json_path=None, raw=False)

    def __init__(self, task: Task) -> None:
        self.name = f"openai-{task}"
        self.task = task

    def named(self, request: Request) -> str:
        return request.place.variables.get("model", "")

    def read(self, request: Request, upload: Upload) -> Asked:
        fields = _Fields([*upload.fields, *request.query.items()])
        formats = FORMATS if self.task is Task.TRANSCRIBE else TRANSLATION_FORMATS
        format_ = fields.choice("response_format", formats, "json")
        granularities = fields.choices("timestamp_granularities", GRANULARITIES)
        if granularities and format_ != "verbose_json":
            raise _refused("timestamp_granularities", "only response_format verbose_json has a place for timestamps")
        asked = Asked(
            model=fields.model(self.named(request)),
            parameters=Parameters(
                task=self.task, timestamps=_timestamps(format_, granularities), diarize=format_ == "diarized_json"
            ),
            rendering={"format": format_, "granularities": granularities},
        )
        return replace(asked, parameters=self._read(fields, asked.parameters)) if fields.are_left else asked

    def _read(self, fields: _Fields, parameters: Parameters) -> Parameters:
        """Read what most forms do not have."""
        generation = fields.generation()
        read = replace(
            parameters,
            language=fields.language() if self.task is Task.TRANSCRIBE else None,
            prompt=fields.read("prompt", PROMPT),
            generation=generation,
            diarize=parameters.diarize or fields.flag("diarize"),
            provider_options=fields.provider_options(),
        )
        fields.nothing_left()
        return read

    def render(self, asked: Asked, audio: Audio, answer: Answer) -> Response:
        heard, format_ = answer.transcript, asked.rendering["format"]
        duration_s = heard.duration_s or audio.duration_s
        match format_:
            case "text":
                return _text(heard.text + "\n", "text/plain")
            case "srt":
                return _text(render_subtitles(heard, duration_s, "srt"), "application/x-subrip")
            case "vtt":
                return _text(render_subtitles(heard, duration_s, "vtt"), "text/vtt")
            case "verbose_json":
                return json_response(self._verbose(asked, heard, duration_s))
            case "diarized_json":
                return json_response(_diarized(heard, duration_s))
        return json_response({"text": heard.text, **_usage(duration_s)})

    def render_problem(self, problem: Problem, request_id: str) -> Response:
        kind = "server_error" if problem.status >= 500 else "invalid_request_error"
        param = _own_name(problem)
        error = {
            "message": _in_own_words(problem, param),
            "type": "rate_limit_error" if problem.status == 429 else kind,
            "param": param,
            "code": problem.type,
            "request_id": request_id,
        }
        return json_response({"error": error}, problem.status, problem.headers)

    def _verbose(self, asked: Asked, heard: Transcript, duration_s: float | None) -> dict[str, Any]:
        levels = asked.rendering["granularities"] or ("segment",)
        spoken = heard.language or asked.parameters.language or ""
        body: dict[str, Any] = {
            "task": self.task.value,
            "language": "english" if self.task is Task.TRANSLATE else name_of(spoken),
            "duration": round(duration_s or 0.0, 3),
            "text": heard.text,
        }
        if "segment" in levels:
            body["segments"] = [_segment(at, segment) for at, segment in enumerate(heard.segments)]
        if "word" in levels:
            body["words"] = [
                {"word": word.text, "start": round(word.start_s, 3), "end": round(word.end_s, 3)}
                for word in heard.words
            ]
        return body | _usage(duration_s)


def _text(text: str, media_type: str) -> Response:
    return Response(text.encode(), f"{media_type}; charset=utf-8")


class _Fields:
    """A form's fields, each read once; what is left at the end is refused by name."""

    def __init__(self, fields: list[tuple[str, str]]) -> None:
        self._left: dict[str, list[str]] = {}
        for name, value in fields:
            # `x[]` and `x` are one field: SDKs write the first, people and some servers the second.
            self._left.setdefault(name.removesuffix("[]"), []).append(value)
        for name, reason in _REFUSED.items():
            if self._left.get(name) and not (name == "stream" and self._left[name] == ["false"]):
                raise _refused(name, reason)
        self._left.pop("stream", None)

    @property
    def are_left(self) -> bool:
        return bool(self._left)

    def model(self, of_path: str) -> str:
        """Read the model; one that stands in the path is the one meant."""
        model = of_path or self._one("model")
        self._left.pop("model", None)
        if not model:
            raise bad_request("model: missing", param="model")
        return model

    def choice(self, name: str, allowed: tuple[str, ...], default: str) -> str:
        value = self._one(name)
        if value is not None and value not in allowed:
            raise _refused(name, f"{value[:40]!r} is not one of {', '.join(allowed)}")
        return value or default

    def choices(self, name: str, allowed: tuple[str, ...]) -> tuple[str, ...]:
        values = tuple(self._left.pop(name, ()))
        for value in values:
            if value not in allowed:
                raise _refused(name, f"{value[:40]!r} is not one of {', '.join(allowed)}")
        return values

    def read(self, name: str, reader: Callable[[str, Any], str | None]) -> str | None:
        value = self._one(name)
        return None if value is None else reader(name, value)

    def language(self) -> str | None:
        """Read the one language, whichever field it came in: gpt-transcribe knows `languages` only."""
        if len(self._left.get("languages", ())) == 1 and "language" not in self._left:
            return LANGUAGE("languages", self._left.pop("languages")[0])
        return self.read("language", LANGUAGE)

    def flag(self, name: str) -> bool:
        value = self._one(name)
        if value not in {None, "true", "false"}:
            raise _refused(name, "expected true or false")
        return value == "true"

    def generation(self) -> GenerationParameters:
        """Read temperature, 0 to 1 here, and the specification's other parameters."""
        given = {
            name: read(name, from_text(value))
            for name, read in PARAMETERS.items()
            if name in self._left and (value := self._one(name)) is not None
        }
        parameters = GenerationParameters(**given)
        check_together(parameters)
        return parameters

    def provider_options(self) -> dict[str, Any]:
        """Read OpenAI's own extra fields as options of that provider."""
        options: dict[str, Any] = {}
        if (strategy := self._chunking_strategy()) is not None:
            options["chunking_strategy"] = strategy
        for name in OWN_OPTIONS:
            if values := self._left.pop(name, None):
                options[name] = values
        return {"openai": options} if options else {}

    def _chunking_strategy(self) -> Any:  # noqa: ANN401 - "auto" or an object; the provider's allow-list decides
        """Read all three spellings: a word, one part of JSON, and `chunking_strategy[type]` parts."""
        inner = {
            name: name[len("chunking_strategy[") : -1] for name in self._left if name.startswith("chunking_strategy[")
        }
        if inner:
            return {key: from_text(self._one(name) or "") for name, key in inner.items()}
        value = self._one("chunking_strategy")
        if value is None or not value.lstrip().startswith("{"):
            return value
        try:
            return msgspec.json.decode(value)
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
            raise _refused("chunking_strategy", 'expected "auto" or a JSON object') from error

    def nothing_left(self) -> None:
        for name in self._left:
            raise _refused(name[:60], "this field is not known here")

    def _one(self, name: str) -> str | None:
        values = self._left.pop(name, [])
        if len(values) > 1:
            raise _refused(name, "given more than once")
        return values[0] if values else None


def _own_name(problem: Problem) -> str | None:
    """Return what the field at fault is called here."""
    if problem.param is None or problem.type != "unsupported-parameter":
        return problem.param and problem.param.removeprefix("provider_options.openai.")
    return _OWN_NAMES.get(problem.param, problem.param)


def _in_own_words(problem: Problem, param: str | None) -> str:
    """Return the message with the field called by the name the caller gave it."""
    if problem.param is None or param == problem.param:
        return problem.message
    return problem.message.replace(f"{problem.param}: ", f"{param}: ", 1)


def _refused(name: str, reason: str) -> Problem:
    return Problem(status=400, type="unsupported-value", message=f"{name}: {reason}", param=name)


def _timestamps(format_: str, granularities: tuple[str, ...]) -> Timestamps:
    if "word" in granularities:
        return Timestamps.WORD
    return Timestamps.SEGMENT if format_ in _TIMED else Timestamps.NONE


def _usage(duration_s: float | None) -> dict[str, Any]:
    """Return what was heard in whole seconds, as OpenAI's duration-billed models say it."""
    return {} if duration_s is None else {"usage": {"type": "duration", "seconds": -int(-duration_s // 1)}}


def _segment(at: int, segment: Segment) -> dict[str, Any]:
    """Return a segment; what only a Whisper decoder knows is given neutral values that the SDK's types accept."""
    return {
        "id": at,
        "seek": 0,
        "start": round(segment.start_s, 3),
        "end": round(segment.end_s if segment.end_s is not None else segment.start_s, 3),
        "text": segment.text,
        "tokens": [],
        "temperature": 0.0,
        "avg_logprob": 0.0,
        "compression_ratio": 1.0,
        "no_speech_prob": 0.0,
    }


def _diarized(heard: Transcript, duration_s: float | None) -> dict[str, Any]:
    segments = [
        {
            "type": "transcript.text.segment",
            "id": f"seg_{at:03d}",
            "start": round(segment.start_s, 3),
            "end": round(segment.end_s if segment.end_s is not None else segment.start_s, 3),
            "text": segment.text,
            "speaker": segment.speaker or "unknown",
        }
        for at, segment in enumerate(heard.segments, start=1)
    ]
    duration = {"duration": round(duration_s or 0.0, 3)}
    return {"task": "transcribe", **duration, "text": heard.text, "segments": segments} | _usage(duration_s)
