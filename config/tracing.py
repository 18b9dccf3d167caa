"""Traces: whether spans are made, where they go, and who else is told of them."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Final

from pydantic import AfterValidator, Field, SecretStr

from config.section import Section

_PATH: Final = "/v1/traces"  # of OTLP over HTTP


class Propagate(StrEnum):
    """Which accounts are told which trace a call belongs to."""

    OWN = "own"  # those at an address of your own: a cloud provider has no use for it
    ALL = "all"
    NONE = "none"


def _collector(given: str) -> str:
    scheme, _, rest = given.partition("://")
    if scheme not in {"http", "https"} or not rest or set("@?#") & set(rest):
        raise ValueError("the endpoint is an address such as http://collector:4318; credentials go into headers")
    return given.rstrip("/").removesuffix(_PATH)


class Tracing(Section):
    """Off while there is no endpoint. What OTEL_* variables say of batches, timeouts and resources holds too."""

    endpoint: Annotated[str, AfterValidator(_collector)] | None = None  # OTLP over HTTP: http://collector:4318
    headers: Mapping[str, SecretStr] = Field({})  # with every batch; a collector's key, say
    sample: float = Field(1.0, ge=0, le=1)  # of the traces that begin here; others go by their caller's word
    service_name: str | None = Field(None, min_length=1, max_length=255)  # None: OTEL_SERVICE_NAME, else asr-gateway
    propagate: Propagate = Propagate.OWN

    @property
    def url(self) -> str:
        """Return where spans are posted to."""
        return f"{self.endpoint}{_PATH}"
