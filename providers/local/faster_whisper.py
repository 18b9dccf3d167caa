"""Whisper on this machine through faster-whisper (CTranslate2).

Honours what `WhisperModel.transcribe` 1.2 honours: temperature 0 or above, num_beams while not sampling,
max_new_tokens, segment and word times. Everything else needs another engine.
"""

from __future__ import annotations

import os
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ctranslate2
from faster_whisper import WhisperModel
from faster_whisper.vad import get_speech_timestamps

from providers.audio.samples import MODEL_RATE_HZ, read_parts
from providers.errors import JobUnsupported
from providers.local.download import ctranslate2_files, not_told
from providers.local.engine import Abandoned, Piece
from providers.local.models import ModelMissing, locate, or_installed
from providers.local.provider import NAME
from providers.types import Capabilities, Segment, Task, Timestamps, Transcript, Word

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence

    from providers.audio.samples import Samples
    from providers.local.download import Tell
    from providers.types import TranscriptionJob

HONOURED = frozenset({"temperature", "do_sample", "num_beams", "max_new_tokens"})
MAX_NEW_TOKENS = 440  # 448 positions less the prompt's control tokens
MAX_DURATION_S = 4 * 3600.0
PART_S = 300.0  # what is worked on at once: samples, and what the model makes of them, are some 100 MB

LONG_SILENCE_S = 10.0  # is not listened to
AROUND_SPEECH_S = 1.0  # of it still is, at either end

_SMALL_MODEL_BYTES = 200_000_000  # tiny and base in float16
_BYTES_OF = {"float32": 4.0, "float16": 2.0, "bfloat16": 2.0, "int16": 2.0}  # a weight's; else one


class FasterWhisper:
    """One loaded model: an Engine whose pieces are parts of some minutes, heard one by one."""

    max_rows = 1

    def __init__(
        self, native_model: str, *, device: str = "auto", compute_type: str = "default", tell: Tell = not_told
    ) -> None:
        """Load the model. Raises ModelMissing.

        native_model: as `locate` takes it, of a Hub id perhaps with @revision. device: auto, cpu, cuda or cuda:1; what
        CTranslate2 does not run on counts as cpu. tell: of a download.
        """
        self.native_model = native_model
        kind, _, index = device.partition(":")
        on_gpu = kind == "cuda" or (kind == "auto" and ctranslate2.get_cuda_device_count() > 0)
        # On a CPU several one-thread workers do twice what one worker with several threads does.
        self.workers = 1 if on_gpu else _processors()
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
        self.size_bytes = _loaded_bytes(folder, self._model.model.compute_type)

    @cached_property
    def capabilities(self) -> Capabilities:
        """What the loaded model can do: the same at every job."""
        multilingual = self._model.model.is_multilingual
        return Capabilities(
            generation=HONOURED,
            timestamps=frozenset({Timestamps.SEGMENT, Timestamps.WORD}),
            tasks=frozenset(Task) if multilingual else frozenset({Task.TRANSCRIBE}),
            languages=frozenset(self._model.supported_languages),
            prompt=True,
            max_duration_s=MAX_DURATION_S,
        )

    def check(self, job: TranscriptionJob) -> None:
        """Raise JobUnsupported where it cannot be done."""
        _options(job)

    def pieces(self, job: TranscriptionJob) -> Iterator[Piece]:
        """Yield the utterance in parts. Raises UnreadableAudio, AudioTooLong."""
        start_s = 0.0
        for samples in read_parts(job.audio.content, max_duration_s=MAX_DURATION_S, longest_s=PART_S):
            spoken = _spoken(samples)
            piece = Piece(
                job=job,
                samples=samples,
                start_s=start_s,
                language=job.language,
                silent=not spoken,
                spoken=tuple(spoken),
            )
            yield piece
            start_s += piece.duration_s

    def key(self, piece: Piece) -> Hashable:
        """Return the piece: none is heard with another."""
        return piece

    def rows(self, piece: Piece) -> int:
        """Return that it is one."""
        del piece
        return 1

    def hear(self, pieces: Sequence[Piece], is_abandoned: Callable[[], bool]) -> list[Transcript]:
        """Return what was said in each. Raises JobUnsupported, Abandoned."""
        return [self._heard(piece, is_abandoned) for piece in pieces]

    def close(self) -> None:
        """Unload the model."""
        self._model.model.unload_model()

    def _heard(self, piece: Piece, is_abandoned: Callable[[], bool]) -> Transcript:
        """Return what was said in a part, times from its own start. Raises JobUnsupported, Abandoned."""
        options = {**_options(piece.job), "language": piece.language, "clip_timestamps": list(piece.spoken)}
        kept, language = self._decode(piece.samples, options, is_abandoned)
        return Transcript(
            text="".join(segment.text for segment in kept).strip(),
            segments=tuple(_segment(segment, piece.duration_s) for segment in kept),
            words=tuple(_words(kept, piece.duration_s)),
            language=language,
            duration_s=piece.duration_s,
            model_version=self.native_model,
        )

    def _decode(
        self, samples: Samples, options: dict[str, Any], is_abandoned: Callable[[], bool]
    ) -> tuple[list[Any], str]:
        """Return the library's segments and the language. Raises JobUnsupported, Abandoned."""
        kept = []
        if is_abandoned():
            raise Abandoned
        try:
            found, info = self._model.transcribe(samples, **options)
            for segment in found:  # the model works here, a window at a time
                if is_abandoned():
                    raise Abandoned
                kept.append(segment)
        except ValueError as error:
            if "max_new_tokens" not in str(error):
                raise
            raise JobUnsupported(NAME, "the prompt and max_new_tokens are too long together") from error
        return kept, info.language


