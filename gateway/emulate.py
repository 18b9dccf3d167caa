"""A provider's emulator, run by hand."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import TYPE_CHECKING, Any

import click
import yaml
from aiohttp import web

from config.catalog import load_catalog
from config.settings import AccountSettings
from gateway.engines import load_engine
from providers.emulators.ear import DigestEar, Emulation, LocalEar
from providers.local.models import EMBEDDED, ModelMissing
from providers.local.names import FASTER_WHISPER
from providers.local.provider import NAME as LOCAL
from providers.registry import emulated_options, emulated_urls, emulator_of

if TYPE_CHECKING:
    from config.catalog import Catalog
    from providers.emulators.ear import Ear


async def serve_emulator(name: str, *, port: int, key: str, digest: bool) -> None:
    """Serve on loopback until SIGINT or SIGTERM. Raises ClickException."""
    app = emulator_of(name)(Emulation(ear=DigestEar() if digest else _local_ear(), key=key))
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await _listen(runner, port)
        url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        click.echo(f"{name} is emulated on {url}. A configuration for it:", err=True)
        click.echo(yaml.safe_dump(configuration(name, url, key, load_catalog()), sort_keys=False).rstrip())
        await _asked_to_stop()
    finally:
        await runner.cleanup()


def configuration(name: str, url: str, key: str, catalog: Catalog) -> dict[str, Any]:
    """Return what a configuration file says to reach the emulator at url: an account, and a model of the catalog."""
    urls = dict(emulated_urls(name, url))
    account: dict[str, Any] = {"adapter": name, "base_url": urls.pop("api"), "api_key": key}
    if options := emulated_options(name):
        account["options"] = dict(options)
    known = ((model, ids[name]) for model, ids in catalog.models.items() if name in ids)
    model, native = next(known, ("any-model", "any-model"))
    return {
        "providers": {name: {**account, **({"base_urls": urls} if urls else {})}},
        "models": {model: {"targets": [f"{name}/{native}"]}},
    }


async def _listen(runner: web.AppRunner, port: int) -> None:
    try:
        await web.TCPSite(runner, "127.0.0.1", port).start()
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise click.ClickException(f"cannot listen on 127.0.0.1:{port}: {reason}") from error


async def _asked_to_stop() -> None:
    asked = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, asked.set)
    await asked.wait()


def _local_ear() -> Ear:
    """Hear with the embedded model. Raises ClickException where it is not installed."""
    try:
        return LocalEar(load_engine(AccountSettings(adapter=LOCAL), FASTER_WHISPER, EMBEDDED))
    except ModelMissing as error:
        raise click.ClickException(f"{error}; or use --digest, which needs no model") from error
