"""Where spans go is an address of a collector; credentials for it are never part of that address."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from config.tracing import Propagate, Tracing


def test_traces_are_off_unless_there_is_an_endpoint() -> None:
    assert Tracing().endpoint is None
    assert (Tracing().sample, Tracing().propagate) == (1.0, Propagate.OWN)


@pytest.mark.parametrize(
    "given", ["http://collector:4318", "http://collector:4318/", "http://collector:4318/v1/traces"]
)
def test_the_path_may_be_written_or_not(given: str) -> None:
    assert Tracing(endpoint=given).url == "http://collector:4318/v1/traces"


@pytest.mark.parametrize(
    "given", ["", "collector:4318", "grpc://collector:4317", "http://", "https://me:key@collector", "http://c?key=k"]
)
def test_what_is_no_address_stops_the_start(given: str) -> None:
    with pytest.raises(ValidationError, match="such as http://collector:4318"):
        Tracing(endpoint=given)


@pytest.mark.parametrize("sample", [-0.1, 1.1])
def test_a_sample_is_a_share(sample: float) -> None:
    with pytest.raises(ValidationError):
        Tracing(sample=sample)


def test_a_header_is_a_secret() -> None:
    tracing = Tracing.model_validate({"endpoint": "http://c", "headers": {"x-api-key": "planted"}})
    assert "planted" not in repr(tracing)
