"""Amazon Transcribe, batch jobs: audio is put into a bucket of the operator's, a job started, and all deleted.

Source: botocore 1.44.8 (service model of transcribe, 2017-10-26), docs.aws.amazon.com/transcribe: API reference,
guidelines and quotas (2026). The wording of failures is unconfirmed.

An account names `region` and `bucket` in its options, and is let in by what botocore's chain finds (`aws_token.py`):
a role, as a rule. Or it has a key of its own: the secret access key, with `:session token` behind where they are
temporary, and `access_key_id` in the options. The object that was uploaded is deleted when all is over, the job as
soon as AWS lets it: not while it runs. The result lies with AWS, not in the bucket, and goes with the job.
"""

from __future__ import annotations

import json
import re
from importlib import import_module
from typing import TYPE_CHECKING, Annotated, Final, Literal, cast
from uuid import uuid4

from pydantic import BaseModel, Field, FiniteFloat

from providers.audio.containers import EXTENSIONS
from providers.bodies import json_body
from providers.errors import (
    CredentialsRejected,
    FateUnknown,
    JobUnsupported,
    MalformedReply,
    ProviderUnavailable,
    RateLimited,
)
from providers.exchange import Afterwards, HttpRequest, IfAbandoned, Over
from providers.languages import code_of
from providers.locales import locale_of
from providers.polling import Url, ask, is_transient, parse, pauses, submit, until_over
from providers.provider import Provider, ProviderOptions, options_for, succeeded
from providers.refusals import by_reply
from providers.spans import segment, word
from providers.types import Capabilities, Container, Timestamps, Transcript, Word

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from providers.credentials import Ask, FetchToken, Token
    from providers.errors import ProviderError
    from providers.exchange import Exchange, HttpReply
    from providers.types import Account, Deployment, TranscriptionJob

NAME = "aws-transcribe"
STANDARD = "standard"
"""The native model of everybody's; any other is the name of a custom language model."""


class AwsTranscribeOptions(ProviderOptions):
    """What a caller may set besides."""

    language_options: list[Annotated[str, Field(pattern=r"^[a-z]{2,3}-[A-Za-z]{2}$")]] | None = Field(
        default=None, min_length=2, max_length=10
    )
    vocabulary_name: str | None = Field(default=None, pattern=r"^[0-9A-Za-z._-]{1,200}$")
    max_speaker_labels: int | None = Field(default=None, ge=2, le=30)


# --- what it can do

_FORMATS: Final = {
    container: EXTENSIONS[container]
    for container in (
        Container.WAV,
        Container.FLAC,
        Container.MP3,
        Container.MP4,
        Container.OGG,
        Container.WEBM,
        Container.AMR,
    )
}
_SPEAKERS: Final = frozenset({"max_speaker_labels"})
_CAPABILITIES: Final = Capabilities(
    timestamps=frozenset({Timestamps.SEGMENT, Timestamps.WORD}),
    diarize=True,
    options=frozenset(AwsTranscribeOptions.model_fields),
    speaker_options=_SPEAKERS,
    containers=frozenset(_FORMATS),
    max_bytes=2_000_000_000,  # documented as 2 GB
    max_duration_s=4 * 3600.0,
)


# --- what is sent


def transcribe(job: TranscriptionJob, to: Deployment) -> Exchange[Transcript]:
    """Upload, start, ask until it is over, read. What was made there is deleted, whatever happens."""
    name = f"asr-gateway-{uuid4().hex}"
    address = f"{to.account.base_urls['bucket']}/{name}"
    yield from _upload(job, address)
    yield from _start(build_fields(job, to, name), to, name)
    done = yield from until_over(lambda: _state(to, name), pauses())
    if done.status == "FAILED":
        raise _failure(done.reason or "")
    if done.transcript is None:
        raise MalformedReply(NAME, "a job that is done without a transcript")
    result = HttpRequest(method="GET", url=done.transcript.uri, anonymous=True)  # its address lets in
    return read(parse(NAME, _Result, (yield from ask(result, is_transient, classify_error))), job, name)


def _upload(job: TranscriptionJob, address: str) -> Exchange[None]:
    """Put the audio into the bucket, and ask for its deletion: also where nobody waits for the answer any more."""
    deletion = HttpRequest(method="DELETE", url=address)
    upload = HttpRequest(
        method="PUT", url=address, headers={"content-type": job.audio.media_type}, body=(job.audio.content,)
    )
    yield IfAbandoned(deletion)  # where the answer is lost the object may be there; what is not there is deleted too
    try:
        reply = yield upload
    except MalformedReply:  # that was no S3
        yield Over()
        raise
    yield Over()
    if "etag" not in succeeded(reply, classify_error).headers:
        raise MalformedReply(NAME, "an upload that was stored nowhere")
    yield Afterwards(deletion, _is_passing)


