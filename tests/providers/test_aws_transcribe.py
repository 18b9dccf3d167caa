"""What is peculiar to Amazon Transcribe: a bucket, jobs by name, and deleting what was made."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import SecretStr

from config.faults import BadConfiguration
from config.settings import AccountSettings, Settings
from gateway.defaults import check_adapters
from providers.aws_transcribe import AWS_TRANSCRIBE, AwsTranscribeOptions, build_fields
from providers.errors import FateUnknown, ProviderUnavailable
from providers.exchange import Afterwards, Exchange, HttpReply, IfAbandoned
from providers.types import Account, Container, Deployment, Timestamps, Transcript, TranscriptionJob
from tests.conftest import sample_audio
from tests.driving import answer, asked, document, requests, steps_of

OPTIONS = {"region": "eu-west-1", "bucket": "my-audio", "access_key_id": "AKID"}
API = "https://transcribe.eu-west-1.amazonaws.com"
BUCKET = "https://my-audio.s3.eu-west-1.amazonaws.com"

STORED = HttpReply(status=200, headers={"etag": '"0"'})


def to(native_model: str = "standard") -> Deployment:
    urls = {"api": API, "bucket": BUCKET, "results": "https://s3.eu-west-1.amazonaws.com"}
    there = Account(name="a", adapter="aws-transcribe", base_urls=urls, api_key=SecretStr("s"), options=OPTIONS)
    return Deployment(account=there, native_model=native_model)


def job(**wanted: Any) -> TranscriptionJob:
    return TranscriptionJob(model="m", audio=sample_audio("sb_spk2_snt1.flac"), **wanted)


def test_everything_asked_for_starts_the_job() -> None:
    options = AwsTranscribeOptions(vocabulary_name="names", max_speaker_labels=3)
    wanted = job(language="en", diarize=True, provider_options={"aws-transcribe": options})

    assert build_fields(wanted, to("my-model"), "j1") == {
        "TranscriptionJobName": "j1",
        "Media": {"MediaFileUri": "s3://my-audio/j1"},
        "MediaFormat": "flac",
        "LanguageCode": "en-US",
        "ModelSettings": {"LanguageModelName": "my-model"},
        "Settings": {"ShowSpeakerLabels": True, "MaxSpeakerLabels": 3, "VocabularyName": "names"},
    }


def test_without_a_language_it_is_found_out() -> None:
    among = AwsTranscribeOptions(language_options=["en-US", "de-DE"])

    assert build_fields(job(), to(), "j1")["IdentifyLanguage"] is True
    assert build_fields(job(provider_options={"aws-transcribe": among}), to(), "j1")["LanguageOptions"] == [
        "en-US",
        "de-DE",
    ]


def state(status: str, **more: Any) -> HttpReply:
    return answer(TranscriptionJob={"TranscriptionJobStatus": status, **more})


DELETIONS = [
    ("BadRequestException", "The requested job couldn't be deleted: it is IN_PROGRESS.", True),
    ("LimitExceededException", "Rate exceeded", True),
    ("BadRequestException", "The requested job couldn't be found.", False),
    ("ExpiredTokenException", "The security token included in the request is expired", False),
    ("UnrecognizedClientException", "The security token included in the request is invalid.", False),
]


def test_what_is_made_is_deleted_in_the_order_in_which_it_can_be() -> None:
    uri = "https://s3.eu-west-1.amazonaws.com/r/j1.json?X-Amz-Signature=1"
    steps, heard = steps_of(
        AWS_TRANSCRIBE.transcribe(job(timestamps=Timestamps.WORD), to()),
        STORED,
        state("IN_PROGRESS"),
        state("COMPLETED", Transcript={"TranscriptFileUri": uri}),
        answer(results={"transcripts": [{"transcript": " Hi. "}]}),
    )

    name = heard.request_id
    assert heard.text == "Hi."
    assert asked(steps) == [("PUT", f"{BUCKET}/{name}"), ("POST", f"{API}/"), ("POST", f"{API}/"), ("GET", uri)]
    _, start, _, result = requests(steps)
    assert (start.bills, start.once, result.anonymous) == (True, True, True)
    assert document(start)["TranscriptionJobName"] == name
    of_object, of_job = [each for each in steps if isinstance(each, Afterwards)]
    assert isinstance(steps[0], IfAbandoned)  # before anybody knows that it is there
    assert steps[0].request == of_object.request
    assert (of_object.request.method, of_object.request.url) == ("DELETE", f"{BUCKET}/{name}")
    assert of_job.request.headers["x-amz-target"] == "Transcribe.DeleteTranscriptionJob"
    assert callable(of_object.not_yet)
    assert [of_object.not_yet(answer(status)) for status in (503, 429, 204, 403)] == [True, True, False, False]
    assert of_object.not_yet(HttpReply(status=400, body=b"<Error><Code>SlowDown</Code></Error>"))
    assert callable(of_job.not_yet)
    for kind, said, is_kept in DELETIONS:
        assert of_job.not_yet(answer(400, __type=f"com.amazonaws.transcribe#{kind}", Message=said)) == is_kept


def test_an_upload_of_which_nothing_was_heard_is_deleted() -> None:
    exchange = AWS_TRANSCRIBE.transcribe(job(), to())
    asked_first = next(exchange)
    exchange.send(None)
    with pytest.raises(ProviderUnavailable):
        exchange.throw(ProviderUnavailable("aws-transcribe", "cut off"))

    assert isinstance(asked_first, IfAbandoned)  # and nothing has called that off


def test_a_job_that_may_have_begun_is_deleted_too() -> None:
    told: list[object] = []

    def overheard() -> Exchange[Transcript]:
        exchange = AWS_TRANSCRIBE.transcribe(job(), to())
        step = next(exchange)
        while True:
            told.append(step)
            step = exchange.send((yield step))

    with pytest.raises(FateUnknown):
        steps_of(overheard(), STORED, answer(500))

    assert isinstance(told[-1], Afterwards)
    assert told[-1].request.headers["x-amz-target"] == "Transcribe.DeleteTranscriptionJob"


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({**OPTIONS, "bucket": ""}, "options.bucket: missing"),
        ({"bucket": "b", "access_key_id": "a"}, "options.region: missing"),
        ({"bucket": "b", "region": "r"}, "options.access_key_id: missing"),
        ({**OPTIONS, "bucket": "evil.example/"}, "options.bucket"),
    ],
)
def test_an_account_without_a_bucket_is_none(options: dict[str, str], says: str) -> None:
    account = AccountSettings(adapter="aws-transcribe", api_key=SecretStr("s"), options=options)

    with pytest.raises(BadConfiguration, match=says):
        check_adapters(Settings(providers={"a": account}))


def test_an_account_without_a_key_has_a_role() -> None:
    """What botocore's chain finds lets it in; an access key without its secret is half a key."""
    role = AccountSettings(adapter="aws-transcribe", options={"bucket": "b", "region": "eu-west-1"})
    half = AccountSettings(adapter="aws-transcribe", options=OPTIONS)
    check_adapters(Settings(providers={"a": role}))

    with pytest.raises(BadConfiguration, match="api_key: missing"):
        check_adapters(Settings(providers={"a": half}))


@pytest.mark.parametrize("container", [None, Container.CAF])
def test_a_format_that_it_has_no_name_for_is_left_to_it(container: Container | None) -> None:
    audio = sample_audio("sb_spk2_snt1.flac")
    odd = type(audio)(
        content=audio.content, media_type="audio/x", container=container, duration_s=None, digest=audio.digest
    )

    assert "MediaFormat" not in build_fields(TranscriptionJob(model="m", audio=odd), to(), "j1")
