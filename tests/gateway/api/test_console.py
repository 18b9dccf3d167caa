"""The page's files: open to all, kept by browsers, and nothing in them that the policy would not let run."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from gateway.api.page_files import load_files
from tests.asking import KEYS, WAV, Served, serving, settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    Emulate = Callable[..., Awaitable[str]]


@pytest.fixture
async def served(emulate: Emulate) -> AsyncIterator[Served]:
    async with serving(settings({"up": await emulate("hf-inference")}, auth=KEYS)) as made:
        yield made


async def test_the_page_and_its_files_want_no_key(served: Served) -> None:
    for path in ("/", *(f"/console/{name}" for name in load_files())):
        async with served.session.get(served.url + path) as reply:
            assert reply.status == 200
            assert await reply.read()
            assert reply.headers["X-Content-Type-Options"] == "nosniff"
            assert reply.headers["Referrer-Policy"] == "no-referrer"
            policy = dict(part.strip().split(" ", 1) for part in reply.headers["Content-Security-Policy"].split(";"))
            assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == "'none'"
            assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
            assert "unsafe" not in str(policy)


@pytest.mark.parametrize(
    ("path", "media_type"),
    [
        ("/", "text/html; charset=utf-8"),
        ("/console/app.js", "text/javascript; charset=utf-8"),
        ("/console/style.css", "text/css; charset=utf-8"),
        ("/console/icon.svg", "image/svg+xml; charset=utf-8"),
        ("/console/sample.mp3", "audio/mpeg"),
    ],
)
async def test_a_file_is_asked_for_again_by_its_tag(served: Served, path: str, media_type: str) -> None:
    async with served.session.get(served.url + path) as reply:
        assert reply.headers["Content-Type"] == media_type
        assert reply.headers["Cache-Control"] == "no-cache"
        tag = reply.headers["ETag"]
    for known, status in ((tag, 304), (f'W/"old", {tag}', 304), ('"old"', 200)):
        async with served.session.get(served.url + path, headers={"If-None-Match": known}) as reply:
            assert (reply.status, reply.headers["ETag"]) == (status, tag)
            assert bool(await reply.read()) == (status == 200)
    async with served.session.head(served.url + path) as reply:
        assert (reply.status, reply.headers["ETag"]) == (200, tag)


@pytest.mark.parametrize("name", ["nothing.js", "..%2fapp.py", "%2e%2e/app.py", "INDEX.html", "__init__.py"])
async def test_nothing_else_is_a_file_of_it(served: Served, name: str) -> None:
    async with served.session.get(
        f"{served.url}/console/{name}", headers={"Authorization": "Bearer hf_gw_newsroom"}
    ) as r:
        assert r.status == 404


async def test_to_post_where_the_page_is_still_asks_for_a_transcript(served: Served) -> None:
    """With a key: the page's openness is for reading alone."""
    assert (await served.post("/")).status == 401
    told = await served.post("/", WAV, Authorization="Bearer hf_gw_newsroom")
    assert told.body["text"].startswith("blake3 ")


def test_nothing_stands_in_the_page_that_its_policy_forbids() -> None:
    """No script, style or listener inline; every address is a file of its own, below wherever a proxy puts it."""
    files = load_files()
    page = files["index.html"].body.decode()
    assert not re.search(r"<style|\sstyle=|\son\w+=|javascript:|<script(?![^>]*\ssrc=)", page)
    linked = re.findall(r'(?:href|src)="(?!#)([^"]+)"', page)
    assert linked
    for each in linked:
        assert each.removeprefix("console/") in files
        assert each.startswith("console/")
    for name, file in files.items():
        if name.endswith(".js"):
            text = file.body.decode()
            assert set(re.findall(r'from "\./([\w.]+)"', text)) <= set(files), name
            assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|\beval\b|localStorage", text), (
                name
            )


def test_it_is_small() -> None:
    """It is kept in memory by every worker."""
    assert sum(len(each.body) for each in load_files().values()) < 200_000
