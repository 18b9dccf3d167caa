"""Options of providers: what is said of those that are refused, and when a provider is imported for them."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
from typing import Any

import pytest

from gateway.api.options import checked, described, load
from gateway.problems import Problem
from providers.registry import PROVIDERS


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"deepgram": {"utt_split": 61}}, "utt_split: deepgram takes a number above 0 and at most 60 here"),
        ({"deepgram": {"numerals": "yes"}}, "numerals: deepgram takes true or false here"),
        (
            {"deepgram": {"keyterm": ["a", ""]}},
            "keyterm: deepgram takes a list of 1 to 100, each a text of 1 to 200 characters here",
        ),
        ({"sarvam": {"mode": "sing"}}, "mode: sarvam takes one of transcribe, verbatim, translit, codemix here"),
        ({"aws-transcribe": {"max_speaker_labels": 1}}, "aws-transcribe takes a whole number from 2 to 30 here"),
        ({"aws-transcribe": {"vocabulary_name": "a b"}}, "a text like ^[0-9A-Za-z._-]{1,200}$ here"),
        ({"openai": {"chunking_strategy": 7}}, "openai takes auto or an object with "),
        ({"deepgram": []}, "provider_options.deepgram: deepgram: its options are an object"),
        ({"deepgram": {"callback": "https://a.example"}}, "callback: deepgram has no such option; it has keyterm, "),
    ],
)
def test_a_refusal_names_the_provider_the_option_and_the_range(options: dict[str, Any], says: str) -> None:
    with pytest.raises(Problem) as caught:
        checked(options)

    assert says in caught.value.message
    assert caught.value.status == 422
    assert "a.example" not in caught.value.message


@pytest.mark.parametrize("name", sorted(PROVIDERS))
def test_every_option_there_is_can_be_described(name: str) -> None:
    document = PROVIDERS[name].options.model_json_schema()
    for schema in document.get("properties", {}).values():
        assert "something else" not in described(schema, document.get("$defs", {}))


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ({"type": "integer", "minimum": 1}, "a whole number at least 1"),
        ({"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1.5}, "a number above 0 and below 1.5"),
        ({"type": "string", "minLength": 2}, "a text of at least 2 characters"),
        ({"type": "string", "maxLength": 9}, "a text of at most 9 characters"),
        ({"type": "array", "items": {"type": "boolean"}}, "a list, each true or false"),
    ],
)
def test_ranges_may_be_open(schema: dict[str, Any], said: str) -> None:
    assert described(schema, {}) == said


IMPORTING = """
import asyncio, json, sys, threading
from gateway.api.options import load

class Seen:
    def find_spec(self, name, path=None, target=None):
        if name == "providers.deepgram":
            print(json.dumps(threading.current_thread() is threading.main_thread()))

sys.meta_path.insert(0, Seen())
asyncio.run(load(["deepgram", "nobody"]))
asyncio.run(load(["deepgram"]))
assert "providers.deepgram" in sys.modules
"""


def test_a_provider_that_nobody_uses_is_imported_beside_the_event_loop() -> None:
    """Once, and in a process of its own here: this one has them all."""
    done = subprocess.run([sys.executable, "-c", IMPORTING], capture_output=True, text=True, check=True)

    assert [json.loads(line) for line in done.stdout.split()] == [False]


async def test_one_that_is_there_costs_no_thread() -> None:
    assert PROVIDERS["deepgram"].name == "deepgram"
    before = threading.active_count()
    await asyncio.wait_for(load(["deepgram"]), 1.0)

    assert threading.active_count() == before
