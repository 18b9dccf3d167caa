"""The sixteen generation parameters of a job as keywords of transformers' generic decoder: each honoured or refused.

Whisper's own `generate` would take no notice of half of them; what it does to each, and what is done here, is told in
docs/decisions/0019. What contradicts itself on any engine is refused where requests are read, before this.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from providers.errors import JobUnsupported
from providers.local.hf.contrastive import contrastive_search
from providers.local.hf.group_beam import group_beam_search
from providers.local.provider import NAME

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from providers.types import GenerationParameters

CANDIDATES: Final = 4
"""Of contrastive search, where top_k is not given: as its authors chose for most of their models."""
MAX_CANDIDATES: Final = 64
"""Each is a row of the batch."""
DIVERSITY_PENALTY: Final = 0.5
"""Between groups of beams; the specification has no parameter for it, and with 0 all groups are the same."""
MIN_TEMPERATURE: Final = 0.001
"""Above 0: below it the logits no longer fit a float."""
_DRAWING: Final[Mapping[str, float]] = {
    "top_k": 0,
    "top_p": 1.0,
    "typical_p": 1.0,
    "epsilon_cutoff": 0.0,
    "eta_cutoff": 0.0,
}
"""What narrows the tokens that are drawn from, and the value that does not."""


class Room(NamedTuple):
    """Positions of a decoder."""

    prompt: int  # taken before the first token is generated
    most: int

    @property
    def new(self) -> int:
        return self.most - self.prompt


def samples(asked: GenerationParameters) -> bool:
    """Tell whether tokens are drawn by lot: as said, else where there is a temperature."""
    return bool(asked.temperature) if asked.do_sample is None else asked.do_sample


def rows(asked: GenerationParameters) -> int:
    """Return the rows of a batch that an utterance takes."""
    return (asked.top_k or CANDIDATES) if asked.penalty_alpha else asked.num_beams or 1


def check(asked: GenerationParameters, room: Room) -> None:
    """Refuse what this decoder cannot do as asked. Raises JobUnsupported, with the first of the reasons."""
    for reason in _refusals(asked, room):
        raise JobUnsupported(NAME, reason)


def keywords(asked: GenerationParameters, room: Room) -> dict[str, Any]:
    """Return the keywords of `GenerationMixin.generate` for parameters that `check` has let pass.

    All of them, so that nothing of a checkpoint's own configuration decides in their place.
    """
    beams = asked.num_beams or 1
    given: dict[str, Any] = {
        "num_beams": beams,
        "do_sample": samples(asked),
        "use_cache": asked.use_cache is not False,
        "max_new_tokens": _most(asked, room),
        "min_new_tokens": _least(asked, room),
        "early_stopping": False if asked.early_stopping is None or beams == 1 else asked.early_stopping,
    }
    if given["do_sample"]:
        given["temperature"] = 1.0 if asked.temperature is None else asked.temperature
        given |= {name: off if (value := getattr(asked, name)) is None else value for name, off in _DRAWING.items()}
    return {**given, **_search(asked)}


def _search(asked: GenerationParameters) -> dict[str, Any]:
    """Return the search, where it is none of the library's own."""
    groups = asked.num_beam_groups or 1
    if asked.penalty_alpha:
        candidates = asked.top_k or CANDIDATES
        return {
            "custom_generate": partial(contrastive_search, penalty_alpha=asked.penalty_alpha, candidates=candidates)
        }
    if groups > 1:
        bound = partial(group_beam_search, num_beam_groups=groups, diversity_penalty=DIVERSITY_PENALTY)
        return {"custom_generate": bound}
    return {}


def _most(asked: GenerationParameters, room: Room) -> int:
    """Return how many tokens may be generated. max_length counts the prompt; max_new_tokens decides where both are."""
    if asked.max_new_tokens is not None:
        return asked.max_new_tokens
    return room.new if asked.max_length is None else asked.max_length - room.prompt


def _least(asked: GenerationParameters, room: Room) -> int:
    if asked.min_new_tokens is not None:
        return asked.min_new_tokens
    return max(0, (asked.min_length or 0) - room.prompt)


def _refusals(asked: GenerationParameters, room: Room) -> Iterator[str]:
    yield from _searches(asked)
    yield from _draws(asked)
    yield from _lengths(asked, room)


def _searches(asked: GenerationParameters) -> Iterator[str]:
    beams, groups = asked.num_beams or 1, asked.num_beam_groups or 1
    if asked.penalty_alpha:
        if beams > 1 or samples(asked):
            yield "penalty_alpha selects contrastive search, which excludes num_beams above 1 and sampling"
        if asked.use_cache is False:
            yield "penalty_alpha selects contrastive search, which needs use_cache"
        if asked.top_k is not None and not 1 <= asked.top_k <= MAX_CANDIDATES:
            yield f"top_k is from 1 to {MAX_CANDIDATES} where penalty_alpha selects contrastive search"
    if groups > 1 and samples(asked):
        yield "num_beam_groups above 1 excludes sampling: neither do_sample nor a temperature above 0"
    if beams % groups:
        yield f"num_beam_groups must divide num_beams, which is {beams}"


def _draws(asked: GenerationParameters) -> Iterator[str]:
    if samples(asked):
        if asked.temperature is not None and asked.temperature < MIN_TEMPERATURE:
            yield f"temperature is at least {MIN_TEMPERATURE} where tokens are drawn by lot"
        return
    for name, off in _DRAWING.items():
        value = getattr(asked, name)
        if name == "top_k" and asked.penalty_alpha:
            continue  # the candidates
        if value is not None and value != off:
            instead = " (or penalty_alpha)" if name == "top_k" else ""
            yield f"{name} needs do_sample=true or a temperature above 0{instead}"


def _lengths(asked: GenerationParameters, room: Room) -> Iterator[str]:
    for name, value, most in (
        ("max_new_tokens", asked.max_new_tokens, room.new),
        ("min_new_tokens", asked.min_new_tokens, room.new),
        ("max_length", asked.max_length, room.most),
        ("min_length", asked.min_length, room.most),
    ):
        if value is not None and value > most:
            yield f"{name} is at most {most} there{_less(name, room)}"
    if asked.max_new_tokens is None and asked.max_length is not None and asked.max_length <= room.prompt:
        yield f"max_length counts the {room.prompt} tokens of the prompt: it is at least {room.prompt + 1} there"
    if _least(asked, room) > _most(asked, room):
        least = "min_length" if asked.min_new_tokens is None else "min_new_tokens"
        most_name = "max_length" if asked.max_new_tokens is None else "max_new_tokens"
        yield f"{least} asks for more tokens than {most_name} leaves room for: {_most(asked, room)}"


def _less(name: str, room: Room) -> str:
    return f", {room.most} less the {room.prompt} of the prompt" if name.endswith("new_tokens") else ""
