"""Whisper on this machine: the real tiny.en on real speech, and on what is none."""

from __future__ import annotations

import asyncio
import itertools
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from faster_whisper.tokenizer import Tokenizer
from msgspec.structs import replace

from providers.audio.samples import MODEL_RATE_HZ, read_samples
from providers.audio.unreadable import UnreadableAudio
from providers.emulators.ear import as_audio
from providers.errors import JobRejected, JobUnsupported
from providers.local.batcher import Batcher
from providers.local.engine import Abandoned, OutOfMemory, Piece, heard
from providers.local.faster_whisper import HONOURED, FasterWhisper, _best_type, _decoding, _memory_watched
from providers.local.listener import Listener
from providers.local.models import ModelMissing
from providers.types import GenerationParameters, Task, Timestamps, Transcript, TranscriptionJob
from tests.conftest import encoded, sample_audio, tone, whisper, whisper_base

SHORT = TranscriptionJob(model="m", audio=sample_audio("sb_spk2_snt1.flac"))


def hear(job: TranscriptionJob = SHORT, **generation: float | bool) -> Transcript:
    asked = replace(job, generation=GenerationParameters(**generation))  # type: ignore[arg-type] # fields of many types
    return heard(whisper(), asked)


def test_hears_what_was_said() -> None:
    heard = hear()

    assert heard.text == "We are sure that one war is enough."
    assert (heard.language, heard.model_version) == ("en", "tiny.en")
    assert heard.duration_s == pytest.approx(2.01)
    assert heard.words == ()


@pytest.mark.parametrize("name", ["jfk.flac", "two_cities.flac"])
def test_times_go_forward_and_stay_inside_the_audio(name: str) -> None:
    heard = hear(TranscriptionJob(model="m", audio=sample_audio(name), timestamps=Timestamps.WORD))
    assert heard.duration_s
    starts = [word.start_s for word in heard.words]

    assert " ".join(word.text for word in heard.words) == heard.text
    assert starts == sorted(starts)
    spans = [(word.start_s, word.end_s) for word in heard.words]
    spans += [(segment.start_s, segment.end_s or 0.0) for segment in heard.segments]
    assert all(0 <= start_s <= end_s <= heard.duration_s for start_s, end_s in spans)
    for before, after in itertools.pairwise(heard.segments):
        assert before.end_s is not None
        assert before.end_s <= after.start_s + 0.01
    assert all(word.confidence is not None and 0 <= word.confidence <= 1 for word in heard.words)
    assert "".join(segment.text for segment in heard.segments).strip() == heard.text


def test_a_recording_of_several_parts_is_heard_to_its_end() -> None:
    """Five minutes of silence between two sentences: more than is worked on at once, and times that run on."""
    said = read_samples(SHORT.audio.content, max_duration_s=9)
    whole = np.concatenate((said, np.zeros(300 * MODEL_RATE_HZ, np.float32), said))
    pcm = (whole * 32_767).astype(np.int16)[np.newaxis]
    audio = as_audio(encoded(pcm, MODEL_RATE_HZ, "flac", "flac"))

    heard = hear(TranscriptionJob(model="m", audio=audio, timestamps=Timestamps.WORD))

    assert heard.text == "We are sure that one war is enough. We are sure that one war is enough."
    first, second = heard.words[0], heard.words[8]
    assert (first.text, second.text) == ("We", "We")
    assert second.start_s - first.start_s == pytest.approx(302.0, abs=0.5)
    assert heard.duration_s == pytest.approx(len(whole) / MODEL_RATE_HZ, abs=0.01)


def noise(seconds: float) -> np.ndarray[tuple[int, int], np.dtype[np.int16]]:
    return np.random.default_rng(0).integers(-8_000, 8_000, (1, round(seconds * 16_000)), np.int16)


@pytest.mark.parametrize(
    "samples",
    [np.zeros((1, 80_000), np.int16), noise(5), tone(5, 16_000), np.zeros((1, 1), np.int16), noise(0.01)],
    ids=["silence", "white noise", "tone", "one sample", "a click"],
)
def test_what_is_no_speech_is_no_words(samples: np.ndarray[tuple[int, int], np.dtype[np.int16]]) -> None:
    """Whisper alone hears "You" in silence."""
    heard = hear(TranscriptionJob(model="m", audio=as_audio(encoded(samples, 16_000, "wav", "pcm_s16le"))))

    assert (heard.text, heard.segments, heard.words) == ("", (), ())
    assert heard.duration_s == pytest.approx(samples.shape[1] / 16_000)


def test_fewer_tokens_are_fewer_words() -> None:
    """The limit holds for each window of 30 s."""
    whole, few = hear(), hear(max_new_tokens=5)

    assert 0 < len(few.text.split()) < len(whole.text.split())
    assert whole.text.startswith(few.text[:10])


def test_more_beams_hear_it_too() -> None:
    assert hear(num_beams=5).text == "We are sure that one war is enough."


