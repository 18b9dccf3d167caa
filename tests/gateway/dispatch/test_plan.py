"""Who can do a job: a table of reasons, and the words callers are told."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from config.settings import OnUnsupported
from gateway.dispatch.plan import Plan, plan, times_for, without
from gateway.problems import Problem
from providers.types import Capabilities, Container, GenerationParameters, Task, Timestamps
from tests.conftest import sample_audio
from tests.gateway.dispatch.conftest import job, route

if TYPE_CHECKING:
    from providers.types import TranscriptionJob

TODAY = date(2026, 11, 22)
ALL_TIMES = frozenset({Timestamps.SEGMENT, Timestamps.WORD})
ABLE = Capabilities(
    generation=frozenset({"temperature", "top_k", "num_beams"}),
    timestamps=ALL_TIMES,
    tasks=frozenset(Task),
    prompt=True,
    diarize=True,
)
PLAIN = Capabilities()


def planned(
    asked: TranscriptionJob,
    *abilities: Capabilities | None,
    on_unsupported: OnUnsupported = OnUnsupported.REJECT,
    today: date = TODAY,
) -> Plan:
    """Plan over deployments a/0, a/1, ... with these abilities."""
    names = [f"a/{at}" for at in range(len(abilities))]
    by_name = dict(zip(names, abilities, strict=True))
    return plan(asked, route(*names, on_unsupported=on_unsupported), lambda to: by_name[to.name], today)


def names(decided: Plan) -> list[str]:
    return [each.deployment.name for each in decided.candidates]


def refused(asked: TranscriptionJob, *abilities: Capabilities | None, **more: Any) -> Problem:
    with pytest.raises(Problem) as caught:
        planned(asked, *abilities, **more)
    return caught.value


def test_the_routes_order_is_kept() -> None:
    assert names(planned(job(), ABLE, PLAIN, ABLE)) == ["a/0", "a/1", "a/2"]


@pytest.mark.parametrize(
    ("asked", "unable", "param", "reason"),
    [
        (job(), replace(ABLE, retires_on=TODAY), "model", "was retired on 2026-11-22"),
        (job(task=Task.TRANSLATE), replace(ABLE, tasks=frozenset({Task.TRANSCRIBE})), "task", "does not translate"),
        (job(language="de"), replace(ABLE, languages=frozenset({"en"})), "language", "does not know 'de'"),
        (job(timestamps=Timestamps.SEGMENT), PLAIN, "return_timestamps", "gives no segment times"),
        (
            job(timestamps=Timestamps.WORD),
            replace(ABLE, timestamps=frozenset({Timestamps.SEGMENT})),
            "return_timestamps",
            "gives no word times",
        ),
        (job(diarize=True), PLAIN, "diarize", "does not tell speakers apart"),
        (job(), replace(ABLE, max_bytes=1000), "size", "takes at most 1000 bytes"),
        (
            job(replace(sample_audio("slushy.wav"), duration_s=61.0)),
            replace(ABLE, max_duration_s=60.0),
            "duration",
            "takes at most 60 s",
        ),
        (job(), None, "model", "is not loaded"),
        (job(prompt="x"), PLAIN, "prompt", "does not honour prompt"),
        (job(language="de"), replace(ABLE, language_hint=False), "language", "does not honour language"),
        (job(generation=GenerationParameters(top_p=0.5)), ABLE, "top_p", "does not honour top_p"),
        (
            job(generation=GenerationParameters(top_p=0.5, typical_p=0.5), prompt="x"),
            PLAIN,
            "top_p",
            "does not honour top_p, typical_p, prompt",
        ),
    ],
)
def test_each_reason_passes_a_deployment_over(
    asked: TranscriptionJob, unable: Capabilities | None, param: str, reason: str
) -> None:
    """And the next one, which can, is taken."""
    able = replace(ABLE, generation=frozenset({"top_p", "typical_p"}))
    decided = planned(asked, unable, able)

    assert names(decided) == ["a/1"]
    assert [(each.deployment.name, each.param, each.reason) for each in decided.refusals] == [("a/0", param, reason)]


def test_a_retirement_is_on_its_day() -> None:
    can = replace(ABLE, retires_on=date(2027, 2, 26))

    assert names(planned(job(), can, today=date(2027, 2, 25))) == ["a/0"]
    assert refused(job(), can, today=date(2027, 2, 26)).status == 502


@pytest.mark.parametrize(
    "generation",
    [
        {"temperature": 0.0},
        {"do_sample": False},
        {"num_beams": 1},
        {"num_beam_groups": 1},
        {"use_cache": True},
        {"min_length": 0},
        {"min_new_tokens": 0},
        {"top_k": 0},
        {"top_p": 1.0},
        {"typical_p": 1.0},
        {"epsilon_cutoff": 0.0},
        {"eta_cutoff": 0.0},
        {"penalty_alpha": 0.0},
        {"early_stopping": False},
    ],
)
def test_what_every_decoder_does_anyway_is_honoured_by_doing_nothing(generation: dict[str, Any]) -> None:
    decided = planned(job(generation=GenerationParameters(**generation)), PLAIN)

    assert [each.ignored for each in decided.candidates] == [()]


@pytest.mark.parametrize(
    "generation",
    [
        {"temperature": 0.1},
        {"do_sample": True},
        {"num_beams": 2},
        {"use_cache": False},
        {"top_k": 1},
        {"max_length": 1},
        {"max_new_tokens": 1},
        {"early_stopping": True},
        {"early_stopping": "never"},
    ],
)
def test_what_asks_for_something_is_not(generation: dict[str, Any]) -> None:
    assert refused(job(generation=GenerationParameters(**generation)), PLAIN).param == next(iter(generation))


def test_whoever_honours_all_goes_first() -> None:
    """`ignore` is for want of anybody better: the fewest left out, then the route's order."""
    asked = job(generation=GenerationParameters(temperature=0.5, top_k=4), prompt="x")
    some = Capabilities(generation=frozenset({"temperature"}), prompt=True)

    decided = planned(asked, PLAIN, some, ABLE, PLAIN, on_unsupported=OnUnsupported.IGNORE)

    assert [(each.deployment.name, each.ignored) for each in decided.candidates] == [
        ("a/2", ()),
        ("a/1", ("top_k",)),
        ("a/0", ("temperature", "top_k", "prompt")),
        ("a/3", ("temperature", "top_k", "prompt")),
    ]


