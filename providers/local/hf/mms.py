"""MMS and its like: a wav2vec2 with an adapter and a vocabulary for each of its languages, as many as 1162.

It cannot tell which language it hears: the language has to be given. Adapters are of the checkpoint's own snapshot,
some 9 MB each, and are fetched when their language is first asked for. Source: Pratap et al. 2023; transformers 5.24
`Wav2Vec2ForCTC.load_adapter`, `Wav2Vec2CTCTokenizer.set_target_lang`. Most weights are CC-BY-NC-4.0: see `licences`.
"""

from __future__ import annotations

import copy
from dataclasses import replace  # noqa: TID251 - a checkpoint is a dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import msgspec
from transformers.utils import cached_file

from providers.errors import JobUnsupported
from providers.local.engine import Abandoned
from providers.local.hf.ctc import Ctc
from providers.local.hf.interrupts import memory_watched
from providers.local.hf.own_codes import by_code
from providers.local.models import ModelMissing
from providers.local.provider import NAME

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator, Sequence

    from providers.local.engine import Engine, Piece
    from providers.local.hf.checkpoint import Checkpoint, LoadOptions
    from providers.types import Capabilities, Transcript, TranscriptionJob

_FILES: Final = ("adapter.{}.safetensors", "adapter.{}.bin")


def engine_of(checkpoint: Checkpoint, options: LoadOptions) -> Engine:
    """Return what runs a wav2vec2: one of several languages, or of one. Raises ModelMissing."""
    adapted = getattr(checkpoint.model.config, "adapter_attn_dim", None) is not None
    return Mms(checkpoint, options) if adapted and _vocabularies(checkpoint) else Ctc(checkpoint, options)


class Mms:
    """One loaded model, which is one CTC model for each language, in turns."""

    workers = 1  # the adapters are in the model: one language at a time

    def __init__(self, checkpoint: Checkpoint, options: LoadOptions) -> None:
        """Take a loaded model. Raises ModelMissing where it does not know the language set for jobs that name none."""
        self._checkpoint = checkpoint
        self._options = options
        self._languages = by_code(_vocabularies(checkpoint))
        self._otherwise = options.language or _only(self._languages)
        if options.language and options.language not in self._languages:
            raise ModelMissing(f"{checkpoint.name} does not know {options.language!r}, the language set for it")
        self._any = Ctc(checkpoint, options)
        self._spellers: dict[str, Ctc] = {}
        self._adapted_to: str | None = None
        self.max_rows = self._any.max_rows
        self.size_bytes = self._any.size_bytes

    @cached_property
    def capabilities(self) -> Capabilities:
        return msgspec.structs.replace(self._any.capabilities, languages=frozenset(self._languages), language_hint=True)

    def check(self, job: TranscriptionJob) -> None:
        """Refuse what cannot be done, and fetch the language's adapter. Raises JobUnsupported."""
        self._fetch(self._own(job.language))

    def pieces(self, job: TranscriptionJob) -> Iterator[Piece]:
        """Yield the utterance in pieces. Raises UnreadableAudio, AudioTooLong."""
        return self._any.pieces(job)

    def key(self, piece: Piece) -> Hashable:
        """Tell which pieces may be heard together: those of one language that a CTC model hears together."""
        return piece.language or self._otherwise, self._any.key(piece)

    def rows(self, piece: Piece) -> int:
        """Return the rows of a batch that a piece takes."""
        return self._any.rows(piece)

    def hear(self, pieces: Sequence[Piece], is_abandoned: Callable[[], bool]) -> list[Transcript]:
        """Return what was said in each. Raises OutOfMemory, Abandoned, JobUnsupported."""
        if is_abandoned():
            raise Abandoned
        own = self._own(pieces[0].language)
        with memory_watched():
            self._adapt(own)
        return self._speller(own).hear(pieces, is_abandoned)

    def close(self) -> None:
        """Let go of the model."""
        for each in (self._any, *self._spellers.values()):
            each.close()
        self._checkpoint = None  # type: ignore[assignment] # nothing is asked any more

    def _own(self, language: str | None) -> str:
        """Return the checkpoint's code of a language. Raises JobUnsupported."""
        wanted = language or self._otherwise
        if wanted is None:
            raise JobUnsupported(NAME, "this model cannot tell which language is spoken: give the language")
        if wanted not in self._languages:
            raise JobUnsupported(NAME, f"this model does not hear {wanted!r}")
        return self._languages[wanted]

    def _fetch(self, own: str) -> None:
        """Have the adapter's file on this machine. Blocking. Raises JobUnsupported where it cannot be had."""
        config = self._checkpoint.model.config
        try:
            found = any(cached_file(config.name_or_path, each.format(own), **self._missing_is_none) for each in _FILES)
        except OSError as error:
            raise JobUnsupported(NAME, f"the adapter for {own!r} cannot be fetched: {str(error)[:200]}") from error
        if not found:
            raise JobUnsupported(NAME, f"this model has no adapter for {own!r}, though a vocabulary")

    @property
    def _missing_is_none(self) -> dict[str, Any]:
        """Of the library's look-up of a file: with the commit that was loaded, the Hub is asked for it but once."""
        revision = getattr(self._checkpoint.model.config, "_commit_hash", None)
        return {"revision": revision, "_raise_exceptions_for_missing_entries": False}

    def _adapt(self, own: str) -> None:
        """Put a language's adapter into the model, unless it is there."""
        if own == self._adapted_to:
            return
        self._adapted_to = None  # until it is whole
        model = self._checkpoint.model
        model.load_adapter(own, revision=self._missing_is_none["revision"], local_files_only=True)
        self._adapted_to = own

    def _speller(self, own: str) -> Ctc:
        """Return the model with a language's vocabulary. What all have in common is not copied."""
        if own not in self._spellers:
            shared = self._checkpoint.tokenizer
            tokenizer = copy.deepcopy(shared, {id(shared.vocab): shared.vocab})
            tokenizer.set_target_lang(own)
            asked_as = next(code for code, each in self._languages.items() if each == own)
            options = msgspec.structs.replace(self._options, language=asked_as)
            self._spellers[own] = Ctc(replace(self._checkpoint, tokenizer=tokenizer), options)
        return self._spellers[own]


def _vocabularies(checkpoint: Checkpoint) -> list[str]:
    """Return the languages that a tokenizer has a vocabulary for each; none where it has but one of no language."""
    vocabulary = getattr(checkpoint.tokenizer, "vocab", {})
    return [name for name, letters in vocabulary.items() if isinstance(letters, dict)]


def _only(languages: dict[str, str]) -> str | None:
    return next(iter(languages)) if len(set(languages.values())) == 1 else None
