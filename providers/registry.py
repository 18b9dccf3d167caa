"""Every provider by name, in one table. Each is imported when it is first asked for: a gateway uses a few of them."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import cache, partial
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, cast

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import ModuleType

    from aiohttp import web

    from providers.emulators.ear import Emulation
    from providers.provider import Provider

_OF_THEIR_OWN: Final = (
    "assemblyai",
    "aws-transcribe",
    "azure-openai",
    "azure-speech",
    "baseten",
    "cloudflare",
    "cohere",
    "deepgram",
    "deepinfra",
    "elevenlabs",
    "fal-ai",
    "fireworks",
    "gemini",
    "gladia",
    "google-stt",
    "groq",
    "hf-inference",
    "ibm-watson",
    "kserve",
    "mistral",
    "openai",
    "openai-compatible",
    "openrouter",
    "replicate",
    "revai",
    "sarvam",
    "soniox",
    "speechmatics",
    "together",
    "xai",
)
"""acme-speech is ACME_SPEECH in providers/acme_speech.py, its emulator in providers/emulators/acme_speech.py."""

_OF_TABLES: Final = dict.fromkeys(("lemonfox", "ovhcloud", "sambanova", "scaleway", "telnyx", "venice"), "openai_hosts")
"""Rows of a module's table, each `provider(name)` there; its emulator's functions take the name as well."""

_NAMES: Final = tuple(sorted((*_OF_THEIR_OWN, *_OF_TABLES)))


class _Providers(Mapping[str, "Provider"]):
    """The providers by name; asking whether there is one, or for their names, imports none of them."""

    def __getitem__(self, name: str) -> Provider:
        if name not in _NAMES:
            raise KeyError(name)
        return _provider(name)

    def __iter__(self) -> Iterator[str]:
        return iter(_NAMES)

    def __len__(self) -> int:
        return len(_NAMES)

    def __contains__(self, name: object) -> bool:
        return name in _NAMES


@cache  # each job asks for its own
def _provider(name: str) -> Provider:
    module = import_module(f"providers.{module_of(name)}")
    if name in _OF_TABLES:
        return cast("Provider", module.provider(name))
    return cast("Provider", getattr(module, module_of(name).upper()))


PROVIDERS: Final[Mapping[str, Provider]] = _Providers()


def is_loaded(name: str) -> bool:
    """Tell whether a provider is imported already."""
    return f"providers.{module_of(name)}" in sys.modules


def emulator_of(name: str) -> Callable[[Emulation], web.Application]:
    """Return what builds the provider's emulator: `build_app` of its module."""
    return cast("Callable[[Emulation], web.Application]", _of_emulator(name, "build_app"))


def emulated_urls(name: str, root: str) -> Mapping[str, str]:
    """Return an account's base URLs where the provider's emulator runs at root: its `base_urls`, or root for all."""
    own = _of_emulator(name, "base_urls")
    return own(root) if own else dict.fromkeys(("api", *PROVIDERS[name].base_urls), root)


def emulated_options(name: str) -> Mapping[str, str]:
    """Return the options of an account at the provider's emulator: its `OPTIONS`, or none."""
    return cast("Mapping[str, str]", getattr(_emulator(name), "OPTIONS", {}))


def module_of(name: str) -> str:
    """Return the module that has the provider: of its own name, unless it is a row of another's table."""
    return _OF_TABLES.get(name) or name.replace("-", "_")


def _of_emulator(name: str, function: str) -> Any:  # noqa: ANN401 - what a module has, or None
    found = getattr(_emulator(name), function, None)
    return partial(found, name=name) if found and name in _OF_TABLES else found


def _emulator(name: str) -> ModuleType:
    return import_module(f"providers.emulators.{module_of(name)}")
