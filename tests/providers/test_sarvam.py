"""What is peculiar to Sarvam: languages of India, a prompt of terms, translation as a mode."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from providers.errors import JobUnsupported
from providers.provider import unread_options
from providers.sarvam import SARVAM, SarvamOptions, build_request
from providers.types import Task, Timestamps, TranscriptionJob
from tests.conftest import sample_audio
from tests.driving import at, text_parts

PLAIN = {"model": ["saaras:v4"], "language_code": ["unknown"]}


def job(**wanted: Any) -> TranscriptionJob:
    return TranscriptionJob(model="m", audio=sample_audio("slushy.mp3"), **wanted)


def form(native_model: str = "saaras:v4", **wanted: Any) -> dict[str, list[str]]:
    request = build_request(job(**wanted), at("sarvam", native_model))
    assert request.url == "https://api.sarvam.ai/speech-to-text"
    return text_parts(request)


def options(**given: Any) -> dict[str, SarvamOptions]:
    return {"sarvam": SarvamOptions(**given)}


def test_nothing_asked_for_is_the_text_of_any_language() -> None:
    assert form() == PLAIN
    assert form(timestamps=Timestamps.SEGMENT) == {**PLAIN, "with_timestamps": ["true"]}


@pytest.mark.parametrize(
    ("language", "code"), [("hi", "hi-IN"), ("en-US", "en-IN"), ("or", "od-IN"), ("od-IN", "od-IN"), ("mni", "mni-IN")]
)
def test_languages_are_indias(language: str, code: str) -> None:
    assert form(language=language)["language_code"] == [code]


def test_only_its_languages_are_planned_for() -> None:
    known = SARVAM.capabilities(at("sarvam", "saaras:v3")).languages

    assert known is not None
    assert {
        "hi",
        "ta-IN",
        "od-IN",
        "or",
        "kok-IN",
        "od-in",
        "kok-in",
    } <= known  # some in lower case, as the front hands them on
    assert "de" not in known


def test_a_prompt_is_terms_to_expect() -> None:
    given = form(prompt="Zoë, New Delhi", provider_options=options(keyterms=["Vistaar"], mode="codemix"))

    assert given == {**PLAIN, "mode": ["codemix"], "keyterms": ['["Zoë", "New Delhi", "Vistaar"]']}


@pytest.mark.parametrize("prompt", ["a" * 65, ",".join("abc" for _ in range(51))])
def test_a_prompt_that_is_no_list_of_terms_is_for_another(prompt: str) -> None:
    with pytest.raises(JobUnsupported, match="at most 50 terms"):
        form(prompt=prompt)


def test_an_older_model_expects_no_terms() -> None:
    wanted = job(provider_options=options(keyterms=["Vistaar"]))

    assert "keyterms" not in form("saaras:v3", prompt="Zoë", provider_options=options(keyterms=["Vistaar"]))
    assert unread_options(wanted, "sarvam", SARVAM.capabilities(at("sarvam", "saaras:v2"))) == ["keyterms"]
    assert not SARVAM.capabilities(at("sarvam", "saaras:v3")).prompt


def test_a_translation_is_a_mode_beside_which_there_is_no_other() -> None:
    assert form(task=Task.TRANSLATE)["mode"] == ["translate"]
    with pytest.raises(JobUnsupported, match="no other mode"):
        form(task=Task.TRANSLATE, provider_options=options(mode="verbatim"))


@pytest.mark.parametrize("given", [{"mode": "translate"}, {"keyterms": ["a" * 65]}, {"keyterms": []}, {"prompt": "a"}])
def test_options_have_limits(given: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        SarvamOptions(**given)
