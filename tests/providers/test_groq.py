"""What is peculiar to Groq: what its models cannot do, and statuses of its own."""

from __future__ import annotations

import json
from typing import Any

import pytest

from providers import groq
from providers.errors import JobUnsupported, ProviderUnavailable
from providers.exchange import HttpReply
from providers.types import GenerationParameters, Task, Timestamps
from tests.driving import at, first_request, form_parts

WHISPER = at("groq", "whisper-large-v3")
TURBO = at("groq", "whisper-large-v3-turbo")


def test_everything_asked_for_is_sent_in_openais_form() -> None:
    built = first_request(
        WHISPER,
        language="fr-CA",
        prompt="names",
        timestamps=Timestamps.WORD,
        generation=GenerationParameters(temperature=0.5),
    )

    assert built.url == "https://api.groq.com/openai/v1/audio/transcriptions"
    assert form_parts(built) == [
        ("model", "whisper-large-v3"),
        ("response_format", "verbose_json"),
        ("language", "fr"),
        ("prompt", "names"),
        ("temperature", "0.5"),
        ("timestamp_granularities[]", "segment"),
        ("timestamp_granularities[]", "word"),
    ]


def test_a_translation_names_neither_language_nor_granularity() -> None:
    built = first_request(WHISPER, task=Task.TRANSLATE, language="fr", timestamps=Timestamps.SEGMENT)

    assert built.url.endswith("/audio/translations")
    assert form_parts(built) == [("model", "whisper-large-v3"), ("response_format", "verbose_json")]


@pytest.mark.parametrize(
    "wanted",
    [
        {"generation": GenerationParameters(temperature=1.5)},
        {"task": Task.TRANSLATE, "timestamps": Timestamps.WORD},
    ],
    ids=["temperature", "words of a translation"],
)
def test_what_would_be_refused_after_the_upload_is_not_sent(wanted: dict[str, Any]) -> None:
    with pytest.raises(JobUnsupported):
        first_request(WHISPER, **wanted)


def test_only_the_large_model_translates() -> None:
    can = {to.native_model: groq.capabilities(to).tasks for to in (WHISPER, TURBO, at("groq", "new"))}

    assert can == {
        "whisper-large-v3": frozenset(Task),
        "whisper-large-v3-turbo": frozenset({Task.TRANSCRIBE}),
        "new": frozenset({Task.TRANSCRIBE}),
    }


@pytest.mark.parametrize("mark", [{}, {"x_groq": None}, {"x_groq": {"id": 7}}], ids=str)
def test_a_transcript_without_a_mark_is_one(mark: dict[str, Any]) -> None:
    heard = groq.parse_reply(HttpReply(status=200, body=json.dumps({"text": "Hi.", **mark}).encode()))

    assert (heard.text, heard.request_id) == ("Hi.", None)


def test_a_success_that_was_the_last_for_now_says_so() -> None:
    headers = {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "2m59.5s"}
    heard = groq.parse_reply(HttpReply(status=200, headers=headers, body=b'{"text": "Hi."}'))

    assert heard.spent_for_s == 179.5


@pytest.mark.parametrize("status", [424, 498])
def test_its_own_statuses_are_no_fault_of_the_caller(status: int) -> None:
    assert type(groq.classify_error(HttpReply(status=status, body=b"{}"))) is ProviderUnavailable
