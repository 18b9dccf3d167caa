"""What Schemathesis cannot make up, loaded by it: audio, whole, cut off and none at all."""

from __future__ import annotations

import base64
import io
import wave

import schemathesis
from hypothesis import strategies as st


def _recording() -> bytes:
    """Return a tenth of a second: it is sent thousands of times."""
    file = io.BytesIO()
    with wave.open(file, "wb") as recording:
        recording.setparams((1, 2, 16_000, 0, "NONE", ""))
        recording.writeframes(bytes(3200))
    return file.getvalue()


_AUDIO = st.sampled_from([_recording(), _recording()[:100], b"fLaC", b"%PDF-1.7", b""])

schemathesis.openapi.format("binary", _AUDIO)
schemathesis.openapi.format("audio", _AUDIO.map(lambda audio: base64.b64encode(audio).decode()))