def test_what_is_ignored_is_not_sent() -> None:
    """So that who is sent something may refuse it."""
    asked = job(prompt="names", language="de", generation=GenerationParameters(top_k=5, num_beams=2))

    beams = GenerationParameters(num_beams=2)
    assert without(asked, ("top_k", "prompt")) == replace(asked, prompt=None, generation=beams)
    assert without(asked, ("language", "provider_options.openai.x")) == replace(asked, language=None)


def test_the_impossible_is_not_ignored() -> None:
    asked = job(timestamps=Timestamps.WORD)

    assert refused(asked, PLAIN, on_unsupported=OnUnsupported.IGNORE).status == 422


@pytest.mark.parametrize(
    ("level", "given", "wanted"),
    [
        (Timestamps.NONE, frozenset[Timestamps](), Timestamps.NONE),
        (Timestamps.SEGMENT, ALL_TIMES, Timestamps.SEGMENT),
        (Timestamps.SEGMENT, frozenset({Timestamps.WORD}), Timestamps.WORD),
        (Timestamps.SEGMENT, frozenset[Timestamps](), None),
        (Timestamps.WORD, ALL_TIMES, Timestamps.WORD),
        (Timestamps.WORD, frozenset({Timestamps.SEGMENT}), None),
    ],
)
def test_segments_can_be_made_of_words_and_not_the_reverse(
    level: Timestamps, given: frozenset[Timestamps], wanted: Timestamps | None
) -> None:
    assert times_for(job(timestamps=level), Capabilities(timestamps=given)) is wanted


