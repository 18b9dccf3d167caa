"""KServe v2: which tensors are sent, as an account names them, and what Whisper's tokens in the answer say."""

from __future__ import annotations

import asyncio
import json
import struct
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from pydantic import SecretStr

from providers.audio.transcode import transcode
from providers.errors import JobUnsupported, MalformedReply
from providers.exchange import HttpReply, HttpRequest
from providers.kserve import KSERVE, parse_reply
from providers.transport import HttpProvider, new_session
from providers.types import (
    Account,
    Container,
    Deployment,
    GenerationParameters,
    Moment,
    Task,
    Timestamps,
    Transcript,
    TranscriptionJob,
)
from tests.conftest import KEY, sample, sample_audio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from providers.audio.content import Content
    from providers.emulators.ear import LocalEar
    from providers.types import Audio

PREFIX = "<|startoftranscript|>"


@pytest.fixture(scope="module")
def samples() -> Iterator[Audio]:
    """Give slushy.mp3 as a gateway hands it to a model that wants samples."""
    copy = transcode(sample_audio("slushy.mp3"), Container.SAMPLES, max_duration_s=60)
    yield copy
    copy.content.close()


def deployment(url: str = "https://gpu.example", model: str = "whisper", **options: str) -> Deployment:
    account = Account(
        name="gpu", adapter="kserve", base_urls={"api": url}, api_key=SecretStr(KEY), options=dict(options)
    )
    return Deployment(account=account, native_model=model)


def asked(audio: Audio, to: Deployment, **wanted: Any) -> HttpRequest:
    step = next(KSERVE.transcribe(TranscriptionJob(model="m", audio=audio, **wanted), to))
    assert isinstance(step, HttpRequest)
    return step


def whole(request: HttpRequest) -> bytes:
    return b"".join(piece if isinstance(piece, bytes) else _all_of(piece) for piece in request.body)


def _all_of(content: Any) -> bytes:
    read: Content = content
    return read.read_at(0, read.size_bytes)


def tensors(request: HttpRequest) -> dict[str, tuple[str, list[int], bytes]]:
    """Return datatype, shape and bytes of each tensor, by its name: as a server takes the body apart."""
    body, size = whole(request), int(request.headers["inference-header-content-length"])
    found, at = {}, size
    for each in json.loads(body[:size])["inputs"]:
        end = at + each["parameters"]["binary_data_size"]
        found[each["name"]] = (each["datatype"], each["shape"], body[at:end])
        at = end
    assert at == len(body)
    return found


def prefix(audio: Audio, to: Deployment | None = None, **wanted: Any) -> str:
    _, shape, data = tensors(asked(audio, to or deployment(), **wanted))["TEXT_PREFIX"]
    (length,) = struct.unpack_from("<I", data)
    assert (shape, length) == ([1, 1], len(data) - 4)
    return data[4:].decode()


