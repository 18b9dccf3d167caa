"""Models within a budget of memory: loaded when asked for, let go of when others need the room."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import pytest

from providers.emulators.ear import as_audio
from providers.errors import JobUnsupported, ProviderUnavailable
from providers.local.engine import Piece
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
    Task,
    Timestamps,
    Transcript,
    TranscriptionJob,
)
from tests.engines import Echo

if TYPE_CHECKING:
    from collections.abc import Callable

TO = Deployment(account=Account(name="local", adapter="local", base_urls={}), native_model="m")
ANY = Capabilities()


class Weighty(Echo):
    """Hears at once, unless it is held; takes the memory that it says."""

    def __init__(self, size_bytes: int) -> None:
        self.size_bytes = size_bytes
        self.closed = threading.Event()
        self.may_hear = threading.Event()
        self.may_hear.set()
        self.begun = threading.Event()

    def said(self, piece: Piece, is_abandoned: Callable[[], bool]) -> Transcript:
        assert not self.closed.is_set()
        self.begun.set()
        assert self.may_hear.wait(10)
        return super().said(piece, is_abandoned)

    def close(self) -> None:
        self.closed.set()


class Case:
    """Models of a shelf, and every engine that was ever loaded for each, in order."""

    def __init__(self, budget_bytes: int | None) -> None:
        self.shelf = Shelf(budget_bytes)
        self.loaded: list[str] = []
        self.engines: dict[str, list[Weighty]] = {}
        self.models: list[ShelvedModel] = []
        self.may_load = threading.Event()
        self.may_load.set()

    def model(
        self, name: str, size_bytes: int, *, assumed: Capabilities | None = ANY, told: bool = True
    ) -> ShelvedModel:
        """told: whether its files say what it takes."""

        def load(_: str) -> Weighty:
            assert self.may_load.wait(10)
            if size_bytes < 0:
                raise ModelMissing("no such files")
            engine = Weighty(size_bytes)
            self.loaded.append(name)
            self.engines.setdefault(name, []).append(engine)
            return engine

        made = ShelvedModel(
            name,
            lambda: LocalModel(name, load),
            self.shelf,
            assumed=assumed,
            expected_bytes=size_bytes if told else 0,
        )
        self.models.append(made)
        return made

    def close(self) -> None:
        for model in self.models:
            model.close()


async def ask(model: ShelvedModel, seconds: float = 30) -> str:
    deadline = Moment(asyncio.get_running_loop().time() + seconds)
    said = await model.transcribe(TranscriptionJob(model=model.name, audio=as_audio(b"")), TO, deadline)
    return said.text


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - what changes lives in a thread
            await asyncio.sleep(0.001)


async def test_is_loaded_when_it_is_first_asked_for() -> None:
    case = Case(None)
    model = case.model("a", 10)
    await model.load()
    await model.wait_loaded()
    assert (model.ready, model.loaded, model.capabilities, case.loaded) == (True, False, ANY, [])
    assert [await ask(model), await ask(model)] == ["a", "a"]
    assert (model.loaded, case.loaded) == (True, ["a"])
    case.close()


async def test_one_for_the_start_is_loaded_there() -> None:
    case = Case(None)
    model = case.model("a", 10, assumed=None)
    assert not model.ready
    async with asyncio.TaskGroup() as group:
        group.create_task(model.load())
        group.create_task(model.wait_loaded())
    assert (model.ready, model.loaded, model.capabilities) == (True, True, Echo.capabilities)
    case.close()


async def test_whoever_was_used_longest_ago_makes_room() -> None:
    case = Case(25)
    a, b, c = (case.model(name, 10) for name in "abc")
    for model in (a, b, a, c):  # b is the one
        await ask(model)
    assert [each.loaded for each in (a, b, c)] == [True, False, True]
    assert case.engines["b"][0].closed.is_set()
    assert await ask(b) == "b"
    assert case.loaded == ["a", "b", "c", "b"]
    assert [each.loaded for each in (a, b, c)] == [False, True, True]
    assert all(each.ready for each in (a, b, c))
    case.close()


async def test_what_files_do_not_tell_is_counted_once_it_is_known() -> None:
    case = Case(25)
    a, b = case.model("a", 20, told=False), case.model("b", 20, told=False)
    await ask(a)
    await ask(b)
    assert [a.loaded, b.loaded, a.expected_bytes] == [False, True, 20]
    case.close()


async def test_one_that_is_at_work_is_waited_for_and_those_who_want_it_meanwhile_come_after() -> None:
    case = Case(15)
    a, b = case.model("a", 10), case.model("b", 10)
    await ask(a)
    (engine,) = case.engines["a"]
    engine.begun.clear()
    engine.may_hear.clear()
    async with asyncio.TaskGroup() as group:
        at_work = group.create_task(ask(a))
        await until(engine.begun.is_set)
        other = group.create_task(ask(b))
        await until(lambda: not a.loaded)
        late = group.create_task(ask(a))
        await asyncio.sleep(0)
        assert (case.loaded, engine.closed.is_set(), a.waiting) == (["a"], False, 2)
        engine.may_hear.set()
    assert [each.result() for each in (at_work, other, late)] == ["a", "b", "a"]
    assert case.loaded == ["a", "b", "a"]
    case.close()


async def test_who_waits_for_room_leaves_at_the_deadline() -> None:
    case = Case(15)
    a, b = case.model("a", 10), case.model("b", 10)
    await ask(a)
    (engine,) = case.engines["a"]
    engine.may_hear.clear()
    async with asyncio.TaskGroup() as group:
        at_work = group.create_task(ask(a))
        with pytest.raises(ProviderUnavailable, match="still loading, or waits for other models"):
            await ask(b, seconds=0.05)
        assert b.waiting == 0
        engine.may_hear.set()
    assert at_work.result() == "a"
    assert await ask(b) == "b"
    case.close()


async def test_loading_goes_on_when_whoever_asked_has_left() -> None:
    case = Case(None)
    model = case.model("a", 10)
    case.may_load.clear()
    with pytest.raises(ProviderUnavailable):
        await ask(model, seconds=0.05)
    case.may_load.set()
    await until(lambda: model.loaded)
    assert await ask(model) == "a"
    assert case.loaded == ["a"]
    case.close()


async def test_many_who_ask_at_once_load_it_once() -> None:
    case = Case(None)
    model = case.model("a", 10)
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(ask(model)) for _ in range(9)]
    assert [each.result() for each in tasks] == ["a"] * 9
    assert case.loaded == ["a"]
    case.close()


async def test_one_larger_than_the_budget_says_so() -> None:
    case = Case(15_000_000)
    small, large = case.model("small", 10_000_000), case.model("large", 20_000_000, told=False)
    await ask(small)
    with pytest.raises(ProviderUnavailable, match=r"large takes 20 MB, which is more than memory_budget"):
        await ask(large)
    assert case.engines["large"][0].closed.is_set()
    assert (large.ready, large.loaded) == (False, False)
    assert await ask(small) == "small"
    case.close()


async def test_one_that_is_missing_is_asked_for_no_more() -> None:
    case = Case(None)
    model = case.model("a", -1)
    for _ in range(2):
        with pytest.raises(ProviderUnavailable, match="no such files"):
            await ask(model)
    assert (model.ready, str(model.missing)) == (False, "no such files")
    case.close()


async def test_a_library_that_fails_is_no_end_without_a_word() -> None:
    def load(_: str) -> Weighty:
        raise OSError("the disk is on fire")

    model = ShelvedModel("a", lambda: LocalModel("a", load), Shelf(), assumed=ANY)
    with pytest.raises(ProviderUnavailable, match="'a' cannot be loaded: OSError: the disk is on fire"):
        await ask(model)
    assert not model.ready
    model.close()


async def test_loading_what_is_loaded_does_nothing() -> None:
    """As a reload asks of models that stay."""
    case = Case(15)
    model = case.model("a", 10, assumed=None)
    for _ in range(3):
        await model.load()
        await model.wake()
    assert (case.loaded, model.ready) == (["a"], True)
    case.close()


async def test_one_that_was_missing_is_tried_again_when_it_is_to_be_loaded() -> None:
    there: list[Weighty] = []

    def load(_: str) -> Weighty:
        if not there:
            raise ModelMissing("no such files")
        return there[0]

    for told in (ANY, None):
        there.clear()
        model = ShelvedModel("a", lambda: LocalModel("a", load), Shelf(), assumed=told)
        await model.load()
        await model.wake()
        assert (model.ready, str(model.missing)) == (False, "no such files")
        there.append(Weighty(1))
        await model.load()
        assert (model.ready, model.missing, await ask(model)) == (True, None, "a")
        model.close()


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"generation": GenerationParameters(top_k=5, do_sample=True)}, "does not honour top_k, do_sample"),
        ({"task": Task.TRANSLATE}, "does not translate"),
        ({"timestamps": Timestamps.WORD}, "gives no word times"),
        ({"language": "fr"}, "does not know 'fr'"),
        ({"prompt": "names"}, "takes no prompt"),
    ],
)
async def test_what_it_was_only_assumed_to_do_is_refused(asked: dict[str, Any], says: str) -> None:
    engine = Weighty(1)
    engine.capabilities = Capabilities(languages=frozenset({"en"}))
    model = ShelvedModel("a", lambda: LocalModel("a", lambda _: engine), Shelf(), assumed=assumed("a"))
    job = TranscriptionJob(model="a", audio=as_audio(b""), **asked)
    with pytest.raises(JobUnsupported, match=says):
        await model.transcribe(job, TO, Moment(asyncio.get_running_loop().time() + 30))
    neutral = GenerationParameters(top_k=0, top_p=1.0, use_cache=True)
    job = TranscriptionJob(model="a", audio=as_audio(b""), language="en", generation=neutral)
    assert (await model.transcribe(job, TO, Moment(asyncio.get_running_loop().time() + 30))).text == "a"
    model.close()


async def test_closing_ends_a_load_that_somebody_waits_for() -> None:
    case = Case(None)
    model = case.model("a", 10)
    case.may_load.clear()
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(asyncio.wait((group.create_task(_failure(model)),)))
        await until(lambda: model.waiting == 1)
        await asyncio.to_thread(model.close)
        done, _ = await waiting
    case.may_load.set()
    assert "shut down" in done.pop().result()


async def _failure(model: ShelvedModel) -> str:
    with pytest.raises(ProviderUnavailable) as caught:
        await ask(model)
    return str(caught.value)


async def test_one_that_is_closed_just_as_it_is_loaded_gives_its_memory_back() -> None:
    """As when a configuration lets go of a model that nobody waits for any more."""
    shelf, engine = Shelf(), Weighty(1)
    models: list[ShelvedModel] = []

    class Late(LocalModel):
        async def load(self) -> None:
            await super().load()
            models[0].close()

    models.append(model := ShelvedModel("m", lambda: Late("m", lambda _: engine), shelf))
    await model.load()
    await until(engine.closed.is_set)
    assert (model.loaded, model.ready) == (False, False)
    assert not shelf._loaded
