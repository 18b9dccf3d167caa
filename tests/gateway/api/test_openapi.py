"""The OpenAPI document: current, valid, of every route there is and of no other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from openapi_spec_validator import validate

from gateway.api.parameters import GENERATION, OTHERS
from providers.registry import PROVIDERS
from tests.asking import KEYS, MODEL, Served, serving, settings
from tests.openapi_document import FILE, published, written

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    Emulate = Callable[..., Awaitable[str]]

METHODS = {"get", "post", "put", "delete", "patch"}
DOCUMENT = published()


@pytest.fixture
async def served(emulate: Emulate) -> AsyncIterator[Served]:
    async with serving(settings({"up": await emulate("hf-inference")})) as made:
        yield made


def test_the_published_one_is_current() -> None:
    assert FILE.read_text() == written(), "run python -m tests.openapi_document"


def test_it_is_openapi() -> None:
    validate(DOCUMENT)
    assert DOCUMENT["openapi"].startswith("3.1")


async def test_a_gateway_serves_it(served: Served) -> None:
    async with served.session.get(f"{served.url}/openapi.json") as reply:
        assert (reply.status, reply.content_type) == (200, "application/json")
        assert await reply.json() == DOCUMENT


async def test_with_keys_it_is_an_admins(emulate: Emulate) -> None:
    async with serving(settings({"up": await emulate("hf-inference")}, auth=KEYS)) as served:
        for headers, status in (({}, 401), ({"Authorization": "Bearer hf_gw_newsroom"}, 403)):
            async with served.session.get(f"{served.url}/openapi.json", headers=headers) as reply:
                assert reply.status == status


async def test_it_has_every_route_and_no_other(served: Served) -> None:
    """HEAD, which is answered wherever GET is, stands in its description."""
    router = served.gateway.edge().site.paths
    routes = {(each.method, each.resource.canonical) for each in router.routes() if each.resource is not None}
    told = {(method.upper(), path) for path, item in DOCUMENT["paths"].items() for method in item.keys() & METHODS}
    assert told == {(method, path) for method, path in routes if method != "HEAD"}


async def test_what_is_not_in_it_is_not_allowed(served: Served) -> None:
    """405, with what is allowed instead; a path that fits another route's pattern is that route's."""
    for path, item in DOCUMENT["paths"].items():
        url = served.url + path.replace("{account}", "up").replace("{model}", MODEL).replace("{name}", "a").replace(
            "{file}", "style.css"
        )
        for method in ("put", "patch", "delete"):
            if method not in item:
                async with served.session.request(method, url) as reply:
                    allowed = {each.lower() for each in reply.headers.get("Allow", "").split(",")}
                    assert (reply.status, allowed >= item.keys() & METHODS) == (405, True), (method, path)


def test_operations_have_names_of_their_own_and_a_sentence() -> None:
    operations = [item[method] for item in DOCUMENT["paths"].values() for method in item.keys() & METHODS]
    assert len({each["operationId"] for each in operations}) == len(operations)
    assert [each["operationId"] for each in operations if not each["summary"]] == []


def test_parameters_have_their_ranges() -> None:
    told = DOCUMENT["components"]["schemas"]["Parameters"]["properties"]
    assert set(told) >= {*GENERATION, *OTHERS}
    assert told["temperature"]["anyOf"][0] == {"type": "number", "minimum": 0, "maximum": 2}
    assert told["top_p"]["anyOf"][0] == {"type": "number", "exclusiveMinimum": 0, "maximum": 1}
    assert told["num_beams"]["anyOf"][0] == {"type": "integer", "minimum": 1, "maximum": 16}


def test_every_provider_has_its_options() -> None:
    told = DOCUMENT["components"]["schemas"]
    options = told["OptionsByProvider"]["properties"]
    assert set(options) == set(PROVIDERS)
    for name, provider in PROVIDERS.items():
        assert set(_at(options[name]["$ref"]).get("properties", ())) == set(provider.options.model_fields)


def _at(ref: str) -> dict[str, Any]:
    found = DOCUMENT
    for step in ref.removeprefix("#/").split("/"):
        found = found[step]
    return found
