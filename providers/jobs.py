"""Jobs at services that give each one address: started once, asked after there until it is over, deleted there.

An upload that goes ahead of its job, and that is not deleted with it, is the adapter's own to delete.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Final, Generic, TypeVar

from pydantic import BaseModel, Field

from providers.exchange import TRANSIENT, Afterwards, HttpRequest, IfAbandoned, Over
from providers.polling import ask, is_transient, parse, pauses, submit, until_over

if TYPE_CHECKING:
    from collections.abc import Callable

    from providers.errors import ProviderError
    from providers.exchange import Exchange, HttpReply


class Made(BaseModel):
    """What was made there, by a name that can stand in an address."""

    id: Annotated[str, Field(pattern=r"^[\w-]+$", max_length=200)]


class Job(BaseModel):
    """What a reading tells of a job."""

    status: str

    @property
    def is_over(self) -> bool:
        return self.status not in _RUNNING


_RUNNING: Final = frozenset({"queued", "processing", "running", "in_progress"})
J = TypeVar("J", bound=Job)


@dataclass(frozen=True, slots=True, kw_only=True)
class Jobs(Generic[J]):
    """The jobs of one service."""

    provider: str
    job: type[J]
    classify_error: Callable[[HttpReply], ProviderError]
    kept: frozenset[int]  # statuses with which a job that still runs is not deleted
    stopped_by: str | None = None  # what is added to the address for a deletion that stops the job; None: nothing does

    def run(self, create: HttpRequest, within: str) -> Exchange[tuple[str, J]]:
        """Start a job and return its address, and what it says when it is over. It is deleted whatever happens.

        within: the address that all jobs have in common. Raises FateUnknown where the job is lost sight of.
        """
        made = parse(self.provider, Made, (yield from submit(create, self.classify_error)))
        address = f"{within}/{made.id}"
        deletion = Afterwards(_delete(address), self.kept | TRANSIENT)
        if self.stopped_by is None:
            yield deletion
        else:
            yield IfAbandoned(_delete(address + self.stopped_by))
        job = yield from until_over(lambda: self._state(address), pauses())
        if self.stopped_by is not None:
            yield deletion
            yield Over()
        return address, job

    def _state(self, address: str) -> Exchange[J]:
        return parse(self.provider, self.job, (yield from self.read(address)))

    def read(self, address: str, **headers: str) -> Exchange[HttpReply]:
        """Get what a job has made, or its state. Some failed readings are forgiven."""
        request = HttpRequest(method="GET", url=address, headers=headers)
        return (yield from ask(request, is_transient, self.classify_error))


def _delete(address: str) -> HttpRequest:
    return HttpRequest(method="DELETE", url=address)
