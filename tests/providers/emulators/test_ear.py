"""What an emulated service hears."""

from __future__ import annotations

import pytest
from blake3 import blake3

from providers.audio.unreadable import UnreadableAudio
from providers.emulators.ear import DigestEar, LocalEar, as_audio, container_of
from providers.types import Container
from tests.conftest import sample


async def test_a_digest_tells_whether_the_very_bytes_arrived() -> None:
    body = sample("slushy.mp3")
    heard = await DigestEar().hear(body)

    assert heard.text == f"blake3 {blake3(body).hexdigest()}"
    assert heard.language == "en"
    assert heard.duration_s == pytest.approx(13.69)
    assert [(each.text, each.start_s, each.end_s) for each in heard.segments] == [(heard.text, 0.0, heard.duration_s)]
    assert [word.text for word in heard.words] == heard.text.split()
    assert (await DigestEar().hear(body, language="fr")).language == "fr"


@pytest.mark.parametrize("body", [b"", b"no audio", b"RIFF\x10\0\0\0WAVEnothing"])
async def test_what_the_real_service_could_not_decode_is_refused(body: bytes) -> None:
    with pytest.raises(UnreadableAudio):
        await DigestEar().hear(body)


async def test_a_local_model_hears_words_with_their_times(local_ear: LocalEar) -> None:
    heard = await local_ear.hear(sample("sb_spk2_snt1.flac"), prompt="About war.")

    assert "one war is enough" in heard.text
    assert heard.words[-1].end_s > 1
    assert heard.segments


def test_audio_is_labelled_by_what_it_is() -> None:
    audio = as_audio(sample("slushy.m4a"))

    assert (audio.container, audio.media_type, audio.size_bytes) == (Container.MP4, "audio/mp4", 57_382)
    assert audio.digest == blake3(sample("slushy.m4a")).hexdigest()
    assert container_of(b"no audio") is None
