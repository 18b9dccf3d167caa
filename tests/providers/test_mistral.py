"""What is peculiar to Mistral: a language that silences it, lists without brackets, words that are called segments."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from providers import mistral
from providers.errors import MalformedReply
from providers.exchange import HttpReply
from providers.mistral import MistralOptions
from providers.types import GenerationParameters, Timestamps, Transcript
from tests.driving import at, first_request, form_parts

SECOND, THIRD = at("mistral", "voxtral-mini-2602"), at("mistral", "voxtral-small-transcribe-3-0")


def options(**values: Any) -> dict[str, Any]:
    return {"provider_options": {"mistral": MistralOptions(**values)}}


def test_everything_asked_for_is_sent() -> None:
    built = first_request(
        THIRD,
        language="pt-BR",
        timestamps=Timestamps.SEGMENT,
        generation=GenerationParameters(temperature=0.5),
        diarize=True,
        **options(context_bias=["Chicken Kiev", "slushy"], return_language=True),
    )

    assert built.url == "https://api.mistral.ai/v1/audio/transcriptions"
    assert form_parts(built) == [
        ("model", "voxtral-small-transcribe-3-0"),
        ("language", "pt"),
        ("temperature", "0.5"),
        ("timestamp_granularities", "segment"),
        ("diarize", "true"),
        ("context_bias", "Chicken Kiev"),
        ("context_bias", "slushy"),
    ]


@pytest.mark.parametrize("timed", [{"timestamps": Timestamps.WORD}, {"diarize": True}], ids=["words", "speakers"])
def test_a_language_beside_times_would_silence_the_second_voxtral(timed: dict[str, Any]) -> None:
    assert "language" not in dict(form_parts(first_request(SECOND, language="fr", **timed)))
    assert dict(form_parts(first_request(SECOND, language="fr")))["language"] == "fr"


def test_speakers_come_with_segments() -> None:
    assert dict(form_parts(first_request(THIRD, diarize=True)))["timestamp_granularities"] == "segment"


def test_the_third_has_no_words() -> None:
    """Asked for them, it would answer with a 400."""
    assert form_parts(first_request(THIRD, timestamps=Timestamps.WORD)) == [("model", THIRD.native_model)]


def test_terms_of_the_second_hold_neither_space_nor_comma() -> None:
    sent = form_parts(first_request(SECOND, **options(context_bias=["Chicken Kiev", "a, b", ","])))

    assert sent[1:] == [("context_bias", "Chicken_Kiev"), ("context_bias", "a_b")]


def test_the_language_is_asked_for_where_none_is_named() -> None:
    wanted = options(return_language=True)

    assert form_parts(first_request(THIRD, **wanted))[1:] == [("return_language", "true")]
    assert form_parts(first_request(SECOND, **wanted))[1:] == []


@pytest.mark.parametrize("refused", [{"context_bias": ["x"] * 101}, {"file_url": "http://10.0.0.1/a.wav"}], ids=str)
def test_options_beyond_the_list_are_refused(refused: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        MistralOptions(**refused)


def test_a_model_unknown_here_is_asked_for_no_words() -> None:
    assert mistral.capabilities(at("mistral", "voxtral-4")).timestamps == frozenset({Timestamps.SEGMENT})


def reply(**body: Any) -> HttpReply:
    return HttpReply(status=200, body=json.dumps(body).encode())


def test_billed_seconds_do_not_tell_how_long_the_audio_is() -> None:
    assert mistral.parse_reply(reply(text="Hi.", usage={"prompt_audio_seconds": 14})).duration_s is None


def test_who_spoke_is_told_of_segments() -> None:
    turn = {"text": "Hi.", "start": 0.1, "end": 0.9, "speaker_id": "speaker_1"}

    assert [each.speaker for each in mistral.parse_reply(reply(text="Hi.", segments=[turn])).segments] == ["speaker_1"]


ANYTHING = st.recursive(
    st.none() | st.floats() | st.text(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["text", "start", "end", "speaker_id", "model"]), inner)
    ),
)


@given(segments=ANYTHING, text=st.text(max_size=20))
def test_any_words_are_a_transcript_or_malformed(segments: Any, text: str) -> None:
    try:
        heard = mistral._in_words(mistral.parse_reply(reply(text=text, segments=segments)))
    except MalformedReply:
        return
    assert isinstance(heard, Transcript)
    assert all(word.end_s >= word.start_s >= 0 for word in heard.words)
