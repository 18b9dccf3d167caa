"""Errors and times as Google writes them. The fixtures of gemini and google-stt show the errors one by one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from providers.errors import MalformedReply, ProviderError
from providers.exchange import HttpReply
from providers.google_form import Offset, classify_error


class _Timed(BaseModel):
    at: Offset = None


@pytest.mark.parametrize(
    ("text", "seconds"), [('"0.080s"', 0.08), ('"1s"', 1.0), ('"61.25s"', 61.25), ("null", None), ("3", 3.0)]
)
def test_times_are_seconds(text: str, seconds: float | None) -> None:
    assert _Timed.model_validate_json(f'{{"at": {text}}}').at == seconds


@pytest.mark.parametrize("text", ['"soon"', '"-1s"', '"1"', "{}", '""'])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ValidationError):
        _Timed.model_validate_json(f'{{"at": {text}}}')


@given(status=st.integers(300, 599), body=st.binary(max_size=80))
def test_any_refusal_has_a_name(status: int, body: bytes) -> None:
    named = classify_error("p", HttpReply(status=status, body=body))

    assert isinstance(named, ProviderError)
    assert status >= 400 or isinstance(named, MalformedReply)
