"""One utterance's way through a model: pieces of the test's own making, and one real model for several callers."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

import numpy as np
import pytest
from msgspec.structs import replace

from providers.audio.unreadable import UnreadableAudio
from providers.emulators.ear import as_audio
from providers.errors import JobUnsupported
from providers.local.batcher import Closed
from providers.local.engine import RATE_HZ, Abandoned, Piece, heard
from providers.local.faster_whisper import FasterWhisper
from providers.local.listener import Listener
from providers.types import Capabilities, Segment, Transcript, TranscriptionJob
from tests.conftest import sample_audio, whisper
from tests.engines import Echo

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from providers.local.engine import Engine

PIECE_S = 0.5


class Spoken(Echo):
    """Hears the words of a job's name, one in each piece; "-" is silence. Tells a language where none was named."""

    def __init__(self, *, rows: int = 4, passes: int = 100_000) -> None:
        self.max_rows = rows
        self.passes = threading.Semaphore(passes)
        self.read: list[str] = []
        self.heard: list[tuple[str, str | None]] = []
        self.closed = False

    def pieces(self, job: TranscriptionJob) -> Iterator[Piece]:
        for at, word in enumerate(job.model.split()):
            if word == "unreadable":
                raise UnreadableAudio("the file ends here")
            self.read.append(word)
            samples = np.zeros(round(PIECE_S * RATE_HZ), np.float32)
            yield Piece(
                job=replace(job, model=word),
                samples=samples,
                start_s=at * PIECE_S,
                silent=word == "-",
                language=job.language,
            )

    def hear(self, pieces: Sequence[Piece], is_abandoned: Callable[[], bool]) -> list[Transcript]:
        self.passes.acquire()
        if is_abandoned():
            raise Abandoned
        self.heard += [(piece.job.model, piece.language) for piece in pieces]
        return super().hear(pieces, is_abandoned)

    def said(self, piece: Piece, is_abandoned: Callable[[], bool]) -> Transcript:
        if piece.job.model == "broken":
            raise ValueError("broken")
        said = super().said(piece, is_abandoned)
        segment = Segment(text=said.text, start_s=0.0, end_s=PIECE_S)
        return replace(said, segments=(segment,), language=said.language or f"of {said.text}")

    def close(self) -> None:
        self.closed = True


class English(Spoken):
    capabilities = Capabilities(languages=frozenset({"en"}))


def listener(engine: Engine, *, wait_s: float = 0.0) -> Listener:
    return Listener(engine, max_batch=16, max_wait_s=wait_s)


def job(words: str, language: str | None = None) -> TranscriptionJob:
    return TranscriptionJob(model=words, audio=as_audio(b""), language=language)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - what changes lives in a thread
            await asyncio.sleep(0.001)


async def test_pieces_come_back_in_order_at_their_times() -> None:
    engine = English()
    words = [f"w{n}" for n in range(20)]
    said = await listener(engine).hear(job(" ".join(words)))

    assert said.text.split() == words
    assert [(segment.text, segment.start_s) for segment in said.segments] == [
        (word, n * PIECE_S) for n, word in enumerate(words)
    ]
    assert said.duration_s == 10.0


async def test_driven_together_or_alone_it_says_the_same() -> None:
    asked = job("- one - two three -")

    assert await listener(Spoken()).hear(asked) == heard(Spoken(), asked)


async def test_nobody_asks_the_engine_about_silence() -> None:
    engine = Spoken()
    said = await listener(engine).hear(job("- - -"))

    assert (said.text, said.duration_s, engine.heard) == ("", 3 * PIECE_S, [])


async def test_the_first_who_speaks_says_the_language_of_the_rest() -> None:
    engine = Spoken()
    said = await listener(engine).hear(job("- one two three four"))

    assert engine.heard[0] == ("one", None)
    assert {language for _, language in engine.heard[1:]} == {"of one"}
    assert said.language == "of one"


async def test_a_language_that_is_known_is_not_listened_for() -> None:
    for engine, language in ((Spoken(), "fr"), (English(), None)):
        await listener(engine).hear(job("one two three", language))
        assert engine.heard == [("one", language), ("two", language), ("three", language)]


