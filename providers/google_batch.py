"""Longer audio at Cloud Speech-to-Text: put into a bucket of the operator's, recognized there, and all deleted.

Source: google-cloud-speech 2.41.0 (`batch_recognize` and the operations' own calls, over REST), google-cloud-storage
3.17.1; cloud.google.com/speech-to-text/docs/batch-recognize and /storage/docs/json_api (2026). That a cancelled
operation stops at once is unconfirmed.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Final
from urllib.parse import quote
from uuid import uuid4

from pydantic import BaseModel, Field

from providers.bodies import json_body
from providers.errors import MalformedReply
from providers.exchange import TRANSIENT, Afterwards, HttpReply, HttpRequest, IfAbandoned, Over
from providers.polling import ask, is_transient, parse, pauses, submit, until_over
from providers.provider import succeeded

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from providers.errors import ProviderError
    from providers.exchange import Exchange
    from providers.types import Account, TranscriptionJob

    Classify = Callable[[HttpReply], ProviderError]

MAX_S: Final = 8 * 3600.0


class _Stored(BaseModel):
    name: str


class _Status(BaseModel):
    code: int


class _Inline(BaseModel):
    transcript: dict[str, object] = {}  # without results where nobody speaks


class _File(BaseModel):
    error: _Status | None = None
    inline: _Inline | None = Field(default=None, alias="inlineResult")
    metadata: dict[str, object] = {}


class _Response(BaseModel):
    results: dict[str, _File] = Field(min_length=1)  # by where the audio lay


class _Operation(BaseModel):
    name: Annotated[str, Field(pattern=r"^projects/[^/\s]+/locations/[\w-]+/operations/[\w.-]+$", max_length=500)]
    done: bool = False
    error: _Status | None = None
    response: _Response | None = None

    @property
    def is_over(self) -> bool:
        return self.done


def store(job: TranscriptionJob, account: Account, headers: Mapping[str, str], classify: Classify) -> Exchange[str]:
    """Put the audio into the account's bucket; return its `gs://` address. It is deleted whatever happens."""
    name = f"asr-gateway-{uuid4().hex}"
    bucket, storage = account.options["bucket"], account.base_urls["storage"]
    within = f"storage/v1/b/{quote(bucket, safe='')}/o"
    deletion = HttpRequest(method="DELETE", url=f"{storage}/{within}/{name}", headers=headers)
    upload = HttpRequest(
        method="POST",
        url=f"{storage}/upload/{within}?uploadType=media&name={name}",
        headers={**headers, "content-type": job.audio.media_type},
        body=(job.audio.content,),
    )
    yield IfAbandoned(deletion)  # where the answer is lost the object may be there
    parse(account.adapter, _Stored, succeeded((yield upload), classify))
    yield Over()
    yield Afterwards(deletion)
    return f"gs://{bucket}/{name}"


def recognize(
    config: object, uri: str, account: Account, headers: Mapping[str, str], classify: Classify
) -> Exchange[dict[str, object]]:
    """Start an operation, and ask after it until it is over; return its results and metadata. It is deleted there.

    One that nobody waits for any more is cancelled first.
    """
    api = account.base_urls["api"]
    start = HttpRequest(
        method="POST",
        url=f"{api}/recognizers/_:batchRecognize",
        headers={**headers, "content-type": "application/json"},
        body=json_body(
            {"config": config, "files": [{"uri": uri}], "recognitionOutputConfig": {"inlineResponseConfig": {}}}
        ),
    )
    made = parse(account.adapter, _Operation, (yield from submit(start, classify)))
    address = f"{api}/operations/{made.name.rpartition('/')[2]}"
    yield IfAbandoned(HttpRequest(method="POST", url=f"{address}:cancel", headers=headers))
    yield Afterwards(HttpRequest(method="DELETE", url=address, headers=headers), _STILL_RUNS)
    reading = HttpRequest(method="GET", url=address, headers=headers)

    def state() -> Exchange[_Operation]:
        return parse(account.adapter, _Operation, (yield from ask(reading, is_transient, classify)))

    done = yield from until_over(state, pauses())
    yield Over()
    return _result(account.adapter, done, classify)


_STILL_RUNS: Final = frozenset({HTTPStatus.BAD_REQUEST.value, HTTPStatus.CONFLICT.value}) | TRANSIENT
# google.rpc.Code as the status that it has as a reply of its own
_AS_STATUS: Final = {1: 499, 3: 400, 4: 504, 5: 404, 7: 403, 8: 429, 9: 400, 11: 400, 13: 500, 14: 503, 16: 401}


def _result(provider: str, done: _Operation, classify: Classify) -> dict[str, object]:
    """Return what was heard in the one file. Raises what the operation or the file ended with."""
    file = next(iter(done.response.results.values())) if done.response else None
    if failed := done.error or (file.error if file and file.error and file.error.code else None):
        raise classify(HttpReply(status=_AS_STATUS.get(failed.code, 500)))
    if file is None or file.inline is None:
        raise MalformedReply(provider, "an operation that is done without a result")
    return {**file.inline.transcript, "metadata": file.metadata}
