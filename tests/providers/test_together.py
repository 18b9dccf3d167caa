"""What is peculiar to Together: English unless told otherwise, speakers, and how its limits are told."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr, ValidationError

from providers import together
from providers.errors import CredentialsRejected, JobUnsupported, MalformedReply, RateLimited
from providers.exchange import HttpReply, HttpRequest
from providers.together import TOGETHER, TogetherOptions
from providers.types import (
    Account,
    Deployment,
    GenerationParameters,
    Task,
    Timestamps,
    Transcript,
    TranscriptionJob,
)
from tests.conftest import sample_audio
from tests.driving import form_parts

WHISPER = "openai/whisper-large-v3"
PARAKEET = "nvidia/parakeet-tdt-0.6b-v3"
URL = "https://api.together.ai/v1"


def deployment(native_model: str = WHISPER) -> Deployment:
    there = Account(name="a", adapter="together", base_urls={"api": URL}, api_key=SecretStr("k"))
    return Deployment(account=there, native_model=native_model)


def request(native_model: str = WHISPER, **wanted: Any) -> HttpRequest:
    job = TranscriptionJob(model="m", audio=sample_audio("sb_spk2_snt1.flac"), **wanted)
    return together.build_request(job, deployment(native_model))


def reply(status: int = 200, headers: dict[str, str] | None = None, **body: Any) -> HttpReply:
    return HttpReply(status=status, headers=headers or {}, body=json.dumps(body).encode())


def test_a_language_that_nobody_named_is_detected() -> None:
    """Left out, the service would hear everything as English."""
    built = request()

    assert built.url == f"{URL}/audio/transcriptions"
    assert form_parts(built) == [("model", WHISPER), ("response_format", "json"), ("language", "auto")]


def test_everything_asked_for_is_sent() -> None:
    built = request(
        language="fr-CA",
        prompt="names",
        timestamps=Timestamps.WORD,
        generation=GenerationParameters(temperature=0.5),
        diarize=True,
        provider_options={"together": TogetherOptions(min_speakers=2, max_speakers=4)},
    )

    assert form_parts(built) == [
        ("model", WHISPER),
        ("response_format", "verbose_json"),
        ("language", "fr"),
        ("prompt", "names"),
        ("temperature", "0.5"),
        ("timestamp_granularities[]", "segment"),
        ("timestamp_granularities[]", "word"),
        ("diarize", "true"),
        ("min_speakers", "2"),
        ("max_speakers", "4"),
    ]


def test_speakers_are_asked_for_in_the_format_that_shows_them() -> None:
    assert ("response_format", "verbose_json") in form_parts(request(diarize=True))


def test_a_translation_names_no_language() -> None:
    """`language` is the target there, and English where it is left out."""
    built = request(task=Task.TRANSLATE, language="fr", timestamps=Timestamps.WORD)

    assert built.url == f"{URL}/audio/translations"
    assert form_parts(built) == [
        ("model", WHISPER),
        ("response_format", "verbose_json"),
        ("timestamp_granularities[]", "segment"),
        ("timestamp_granularities[]", "word"),
    ]


def test_a_translation_with_speakers_is_for_another_provider() -> None:
    with pytest.raises(JobUnsupported):
        request(task=Task.TRANSLATE, diarize=True)


def test_what_a_model_has_no_field_for_is_not_sent() -> None:
    """Parakeet takes a prompt and ignores it; of its speakers nothing is promised."""
    assert form_parts(request(PARAKEET, prompt="names", diarize=True)) == [
        ("model", PARAKEET),
        ("response_format", "json"),
        ("language", "auto"),
    ]


def test_capabilities_belong_to_the_model() -> None:
    whisper, parakeet, unknown = (TOGETHER.capabilities(deployment(m)) for m in (WHISPER, PARAKEET, "x/new"))

    assert (whisper.diarize, whisper.prompt, whisper.tasks) == (True, True, frozenset(Task))
    assert (parakeet.diarize, parakeet.prompt) == (False, False)
    assert parakeet.languages is not None
    assert len(parakeet.languages) == 25
    assert (unknown.languages, unknown.tasks) == (None, frozenset({Task.TRANSCRIBE}))


@pytest.mark.parametrize(
    "refused",
    [
        {"min_speakers": 0},
        {"max_speakers": "3"},
        {"min_speakers": 3, "max_speakers": 2},
        {"file": "http://10.0.0.1/a.wav"},
    ],
    ids=str,
)
def test_options_out_of_range_or_not_listed_are_refused(refused: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        TogetherOptions(**refused)


def test_turns_say_who_spoke() -> None:
    turn = {"id": 0, "speaker_id": "SPEAKER_01", "start": 0.0, "end": 1.0, "text": "Hi."}
    said = {"word": "Hi.", "start": 0.1, "end": 0.9, "speaker_id": "SPEAKER_01"}
    plain = {"id": 0, "start": 0.0, "end": 1.0, "text": "Hi."}
    heard = together.parse_reply(
        reply(text="Hi.", segments=[plain], speaker_segments=[{**turn, "words": [{"id": 0, **said}]}])
    )

    assert [segment.speaker for segment in heard.segments] == ["SPEAKER_01"]
    assert [(word.text, word.speaker) for word in heard.words] == [("Hi.", "SPEAKER_01")]


def test_a_word_outside_every_turn_has_no_speaker() -> None:
    heard = together.parse_reply(reply(text="Hm.", words=[{"word": "Hm.", "start": 0.0, "end": 0.2}]))

    assert [word.speaker for word in heard.words] == [None]


@pytest.mark.parametrize(
    ("message", "error"),
    [("The input is too large", JobUnsupported), ("Forbidden", CredentialsRejected)],
    ids=["size", "key"],
)
def test_a_403_is_about_the_key_unless_it_is_about_the_size(message: str, error: type[Exception]) -> None:
    assert type(together.classify_error(reply(403, error={"message": message}))) is error


@pytest.mark.parametrize(
    ("headers", "wait_s"),
    [
        ({"x-ratelimit-reset": "1.5"}, 1.5),
        ({"retry-after": "2", "x-ratelimit-reset": "9"}, 2.0),
        ({"x-ratelimit-reset": "soon"}, None),
        ({"x-ratelimit-reset": "nan"}, None),
        ({"x-ratelimit-reset": "-1"}, None),
        ({}, None),
    ],
    ids=str,
)
def test_how_long_to_wait_is_a_bare_number(headers: dict[str, str], wait_s: float | None) -> None:
    named = together.classify_error(reply(429, headers, error={"message": "slow down"}))

    assert isinstance(named, RateLimited)
    assert named.retry_after_s == wait_s


ANYTHING = st.recursive(
    st.none() | st.floats() | st.text(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["text", "word", "start", "end", "speaker_id", "words"]), inner)
    ),
)


@given(turns=ANYTHING, words=ANYTHING)
def test_any_speakers_are_a_transcript_or_malformed(turns: Any, words: Any) -> None:
    try:
        heard = together.parse_reply(reply(text="x", speaker_segments=turns, words=words))
    except MalformedReply:
        return
    assert isinstance(heard, Transcript)
    assert all(word.end_s >= word.start_s >= 0 for word in heard.words)
