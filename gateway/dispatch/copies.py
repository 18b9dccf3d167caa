"""A job's audio in the containers that deployments take, transcoded once for all attempts that need it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from providers.audio.unreadable import AudioTooLong, UnreadableAudio
from providers.errors import AttemptTimedOut, JobRejected, JobUnsupported, ProviderUnavailable

if TYPE_CHECKING:
    from gateway.intake.transcoder import Transcoder
    from providers.types import Audio, Capabilities, Container, Moment


class TooMuch(JobUnsupported):
    """More audio than a deployment takes, known only once it was transcoded."""


class Copies:
    """One job's. They live until this is closed."""

    def __init__(self, audio: Audio, transcoder: Transcoder) -> None:
        self._audio = audio
        self._transcoder = transcoder
        self._made: dict[Container, Audio] = {}
        self._making = asyncio.Lock()

    def close(self) -> None:
        for each in self._made.values():
            each.content.close()

    async def taken_by(self, can: Capabilities, adapter: str, deadline: Moment) -> Audio:
        """Return the audio in a container the deployment takes. Raises ProviderError."""
        if can.containers is None or self._audio.container in can.containers:
            return self._audio
        copy = await self._copy(can.transcode_to, adapter, deadline)
        if can.max_bytes is not None and copy.size_bytes > can.max_bytes:
            raise TooMuch(adapter, f"takes at most {can.max_bytes} bytes")
        # Where the length was known, the plan went by it; a copy's may be a sample longer for its resampling.
        if self._audio.duration_s is None and _is_longer(copy, can.max_duration_s):
            raise TooMuch(adapter, f"takes at most {can.max_duration_s:g} s")
        return copy

    async def _copy(self, wanted: Container, adapter: str, deadline: Moment) -> Audio:
        try:
            async with asyncio.timeout_at(deadline), self._making:  # two that race need one copy
                if wanted not in self._made:
                    self._made[wanted] = await self._transcoder.run(self._audio, wanted)
        except TimeoutError as error:
            raise AttemptTimedOut(adapter, "still transcoding at the deadline") from error
        except UnreadableAudio as error:
            raise JobRejected(adapter, str(error)) from error
        except AudioTooLong as error:
            raise TooMuch(adapter, str(error)) from error
        except OSError as error:
            raise ProviderUnavailable(adapter, "no room to transcode the audio") from error
        return self._made[wanted]


def _is_longer(audio: Audio, longest_s: float | None) -> bool:
    return longest_s is not None and (audio.duration_s or 0.0) > longest_s
