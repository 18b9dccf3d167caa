"""Pieces of audio through Whisper side by side: one call of CTranslate2 hears a window of each.

faster-whisper's own `BatchedInferencePipeline` gives all rows one language and one prompt, again in each window, keeps
words that it takes for silence, and drops what an early end leaves of a window. So this is the loop of
`WhisperModel.generate_segments` 1.2 with a row for each piece: each is heard as it would be alone. Of its options there
are those below: one temperature, so that nothing is decoded twice, and windows that know nothing of the one before.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
from faster_whisper import WhisperModel
from faster_whisper.audio import pad_or_trim
from faster_whisper.tokenizer import Tokenizer
from faster_whisper.transcribe import get_suppressed_tokens
from faster_whisper.utils import get_end

from providers.errors import JobRejected
from providers.local.engine import Abandoned
from providers.local.provider import NAME
from providers.local.windows import LONG_SILENCE_S

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from providers.audio.samples import Samples
    from providers.types import Task

# As faster-whisper has them unless told.
SILENCE_ABOVE: Final = 0.6  # probability that nobody speaks,
SILENCE_BELOW: Final = -1.0  # and of the words no more than this, as the mean logarithm for a token
FRAMES_PER_S: Final = 100
_WORTH_A_WINDOW: Final = 100  # frames that were heard of the last one: there is an end to listening again
_BEFORE_WORDS: Final = "\"'“¿([{-"
_AFTER_WORDS: Final = "\"'.。,，!！?？:：”)]}、"  # noqa: RUF001 - of scripts that have such


class Decoding(NamedTuple):
    """What one call of the decoder has but once."""

    temperature: float = 0.0  # above 0: drawn by lot
    num_beams: int = 1  # while not drawn
    max_new_tokens: int | None = None  # in a window
    words: bool = False  # with their times


@dataclass(slots=True, eq=False)
class Row:
    """A piece, and how far it was heard."""

    features: np.ndarray[tuple[int, int], np.dtype[np.float32]]  # (mels, frames and one)
    task: Task
    earlier: Sequence[int]  # tokens of a prompt, for the first window in which somebody speaks
    tokenizer: Tokenizer | None  # None until the language is known
    seek: int = 0  # the frame that the next window begins with
    heard_s: float = 0.0  # where the last word ends
    segments: list[dict[str, Any]] = field(default_factory=list)  # faster-whisper's own, and the text of each


class _Window(NamedTuple):
    """What is heard of a row in one call."""

    row: Row
    tokenizer: Tokenizer
    size: int  # frames
    segments: list[dict[str, Any]]  # none: nobody speaks
    seek: int  # where the next begins
    ended: bool  # its last segment has an end, or all the tokens that it may have: what follows is not heard


class Lockstep:
    """A loaded model for rows. What is raised below comes through."""

    def __init__(self, model: WhisperModel) -> None:
        self._model = model
        self._any_language = Tokenizer(
            model.hf_tokenizer, model.model.is_multilingual, task="transcribe", language="en"
        )
        self._suppressed = get_suppressed_tokens(self._any_language, [-1])

    def prompt(self, text: str | None) -> list[int]:
        """Return the tokens of a prompt, of a long one its end. Raises JobRejected."""
        if not text or not text.strip():
            return []
        told: list[int] = self._any_language.encode(f" {text.strip()}")
        if max(told) >= self._any_language.eot:
            raise JobRejected(NAME, "the prompt holds one of the model's control tokens, such as <|en|>")
        return told[-(self._model.max_length // 2 - 1) :]

    def row(self, samples: Samples, task: Task, language: str | None, prompt: str | None) -> Row:
        """Return a piece that nothing was heard of yet."""
        known = language or (None if self._model.model.is_multilingual else "en")
        tokenizer = self._tokenizer(task, known) if known else None
        return Row(self._model.feature_extractor(samples), task, self.prompt(prompt), tokenizer)

    def hear(self, rows: Sequence[Row], how: Decoding, is_abandoned: Callable[[], bool]) -> None:
        """Hear all rows to their ends. Raises Abandoned."""
        while going := [row for row in rows if row.seek < _frames(row)]:
            going.sort(key=lambda row: len(row.earlier))
            for _, alike in groupby(going, key=lambda row: len(row.earlier)):  # as one call of the decoder wants them
                if is_abandoned():
                    raise Abandoned
                self._step(list(alike), how)

    def _step(self, rows: Sequence[Row], how: Decoding) -> None:
        """Hear a window of each."""
        most = self._model.feature_extractor.nb_max_frames
        sizes = [min(most, _frames(row) - row.seek) for row in rows]
        encoded = self._model.encode(
            np.stack(
                [pad_or_trim(row.features[:, row.seek :][:, :size]) for row, size in zip(rows, sizes, strict=True)]
            )
        )
        tokenizers = self._tokenizers(rows, encoded)
        results = self._decoded(rows, tokenizers, encoded, how)
        windows = [self._window(*each, how) for each in zip(rows, tokenizers, sizes, results, strict=True)]
        if how.words:
            self._time_words(windows, encoded)
        for each in windows:
            _go_on(each)

    def _tokenizers(self, rows: Sequence[Row], encoded: Any) -> list[Tokenizer]:  # noqa: ANN401 - no types
        """Return each row's, of the language that it is heard to be in where none is known."""
        if any(row.tokenizer is None for row in rows):
            for row, likely in zip(rows, self._model.model.detect_language(encoded), strict=True):
                token, _ = likely[0]
                row.tokenizer = row.tokenizer or self._tokenizer(row.task, token[2:-2])
        return [row.tokenizer for row in rows if row.tokenizer]

    def _tokenizer(self, task: Task, language: str) -> Tokenizer:
        return Tokenizer(
            self._model.hf_tokenizer, self._model.model.is_multilingual, task=task.value, language=language
        )

    def _decoded(
        self,
        rows: Sequence[Row],
        tokenizers: Sequence[Tokenizer],
        encoded: Any,  # noqa: ANN401 - as above
        how: Decoding,
    ) -> list[Any]:
        prompts = [
            self._model.get_prompt(tokenizer, list(row.earlier))
            for row, tokenizer in zip(rows, tokenizers, strict=True)
        ]
        search: dict[str, float] = {"beam_size": how.num_beams}
        if how.temperature > 0:
            search = {"beam_size": 1, "sampling_topk": 0, "sampling_temperature": how.temperature}
        found: list[Any] = self._model.model.generate(
            encoded,
            prompts,
            max_length=_most(len(prompts[0]), how.max_new_tokens) if how.max_new_tokens else self._model.max_length,
            return_scores=True,
            return_no_speech_prob=True,
            suppress_tokens=self._suppressed,
            **search,
        )
        return found

    def _window(self, row: Row, tokenizer: Tokenizer, size: int, result: Any, how: Decoding) -> _Window:  # noqa: ANN401 - as above
        if _is_silence(result):
            return _Window(row, tokenizer, size, [], row.seek + size, ended=True)
        segments, seek, ended = self._model._split_segments_by_timestamps(  # noqa: SLF001 - its own batches do too
            tokenizer, result.sequences_ids[0], row.seek / FRAMES_PER_S, size, size / FRAMES_PER_S, row.seek
        )
        if ended and (stopped := _stopped_early(row, size, segments)):
            seek = stopped
        # Else words would have a window for each few tokens: as many encodings, and no limit.
        is_cut_off = how.max_new_tokens is not None and len(result.sequences_ids[0]) >= how.max_new_tokens
        return _Window(row, tokenizer, size, segments, seek, ended or is_cut_off)

    def _time_words(self, windows: Sequence[_Window], encoded: Any) -> None:  # noqa: ANN401 - as above
        """Give each segment its words. One alignment is of one language and task: of the rows in others it is lost."""
        tokens = [
            [token for segment in each.segments for token in segment["tokens"] if token < each.tokenizer.eot]
            for each in windows
        ]
        begun: dict[tuple[int, ...], Any] = {}
        for number, each in enumerate(windows):
            begins = tuple(each.tokenizer.sot_sequence)
            if begins not in begun:
                begun[begins] = self._model.find_alignment(
                    each.tokenizer, tokens, encoded, [each.size for each in windows]
                )
            _give_words(each, _Aligned(self._model, begun[begins][number]))