def test_a_high_temperature_draws_by_lot() -> None:
    """At 2.0 three times the same is as good as impossible."""
    assert len({hear(temperature=2.0, max_new_tokens=12).text for _ in range(3)}) > 1


@pytest.mark.parametrize(
    ("generation", "temperature"),
    [
        ({}, 0.0),
        ({"temperature": 0.0}, 0.0),
        ({"temperature": 0.7}, 0.7),
        ({"do_sample": True}, 1.0),
        ({"do_sample": True, "temperature": 0.3}, 0.3),
        ({"do_sample": False, "temperature": 0.7}, 0.0),
    ],
)
def test_sampling_is_a_temperature_above_nothing(generation: dict[str, float], temperature: float) -> None:
    asked = replace(SHORT, generation=GenerationParameters(**generation))  # type: ignore[arg-type] # as above

    assert _decoding(asked).temperature == temperature


def test_a_prompt_and_a_limit_that_do_not_fit_together_may_fit_elsewhere() -> None:
    long = replace(SHORT, prompt="word " * 300)
    with pytest.raises(JobUnsupported, match="too long together"):
        hear(long, max_new_tokens=440)


def test_a_prompt_is_heard_with() -> None:
    assert "enough" in hear(replace(SHORT, prompt="About war.")).text
    with pytest.raises(JobRejected, match="control tokens"):
        hear(replace(SHORT, prompt="<|startoftranscript|>"))


def test_a_job_that_nobody_waits_for_stops() -> None:
    with pytest.raises(Abandoned):
        heard(whisper(), SHORT, lambda: True)


def test_what_is_no_audio_says_so() -> None:
    with pytest.raises(UnreadableAudio):
        hear(TranscriptionJob(model="m", audio=as_audio(b"no audio")))


def test_tells_what_it_can_do() -> None:
    can = whisper().capabilities

    assert can.generation == HONOURED
    assert can.timestamps == {Timestamps.SEGMENT, Timestamps.WORD}
    assert can.tasks == {Task.TRANSCRIBE}
    assert can.languages == frozenset({"en"})


def test_it_hears_the_languages_that_its_own_vocabulary_has() -> None:
    """Cantonese is of large-v3 alone. Elsewhere its rows would have shorter prompts than the others of a batch."""
    can, model = whisper_base().capabilities, whisper_base()._model
    assert can.languages is not None
    assert (len(can.languages), can.languages & {"yue", "en", "su"}) == (99, frozenset({"en", "su"}))

    prompts = (
        model.get_prompt(Tokenizer(model.hf_tokenizer, multilingual=True, task="transcribe", language=each), [])
        for each in can.languages
    )
    assert {len(each) for each in prompts} == {3}


