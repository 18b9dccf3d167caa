"""What a provider is: a name, where it lives, how it lets us in, what its models can do, and the translation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, TypeAlias

from msgspec.structs import replace
from pydantic import BaseModel, ConfigDict

from providers.errors import JobUnsupported
from providers.exchange import Exchange, HttpReply, HttpRequest
from providers.sentences import as_asked
from providers.types import (
    Account,
    Capabilities,
    Deployment,
    Task,
    Timestamps,
    Transcript,
    TranscriptionJob,
    option_values,
)

if TYPE_CHECKING:
    from providers.credentials import FetchToken
    from providers.errors import ProviderError

Authorize: TypeAlias = Callable[[HttpRequest, Account], HttpRequest]
Translate: TypeAlias = Callable[[TranscriptionJob, Deployment], Exchange[Transcript]]


class ProviderOptions(BaseModel):
    """Base of each provider's allow-list of extra fields a caller may set; anything else is refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """One speech service reached over HTTP."""

    name: str
    base_urls: Mapping[str, str]  # "api" and more, with {options} in them; empty where every account must name its own
    key_variable: str | None  # the environment variable its own SDK reads
    authorize: Authorize
    capabilities: Callable[[Deployment], Capabilities]  # of its native model, on a server its account may describe
    transcribe: Translate
    options: type[ProviderOptions] = ProviderOptions
    credential_hosts: frozenset[str] = field(default_factory=frozenset)  # besides those of the account's URLs
    credential_domains: frozenset[str] = field(default_factory=frozenset)  # as is each host one label below them
    public_hosts: frozenset[str] = field(default_factory=frozenset)  # may be fetched from, without a credential
    key_required: bool = True
    account_options: frozenset[str] = frozenset()  # without which an account is none
    key_options: frozenset[str] = frozenset()  # without which an account with a key of its own is none
    fetch_token: FetchToken | None = None  # for accounts without a key: what lets them in ends, and is fetched anew
    exchanges_key: bool = False  # a key is what the token is fetched with, and lets nobody in itself
    refuses_token: Callable[[HttpReply], bool] = lambda reply: reply.status == HTTPStatus.UNAUTHORIZED


def one_call(
    build_request: Callable[[TranscriptionJob, Deployment], HttpRequest],
    parse_reply: Callable[[HttpReply], Transcript],
    classify_error: Callable[[HttpReply], ProviderError],
) -> Translate:
    """Make the exchange of a service that answers in one call."""

    def transcribe(job: TranscriptionJob, to: Deployment) -> Exchange[Transcript]:
        reply = yield replace(build_request(job, to), bills=True)
        return parse_reply(succeeded(reply, classify_error))

    return transcribe


def one_timed_call(
    build_request: Callable[[TranscriptionJob, Deployment], HttpRequest],
    parse_reply: Callable[[HttpReply], Transcript],
    classify_error: Callable[[HttpReply], ProviderError],
) -> Translate:
    """Make the exchange of a service that answers in one call, and with times whether they were asked for or not."""
    call = one_call(build_request, parse_reply, classify_error)

    def transcribe(job: TranscriptionJob, to: Deployment) -> Exchange[Transcript]:
        return as_asked((yield from call(job, to)), job)

    return transcribe


def succeeded(reply: HttpReply | None, classify_error: Callable[[HttpReply], ProviderError]) -> HttpReply:
    """Return the reply if its status is 2xx. Raises what classify_error says of it otherwise."""
    if reply is None:
        raise TypeError("an HttpRequest is answered with an HttpReply")
    if 200 <= reply.status < 300:
        return reply
    raise classify_error(reply)


def options_for(job: TranscriptionJob, adapter: str, can: Capabilities) -> dict[str, Any]:
    """Return the caller's options for an adapter that the model reads. Planning names the others."""
    read = can.options if job.diarize else can.options - can.speaker_options
    return {name: value for name, value in option_values(job, adapter).items() if name in read}


def check_times(job: TranscriptionJob, adapter: str) -> None:
    """Raise JobUnsupported for words of a translation with times, at a service that has them of what was said alone."""
    if job.task is Task.TRANSLATE and job.timestamps is Timestamps.WORD:
        raise JobUnsupported(adapter, "it does not time the words of a translation")


def unread_options(job: TranscriptionJob, adapter: str, can: Capabilities) -> list[str]:
    """Return the names of the caller's options for an adapter that the model does not read."""
    if not job.provider_options:
        return []
    return sorted(option_values(job, adapter).keys() - options_for(job, adapter, can).keys())
