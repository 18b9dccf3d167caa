"""Baseten: Whisper deployed there, a host for each deployment, segments back.

A native model is a deployment's id, which stands in the address. An account's base_url is another environment or an
address of one's own, up to the last part; `{model}` in it is the id:
`https://model-{model}.api.baseten.co/environments/staging`. What it costs is billed by the time of a GPU.

Source: docs.baseten.co "Transcription API" (2026-11); Baseten's client library has no audio. Parameters that depend on
how the model was deployed (beam size, words, speakers) are left out, as nothing tells which a deployment has.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from pydantic import AliasChoices, BaseModel, Field, FiniteFloat

from providers import openai_form
from providers.authorize import key_header
from providers.bodies import AUDIO, json_with_audio
from providers.errors import JobUnsupported
from providers.exchange import HttpRequest
from providers.languages import UNSPACED, code_of
from providers.polling import parse
from providers.provider import Provider, one_timed_call
from providers.refusals import by_reply
from providers.spans import segment
from providers.types import Capabilities, Timestamps, Transcript

if TYPE_CHECKING:
    from providers.errors import ProviderError
    from providers.exchange import HttpReply
    from providers.types import Deployment, TranscriptionJob

NAME = "baseten"
_CAPABILITIES: Final = Capabilities(timestamps=frozenset({Timestamps.SEGMENT}), prompt=True)


# --- what is sent


def build_request(job: TranscriptionJob, to: Deployment) -> HttpRequest:
    """Send the audio inside JSON. Raises JobUnsupported for what cannot be a deployment's id."""
    asked = {"audio": {"audio_b64": AUDIO}, "whisper_params": _parameters(job)}
    return HttpRequest(
        method="POST",
        url=f"{_root(to)}/predict",
        headers={"content-type": "application/json"},
        body=json_with_audio({"whisper_input": asked}, job.audio, data_uri=False),
    )


_HERE: Final = "{model}"
_ID: Final = re.compile(r"[a-z0-9]{4,64}")


def _root(to: Deployment) -> str:
    base = to.account.base_urls["api"]
    if _HERE not in base:
        return base
    if not _ID.fullmatch(to.native_model):  # a caller's, perhaps, and it would become part of a host
        raise JobUnsupported(NAME, "a deployment's id is of small letters and digits")
    return base.replace(_HERE, to.native_model)


def _parameters(job: TranscriptionJob) -> dict[str, str]:
    language = openai_form.language(job.language) if job.language else "auto"
    return {"audio_language": language, **({"prompt": job.prompt} if job.prompt else {})}


# --- what comes back


class _Segment(BaseModel):
    text: str
    start: FiniteFloat = Field(validation_alias=AliasChoices("start_time", "start_time_sec"))
    end: FiniteFloat | None = Field(validation_alias=AliasChoices("end_time", "end_time_sec"))


class _Heard(BaseModel):
    segments: list[_Segment]
    language_code: str | None = None


def parse_reply(reply: HttpReply) -> Transcript:
    """Read a 200. Raises MalformedReply, and nothing else. Without segments there was silence."""
    heard = parse(NAME, _Heard, reply)
    language = code_of(heard.language_code or "")
    texts = [text for each in heard.segments if (text := each.text.strip())]
    return Transcript(
        text=("" if language in UNSPACED else " ").join(texts),
        segments=tuple(segment(each.text.strip(), each.start, each.end) for each in heard.segments),
        language=language,
    )


def classify_error(reply: HttpReply) -> ProviderError:
    """Name a reply that is not 2xx. 503 is a deployment that was scaled to zero, and starts."""
    return by_reply(NAME, reply)


BASETEN = Provider(
    name=NAME,
    base_urls={"api": f"https://model-{_HERE}.api.baseten.co/environments/production"},
    key_variable="BASETEN_API_KEY",
    authorize=key_header("authorization", prefix="Api-Key "),
    capabilities=lambda _: _CAPABILITIES,
    transcribe=one_timed_call(build_request, parse_reply, classify_error),
    credential_domains=frozenset({"api.baseten.co"}),
)