def _call(to: Deployment, operation: str, fields: Mapping[str, object]) -> HttpRequest:
    return HttpRequest(
        method="POST",
        url=f"{to.account.base_urls['api']}/",
        headers={"content-type": "application/x-amz-json-1.1", "x-amz-target": f"Transcribe.{operation}"},
        body=json_body(fields),
    )


def _start(fields: Mapping[str, object], to: Deployment, name: str) -> Exchange[None]:
    """Start the job, and ask for its deletion where there is one, or may be."""
    deletion = Afterwards(_call(to, "DeleteTranscriptionJob", {"TranscriptionJobName": name}), _still_runs)
    try:
        parse(NAME, _Job, (yield from submit(_call(to, "StartTranscriptionJob", fields), classify_error)))
    except (FateUnknown, MalformedReply):
        yield deletion
        raise
    yield deletion


def build_fields(job: TranscriptionJob, to: Deployment, name: str) -> dict[str, object]:
    """Return what starts the job. name: of it, and of the object in the bucket."""
    options = options_for(job, NAME, _CAPABILITIES)
    fields: dict[str, object] = {
        "TranscriptionJobName": name,
        "Media": {"MediaFileUri": f"s3://{to.account.options['bucket']}/{name}"},
        **_language(job, options),
    }
    if job.audio.container in _FORMATS:
        fields["MediaFormat"] = _FORMATS[job.audio.container]
    if to.native_model != STANDARD:
        fields["ModelSettings"] = {"LanguageModelName": to.native_model}
    settings: dict[str, object] = {}
    if job.diarize:
        settings |= {"ShowSpeakerLabels": True, "MaxSpeakerLabels": options.get("max_speaker_labels", 10)}
    if vocabulary := options.get("vocabulary_name"):
        settings["VocabularyName"] = vocabulary
    return fields | ({"Settings": settings} if settings else {})


def _language(job: TranscriptionJob, options: Mapping[str, object]) -> dict[str, object]:
    if job.language:
        return {"LanguageCode": locale_of(job.language) or job.language}
    among = options.get("language_options")
    return {"IdentifyLanguage": True, **({"LanguageOptions": among} if among else {})}


_EXTRA: Final = 'signatures need an extra: pip install "asr-gateway[aws]"'


def authorize(request: HttpRequest, account: Account) -> HttpRequest:
    """Sign the request. Raises CredentialsRejected where the signer is not installed, or the key is none."""
    try:
        signed_headers = import_module("providers.aws_signature").signed_headers
    except ModuleNotFoundError as error:
        raise CredentialsRejected(NAME, _EXTRA) from error
    service = "transcribe" if "x-amz-target" in request.headers else "s3"
    headers = signed_headers(request, account, service=service, region=account.options["region"])
    return HttpRequest(
        method=request.method,
        url=request.url,
        headers=headers,
        body=request.body,
        once=request.once,
        bills=request.bills,
        on_sent=request.on_sent,
    )


async def fetch_token(account: Account, ask: Ask) -> Token:
    """Return credentials of the account's `profile` and `role_arn`, or of what the machine has."""
    try:
        fetch = cast("FetchToken", import_module("providers.aws_token").fetch)
    except ModuleNotFoundError as error:
        raise CredentialsRejected(NAME, _EXTRA) from error
    return await fetch(account, ask)


# --- what comes back


class _Transcript(BaseModel):
    uri: Url = Field(alias="TranscriptFileUri")


class _State(BaseModel):
    status: Literal["QUEUED", "IN_PROGRESS", "FAILED", "COMPLETED"] = Field(alias="TranscriptionJobStatus")
    reason: str | None = Field(default=None, alias="FailureReason")
    transcript: _Transcript | None = Field(default=None, alias="Transcript")

    @property
    def is_over(self) -> bool:
        return self.status in {"FAILED", "COMPLETED"}


class _Job(BaseModel):
    job: _State = Field(alias="TranscriptionJob")


def _state(to: Deployment, name: str) -> Exchange[_State]:
    question = _call(to, "GetTranscriptionJob", {"TranscriptionJobName": name})
    return parse(NAME, _Job, (yield from ask(question, _is_passing, classify_error))).job


class _Said(BaseModel):
    content: str = ""
    confidence: FiniteFloat | None = None  # as text, like all numbers here


class _Item(BaseModel):
    type: str = ""
    alternatives: list[_Said] = []
    start_time: FiniteFloat | None = None
    end_time: FiniteFloat | None = None
    speaker_label: str | None = None


class _Span(BaseModel):
    transcript: str
    start_time: FiniteFloat
    end_time: FiniteFloat
    speaker_label: str | None = None


class _Whole(BaseModel):
    transcript: str


