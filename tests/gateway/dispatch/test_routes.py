"""Names to deployments."""

from __future__ import annotations

import pytest
from pydantic import SecretStr

from config.settings import OnUnsupported
from gateway.dispatch.routes import Route, Routes
from gateway.problems import Problem
from tests.gateway.dispatch.conftest import deployment

LAX = OnUnsupported.IGNORE
STRICT = OnUnsupported.REJECT


def routes(*, wildcard: bool = False) -> Routes:
    """Return two models on three accounts, and perhaps a way for any other name."""
    whisper = (
        deployment("local/large-v3", "local"),
        deployment("fal/fal-ai/whisper"),
        deployment("hf/w", "hf-inference"),
    )
    by_model = {
        "openai/whisper-large-v3": Route(deployments=whisper, on_unsupported=LAX),
        "whisper-1": Route(deployments=(deployment("openai/whisper-1", "openai"),), on_unsupported=STRICT),
    }
    if wildcard:
        anything = (deployment("hf/{model}", "hf-inference"), deployment("hf/mirror/{model}/v1", "hf-inference"))
        by_model["*"] = Route(deployments=anything, on_unsupported=STRICT)
    return Routes(by_model=by_model)


def not_found(call: object) -> Problem:
    with pytest.raises(Problem) as caught:
        call()  # type: ignore[operator] # a lambda
    assert (caught.value.status, caught.value.type) == (404, "unknown-model")
    return caught.value


def names(route: Route) -> list[str]:
    return [each.name for each in route.deployments]


def test_a_name_is_its_route() -> None:
    assert names(routes().resolve("whisper-1")) == ["openai/whisper-1"]


def test_the_wildcard_is_no_model_of_its_own() -> None:
    assert routes(wildcard=True).models == ("openai/whisper-large-v3", "whisper-1")


@pytest.mark.parametrize("name", ["someone/wav2vec2", "plain", "a/b/c"])
def test_any_other_name_goes_into_the_wildcards_targets(name: str) -> None:
    route = routes(wildcard=True).resolve(name)

    assert names(route) == [f"hf/{name}", f"hf/mirror/{name}/v1"]
    assert route.on_unsupported is STRICT


def test_a_route_of_its_own_comes_before_the_wildcard() -> None:
    assert names(routes(wildcard=True).resolve("whisper-1")) == ["openai/whisper-1"]


def test_an_unknown_name_is_told_the_nearest() -> None:
    problem = not_found(lambda: routes().resolve("openai/whisper-large-v2"))

    assert problem.message.startswith(
        "the model 'openai/whisper-large-v2' is not known here; near it are: openai/whisper-large-v3"
    )


def test_a_name_near_nothing_is_told_what_there_is() -> None:
    problem = not_found(lambda: routes().resolve("zzz"))

    assert problem.message.endswith("known are: openai/whisper-large-v3, whisper-1")


@pytest.mark.parametrize(
    "name",
    [
        "",
        "..",
        "a/..",
        "../etc/passwd",
        "a..b",
        "/a",
        "a/",
        "a//b",
        "a b",
        "a\n",
        "a?b",
        "a#b",
        "a%2e",
        "{model}",
        "*",
        "x" * 201,
    ],
)
@pytest.mark.parametrize("wildcard", [False, True])
def test_what_is_no_name_goes_nowhere(name: str, wildcard: bool) -> None:  # noqa: FBT001 - a table's column
    problem = not_found(lambda: routes(wildcard=wildcard).resolve(name))

    assert len(problem.message) < 150


def test_a_pinned_account_is_the_only_one() -> None:
    route = routes().pinned("openai/whisper-large-v3", "fal")

    assert (names(route), route.on_unsupported) == (["fal/fal-ai/whisper"], LAX)


def test_an_account_without_the_model_is_not_found() -> None:
    assert "not routed to the account 'fal'" in not_found(lambda: routes().pinned("whisper-1", "fal")).message
    not_found(lambda: routes().pinned("unknown", "fal"))


TOKEN = SecretStr("hf_theirs")


def test_a_token_goes_to_the_account_the_path_names() -> None:
    route = routes().for_token("openai/whisper-large-v3", "fal", None, TOKEN)

    assert names(route) == ["fal/fal-ai/whisper"]
    assert route.deployments[0].account.api_key is TOKEN


def test_a_token_goes_to_the_one_account_of_its_dialect() -> None:
    route = routes().for_token("openai/whisper-large-v3", None, "hf-inference", TOKEN)

    assert names(route) == ["hf/w"]


def test_a_token_goes_to_one_deployment_only() -> None:
    """No failover: even the same account would be a second bill."""
    route = routes(wildcard=True).for_token("someone/model", "hf", None, TOKEN)

    assert names(route) == ["hf/someone/model"]


@pytest.mark.parametrize(
    ("account", "adapter"),
    [(None, None), ("local", None), (None, "local"), (None, "deepinfra")],
)
def test_a_token_is_shown_to_nobody_else(account: str | None, adapter: str | None) -> None:
    with pytest.raises(Problem) as caught:
        routes().for_token("openai/whisper-large-v3", account, adapter, TOKEN)

    assert (caught.value.status, caught.value.type) == (403, "account-needed")


def test_a_dialect_spoken_by_two_accounts_needs_a_name() -> None:
    two = (deployment("one/m", "fal-ai"), deployment("two/m", "fal-ai"))
    both = Routes(by_model={"m": Route(deployments=two, on_unsupported=STRICT)})

    with pytest.raises(Problem, match="account-needed"):
        both.for_token("m", None, "fal-ai", TOKEN)
