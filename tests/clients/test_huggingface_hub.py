"""`huggingface_hub`, newest, against running gateways: every provider mode and kind of input, blocking and async.

Real speech comes back from the demonstration model; what is about the audio's way only is proved by its digest.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from blake3 import blake3

from tests.clients.hf_calls import MODEL, Results, awaited, call, results_of, ways
from tests.conftest import AUDIO, encoded
from tests.serving import digesting, in_a_thread

SAID = "ask not what your country can do for you"
JFK, CLIP = AUDIO / "jfk.flac", AUDIO / "slushy.flac"
SHORT = AUDIO / "sb_spk2_snt1.flac"  # two seconds: "we are sure that one war is enough"
PROVIDERS = (None, "auto", "hf-inference", "fal-ai", "replicate", "deepinfra")
ADDRESS = "https://example.com/speech.mp3"  # nobody fetches it
HONOURED = {"temperature": 0.0, "num_beams": 2, "max_new_tokens": 60, "do_sample": False}
# What the embedded model does anyway, so asking for it is honoured too.
NEUTRAL = {
    "top_k": 0, "typical_p": 1.0, "top_p": 1.0, "epsilon_cutoff": 0.0, "eta_cutoff": 0.0, "min_length": 0,
    "min_new_tokens": 0, "early_stopping": False, "num_beam_groups": 1, "penalty_alpha": 0.0, "use_cache": True,
}  # fmt: skip


# --- what was said


@pytest.fixture(scope="module")
def heard(gateway_url: str, tmp_path_factory: pytest.TempPathFactory) -> Results:
    """Make every call that needs a real answer, in one process."""
    folder = tmp_path_factory.mktemp("hub")
    silence = folder / "silence.wav"
    silence.write_bytes(encoded(np.zeros((1, 48_000), np.int16), 16_000, "wav", "pcm_s16le"))
    url = f"{gateway_url}/models/{MODEL}"
    generation = {"generation_parameters": {**HONOURED, **NEUTRAL}}
    return results_of(
        {
            "url_model": call(JFK, model=url),
            "root": call(JFK, base_url=gateway_url),
            "async": awaited(call(JFK, model=url)),
            **{f"provider {each}": call(JFK, model=MODEL, provider=each) for each in PROVIDERS},
            "async deepinfra": awaited(call(JFK, model=MODEL, provider="deepinfra", extra={"return_timestamps": True})),
            "segments": call(JFK, model=url, extra={"return_timestamps": True}),
            "words": call(JFK, model=url, extra={"return_timestamps": "word"}),
            "words by query": call(JFK, base_url=f"{url}?return_timestamps=word"),
            "generation": call(SHORT, model=url, extra={**generation, "language": "en", "task": "transcribe"}),
            "generation beside": call(SHORT, model=url, extra={**HONOURED, "return_timestamps": False}),
            "long": call(AUDIO / "two_cities.flac", model=url),
            "silence": call(silence, model=url),
            "silence with times": call(silence, model=url, extra={"return_timestamps": "word"}),
        },
        gateway_url,
        home=folder,
    )


@pytest.mark.parametrize("name", ["url_model", "root", "async", *(f"provider {each}" for each in PROVIDERS)])
def test_speech_is_heard(heard: Results, name: str) -> None:
    assert SAID in heard[name]["text"]
    assert heard[name]["chunks"] is None


@pytest.mark.parametrize("name", ["segments", "words", "words by query", "async deepinfra"])
def test_chunks_cover_the_speech_in_order(heard: Results, name: str) -> None:
    chunks = heard[name]["chunks"]
    assert " ".join(text.strip() for text, _ in chunks) == heard[name]["text"]
    times = [at for _, span in chunks for at in span]
    assert times == sorted(times)
    assert all(isinstance(at, float) and 0 <= at <= 11.0 for at in times)


def test_words_are_words(heard: Results) -> None:
    for name in ("words", "words by query"):
        texts = [text.strip() for text, _ in heard[name]["chunks"]]
        assert "country" in [text.strip(",.") for text in texts]
        assert all(" " not in text for text in texts)
    assert len(heard["segments"]["chunks"]) < 6


@pytest.mark.parametrize("name", ["generation", "generation beside"])
def test_generation_parameters_are_taken(heard: Results, name: str) -> None:
    assert "one war is enough" in heard[name]["text"]
    assert heard[name]["chunks"] is None


def test_long_audio_needs_no_timestamps(heard: Results) -> None:
    """More than Whisper's thirty seconds: older servers refused that unless times were asked for."""
    text = heard["long"]["text"].lower()
    assert "it was the best of times" in text
    assert len(text.split()) > 80