async def test_a_long_utterance_is_read_as_it_is_heard() -> None:
    """Memory for a few pieces, whatever its length."""
    engine = English(rows=4, passes=0)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(listener(engine).hear(job(" ".join(["word"] * 100))))
        await until(lambda: len(engine.read) == 8)
        engine.passes.release()
        await until(lambda: len(engine.read) > 8)
        assert len(engine.read) <= 8 + 4
        engine.passes.release(100)
    assert task.result().text.count("word") == 100


@pytest.mark.parametrize("words", ["one two unreadable", "one two broken four", "broken unreadable"])
async def test_a_fault_in_any_piece_is_the_utterances(words: str) -> None:
    with pytest.raises((UnreadableAudio, ValueError), match=r"the file ends here|broken"):
        await listener(English()).hear(job(words))


async def test_what_is_left_of_an_utterance_that_failed_is_not_heard() -> None:
    engine = English(rows=1, passes=0)
    to = listener(engine)
    async with asyncio.TaskGroup() as group:
        failing = group.create_task(_failed(to, "broken two three"))
        await until(lambda: len(engine.read) == 2)
        engine.passes.release(100)
        assert isinstance(await failing, ValueError)
    assert (await to.hear(job("next"))).text == "next"
    assert [word for word, _ in engine.heard if word != "broken"] in (["next"], ["two", "next"])


async def _failed(to: Listener, words: str) -> Exception:
    with pytest.raises((ValueError, Closed)) as caught:
        await to.hear(job(words))
    return caught.value


async def test_utterances_of_others_are_heard_between_the_pieces_of_a_long_one() -> None:
    engine = English(rows=1, passes=1)
    to = listener(engine)
    async with asyncio.TaskGroup() as group:
        long = group.create_task(to.hear(job(" ".join(["long"] * 50))))
        await until(lambda: len(engine.heard) == 1)
        short = group.create_task(to.hear(job("short")))
        await until(lambda: "short" in engine.read)
        engine.passes.release(3)
        assert (await short).text == "short"
        assert not long.done()
        engine.passes.release(100)
    assert long.result().text.count("long") == 50


async def test_a_long_utterance_has_all_the_workers() -> None:
    """And the next piece is read while they are busy."""
    engine = English(rows=1, passes=0)
    engine.workers = 3
    to = listener(engine)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(to.hear(job("one two three four five six")))
        await until(lambda: len(to.batcher.heard_now) == 3 and len(engine.read) == 4)
        engine.passes.release(100)
    assert task.result().text == "one two three four five six"


class Refusing(Spoken):
    def check(self, job: TranscriptionJob) -> None:
        raise JobUnsupported("local", f"not {job.model}")


async def test_what_cannot_be_done_is_refused_before_it_is_read() -> None:
    engine = Refusing()
    with pytest.raises(JobUnsupported, match="not - -"):
        await listener(engine).hear(job("- -"))

    assert engine.read == []


async def test_closing_ends_what_is_heard_and_gives_the_memory_back() -> None:
    engine = English(rows=1, passes=0)
    to = listener(engine)
    async with asyncio.TaskGroup() as group:
        running = group.create_task(to.hear(job("one")))
        await until(lambda: to.batcher.utterances_heard == 1)
        cut = group.create_task(_failed(to, "a b c d e"))
        await until(lambda: len(engine.read) == 3)
        closing = group.create_task(asyncio.to_thread(to.close))
        assert isinstance(await cut, Closed)
        engine.passes.release(100)
        await closing
    assert running.result().text == "one"
    assert engine.closed


async def test_several_callers_of_a_real_model_get_their_own_words() -> None:
    """Each what it would have got alone."""
    engine = FasterWhisper("tiny.en")
    names = ["sb_spk2_snt1.flac", "jfk.flac", "slushy.wav"]
    jobs = [TranscriptionJob(model="m", audio=sample_audio(name)) for name in names]
    alone = await asyncio.to_thread(lambda: [heard(whisper(), each) for each in jobs])
    to = listener(engine)

    assert await asyncio.gather(*(to.hear(each) for each in jobs)) == alone
    await asyncio.to_thread(to.close)
