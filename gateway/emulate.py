"""A provider's emulator, run by hand."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING

import click
from aiohttp import web

from providers.emulators.ear import DigestEar, Emulation, LocalEar
from providers.local.models import EMBEDDED, ModelMissing

if TYPE_CHECKING:
    from collections.abc import Callable

    from providers.emulators.ear import Ear


async def serve_emulator(
    build: Callable[[Emulation], web.Application], name: str, *, port: int, key: str, digest: bool
) -> None:
    """Serve on loopback until SIGINT or SIGTERM."""
    app = build(Emulation(ear=DigestEar() if digest else _local_ear(), key=key))
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    click.echo(f"{name} is emulated on {url}. An account for it:", err=True)
    click.echo(f'providers:\n  {name}: {{adapter: {name}, base_url: "{url}", api_key: "{key}"}}', err=True)
    asked = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, asked.set)
    await asked.wait()
    await runner.cleanup()


def _local_ear() -> Ear:
    """Hear with the embedded model. Raises ClickException where it is not installed."""
    try:
        from providers.local.faster_whisper import FasterWhisper  # noqa: PLC0415 - an optional extra

        return LocalEar(FasterWhisper(EMBEDDED).transcribe)
    except (ImportError, ModelMissing) as error:
        raise click.ClickException(f"{error}; or use --digest, which needs no model") from error