def test_silence_is_an_empty_text(heard: Results) -> None:
    assert heard["silence"] == {"text": "", "chunks": None}
    assert heard["silence with times"] == {"text": "", "chunks": []}


# --- by which way it came


@pytest.fixture(scope="module", params=["constants", "client_factory"])
def by_way(request: Any, digest_url: str, site_url: str, tmp_path_factory: pytest.TempPathFactory) -> Results:
    """Make the calls with the Hub and the router moved, in both ways there are."""
    calls = ways(CLIP, digest_url, site_url, PROVIDERS)
    if request.param == "client_factory":  # which would move the site, too
        calls = {name: each for name, each in calls.items() if each["kind"] != "url"}
    calls["no model"] = call(CLIP)
    calls["other key"] = call(CLIP, provider="hf-inference", model=MODEL, api_key="sk-none-of-hf")
    return results_of(calls, digest_url, home=tmp_path_factory.mktemp("ways"), by=request.param)


def test_the_very_bytes_arrive_by_every_way(by_way: Results) -> None:
    expected = f"blake3 {blake3(CLIP.read_bytes()).hexdigest()}"
    refused = {name for name, result in by_way.items() if result.get("text") != expected}
    # The client itself takes no pathlib.Path for fal; fal and Replicate are sent the address, which nobody fetches.
    both = ("{}", "async {}")
    known = {each.format(name) for each in both for name in ("fal-ai pathlib", "fal-ai url", "replicate url")}
    assert refused == known & set(by_way)


EXTENSIONS = ["wav", "mp3", "flac", "ogg", "opus", "m4a", "webm"]
PATHS = ["/", "/predict", "/v1", "/v1/", f"/models/{MODEL}/", f"/hub/models/{MODEL}", f"/hf-inference/models/{MODEL}"]


@pytest.fixture(scope="module")
def shaped(digest_url: str, tmp_path_factory: pytest.TempPathFactory) -> Results:
    """Make the calls whose form or fault is what matters."""
    folder = tmp_path_factory.mktemp("shapes")
    nameless, text = folder / "nameless", folder / "speech.wav"
    nameless.write_bytes(CLIP.read_bytes())
    text.write_text("this is no audio at all, whatever its name says!")
    calls = {each: call(AUDIO / f"slushy.{each}", base_url=digest_url) for each in EXTENSIONS}
    calls |= {path: call(CLIP, base_url=f"{digest_url}{path}") for path in PATHS}
    url = f"{digest_url}/models/{MODEL}"
    calls |= {
        "no extension": call(nameless, model=url),
        "no token": call(CLIP, model=url, api_key=None),
        "bill to": call(CLIP, model=url, bill_to="my-org"),
        "headers": call(CLIP, model=url, headers={"content-type": "audio/x-flac", "x-wait-for-model": "1"}),
        "json as audio": call(CLIP, model=url, headers={"content-type": "audio/flac"}, extra={"top_k": 5}),
        "nulls": call(CLIP, model=url, extra={"generation_parameters": {"top_k": None}, "language": None}),
        "fal segments": call(CLIP, provider="fal-ai", model=MODEL, extra={"chunk_level": "segment", "language": "en"}),
        "deepinfra words": call(CLIP, provider="deepinfra", model=MODEL, extra={"return_timestamps": "word"}),
        "deepinfra verbose": call(
            CLIP,
            provider="deepinfra",
            model=MODEL,
            extra={"response_format": "verbose_json", "timestamp_granularities": ["segment"], "temperature": 0.2},
        ),
        "replicate fields": call(CLIP, provider="replicate", model=MODEL, extra={"language": "en", "batch_size": 8}),
        "unknown url": call(CLIP, model=f"{digest_url}/models/openai/whisper-large-v2"),
        "unknown id": call(CLIP, model="openai/whisper-large-v2", provider="fal-ai"),
        "nowhere": call(CLIP, base_url=f"{digest_url}/some/prefix"),
        "range": call(CLIP, model=url, extra={"generation_parameters": {"temperature": 3}}),
        "misspelt": call(CLIP, model=url, extra={"temprature": 0}),
        "level": call(CLIP, model=url, extra={"return_timestamps": "char"}),
        "not audio": call(text, model=url),
        **{
            f"{each} address": {**call(CLIP, "url", provider=each, model=MODEL), "audio": ADDRESS}
            for each in ("fal-ai", "replicate")
        },
        "flag": call(CLIP, provider="deepinfra", model=MODEL, extra={"flag": True}),
    }
    calls |= {f"async {name}": awaited(calls[name]) for name in ("range", "not audio", "nowhere")}
    return results_of(calls, digest_url, home=folder)


