"""Whisper through transformers: every generation parameter, batches of any languages, on whatever torch runs on.

The library's generic decoder is called with Whisper's own prompt and processors, and not Whisper's `generate`: that
makes do_sample of the temperature, drops num_beams where it samples, and has lost two of the searches.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import torch
from transformers import GenerationMixin, WhisperTimeStampLogitsProcessor

from providers.audio.samples import MODEL_RATE_HZ
from providers.errors import JobUnsupported
from providers.local.hf import alignment, generation
from providers.local.hf.interrupts import Waiting, memory_watched
from providers.local.hf.rows import most_rows, size_bytes
from providers.local.hf.whisper_tokens import Tokens, settled, tasks
from providers.local.provider import NAME
from providers.local.windows import windows
from providers.types import GENERATION_NAMES, Capabilities, Timestamps, Transcript

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator, Sequence

    from providers.local.engine import Piece
    from providers.local.hf.checkpoint import Checkpoint, LoadOptions
    from providers.types import TranscriptionJob

MAX_DURATION_S: Final = 4 * 3600.0


class Whisper:
    """One loaded model: an Engine."""

    workers = 1  # several would only compete for the device

    def __init__(self, checkpoint: Checkpoint, options: LoadOptions) -> None:
        self._checkpoint = checkpoint
        self._model = checkpoint.model
        self._tokens = Tokens(checkpoint.model, checkpoint.tokenizer)
        self._model.generation_config = settled(self._model, self._tokens)
        self._encoder = self._model.get_encoder()
        self._compiles_steps = False  # of the decoder
        self.size_bytes = size_bytes(self._model)
        self.max_rows = options.max_rows or most_rows(self._model, _row_bytes(self._model))

    def compile(self) -> str | None:
        """Compile what it runs; return why it could not. Blocking: minutes on a small machine.

        For one row and for several, which torch keeps apart; a job that comes later would have to wait for either.
        """
        encoder = torch.compile(self._encoder)
        config = self._model.config
        heard_at_once = config.num_mel_bins, 2 * config.max_source_positions
        try:
            with torch.inference_mode():
                for rows in (1, 2):
                    encoder(torch.zeros(rows, *heard_at_once, device=self._model.device, dtype=self._model.dtype))
        except Exception as error:  # noqa: BLE001 - torch's own errors, and those of the compilers below it
            return str(error).splitlines()[0] or type(error).__name__
        self._encoder = encoder
        self._compiles_steps = self._model.device.type != "cpu"
        return None

    @cached_property
    def capabilities(self) -> Capabilities:
        """What the loaded model can do: the same at every job."""
        return Capabilities(
            generation=frozenset(GENERATION_NAMES),
            timestamps=frozenset({Timestamps.SEGMENT, Timestamps.WORD}),
            tasks=tasks(self._tokens),
            languages=frozenset(self._tokens.languages or {"en"}),
            prompt=True,
            max_duration_s=MAX_DURATION_S,
        )

    def check(self, job: TranscriptionJob) -> None:
        """Raise JobUnsupported or JobRejected where it cannot be done."""
        if job.task not in self.capabilities.tasks:
            raise JobUnsupported(NAME, "the model hears English only: there is nothing to translate")
        if job.language and job.language not in (self.capabilities.languages or ()):
            raise JobUnsupported(NAME, f"the model does not hear the language {job.language!r}")
        generation.check(job.generation, self._room(job))

    def pieces(self, job: TranscriptionJob) -> Iterator[Piece]:
        """Yield the utterance in windows. Raises UnreadableAudio, AudioTooLong."""
        return windows(job, max_duration_s=MAX_DURATION_S)

    def key(self, piece: Piece) -> Hashable:
        """Return what one call of the decoder has but once. Rows may differ in language."""
        job = piece.job
        return job.generation, job.task, job.timestamps, job.prompt

    def rows(self, piece: Piece) -> int:
        """Return how many rows of a batch it takes."""
        return generation.rows(piece.job.generation)

    def hear(self, pieces: Sequence[Piece], is_abandoned: Callable[[], bool]) -> list[Transcript]:
        """Return what was said in each. Raises OutOfMemory, Abandoned."""
        with memory_watched(), torch.inference_mode():
            return self._heard(pieces, Waiting(is_abandoned))

    def close(self) -> None:
        """Let go of the model."""
        self._model = self._encoder = self._checkpoint = None  # type: ignore[assignment] # nothing is asked any more
        if torch.accelerator.is_available():
            torch.accelerator.empty_cache()

    def _heard(self, pieces: Sequence[Piece], waiting: Waiting) -> list[Transcript]:
        encoded = self._encoded(pieces)
        languages = self._languages(pieces, encoded)
        heard = [
            _Heard(piece, language, tokens)
            for piece, language, tokens in zip(
                pieces, languages, self._generated(pieces, languages, encoded, waiting), strict=True
            )
        ]
        timed = [()] * len(heard)
        if pieces[0].job.timestamps is Timestamps.WORD:
            timed = self._words(heard, encoded)
        return [self._transcript(each, words) for each, words in zip(heard, timed, strict=True)]

    def _encoded(self, pieces: Sequence[Piece]) -> Any:  # noqa: ANN401 - the library has no types
        features = self._checkpoint.features(
            [piece.samples for piece in pieces], sampling_rate=MODEL_RATE_HZ, return_tensors="pt"
        )
        return self._encoder(features.input_features.to(self._model.device, self._model.dtype))

    def _languages(self, pieces: Sequence[Piece], encoded: Any) -> list[str | None]:  # noqa: ANN401 - as above
        """Return the language of each: as told, else as heard in it."""
        if not self._tokens.multilingual:
            return ["en"] * len(pieces)
        told = [piece.language for piece in pieces]
        if all(told):
            return told
        codes = {token: code for code, token in self._tokens.languages.items()}
        detected = self._model.detect_language(encoder_outputs=encoded).tolist()
        return [code or codes[token] for code, token in zip(told, detected, strict=True)]

    def _generated(
        self,
        pieces: Sequence[Piece],
        languages: Sequence[str | None],
        encoded: Any,  # noqa: ANN401 - as above
        waiting: Waiting,
    ) -> list[list[int]]:
        """Return the tokens of each, without the prompt and what follows the end."""
        job, device = pieces[0].job, self._model.device
        prompts = [self._tokens.prompt(job, language) for language in languages]
        begin = len(prompts[0])
        options = generation.keywords(job.generation, self._room(job))
        if self._compiles_steps and options["num_beams"] == 1 and "custom_generate" not in options:
            options["cache_implementation"] = "static"  # which the library compiles for
        timing = [WhisperTimeStampLogitsProcessor(self._model.generation_config, begin_index=begin)]
        tokens = GenerationMixin.generate(
            self._model,
            encoder_outputs=encoded,
            attention_mask=torch.ones(len(pieces), 1, device=device),  # of no effect; without one the library warns
            decoder_input_ids=torch.tensor(prompts, device=device),
            logits_processor=timing if job.timestamps is not Timestamps.NONE else [],
            stopping_criteria=[waiting],
            **options,
        )
        return [_up_to(row, self._tokens.end) for row in tokens[:, begin:].tolist()]

    def _words(self, heard: Sequence[_Heard], encoded: Any) -> list[Any]:  # noqa: ANN401 - as above
        return list(
            alignment.words(
                self._checkpoint,
                encoded.last_hidden_state,
                [self._tokens.untimed(each.piece.job, each.language) for each in heard],
                [self._tokens.spoken(each.tokens) for each in heard],
                [each.piece.duration_s for each in heard],
                [each.language for each in heard],
            )
        )

    def _transcript(self, heard: _Heard, words: Any) -> Transcript:  # noqa: ANN401 - as above
        duration_s = heard.piece.duration_s
        timed = heard.piece.job.timestamps is not Timestamps.NONE
        return Transcript(
            text=self._tokens.text(heard.tokens).strip(),
            segments=self._tokens.segments(heard.tokens, duration_s) if timed else (),
            words=words,
            language=heard.language,
            duration_s=duration_s,
            model_version=self._checkpoint.name,
        )

    def _room(self, job: TranscriptionJob) -> generation.Room:
        """Return the decoder's positions. Raises JobRejected."""
        return generation.Room(len(self._tokens.prompt(job, job.language)), self._model.config.max_target_positions)


class _Heard(NamedTuple):
    piece: Piece
    language: str | None
    tokens: list[int]


def _up_to(tokens: list[int], end: int) -> list[int]:
    return tokens[: tokens.index(end)] if end in tokens else tokens


def _row_bytes(model: Any) -> int:  # noqa: ANN401 - as above
    """Return what a row takes while it is decoded: keys and values of all it has heard and said, and its logits."""
    config = model.config
    positions = config.max_source_positions + config.max_target_positions
    cached = 2 * config.decoder_layers * positions * config.d_model * model.dtype.itemsize
    return int(2 * cached + 4 * 4 * config.vocab_size)  # twice: while a cache is reordered there are two