class _Aligned:
    """What `WhisperModel.add_word_timestamps` needs of a model, for a row that was aligned among others.

    Of several rows it would take each for what follows the one before.
    """

    def __init__(self, model: WhisperModel, alignment: list[dict[str, Any]]) -> None:
        self.frames_per_second = model.frames_per_second
        self._alignment = alignment

    def find_alignment(self, *_: object) -> list[list[dict[str, Any]]]:
        return [self._alignment]


def _frames(row: Row) -> int:
    return row.features.shape[-1] - 1  # the last is of padding


def _most(prompt: int, new: int) -> int:
    """Return the length that lets so many tokens be written: half of it may be, and what the prompt but one leaves."""
    return max(2 * new, prompt - 1 + new)


def _is_silence(result: Any) -> bool:  # noqa: ANN401 - as above
    tokens = len(result.sequences_ids[0])
    mean = result.scores[0] * tokens / (tokens + 1)
    return bool(result.no_speech_prob > SILENCE_ABOVE and mean <= SILENCE_BELOW)


def _stopped_early(row: Row, size: int, segments: Sequence[dict[str, Any]]) -> int | None:
    """Return where to listen again if a window's text ends long before it: somebody speaks there, as pieces are cut.

    Whisper does so where the speaker changes; faster-whisper goes on to the next window, and the words are lost.
    """
    at = round(segments[-1]["end"] * FRAMES_PER_S)
    left = row.seek + size - at
    return at if left > LONG_SILENCE_S * FRAMES_PER_S and at >= row.seek + _WORTH_A_WINDOW else None


def _give_words(window: _Window, aligned: _Aligned) -> None:
    if window.segments:
        WhisperModel.add_word_timestamps(
            aligned,
            [window.segments],
            window.tokenizer,
            None,
            window.size,
            _BEFORE_WORDS,
            _AFTER_WORDS,
            window.row.heard_s,
        )


def _go_on(window: _Window) -> None:
    """Keep what was said; let the row's next window begin where this one's words end."""
    row, seek = window.row, window.seek
    if window.segments:
        row.earlier = ()
        seek = _timed(window) if "words" in window.segments[0] else seek
    for segment in window.segments:
        segment["text"] = window.tokenizer.decode(segment["tokens"])
        if segment["start"] != segment["end"] and segment["text"].strip():
            row.segments.append(segment)
    row.seek = seek if seek > row.seek else row.seek + window.size  # the library would hear it again for ever


def _timed(window: _Window) -> int:
    """Return where the next window begins, as the times of words tell it."""
    row = window.row
    row.heard_s = get_end(window.segments)
    at = round(row.heard_s * FRAMES_PER_S)
    return window.seek if window.ended or at <= row.seek else at
