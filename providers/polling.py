"""What services that answer later have in common: JSON that leads on, a job asked after, the pauses between."""

from __future__ import annotations

from itertools import repeat
from typing import TYPE_CHECKING, Annotated, TypeAlias, TypeVar

from pydantic import BaseModel, Field, ValidationError

from providers.errors import MalformedReply
from providers.exchange import Wait
from providers.provider import succeeded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from providers.errors import ProviderError
    from providers.exchange import Exchange, HttpReply, HttpRequest

T = TypeVar("T", bound=BaseModel)

Url: TypeAlias = Annotated[str, Field(pattern=r"^https?://[^/\s]+/\S*$")]
"""A URL in a reply. Whether it may be gone to is for the transport to say."""


def parse(provider: str, model: type[T], reply: HttpReply) -> T:
    """Read a reply's JSON. Raises MalformedReply, and nothing else."""
    try:
        return model.model_validate_json(reply.body)
    except ValidationError as error:
        raise MalformedReply(provider, f"a {reply.status} that is no {model.__name__.strip('_').lower()}") from error


def pauses() -> Iterator[float]:
    """Seconds between polls: half a second at first, as the HF client and Replicate's SDK have it, growing to two."""
    yield from (0.5, 0.5, 0.75, 1.0, 1.5)
    yield from repeat(2.0)


def ask(
    request: HttpRequest,
    is_transient: Callable[[HttpReply], bool],
    classify_error: Callable[[HttpReply], ProviderError],
) -> Exchange[HttpReply]:
    """Read something of a job. Two failed readings are forgiven: the job itself runs on and is paid for."""
    for pause_s in (1.0, 2.0):
        reply = yield request
        if reply is None or not is_transient(reply):
            return succeeded(reply, classify_error)
        yield Wait(pause_s)
    return succeeded((yield request), classify_error)
