"""`huggingface_hub` 0.36, the last on requests and aiohttp: the essentials again, where it differs above all.

It is installed beside the environment, by `make install`, and run with its folder first on the path.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from blake3 import blake3

from tests.clients.hf_calls import MODEL, Results, awaited, call, results_of, ways
from tests.conftest import AUDIO

PACKAGE = Path(sys.prefix) / "huggingface_hub-0.36"
SAID = "ask not what your country can do for you"
JFK, CLIP = AUDIO / "jfk.flac", AUDIO / "slushy.flac"
PROVIDERS = (None, "auto", "hf-inference", "fal-ai")  # it has no speech for Replicate or DeepInfra


def test_it_is_that_version() -> None:
    program = "import huggingface_hub, json; print(json.dumps(huggingface_hub.__version__))"
    said = subprocess.check_output([sys.executable, "-c", program], env={"PYTHONPATH": str(PACKAGE)}, text=True)
    assert json.loads(said).startswith("0.36.")


@pytest.fixture(scope="module")
def heard(gateway_url: str, tmp_path_factory: pytest.TempPathFactory) -> Results:
    """Make every call that needs a real answer, in one process."""
    url = f"{gateway_url}/models/{MODEL}"
    calls = {
        "url": call(JFK, model=url),
        "async": awaited(call(JFK, base_url=gateway_url)),
        "auto": call(JFK, model=MODEL),
        "fal": call(JFK, model=MODEL, provider="fal-ai", extra={"chunk_level": "word"}),
        "segments": call(JFK, model=url, extra={"return_timestamps": True}),
        "words": awaited(call(JFK, model=url, extra={"return_timestamps": "word"})),
    }
    return results_of(calls, gateway_url, home=tmp_path_factory.mktemp("hub"), package=PACKAGE)


@pytest.mark.parametrize("name", ["url", "async", "auto"])
def test_speech_is_heard(heard: Results, name: str) -> None:
    assert SAID in heard[name]["text"]
    assert heard[name]["chunks"] is None


@pytest.mark.parametrize("name", ["segments", "words", "fal"])
def test_chunks(heard: Results, name: str) -> None:
    """This version keeps what fal returns as chunks; newer ones drop it."""
    chunks = heard[name]["chunks"]
    assert " ".join(text.strip() for text, _ in chunks) == heard[name]["text"]
    assert all(0 <= start <= end <= 11.0 for _, (start, end) in chunks)
    assert (len(chunks) > 20) == (name != "segments")


@pytest.fixture(scope="module")
def quick(digest_url: str, site_url: str, tmp_path_factory: pytest.TempPathFactory) -> Results:
    """Make the calls whose way, form or fault is what matters."""
    url = f"{digest_url}/models/{MODEL}"
    text = tmp_path_factory.mktemp("text") / "speech.wav"
    text.write_text("this is no audio at all, whatever its name says!")
    calls = {
        **ways(CLIP, digest_url, site_url, PROVIDERS),
        "no model": call(CLIP),
        "extra": call(CLIP, model=url, extra={"generation_parameters": {"top_k": 5, "num_beams": None}}),
        "async extra": awaited(call(CLIP, model=url, extra={"generation_parameters": {"temperature": 0.2}})),
        "unknown": call(CLIP, model=f"{digest_url}/models/openai/whisper-large-v2"),
        "range": call(CLIP, model=url, extra={"top_k": -1}),
        "async range": awaited(call(CLIP, model=url, extra={"top_k": -1})),
        "not audio": call(text, model=url),
    }
    return results_of(calls, digest_url, home=tmp_path_factory.mktemp("quick"), package=PACKAGE)


def test_the_very_bytes_arrive_by_every_way(quick: Results) -> None:
    expected = f"blake3 {blake3(CLIP.read_bytes()).hexdigest()}"
    refused = {
        name
        for name in (*ways(CLIP, "", "", PROVIDERS), "no model", "extra", "async extra")
        if quick[name].get("text") != expected
    }
    # The client itself takes no pathlib.Path for fal, which is sent the address: nobody fetches it.
    assert refused == {"fal-ai pathlib", "async fal-ai pathlib", "fal-ai url", "async fal-ai url"}


@pytest.mark.parametrize(
    ("name", "error", "words"),
    [
        ("unknown", "HfHubHTTPError", "near it are: openai/whisper-large-v3"),
        ("range", "HfHubHTTPError", "top_k: -1 is not allowed; expected an integer from 0 to 1000000"),
        ("async range", "ClientResponseError", "top_k: -1 is not allowed; expected an integer from 0 to 1000000"),
        ("not audio", "BadRequestError", "neither audio in a container known here"),
        ("fal-ai url", "HfHubHTTPError", "an address was given where audio is expected"),
    ],
)
def test_the_user_reads_our_reason(quick: Results, name: str, error: str, words: str) -> None:
    assert quick[name]["error"] == error
    assert words in quick[name]["message"]
