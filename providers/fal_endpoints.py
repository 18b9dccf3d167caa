"""fal.ai's endpoints: what each can do, and how its schema says it.

Source: fal.ai/models "API" pages, @fal-ai/client 1.10.1 `types/endpoints.d.ts` (2026).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

import msgspec
from msgspec.structs import replace
from pydantic import Field

from providers.languages import code_of
from providers.provider import ProviderOptions
from providers.types import Capabilities, Container, Task, Timestamps

if TYPE_CHECKING:
    from collections.abc import Callable

    from providers.types import TranscriptionJob

UPLOAD_BYTES = 100 * 1024 * 1024  # the SDK sends more in parts

LABELS: Final = {
    # Truthful names, but fal's own for them: audio/wav, audio/webm and audio/mp4 are refused (huggingface.js#2230).
    Container.MP3: "audio/mpeg",
    Container.MP4: "video/mp4",
    Container.WAV: "audio/x-wav",
    Container.WEBM: "video/webm",
}


class FalOptions(ProviderOptions):
    """Fields of fal's schemas that no job has a word for. Each goes only to the endpoints that know it."""

    batch_size: int | None = Field(default=None, ge=1, le=64)
    num_speakers: int | None = Field(default=None, ge=1, le=32)
    max_segment_len: int | None = Field(default=None, ge=10, le=29)  # seconds
    merge_chunks: bool | None = None
    keyterms: list[Annotated[str, Field(min_length=1, max_length=50)]] | None = Field(default=None, max_length=100)
    tag_audio_events: bool | None = None


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """What one endpoint can do, and how its schema says it."""

    capabilities: Capabilities
    fields: Callable[[TranscriptionJob], dict[str, object]]  # besides audio_url and options


def _whisper_fields(job: TranscriptionJob) -> dict[str, object]:
    fields: dict[str, object] = {"task": job.task.value, "chunk_level": chunk_level(job, frozenset(Timestamps))}
    if job.language:
        fields["language"] = code_of(job.language) or job.language
    if job.prompt:
        fields["prompt"] = job.prompt
    if job.diarize:
        fields["diarize"] = True
    return fields


def chunk_level(job: TranscriptionJob, possible: frozenset[Timestamps]) -> str:
    """Return how finely chunks are cut. A speaker belongs to a chunk, so diarization needs some."""
    wanted = Timestamps.SEGMENT if job.diarize and job.timestamps is Timestamps.NONE else job.timestamps
    if wanted is Timestamps.WORD and wanted not in possible:
        return Timestamps.SEGMENT.value
    return wanted.value


def _wizper_fields(job: TranscriptionJob) -> dict[str, object]:
    # Language always: left out it means English, null means detect.
    language = (code_of(job.language) or job.language) if job.language else None
    return {"task": job.task.value, "language": language}


def _scribe_fields(job: TranscriptionJob) -> dict[str, object]:
    # Both always: left out they are on, and events such as "(laughter)" would stand in the text.
    fields: dict[str, object] = {"diarize": job.diarize, "tag_audio_events": False}
    if job.language:
        fields["language_code"] = job.language
    return fields


def _no_fields(_: TranscriptionJob) -> dict[str, object]:
    return {}


_ANY: Final = Capabilities(
    containers=frozenset(LABELS),
    transcode_to=Container.WAV,  # FLAC is not in the schemas' list
    max_bytes=UPLOAD_BYTES,
)
_TEXT_ONLY: Final = Endpoint(capabilities=replace(_ANY, language_hint=False), fields=_no_fields)
_SCRIBE: Final = Endpoint(
    capabilities=replace(
        _ANY, timestamps=frozenset({Timestamps.WORD}), diarize=True, options=frozenset({"tag_audio_events"})
    ),
    fields=_scribe_fields,
)
ENDPOINTS: Final = {
    "fal-ai/whisper": Endpoint(
        capabilities=replace(
            _ANY,
            timestamps=frozenset({Timestamps.SEGMENT, Timestamps.WORD}),
            tasks=frozenset(Task),
            prompt=True,
            diarize=True,
            options=frozenset({"batch_size", "num_speakers"}),
            speaker_options=frozenset({"num_speakers"}),
        ),
        fields=_whisper_fields,
    ),
    "fal-ai/wizper": Endpoint(
        capabilities=replace(
            _ANY,
            timestamps=frozenset({Timestamps.SEGMENT}),
            tasks=frozenset(Task),
            options=frozenset({"max_segment_len", "merge_chunks"}),
        ),
        fields=_wizper_fields,
    ),
    "fal-ai/elevenlabs/speech-to-text": _SCRIBE,
    "fal-ai/elevenlabs/speech-to-text/scribe-v2": replace(
        _SCRIBE,
        capabilities=replace(_SCRIBE.capabilities, options=frozenset({"tag_audio_events", "keyterms"})),
    ),
    "fal-ai/speech-to-text": _TEXT_ONLY,
    "fal-ai/speech-to-text/turbo": _TEXT_ONLY,
    "fal-ai/nemotron/asr": _TEXT_ONLY,
}


def endpoint_of(native_model: str) -> Endpoint:
    """Return what is known of an endpoint; of an unknown one, only that it takes `audio_url`."""
    return ENDPOINTS.get(native_model, _TEXT_ONLY)
