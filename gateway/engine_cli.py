"""`asr-gateway engine`: local models served by themselves, for gateways elsewhere."""

from __future__ import annotations

import os
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click
from pydantic import SecretStr

from config.faults import BadConfiguration
from config.settings import AccountSettings, is_loopback, load
from gateway import logs
from gateway.defaults import check_adapters
from gateway.loop import run
from gateway.notify import READY, notify
from providers.local.provider import NAME as LOCAL

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.standalone.serving import Serving

KEY_VARIABLE = "ASR_GATEWAY_ENGINE_KEY"


@click.command()
@click.option("--model", "models", multiple=True, help="A local model to serve, such as tiny.en; may be repeated.")
@click.option(
    "--config",
    "config_file",
    type=click.Path(path_type=Path),
    help="The YAML file: its local accounts and models, and its server's limits; not its address.",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Where to listen.")
@click.option("--port", type=click.IntRange(0, 65_535), default=8100, show_default=True, help="0 picks a free port.")
@click.option("--socket", "path", type=click.Path(path_type=Path), help="A Unix socket to listen on besides.")
@click.option("--key-file", type=click.Path(path_type=Path), help="Holds what callers must send as a bearer token.")
@click.option(
    "--key", envvar=KEY_VARIABLE, help="What callers of an engine must send; better in the variable.", show_envvar=True
)
def engine(
    models: tuple[str, ...],
    config_file: Path | None,
    *,
    host: str,
    port: int,
    path: Path | None,
    key_file: Path | None,
    key: str | None,
) -> None:
    """Serve local models by themselves, to gateways that have an account with `adapter: engine`.

    asr-gateway engine --model tiny.en --port 8100

    The process that holds the models is started again whenever it dies; its port stays open meanwhile. SIGHUP reads
    the file and the key's file again.
    """
    from gateway.serve import CannotListen  # noqa: PLC0415 - other commands need no server
    from gateway.standalone.parent import EngineParent  # noqa: PLC0415 - other commands need no server

    read = partial(_serving, models, config_file, _given(key, key_file), key_file)
    serving = _first(read)
    log = logs.start(serving.settings.logs.format, serving.settings.logs.level)
    if serving.key is None and not is_loopback(host):
        click.echo(f"Whoever reaches {host} may use these models: there is no key.", err=True)

    def announce(missing: list[str], its_port: int) -> None:
        click.echo("\n".join([*missing, f"asr-gateway engine listens on {_url(host, its_port)}"]), err=True)
        notify(READY, os.environ)

    async def serve() -> None:
        await EngineParent(serving, announce, read).run(host, port, path)

    try:
        run(serve())
    except CannotListen as error:
        raise click.ClickException(f"cannot listen on {error}") from error
    finally:
        log.stop()


def _first(read: Callable[[], Serving]) -> Serving:
    """Return what is to be served at the start; say what is wrong with it and exit with 2."""
    try:
        return read()
    except BadConfiguration as error:
        click.echo(f"The configuration cannot be used:\n{error}", err=True)
        sys.exit(2)


def _serving(models: tuple[str, ...], config_file: Path | None, key: str | None, key_file: Path | None) -> Serving:
    """Return what is to be served, as the files say now. Raises BadConfiguration."""
    from gateway.standalone.serving import (  # noqa: PLC0415 - other commands need none of it
        EngineSettings,
        Serving,
        with_local_models,
    )

    file = load(config_file, EngineSettings)
    check_adapters(file)
    return Serving(settings=with_local_models(file, models), key=_key(key, key_file))


def _given(key: str | None, file: Path | None) -> str | None:
    """Return the key that was given as it is. Raises UsageError where its file is named too."""
    if key is None:
        key = os.environ.get(KEY_VARIABLE)  # click takes an empty variable for one that is not set
    if key is not None and file is not None:
        raise click.UsageError(f"--key-file and {KEY_VARIABLE} exclude each other")
    return key


def _key(key: str | None, file: Path | None) -> SecretStr | None:
    """Return what callers must send. Raises BadConfiguration."""
    if key is None and file is None:
        return None
    given = None if key is None else SecretStr(key)
    secret = AccountSettings(adapter=LOCAL, api_key=given, api_key_file=file).secret()
    if not secret:
        raise BadConfiguration("the key is empty: it would let in whoever sends none")
    return secret


def _url(host: str, port: int) -> str:
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
