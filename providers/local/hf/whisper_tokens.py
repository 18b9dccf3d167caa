"""Whisper's control tokens: what the decoder is told before it begins, and what its tokens say.

Source: openai/whisper v20240930 `tokenizer.py` (their order), `decoding.py` (`_get_initial_tokens`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from transformers import GenerationConfig

from providers.errors import JobRejected
from providers.languages import NAMES
from providers.local.provider import NAME
from providers.types import Segment, Task, Timestamps

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from providers.types import TranscriptionJob

TIMESTAMP_STEP_S: Final = 0.02
_ENGLISH_ONLY: Final = 51_864  # tokens; every multilingual model has more


class Tokens:
    """The ids of one checkpoint."""

    def __init__(self, model: Any, tokenizer: Any) -> None:  # noqa: ANN401 - the library has no types
        self._tokenizer = tokenizer
        self._most: int = model.config.max_target_positions
        self.multilingual = model.config.vocab_size > _ENGLISH_ONLY
        self.end: int = model.generation_config.eos_token_id
        self.start: int = model.generation_config.decoder_start_token_id
        self.no_timestamps = self._id("<|notimestamps|>")
        self.languages: Mapping[str, int] = self._languages() if self.multilingual else {}

    def prompt(self, job: TranscriptionJob, language: str | None) -> list[int]:
        """Return what the decoder reads first; as long for every language. Raises JobRejected."""
        told = [*self._earlier(job.prompt), self.start]
        if self.multilingual:
            told += [self.languages[language or next(iter(self.languages))], self._id(f"<|{job.task}|>")]
        return told if job.timestamps is not Timestamps.NONE else [*told, self.no_timestamps]

    def untimed(self, job: TranscriptionJob, language: str | None) -> list[int]:
        """Return the shortest prompt, under which words are aligned."""
        task = [self.languages[language], self._id(f"<|{job.task}|>")] if language and self.multilingual else []
        return [self.start, *task, self.no_timestamps]

    def text(self, tokens: Sequence[int]) -> str:
        said: str = self._tokenizer.decode(self.spoken(tokens))
        return said

    def spoken(self, tokens: Sequence[int]) -> list[int]:
        """Return those that are text."""
        return [each for each in tokens if each < self.end]

    def segments(self, tokens: Sequence[int], duration_s: float) -> tuple[Segment, ...]:
        """Return the text between timestamps. One that was left open ends with the audio."""
        found: list[Segment] = []
        start_s, kept = 0.0, list[int]()
        for token in (*tokens, None):
            if token is not None and token < self.end:
                kept.append(token)
                continue
            time_s = duration_s if token is None else (token - self.no_timestamps - 1) * TIMESTAMP_STEP_S
            if token is not None and token <= self.no_timestamps:
                continue  # a control token, which says nothing of time
            time_s = min(time_s, duration_s)
            if kept:
                found.append(Segment(text=self.text(kept), start_s=start_s, end_s=max(start_s, time_s)))
            start_s, kept = time_s, []
        return tuple(found)

    def _earlier(self, prompt: str | None) -> list[int]:
        """Return a prompt as what was said before, its end where it is too long. Raises JobRejected."""
        if not prompt or not prompt.strip():
            return []
        try:
            told = self._tokenizer.get_prompt_ids(prompt).tolist()
        except ValueError as error:
            raise JobRejected(NAME, "the prompt holds one of the model's control tokens, such as <|en|>") from error
        return [told[0], *told[1:][-(self._most // 2 - 1) :]]

    def _languages(self) -> dict[str, int]:
        ids = {code: self._id(f"<|{code}|>") for code in NAMES}
        return {code: token for code, token in ids.items() if self.start < token < self.no_timestamps}

    def _id(self, token: str) -> int:
        number: int = self._tokenizer.convert_tokens_to_ids(token)
        return number


def settled(model: Any, tokens: Tokens) -> Any:  # noqa: ANN401 - the library has no types
    """Return the model's generation config with what says how Whisper talks, and nothing of how long or by what search.

    Checkpoints bring lengths and beams of their own, which would decide where a job leaves them out.
    """
    told = model.generation_config
    config = model.config
    layers = range(config.decoder_layers // 2, config.decoder_layers)
    upper_half = [[layer, head] for layer in layers for head in range(config.decoder_attention_heads)]
    return GenerationConfig(
        bos_token_id=told.bos_token_id,
        eos_token_id=tokens.end,
        pad_token_id=tokens.end if told.pad_token_id is None else told.pad_token_id,
        decoder_start_token_id=tokens.start,
        suppress_tokens=getattr(told, "suppress_tokens", None) or None,
        begin_suppress_tokens=getattr(told, "begin_suppress_tokens", None) or None,
        no_timestamps_token_id=tokens.no_timestamps,
        max_initial_timestamp_index=getattr(told, "max_initial_timestamp_index", 50),
        alignment_heads=getattr(told, "alignment_heads", None) or upper_half,  # as openai/whisper does without them
        lang_to_id={f"<|{code}|>": token for code, token in tokens.languages.items()},
    )


def tasks(tokens: Tokens) -> frozenset[Task]:
    """Return what the model can do with speech."""
    return frozenset(Task) if tokens.multilingual else frozenset({Task.TRANSCRIBE})