class TestAsked:
    """What a model is sent."""

    def test_samples_go_as_they_are(self, samples: Audio) -> None:
        sent = tensors(asked(samples, deployment(prefix="")))

        assert list(sent) == ["WAV"]
        assert sent["WAV"] == ("FP32", [1, samples.size_bytes // 4], _all_of(samples.content))

    def test_a_file_goes_as_it_is(self) -> None:
        to = deployment(audio="file")
        content = sample("slushy.mp3")

        assert tensors(asked(sample_audio("slushy.mp3"), to)) == {
            "inputs": ("BYTES", [1], struct.pack("<I", len(content)) + content)
        }

    def test_tensors_are_called_as_the_account_says(self, samples: Audio) -> None:
        names = {"input": "AUDIO", "lengths": "LEN", "prefix": "PROMPT", "output": "TEXT", "num_beams": "BEAMS"}
        request = asked(
            samples,
            deployment(**names, temperature="T"),
            generation=GenerationParameters(num_beams=4, temperature=0.5),
        )
        sent = tensors(request)

        assert list(sent) == ["AUDIO", "LEN", "PROMPT", "BEAMS", "T"]
        assert sent["LEN"] == ("INT32", [1, 1], struct.pack("<i", samples.size_bytes // 4))
        assert sent["BEAMS"] == ("INT32", [1, 1], struct.pack("<i", 4))
        assert sent["T"] == ("FP32", [1, 1], struct.pack("<f", 0.5))
        (output,) = json.loads(whole(request)[: int(request.headers["inference-header-content-length"])])["outputs"]
        assert output == {"name": "TEXT", "parameters": {"binary_data": False}}

    @pytest.mark.parametrize(
        ("options", "model", "path"),
        [
            ({}, "whisper", "/v2/models/whisper/infer"),
            ({"version": "3"}, "whisper", "/v2/models/whisper/versions/3/infer"),
            ({}, "openai/whisper", "/v2/models/openai%2Fwhisper/infer"),
        ],
    )
    def test_a_model_has_its_path(self, samples: Audio, options: dict[str, str], model: str, path: str) -> None:
        assert asked(samples, deployment(model=model, **options)).url == f"https://gpu.example{path}"

    @pytest.mark.parametrize(
        ("wanted", "options", "tokens"),
        [
            ({}, {}, ""),
            ({"timestamps": Timestamps.SEGMENT}, {}, ""),
            ({"language": "de"}, {}, "<|de|><|transcribe|><|notimestamps|>"),
            ({"language": "pt-BR", "timestamps": Timestamps.SEGMENT}, {}, "<|pt|><|transcribe|>"),
            ({"language": "fr", "task": Task.TRANSLATE}, {}, "<|fr|><|translate|><|notimestamps|>"),
            ({}, {"language": "nl"}, "<|nl|><|transcribe|><|notimestamps|>"),
            ({"language": "it"}, {"language": "nl"}, "<|it|><|transcribe|><|notimestamps|>"),
        ],
    )
    def test_the_prefix_says_what_is_wanted(
        self, samples: Audio, wanted: dict[str, Any], options: dict[str, str], tokens: str
    ) -> None:
        """Without a language the model is left to choose it, and writes down which."""
        assert prefix(samples, deployment(**options), **wanted) == PREFIX + tokens

    def test_a_translation_from_no_language_may_be_done_elsewhere(self, samples: Audio) -> None:
        with pytest.raises(JobUnsupported, match="language that is spoken"):
            asked(samples, deployment(), task=Task.TRANSLATE)

    def test_a_file_for_a_model_of_samples_may_be_read_elsewhere(self) -> None:
        with pytest.raises(JobUnsupported, match="wants samples"):
            asked(sample_audio("slushy.wav"), deployment())

    @pytest.mark.parametrize("given", [{"max_new_tokens": 2**31}, {"temperature": 1e300}])
    def test_a_number_that_no_tensor_holds_may_be_taken_elsewhere(self, samples: Audio, given: dict[str, Any]) -> None:
        to = deployment(max_new_tokens="N", temperature="T")
        with pytest.raises(JobUnsupported, match="can hold"):
            asked(samples, to, generation=GenerationParameters(**given))


class TestCapabilities:
    """What a model can do is what its account says of it."""

    def test_whisper_as_it_is_commonly_deployed(self) -> None:
        can = KSERVE.capabilities(deployment())

        assert (can.containers, can.transcode_to) == (frozenset({Container.SAMPLES}), Container.SAMPLES)
        assert (can.timestamps, can.tasks) == (frozenset({Timestamps.SEGMENT}), frozenset(Task))
        assert (can.generation, can.max_duration_s) == (frozenset(), 30.0)

    def test_a_model_without_a_prefix_writes_down_what_it_hears(self) -> None:
        can = KSERVE.capabilities(deployment(prefix="", max_new_tokens="N"))

        assert (can.timestamps, can.tasks) == (frozenset(), frozenset({Task.TRANSCRIBE}))
        assert (can.language_hint, can.translation_hint) == (False, False)
        assert (can.generation, can.max_duration_s) == (frozenset({"max_new_tokens"}), None)

    def test_a_model_that_decodes_takes_any_file(self) -> None:
        can = KSERVE.capabilities(deployment(audio="file", longest="600"))

        assert (can.containers, can.max_duration_s) == (None, 600.0)

    @pytest.mark.parametrize(
        ("options", "fault"),
        [
            ({"audio": "wav"}, r"options\.audio is 'wav', but only samples and file are known"),
            ({"longest": "30s"}, r"options\.longest is '30s', not a number of whole seconds"),
            ({"longest": "0"}, r"options\.longest is '0'"),
            ({"inputs": "WAV"}, r"account gpu: options\.inputs: only these are known: audio, input, "),
        ],
    )
    def test_what_cannot_be_read_is_told_to_the_operator(self, options: dict[str, str], fault: str) -> None:
        with pytest.raises(ValueError, match=fault):
            KSERVE.capabilities(deployment(**options))


def read(text: object, output: str = "TRANSCRIPTS") -> Transcript:
    data = text if isinstance(text, list) else [text]
    body = json.dumps({"outputs": [{"name": "TRANSCRIPTS", "datatype": "BYTES", "shape": [1], "data": data}]})
    return parse_reply(HttpReply(status=200, body=body.encode()), output)


class TestRead:
    """What Whisper's tokens say, where a model leaves them in."""

    @pytest.mark.parametrize(
        ("text", "spans"),
        [
            (
                "<|0.00|> One.<|1.50|><|1.50|> Two.<|3.00|><|endoftext|>",
                [("One.", 0.0, 1.5), ("Two.", 1.5, 3.0)],
            ),
            ("<|0.00|> One.<|1.50|> Two.<|3.00|>", [("One.", 0.0, 1.5), ("Two.", 1.5, 3.0)]),
            ("<|0.00|> One.<|1.50|><|2.00|> Two.", [("One.", 0.0, 1.5), ("Two.", 2.0, None)]),
            ("<|0.00|> a < b<|1.00|>", [("a < b", 0.0, 1.0)]),
            ("<|0.00|><|1.00|>", []),
            ("One. Two.", []),
        ],
    )
    def test_times_are_cut_out_of_the_text(self, text: str, spans: list[tuple[str, float, float | None]]) -> None:
        heard = read(text)

        assert [(span.text, span.start_s, span.end_s) for span in heard.segments] == spans
        assert "<|" not in heard.text
        assert heard.text == " ".join(span[0] for span in spans) or not spans

    def test_the_language_is_told_where_the_model_wrote_it(self) -> None:
        assert read("<|startoftranscript|><|de|><|transcribe|> Guten Tag.").language == "de"
        assert read("<|xx|> what").language is None
        assert read("Guten Tag.").language is None

    def test_several_elements_are_one_text(self) -> None:
        assert read(["Good", " morning."]).text == "Good morning."

    @pytest.mark.parametrize(("text", "output"), [([], "TRANSCRIPTS"), ("hi", "outputs"), ([7], "TRANSCRIPTS")])
    def test_an_answer_without_the_output_is_none(self, text: object, output: str) -> None:
        with pytest.raises(MalformedReply):
            read(text, output)

    @given(text=st.lists(st.sampled_from(["<|0.00|>", "<|1.50|>", "<|en|>", "<|", "|>", " a", "\n", "<"])).map("".join))
    def test_any_text_is_a_transcript(self, text: str) -> None:
        heard = read(text)

        assert all(span.end_s is None or span.start_s <= span.end_s for span in heard.segments)


async def through(to: Deployment, audio: Audio, **wanted: Any) -> Transcript:
    async with new_session() as session:
        deadline = Moment(asyncio.get_running_loop().time() + 60)
        job = TranscriptionJob(model="m", audio=audio, **wanted)
        return await HttpProvider(KSERVE, session).transcribe(job, to, deadline)


async def test_real_speech_as_samples_comes_back_with_its_times(
    samples: Audio, emulate: Callable[..., Awaitable[str]], local_ear: LocalEar
) -> None:
    to = deployment(await emulate("kserve", local_ear), lengths="WAV_LENS")
    heard = await through(to, samples, language="en", timestamps=Timestamps.SEGMENT)

    assert "slushy country roads" in heard.text
    assert heard.segments[0].start_s < 2
    assert " ".join(span.text for span in heard.segments) == heard.text


@pytest.mark.parametrize(
    ("options", "model", "fault"),
    [
        ({}, "missing", "no such model"),
        ({"input": "AUDIO"}, "whisper", "status 400"),
        ({"output": "TEXT"}, "whisper", "status 400"),
    ],
)
async def test_what_is_called_otherwise_there_may_be_right_elsewhere(
    samples: Audio,
    emulate: Callable[..., Awaitable[str]],
    options: dict[str, str],
    model: str,
    fault: str,
) -> None:
    with pytest.raises(JobUnsupported, match=fault):
        await through(deployment(await emulate("kserve"), model, **options), samples)


async def test_no_samples_are_no_words(emulate: Callable[..., Awaitable[str]], samples: Audio) -> None:
    """Half a sample is no sample: the shape says how many there are."""
    odd = replace(samples, content=sample_audio("slushy.mp3").content)
    assert odd.size_bytes % 4
    with pytest.raises(JobUnsupported, match="status 400"):
        await through(deployment(await emulate("kserve")), odd)