@pytest.mark.parametrize(("told", "workers"), [("3", 3), ("0", 1), ("4,2", os.cpu_count()), ("", os.cpu_count())])
def test_no_more_processors_are_kept_busy_than_it_is_given(
    monkeypatch: pytest.MonkeyPatch, told: str, workers: int
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", told)
    assert FasterWhisper("tiny.en", device="cpu").workers == workers


def test_a_folder_that_holds_no_model_is_a_missing_model(tmp_path: Path) -> None:
    with pytest.raises(ModelMissing, match=r"no model\.bin"):
        FasterWhisper(str(tmp_path))
    (tmp_path / "model.bin").write_bytes(b"not a model")
    with pytest.raises(ModelMissing, match="cannot be loaded"):
        FasterWhisper(str(tmp_path))


def test_small_models_get_the_arithmetic_they_need(tmp_path: Path) -> None:
    """Eight bits cost tiny.en four words of 289, and a large model none."""
    small, large = tmp_path / "small", tmp_path / "large"
    for folder, size in ((small, 75_000_000), (large, 800_000_000)):
        folder.mkdir()
        with (folder / "model.bin").open("wb") as weights:
            weights.truncate(size)

    assert _best_type(small, on_gpu=False) == "float32"
    assert _best_type(large, on_gpu=False) == "int8"
    assert _best_type(small, on_gpu=True) == "float16"


def test_a_loaded_model_says_what_memory_it_takes() -> None:
    """Thirty-nine million weights, four bytes each."""
    assert whisper().size_bytes == pytest.approx(39e6 * 4, rel=0.05)


def piece(**job: object) -> Piece:
    asked = replace(SHORT, **job)
    return Piece(job=asked, samples=np.zeros(0, np.float32), start_s=0.0, language=asked.language)


def test_pieces_are_heard_together_where_one_call_can_do_it() -> None:
    """Rows may differ in language and task; what says the same in other words is the same."""
    key, plain = whisper().key, piece()

    for same in (
        piece(language="en"),
        piece(task=Task.TRANSLATE),
        piece(timestamps=Timestamps.SEGMENT),
        piece(generation=GenerationParameters(num_beams=1, do_sample=False, temperature=0.7)),
    ):
        assert key(same) == key(plain)
    others = [
        piece(prompt="a"),
        piece(timestamps=Timestamps.WORD),
        piece(generation=GenerationParameters(num_beams=3)),
        piece(generation=GenerationParameters(temperature=0.7)),
        piece(generation=GenerationParameters(max_new_tokens=7)),
    ]
    assert len({key(each) for each in (plain, *others)}) == 6
    assert [whisper().rows(each) for each in (plain, others[2])] == [1, 3]


def test_a_batch_is_of_rows_where_the_device_gains_by_them() -> None:
    """On a CPU a worker for each core does more: rows are for who asks for them."""
    assert whisper().max_rows == 1
    assert FasterWhisper("tiny.en", device="cpu", max_rows=5).max_rows == 5


@pytest.mark.parametrize(
    "said",
    [
        "CUDA failed with error out of memory",
        "cuBLAS failed with status CUBLAS_STATUS_ALLOC_FAILED",
        "cuDNN failed with status CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED",
        "mkl_malloc: failed to allocate memory",
        "could not create a memory object",
    ],
)
def test_a_full_device_is_told_by_its_words(said: str) -> None:
    """As a GPU says it, which is not to be had here; the last two are met below."""
    with pytest.raises(OutOfMemory, match=said), _memory_watched():
        raise RuntimeError(said)
    with pytest.raises(RuntimeError, match="cuDNN failed with status CUDNN_STATUS_NOT_SUPPORTED"), _memory_watched():
        raise RuntimeError("cuDNN failed with status CUDNN_STATUS_NOT_SUPPORTED")


WITH_LITTLE_MEMORY = """
import asyncio, resource
from providers.local.batcher import Batcher
from providers.local.faster_whisper import FasterWhisper
from providers.types import TranscriptionJob
from tests.conftest import sample_audio

engine = FasterWhisper("tiny.en", device="cpu", max_rows=8)
engine.workers = 1  # as a GPU has it
(piece,) = engine.pieces(TranscriptionJob(model="m", audio=sample_audio("sb_spk2_snt1.flac")))

async def main():
    to = Batcher(engine, max_rows=8, max_wait_s=0.05, max_audio_s=60, on_batch=lambda pieces, _: batches.append(pieces))
    alone = await to.submit(piece, "first")  # its thread is there
    batches.clear()
    taken = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + (250 << 20), -1))
    answers = await asyncio.gather(*(to.submit(piece, lane) for lane in range(8)))
    await asyncio.to_thread(to.close)
    assert answers == [alone] * 8, answers
    print(*batches)

batches = []
asyncio.run(main())
"""


def test_what_does_not_fit_the_memory_is_heard_in_fewer_rows() -> None:
    """Of a real process that may have no more: eight rows at once are too many for it, each alone is not."""
    environ = {**os.environ, "OMP_NUM_THREADS": "1"}
    ended = subprocess.run(
        [sys.executable, "-c", WITH_LITTLE_MEMORY],
        capture_output=True,
        text=True,
        check=False,
        env=environ,
        timeout=600,
    )
    assert ended.returncode == 0, ended.stderr
    batches = [int(each) for each in ended.stdout.split()]
    assert batches[:2] == [8, 4]
    assert max(batches[2:]) < 8


async def test_a_recording_that_no_model_can_hear_fails_alone() -> None:
    """In a batch with others it is the end of none: all are heard again, one by one."""
    engine, fine = FasterWhisper("tiny.en", device="cpu", max_rows=4), ["sb_spk2_snt1.flac", "arctic_a0024.wav"]
    pieces = [next(iter(engine.pieces(TranscriptionJob(model="m", audio=sample_audio(name))))) for name in fine]
    broken = replace(pieces[0], samples=np.zeros((2, 2, 2), np.float32))
    batches: list[int] = []
    batcher = Batcher(
        engine, max_rows=4, max_wait_s=5, max_audio_s=60, on_batch=lambda together, _: batches.append(together)
    )

    answers = [batcher.submit(each, lane) for lane, each in enumerate([pieces[0], broken, pieces[1], pieces[0]])]
    said = await asyncio.gather(*answers, return_exceptions=True)
    await asyncio.to_thread(batcher.close)

    assert batches == [4, 1, 1, 1, 1]
    assert isinstance(said.pop(1), ValueError | IndexError | RuntimeError)
    expected = [heard(whisper(), TranscriptionJob(model="m", audio=sample_audio(name))) for name in (*fine, fine[0])]
    assert said == expected


async def test_callers_at_once_are_heard_in_one_batch() -> None:
    """Each as alone; a recording of two windows among them."""
    engine, names = FasterWhisper("tiny.en", device="cpu", max_rows=5), ["jfk.flac", "two_cities.flac", "slushy.wav"]
    jobs = [TranscriptionJob(model="m", audio=sample_audio(name)) for name in (*names, "arctic_a0024.wav")]
    batches: list[int] = []
    to = Listener(engine, max_batch=5, max_wait_s=60, on_batch=lambda pieces, _: batches.append(pieces))

    said = await asyncio.gather(*(to.hear(each) for each in jobs))
    await asyncio.to_thread(to.close)

    assert batches == [5]
    assert said == [heard(whisper(), each) for each in jobs]
