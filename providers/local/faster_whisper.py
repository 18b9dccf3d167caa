"""Whisper on this machine through faster-whisper (CTranslate2).

Honours what `WhisperModel.transcribe` 1.2 honours: temperature 0 or above, num_beams while not sampling,
max_new_tokens, segment and word times. Everything else needs another engine.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ctranslate2
from faster_whisper import WhisperModel

from providers.errors import JobUnsupported
from providers.local.download import ctranslate2_files
from providers.local.engine import OutOfMemory
from providers.local.loading import not_told
from providers.local.lockstep import Decoding, Lockstep
from providers.local.models import ModelMissing, locate, or_installed
from providers.local.provider import MAX_BATCH, NAME
from providers.local.windows import windows
from providers.types import Capabilities, Segment, Task, Timestamps, Transcript, Word

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence

    from providers.local.engine import Piece
    from providers.local.loading import Tell
    from providers.local.lockstep import Row
    from providers.types import GenerationParameters, TranscriptionJob

HONOURED = frozenset({"temperature", "do_sample", "num_beams", "max_new_tokens"})
MAX_NEW_TOKENS = 440  # 448 positions less the prompt's control tokens
MAX_DURATION_S = 4 * 3600.0

# As CUDA says it, cuBLAS and cuDNN, and on a CPU MKL and oneDNN.
_FULL = ("out of memory", "ALLOC_FAILED", "ALLOCATION_FAILED", "failed to allocate", "could not create a memory object")
_SMALL_MODEL_BYTES = 200_000_000  # tiny and base in float16
_BYTES_OF = {"float32": 4.0, "float16": 2.0, "bfloat16": 2.0, "int16": 2.0}  # a weight's; else one


class FasterWhisper:
    """One loaded model: an Engine whose pieces are windows, heard side by side where that is quicker."""

    def __init__(
        self,
        native_model: str,
        *,
        device: str = "auto",
        compute_type: str = "default",
        max_rows: int | None = None,
        tell: Tell = not_told,
    ) -> None:
        """Load the model. Raises ModelMissing.

        native_model: as `locate` takes it, of a Hub id perhaps with @revision. device: auto, cpu, cuda or cuda:1; what
        CTranslate2 does not run on counts as cpu. max_rows: of a batch; None: as many as the device gains by. tell: of
        a download.
        """
        self.native_model = native_model
        kind, _, index = device.partition(":")
        on_gpu = kind == "cuda" or (kind == "auto" and ctranslate2.get_cuda_device_count() > 0)
        # On a CPU several one-thread workers do twice what one worker with several threads does, and more than rows.
        self.workers = 1 if on_gpu else _processors()
        self.max_rows = max_rows or (MAX_BATCH if on_gpu else 1)
        try:
            folder = _folder(native_model, tell)
            self._model = WhisperModel(
                str(folder),
                device="cuda" if on_gpu else "cpu",
                device_index=int(index or 0),
                compute_type=_best_type(folder, on_gpu=on_gpu) if compute_type == "default" else compute_type,
                cpu_threads=1,
                num_workers=self.workers,
            )
        except ModelMissing:
            raise
        except Exception as error:  # the Hub's client and CTranslate2 raise a dozen unrelated classes here
            raise ModelMissing(
                f"the local model {native_model!r} cannot be loaded: give the path of a CTranslate2 Whisper model, or "
                f"a Hugging Face id that this machine can download or has in its cache{or_installed(native_model)}"
            ) from error
        self._lockstep = Lockstep(self._model)
        self.size_bytes = _loaded_bytes(folder, self._model.model.compute_type)

    @cached_property
    def capabilities(self) -> Capabilities:
        """What the loaded model can do: the same at every job."""
        multilingual = self._model.model.is_multilingual
        return Capabilities(
            generation=HONOURED,
            timestamps=frozenset({Timestamps.SEGMENT, Timestamps.WORD}),
            tasks=frozenset(Task) if multilingual else frozenset({Task.TRANSCRIBE}),
            languages=frozenset(self._languages),
            prompt=True,
            max_duration_s=MAX_DURATION_S,
        )

    @property
    def _languages(self) -> Iterator[str]:
        """Yield those that there is a token for: without one a row's prompt would be shorter than the others'."""
        for code in self._model.supported_languages:  # of the largest models, whichever this is
            if not self._model.model.is_multilingual or self._model.hf_tokenizer.token_to_id(f"<|{code}|>") is not None:
                yield code

    def check(self, job: TranscriptionJob) -> None:
        """Raise JobUnsupported where it cannot be done, JobRejected where no engine can."""
        how = _decoding(job)
        if how.temperature > 0 and how.num_beams > 1:
            raise JobUnsupported(NAME, "num_beams above 1 and sampling exclude each other there")
        new, prompt = how.max_new_tokens or 0, self._lockstep.prompt(job.prompt)
        if new > MAX_NEW_TOKENS:
            raise JobUnsupported(NAME, f"max_new_tokens is at most {MAX_NEW_TOKENS} there")
        if len(prompt) + new > MAX_NEW_TOKENS:
            raise JobUnsupported(NAME, "the prompt and max_new_tokens are too long together")

    def pieces(self, job: TranscriptionJob) -> Iterator[Piece]:
        """Yield the utterance in windows. Raises UnreadableAudio, AudioTooLong."""
        return windows(job, max_duration_s=MAX_DURATION_S)

    def key(self, piece: Piece) -> Hashable:
        """Return what one call of the decoder has but once. Rows may differ in language and task."""
        return _decoding(piece.job), piece.job.prompt

    def rows(self, piece: Piece) -> int:
        """Return how many rows of a batch it takes."""
        return _decoding(piece.job).num_beams

    def hear(self, pieces: Sequence[Piece], is_abandoned: Callable[[], bool]) -> list[Transcript]:
        """Return what was said in each. Raises OutOfMemory, Abandoned."""
        with _memory_watched():
            rows = [self._lockstep.row(each.samples, each.job.task, each.language, each.job.prompt) for each in pieces]
            self._lockstep.hear(rows, _decoding(pieces[0].job), is_abandoned)
            return [self._transcript(*each) for each in zip(pieces, rows, strict=True)]

    def close(self) -> None:
        """Unload the model."""
        self._model.model.unload_model()

    def _transcript(self, piece: Piece, row: Row) -> Transcript:
        return Transcript(
            text="".join(segment["text"] for segment in row.segments).strip(),
            segments=tuple(_segment(segment, piece.duration_s) for segment in row.segments),
            words=tuple(_words(row.segments, piece.duration_s)),
            language=row.tokenizer.language_code if row.tokenizer else piece.language,
            duration_s=piece.duration_s,
            model_version=self.native_model,
        )


def _processors() -> int:
    """Return how many may be kept busy: OMP_NUM_THREADS, which Ray sets for a replica by its share of them, or all."""
    told = os.environ.get("OMP_NUM_THREADS", "")
    return max(1, int(told) if told.isascii() and told.isdecimal() else os.cpu_count() or 1)


def _folder(native_model: str, tell: Tell) -> Path:
    """Return where the files are, downloaded from the Hub if need be. Raises as its client, and ModelMissing."""
    location = locate(native_model)
    return Path(location if Path(location).is_dir() else ctranslate2_files(location, tell))


def _best_type(folder: Path, *, on_gpu: bool) -> str:
    """Choose the arithmetic: on a CPU int8, which the small models cannot afford.

    Measured on twelve English clips (289 words): tiny.en in int8 has four errors greedy and one with five beams; in
    float32 it has none, and greedy float32 takes no longer than five beams in int8.
    """
    if on_gpu:
        return "float16"
    return "float32" if (folder / "model.bin").stat().st_size < _SMALL_MODEL_BYTES else "int8"


def _loaded_bytes(folder: Path, compute_type: str) -> int:
    """Return what the weights take once they are loaded: published conversions hold them in two bytes each."""
    return round((folder / "model.bin").stat().st_size / 2 * _BYTES_OF.get(compute_type, 1.0))


def _decoding(job: TranscriptionJob) -> Decoding:
    asked = job.generation
    return Decoding(
        temperature=_temperature(asked),
        num_beams=asked.num_beams or 1,
        max_new_tokens=asked.max_new_tokens,
        words=job.timestamps is Timestamps.WORD,
    )


def _temperature(asked: GenerationParameters) -> float:
    """Return the temperature to draw words by lot with; 0: the likeliest are taken."""
    if asked.do_sample is False:
        return 0.0
    if asked.do_sample and asked.temperature is None:
        return 1.0
    return asked.temperature or 0.0


@contextmanager
def _memory_watched() -> Iterator[None]:
    """Raise OutOfMemory for what CTranslate2 raises of a device that is full: it has no class of its own for that."""
    try:
        yield
    except RuntimeError as error:
        if not any(each in str(error) for each in _FULL):
            raise
        failure = str(error)
    else:
        return
    raise OutOfMemory(failure)  # outside: the frames of the first error hold what has filled the device


def _segment(segment: Mapping[str, Any], duration_s: float) -> Segment:
    return Segment(
        text=segment["text"],
        start_s=min(float(segment["start"]), duration_s),
        end_s=min(float(segment["end"]), duration_s),
    )


def _words(segments: Iterable[Mapping[str, Any]], duration_s: float) -> Iterator[Word]:
    for segment in segments:
        for word in segment.get("words", ()):
            yield Word(
                text=word["word"].strip(),
                start_s=min(float(word["start"]), duration_s),
                end_s=min(float(word["end"]), duration_s),
                confidence=float(word["probability"]),
            )