def _spoken(samples: Samples) -> list[float]:
    """Return where somebody speaks, as start and end of each stretch in turn, in seconds. Empty: nowhere.

    Whisper hears words in silence; a voice detector does not, and takes a five-hundredth of real time. Only long
    silence is left out: pieces cut at every pause cost words where speech is slow.
    """
    voiced = [(each["start"] / MODEL_RATE_HZ, each["end"] / MODEL_RATE_HZ) for each in get_speech_timestamps(samples)]
    if not voiced:
        return []
    whole_s = len(samples) / MODEL_RATE_HZ
    pauses = [(end_s, start_s) for (_, end_s), (start_s, _) in pairwise([(0.0, 0.0), *voiced, (whole_s, whole_s)])]
    left_out = [(start_s, end_s) for start_s, end_s in pauses if end_s - start_s > LONG_SILENCE_S]
    bounds = [0.0, *(bound for start_s, end_s in left_out for bound in _within(start_s, end_s, whole_s)), whole_s]
    spans = zip(bounds[::2], bounds[1::2], strict=True)
    return [bound for start_s, end_s in spans if start_s < end_s for bound in (start_s, end_s)]


def _within(start_s: float, end_s: float, whole_s: float) -> tuple[float, float]:
    """Return a silence without what is still listened to: nothing at the recording's own ends."""
    return (
        start_s + AROUND_SPEECH_S if start_s > 0 else 0.0,
        end_s - AROUND_SPEECH_S if end_s < whole_s else whole_s,
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


def _options(job: TranscriptionJob) -> dict[str, Any]:
    """Return the keywords of WhisperModel.transcribe for this job. Raises JobUnsupported."""
    asked = job.generation
    temperature = asked.temperature or 0.0
    if asked.do_sample is False:
        temperature = 0.0
    elif asked.do_sample and asked.temperature is None:
        temperature = 1.0
    if temperature > 0 and (asked.num_beams or 1) > 1:  # the library would sample and say nothing of the beams
        raise JobUnsupported(NAME, "num_beams above 1 and sampling exclude each other there")
    if (asked.max_new_tokens or 0) > MAX_NEW_TOKENS:
        raise JobUnsupported(NAME, f"max_new_tokens is at most {MAX_NEW_TOKENS} there")
    return {
        "temperature": temperature,  # one number: the library's own ladder of retries makes answers vary
        "best_of": 1,
        "beam_size": asked.num_beams or 1,
        "max_new_tokens": asked.max_new_tokens,
        "task": job.task.value,
        "language": job.language,
        "initial_prompt": job.prompt,
        "word_timestamps": job.timestamps is Timestamps.WORD,
        "condition_on_previous_text": False,  # one bad window would spoil all that follow
    }


def _segment(segment: Any, duration_s: float) -> Segment:  # noqa: ANN401 - the library has no types
    return Segment(
        text=segment.text,
        start_s=min(float(segment.start), duration_s),
        end_s=min(float(segment.end), duration_s),
    )


def _words(segments: Iterable[Any], duration_s: float) -> Iterable[Word]:
    for segment in segments:
        for word in segment.words or ():
            yield Word(
                text=word.word.strip(),
                start_s=min(float(word.start), duration_s),
                end_s=min(float(word.end), duration_s),
                confidence=float(word.probability),
            )
