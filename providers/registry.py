"""Every provider by name, in one table."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Final, cast

from providers.hf_inference import HF_INFERENCE

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiohttp import web

    from providers.emulators.ear import Emulation
    from providers.provider import Provider

PROVIDERS: Final = {provider.name: provider for provider in (HF_INFERENCE,)}


def emulator_of(name: str) -> Callable[[Emulation], web.Application]:
    """Return what builds the provider's emulator: `build_app` of the module that bears its name."""
    module = import_module(f"providers.emulators.{name.replace('-', '_')}")
    return cast("Callable[[Emulation], web.Application]", module.build_app)


__all__ = ["PROVIDERS", "Provider", "emulator_of"]