def test_size_counts_only_where_the_file_goes_as_it_is() -> None:
    """A container that will be transcoded is measured after that."""
    can = replace(ABLE, max_bytes=1000, containers=frozenset({Container.FLAC}))

    assert names(planned(job(), can)) == ["a/0"]


def test_unknown_length_is_let_through() -> None:
    audio = replace(sample_audio("slushy.wav"), duration_s=None)

    assert names(planned(job(audio), replace(ABLE, max_duration_s=1.0))) == ["a/0"]


class TestProblems:
    """What callers are told where nobody is left."""

    def test_a_parameter(self) -> None:
        problem = refused(job(timestamps=Timestamps.WORD), PLAIN, replace(ABLE, max_bytes=5))

        assert (problem.status, problem.type, problem.param) == (422, "unsupported-parameter", "return_timestamps")
        assert problem.message == (
            "return_timestamps: no deployment of 'm' can do what was asked: "
            "a/0 gives no word times; a/1 takes at most 5 bytes"
        )

    @pytest.mark.parametrize("second", [replace(ABLE, max_bytes=5), replace(ABLE, max_duration_s=9.0)])
    def test_too_much(self, second: Capabilities) -> None:
        audio = replace(sample_audio("slushy.wav"), duration_s=13.69)
        problem = refused(job(audio), replace(ABLE, max_bytes=4), second)

        assert (problem.status, problem.type, problem.param) == (413, "too-large", None)
        assert problem.message.startswith(
            "no deployment of 'm' takes this much: a/0 takes at most 4 bytes; a/1 takes at most "
        )

    @pytest.mark.parametrize("second", [replace(ABLE, retires_on=TODAY), replace(ABLE, max_bytes=4)])
    def test_nobody_there(self, second: Capabilities) -> None:
        """Not loaded here, gone there, or too small: nothing the caller asked for is at fault."""
        problem = refused(job(), None, second)

        assert (problem.status, problem.type, problem.param) == (502, "no-deployment", None)
        assert problem.message.startswith("no deployment of 'm' can serve: a/0 is not loaded; a/1 ")
        assert problem.headers == {"x-should-retry": "false"}


@given(
    abilities=st.lists(
        st.none()
        | st.builds(
            Capabilities,
            timestamps=st.frozensets(st.sampled_from([Timestamps.SEGMENT, Timestamps.WORD])),
            tasks=st.frozensets(st.sampled_from(list(Task))),
            languages=st.none() | st.just(frozenset({"en"})),
            prompt=st.booleans(),
            diarize=st.booleans(),
            max_bytes=st.none() | st.just(5),
            max_duration_s=st.none() | st.just(1.0),
            retires_on=st.none() | st.just(TODAY),
        ),
        min_size=1,
        max_size=4,
    ),
    asked=st.builds(
        job,
        audio=st.just(replace(sample_audio("slushy.wav"), duration_s=13.69)),
        task=st.sampled_from(list(Task)),
        language=st.sampled_from([None, "en", "de"]),
        prompt=st.sampled_from([None, "x"]),
        timestamps=st.sampled_from(list(Timestamps)),
        diarize=st.booleans(),
    ),
    on_unsupported=st.sampled_from(list(OnUnsupported)),
)
def test_every_deployment_is_a_candidate_or_has_a_reason(
    abilities: list[Capabilities | None], asked: TranscriptionJob, on_unsupported: OnUnsupported
) -> None:
    """Whatever is asked of whomever, the answer is a plan or a Problem that names everybody."""
    everybody = {f"a/{at}" for at in range(len(abilities))}
    try:
        decided = planned(asked, *abilities, on_unsupported=on_unsupported)
    except Problem as problem:
        told = problem
    else:
        assert {*names(decided), *(each.deployment.name for each in decided.refusals)} == everybody
        return
    assert told.status in {413, 422, 502}
    assert all(name in told.message for name in everybody)


def test_a_language_that_a_translation_cannot_be_told_is_not_dropped_in_silence() -> None:
    problem = refused(job(task=Task.TRANSLATE, language="fr"), replace(ABLE, translation_hint=False))

    assert (problem.status, problem.param) == (422, "language")
