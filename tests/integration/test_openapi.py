"""A running gateway held against its own OpenAPI document by Schemathesis, with keys on."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.asking import MODEL, key
from tests.openapi_document import FILE
from tests.program import configuration, program

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Emulate = Callable[..., Awaitable[str]]

SCHEMATHESIS = Path(sys.executable).with_name("st")
HOOKS = Path(__file__).with_name("openapi_hooks.py")
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "ignored_auth",
    "unsupported_method",
    "allow_header_conformance",
)
KEYS = [key("boss", "hf_gw_boss", role="admin"), key("newsroom", "hf_gw_newsroom")]


OPERATORS = ("--include-tag", "operators and look-ups")
OPENAI = ("--include-path", "/v1/audio/transcriptions")
FRONTS = ("--exclude-tag", "operators and look-ups")
# An admin's routes and OpenAI's form are tried value by value too. Of the other fronts that would be thousands of
# requests for each path: every value of some thirty parameters in a body of JSON, in a form and in a query. What a path
# answers to other methods, which is tried there alone, is in tests/gateway/api/test_openapi.py for all of them.
PHASES = "examples,fuzzing"
EVERY_PHASE = "examples,coverage,fuzzing"


@pytest.mark.parametrize(
    ("caller", "chosen", "phases", "examples", "reached"),
    [
        ("boss", OPERATORS, EVERY_PHASE, 8, {"200", "201"}),
        ("newsroom", OPERATORS, PHASES, 3, {"200", "403"}),
        ("newsroom", OPENAI, EVERY_PHASE, 8, {"200", "422"}),
        ("boss", FRONTS, PHASES, 6, {"200", "201", "422"}),
    ],
    ids=["operators, an admin", "operators, a caller", "openai", "every front"],
)
async def test_it_finds_nothing(
    caller: str,
    chosen: tuple[str, ...],
    phases: str,
    examples: int,
    reached: set[str],
    emulate: Emulate,
    tmp_path: Path,
) -> None:
    """Neither with an admin's key nor with a caller's. reached: without these statuses it saw too little."""
    auth = {
        "mode": "keys",
        "keys": [each.model_dump(mode="json") for each in KEYS],
        "store": "sqlite",
        "path": str(tmp_path / "keys.sqlite"),
    }
    urls = {"up": await emulate("hf-inference")}
    document = configuration(urls, model=MODEL, auth=auth, default_model=MODEL, server={"body_timeout": "2s"})
    async with program(document, tmp_path) as gateway:
        options = (*chosen, "--phases", phases, "--max-examples", str(examples))
        code, told = await held_against(gateway.url, caller, options, tmp_path)
        assert code == 0, told
        statuses = {line["status"] for line in gateway.lines if line["event"] == "request"}
        assert reached <= statuses
        assert not statuses & {"500", "502"}


async def held_against(url: str, caller: str, options: tuple[str, ...], folder: Path) -> tuple[int | None, str]:
    """Run it, the same each time; return its exit code and what it wrote."""
    process = await asyncio.create_subprocess_exec(
        *(str(SCHEMATHESIS), "run", str(FILE), "--url", url, "--seed", "1", "--warnings", "off"),
        *("--header", f"Authorization: Bearer hf_gw_{caller}", "--checks", ",".join(CHECKS), *options),
        cwd=folder,
        env={**os.environ, "SCHEMATHESIS_HOOKS": str(HOOKS)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    told, _ = await process.communicate()
    return process.returncode, told.decode()