@pytest.mark.parametrize("extension", EXTENSIONS)
def test_every_extension(shaped: Results, extension: str) -> None:
    clip = (AUDIO / f"slushy.{extension}").read_bytes()
    assert shaped[extension]["text"] == f"blake3 {blake3(clip).hexdigest()}"


@pytest.mark.parametrize(
    "name",
    [
        *PATHS,
        *("no extension", "no token", "bill to", "headers", "json as audio", "nulls", "fal segments"),
        *("deepinfra words", "deepinfra verbose", "replicate fields"),
    ],
)
def test_every_form_of_a_good_call(shaped: Results, name: str) -> None:
    assert shaped[name]["text"] == f"blake3 {blake3(CLIP.read_bytes()).hexdigest()}"


def test_deepinfras_segments_are_chunks(shaped: Results) -> None:
    assert [text for text, _ in shaped["deepinfra words"]["chunks"]] == shaped["deepinfra words"]["text"].split()
    assert len(shaped["deepinfra verbose"]["chunks"]) == 1


@pytest.mark.parametrize(
    ("name", "error", "words"),
    [
        ("unknown url", "HfHubHTTPError", "near it are: openai/whisper-large-v3"),
        ("unknown id", "HfHubHTTPError", "near it are: openai/whisper-large-v3"),
        ("nowhere", "HfHubHTTPError", "POST /some/prefix"),
        ("range", "HfHubHTTPError", "generation_parameters.temperature: 3 is not allowed"),
        ("misspelt", "HfHubHTTPError", "temprature: not a parameter known here"),
        ("level", "HfHubHTTPError", "return_timestamps: 'char' is not allowed"),
        ("not audio", "BadRequestError", "neither audio in a container known here"),
        ("fal-ai address", "HfHubHTTPError", "audio_url: an address was given where audio is expected"),
        ("replicate address", "HfHubHTTPError", "input.audio: an address was given where audio is expected"),
        ("flag", "HfHubHTTPError", "flag: not a parameter known here"),
        ("async range", "HfHubHTTPError", "generation_parameters.temperature: 3 is not allowed"),
        ("async not audio", "BadRequestError", "neither audio in a container known here"),
        ("async nowhere", "HfHubHTTPError", "POST /some/prefix"),
    ],
)
def test_the_user_reads_our_reason(shaped: Results, name: str, error: str, words: str) -> None:
    assert shaped[name]["error"] == error
    assert words in shaped[name]["message"]
    assert shaped[name]["request_id"]


def test_too_much_is_told_as_such(tmp_path: Path) -> None:
    """As raw bytes and as base64, whose limit is a third more."""
    with in_a_thread(partial(digesting, MODEL, max_upload=100_000)) as url:
        calls = {"raw": call(CLIP, base_url=url), "json": call(CLIP, base_url=url, extra={"top_k": 5})}
        calls |= {f"async {name}": awaited(each) for name, each in calls.items()}
        calls["fal-ai"] = call(CLIP, provider="fal-ai", model=MODEL)
        told = results_of(calls, url, home=tmp_path)
    for each in told.values():
        assert "413" in each["message"]
        assert "is larger than the limit of" in each["message"]
