"""Every provider by name, in one table."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Final, cast

from providers.assemblyai import ASSEMBLYAI
from providers.aws_transcribe import AWS_TRANSCRIBE
from providers.azure_openai import AZURE_OPENAI
from providers.cloudflare import CLOUDFLARE
from providers.deepgram import DEEPGRAM
from providers.deepinfra import DEEPINFRA
from providers.elevenlabs import ELEVENLABS
from providers.fal_ai import FAL_AI
from providers.gemini import GEMINI
from providers.gladia import GLADIA
from providers.google_stt import GOOGLE_STT
from providers.groq import GROQ
from providers.hf_inference import HF_INFERENCE
from providers.mistral import MISTRAL
from providers.openai import OPENAI
from providers.openai_compatible import OPENAI_COMPATIBLE
from providers.replicate import REPLICATE
from providers.revai import REVAI
from providers.soniox import SONIOX
from providers.speechmatics import SPEECHMATICS
from providers.together import TOGETHER
from providers.xai import XAI

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import ModuleType

    from aiohttp import web

    from providers.emulators.ear import Emulation
    from providers.provider import Provider

PROVIDERS: Final[Mapping[str, Provider]] = {
    provider.name: provider
    for provider in (
        ASSEMBLYAI,
        AWS_TRANSCRIBE,
        AZURE_OPENAI,
        CLOUDFLARE,
        DEEPGRAM,
        DEEPINFRA,
        ELEVENLABS,
        FAL_AI,
        GEMINI,
        GLADIA,
        GOOGLE_STT,
        GROQ,
        HF_INFERENCE,
        MISTRAL,
        OPENAI,
        OPENAI_COMPATIBLE,
        REPLICATE,
        REVAI,
        SONIOX,
        SPEECHMATICS,
        TOGETHER,
        XAI,
    )
}


def emulator_of(name: str) -> Callable[[Emulation], web.Application]:
    """Return what builds the provider's emulator: `build_app` of the module that bears its name."""
    return cast("Callable[[Emulation], web.Application]", _emulator(name).build_app)


def emulated_urls(name: str, root: str) -> Mapping[str, str]:
    """Return an account's base URLs where the provider's emulator runs at root: its `base_urls`, or root for all."""
    own = getattr(_emulator(name), "base_urls", None)
    return own(root) if own else dict.fromkeys(PROVIDERS[name].base_urls or ("api",), root)


def emulated_options(name: str) -> Mapping[str, str]:
    """Return the options of an account at the provider's emulator: its `OPTIONS`, or none."""
    return cast("Mapping[str, str]", getattr(_emulator(name), "OPTIONS", {}))


def _emulator(name: str) -> ModuleType:
    return import_module(f"providers.emulators.{name.replace('-', '_')}")