class _Results(BaseModel):
    transcripts: list[_Whole] = Field(min_length=1)
    items: list[_Item] = []
    audio_segments: list[_Span] = []
    language_code: str | None = None


class _Result(BaseModel):
    results: _Results


def read(result: _Result, job: TranscriptionJob, name: str) -> Transcript:
    """Read a finished job's file."""
    heard = result.results
    timed = job.timestamps is not Timestamps.NONE or job.diarize
    return Transcript(
        text=heard.transcripts[0].transcript.strip(),
        segments=tuple(
            segment(each.transcript, each.start_time, each.end_time, each.speaker_label if job.diarize else None)
            for each in heard.audio_segments
            if timed
        ),
        words=tuple(_words(heard.items)) if job.timestamps is Timestamps.WORD else (),
        language=code_of(heard.language_code or ""),
        request_id=name,
    )


def _words(items: list[_Item]) -> Iterator[Word]:
    """Yield the words, each with the punctuation that follows it: that has no time of its own."""
    for number, each in enumerate(items):
        if each.type != "pronunciation" or not each.alternatives:
            continue
        said = each.alternatives[0]
        after = items[number + 1] if number + 1 < len(items) else None
        mark = after.alternatives[0].content if after and after.type == "punctuation" and after.alternatives else ""
        text = said.content + mark
        yield word(text, each.start_time, each.end_time, speaker=each.speaker_label, confidence=said.confidence)


# --- what went wrong

_THEIRS: Final = re.compile(r"internal|try (?:your request )?again|unavailable", re.IGNORECASE)
_OURS: Final = re.compile(r"access|permission|bucket|KMS", re.IGNORECASE)


def _failure(said: str) -> ProviderError:
    """Name why a job failed, which comes with a 200 like any other state."""
    if _OURS.search(said):
        return CredentialsRejected(NAME, "it may not read the bucket")
    if _THEIRS.search(said):
        return ProviderUnavailable(NAME, "the job failed there")
    return JobUnsupported(NAME, "it could not transcribe this audio")


_SLOW_DOWN: Final = frozenset({"ThrottlingException", "LimitExceededException", "SlowDown", "TooManyRequestsException"})
_KEYS: Final = frozenset(
    {
        "UnrecognizedClientException",
        "InvalidSignatureException",
        "IncompleteSignatureException",
        "MissingAuthenticationTokenException",
        "ExpiredTokenException",
        "AccessDeniedException",
        "InvalidAccessKeyId",
        "SignatureDoesNotMatch",
        "ExpiredToken",
        "NoSuchBucket",
    }
)
_S3_CODE: Final = re.compile(rb"<Code>(\w{1,80})</Code>")


def classify_error(reply: HttpReply) -> ProviderError:
    """Name a reply that is not 2xx, by its type: most have the status 400."""
    kind = _kind(reply)
    if kind in _SLOW_DOWN:
        return RateLimited(NAME, "it is asked too often", retry_after_s=None)
    if kind in _KEYS:
        return CredentialsRejected(NAME, f"it says {kind}")
    return by_reply(NAME, reply)


def _is_passing(reply: HttpReply) -> bool:
    return is_transient(reply) or _kind(reply) in _SLOW_DOWN


_GONE: Final = re.compile(rb"(?:be|not) found|n[o']t exist")


def _still_runs(reply: HttpReply) -> bool:
    """Tell whether a job was not deleted yet. BadRequestException is said of one that runs, and of one that is none."""
    return _is_passing(reply) or (_kind(reply) == "BadRequestException" and not _GONE.search(reply.body[:8192]))


def _kind(reply: HttpReply) -> str:
    """Return an error's type, of JSON or of S3's XML; "" where it has none."""
    if found := _S3_CODE.search(reply.body[:2048]):
        return found[1].decode()
    try:
        given = json.loads(reply.body)
    except (ValueError, RecursionError):
        given = None
    named = given.get("__type") if isinstance(given, dict) else None
    told = named if isinstance(named, str) else reply.headers.get("x-amzn-errortype", "")
    return told.partition(":")[0].rpartition("#")[2]


AWS_TRANSCRIBE = Provider(
    name=NAME,
    base_urls={
        "api": "https://transcribe.{region}.amazonaws.com",
        "bucket": "https://{bucket}.s3.{region}.amazonaws.com",
        "results": "https://s3.{region}.amazonaws.com",
    },
    account_options=frozenset({"region", "bucket"}),
    key_options=frozenset({"access_key_id"}),
    key_variable=None,
    key_required=False,  # without one, credentials are looked for
    fetch_token=fetch_token,
    refuses_token=lambda reply: _kind(reply) in _KEYS,
    authorize=authorize,
    capabilities=lambda _: _CAPABILITIES,
    transcribe=transcribe,
    options=AwsTranscribeOptions,
)
