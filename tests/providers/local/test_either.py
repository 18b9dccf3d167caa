"""One model in two engines: which of them is asked for what."""

from __future__ import annotations

import asyncio

import pytest

from providers.emulators.ear import as_audio
from providers.errors import JobUnsupported
from providers.local.either import EitherModel
from providers.local.models import ModelMissing
from providers.local.names import assumed
from providers.local.provider import LocalModel
from providers.local.shelf import Shelf, ShelvedModel
from providers.types import (
    Account,
    Capabilities,
    Deployment,
    GenerationParameters,
    Moment,
    Timestamps,
    Transcript,
    TranscriptionJob,
)
from tests.engines import Echo

TO = Deployment(account=Account(name="local", adapter="local", base_urls={}), native_model="m")


class Named(Echo):
    """Answers with its own name; refuses beams above what it has."""

    def __init__(self, name: str, capabilities: Capabilities, most_beams: int = 99) -> None:
        self.name, self.capabilities, self.most_beams = name, capabilities, most_beams
        self.loaded = False

    def check(self, job: TranscriptionJob) -> None:
        if (job.generation.num_beams or 1) > self.most_beams:
            raise JobUnsupported("local", f"num_beams is at most {self.most_beams} there")

    def said(self, *_: object) -> Transcript:
        return Transcript(text=self.name)


QUICK = Capabilities(generation=frozenset({"num_beams", "temperature"}), timestamps=frozenset({Timestamps.WORD}))
THOROUGH = Capabilities(
    generation=frozenset({"num_beams", "temperature", "top_k"}), timestamps=frozenset({Timestamps.SEGMENT}), prompt=True
)


def shelved(engine: Named | None, *, at_start: bool) -> ShelvedModel:
    """engine: None: it cannot be loaded."""

    def load(_: str) -> Named:
        if engine is None:
            raise ModelMissing("no such files")
        engine.loaded = True
        return engine

    return ShelvedModel("m", lambda: LocalModel("m", load), Shelf(), assumed=None if at_start else assumed("m"))


def either(quick: Named | None, thorough: Named | None) -> EitherModel:
    return EitherModel(shelved(quick, at_start=True), shelved(thorough, at_start=False))


async def ask(model: EitherModel, generation: GenerationParameters | None = None) -> str:
    job = TranscriptionJob(model="m", audio=as_audio(b""), generation=generation or GenerationParameters())
    return (await model.transcribe(job, TO, Moment(asyncio.get_running_loop().time() + 10))).text


@pytest.mark.parametrize(
    ("generation", "expected"),
    [
        (GenerationParameters(), "quick"),
        (GenerationParameters(num_beams=2, temperature=0.0), "quick"),
        (GenerationParameters(top_k=0, top_p=1.0, use_cache=True), "quick"),  # what every decoder does anyway
        (GenerationParameters(top_k=5), "thorough"),
        (GenerationParameters(num_beams=3), "thorough"),  # more than the quick one can
    ],
)
async def test_the_quick_one_does_what_it_can(generation: GenerationParameters, expected: str) -> None:
    thorough = Named("thorough", THOROUGH)
    model = either(Named("quick", QUICK, most_beams=2), thorough)
    await model.load()
    assert (model.ready, model.waiting, thorough.loaded) == (True, 0, False)
    assert await ask(model, generation) == expected
    assert thorough.loaded is (expected == "thorough")
    model.close()


async def test_can_do_what_one_of_them_can() -> None:
    model = either(Named("quick", QUICK), Named("thorough", THOROUGH))
    assert (model.ready, model.capabilities) == (False, None)
    await model.load()
    await ask(model, GenerationParameters(top_k=5))
    assert model.capabilities is not None
    assert model.capabilities.generation == {"num_beams", "temperature", "top_k"}
    assert model.capabilities.timestamps == {Timestamps.SEGMENT, Timestamps.WORD}
    assert model.capabilities.prompt
    model.close()


async def test_where_there_is_no_quick_one_the_other_is_loaded_at_the_start_and_does_all() -> None:
    thorough = Named("thorough", THOROUGH)
    model = either(None, thorough)
    await model.load()
    await model.wait_loaded()
    assert (model.ready, model.missing, thorough.loaded, model.capabilities) == (True, None, True, THOROUGH)
    assert await ask(model) == "thorough"
    model.close()


async def test_where_there_is_no_thorough_one_the_quick_one_is_asked_for_all_once_that_is_known() -> None:
    model = either(Named("quick", QUICK), None)
    await model.load()
    with pytest.raises(
        JobUnsupported, match="no such files"
    ):  # and not tried again, where the quick one would drop top_k
        await ask(model, GenerationParameters(top_k=5))
    assert model.capabilities == QUICK
    assert await ask(model) == "quick"
    with pytest.raises(JobUnsupported, match="no such files"):
        await ask(model, GenerationParameters(top_k=5))  # planned before that was known
    model.close()


async def test_where_there_is_neither_it_is_missing() -> None:
    model = either(None, None)
    await model.load()
    assert (model.ready, str(model.missing), model.capabilities) == (False, "no such files", None)
    model.close()
