"""The command line. Exit codes: 0 done, 1 it failed, 2 the call or the configuration is wrong."""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from config.catalog import load_catalog
from config.faults import BadConfiguration
from config.settings import Settings, load, refuse_open_door
from gateway import logs
from gateway.defaults import DEMO_MODEL, DEMO_TARGETS, check_adapters, demonstration, from_environment
from gateway.dispatch.routes import WILDCARD
from gateway.engine_cli import engine
from gateway.fleet import build_routes
from gateway.heap import share_one_arena
from gateway.keys_cli import keys
from gateway.loop import run
from gateway.notify import READY, notify
from providers.local.models import MULTILINGUAL, installed
from providers.local.provider import NAME as LOCAL
from providers.registry import PROVIDERS

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.serve import Ports

_CONFIG = click.option(
    "--config",
    "config_file",
    type=click.Path(path_type=Path),
    envvar="ASR_GATEWAY_CONFIG",
    help="The YAML file. Without one, every provider whose usual key variable is set is enabled.",
)
_DEMO = click.option("--demo", is_flag=True, help="Ignore provider keys; let the embedded models answer.")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="asr-gateway")
def main() -> None:
    """One URL for speech recognition: Hugging Face and OpenAI clients in, any provider or a local model behind."""


main.add_command(engine)
main.add_command(keys)


@main.command()
@_CONFIG
@_DEMO
@click.option("--host", help="Where to listen; anything but loopback needs auth.")
@click.option("--port", type=click.IntRange(0, 65_535), help="Where to listen; 0 picks a free port.")
def serve(config_file: Path | None, *, demo: bool, host: str | None, port: int | None) -> None:
    """Run the gateway."""
    from gateway.serve import CannotListen  # noqa: PLC0415 - other commands need no server
    from gateway.serve import serve as run_server  # noqa: PLC0415 - other commands need no server

    settings = _settings(config_file, demo=demo, host=host, port=port)
    if settings.server.workers == 1 and all(each.adapter != LOCAL for each in settings.providers.values()):
        share_one_arena()
    listener = logs.start(settings.logs.format, settings.logs.level)
    read = partial(_effective, config_file, demo=demo, host=host, port=port)
    announce = partial(_announce, settings)
    try:
        if settings.server.workers == 1:
            run(run_server(settings, announce, read))
        else:
            _run_workers(settings, read, announce)
    except CannotListen as error:
        raise click.ClickException(f"cannot listen on {error}") from error
    finally:
        listener.stop()


def _run_workers(
    settings: Settings, read: Callable[[], Settings], announce: Callable[[list[str], Ports], None]
) -> None:
    from gateway.workers.parent import DidNotStart, Parent  # noqa: PLC0415 - one process needs none of it

    try:
        run(Parent(settings, read, announce).run())
    except DidNotStart as error:
        raise click.ClickException(str(error)) from error


@main.command()
@click.argument("file", type=click.Path(path_type=Path))
def check(file: Path) -> None:
    """Check a configuration FILE without serving it."""
    settings = _settings(file)
    click.echo(f"{file}: {len(settings.models)} models on {len(settings.providers)} accounts")


@main.command()
@_CONFIG
@_DEMO
def models(config_file: Path | None, *, demo: bool) -> None:
    """List the models that would be served, and what answers for each."""
    for name, route in _settings(config_file, demo=demo).models.items():
        click.echo(f"{name}\t{', '.join(target.target for target in route.targets)}")


@main.group(invoke_without_command=True)
@click.option("--json", "as_json", is_flag=True, help="As a list of objects.")
@click.pass_context
def providers(context: click.Context, *, as_json: bool) -> None:
    """List who can be configured, with the catalog's models there, what each can do and what it costs."""
    from gateway.providers_cli import list_providers  # noqa: PLC0415 - other commands need none of it

    if context.invoked_subcommand is None:
        click.echo(list_providers(as_json=as_json))


@providers.command("check")
@click.argument("accounts", nargs=-1, metavar="[ACCOUNT]...")
@_CONFIG
@click.option("--yes", is_flag=True, help="Do not ask before it costs anything.")
def providers_check(accounts: tuple[str, ...], config_file: Path | None, *, yes: bool) -> None:
    """Ask each configured account, or those named, with half a second of silence; show the cost first.

    Tells whether the credentials are accepted, how long it took, and what is left of the rate limits where the
    provider says so. Engines elsewhere are asked which models they have, and local models are looked for on this
    machine, both for nothing. Exit code 1 where one does not answer or a model is missing.
    """
    from gateway.providers_cli import check_providers  # noqa: PLC0415 - other commands need none of it

    if not check_providers(_settings(config_file), accounts, agreed=yes):
        sys.exit(1)


@main.command()
@click.argument("audio", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@_CONFIG
@_DEMO
@click.option("--model", help="A model of the configuration; otherwise its default_model, or its first.")
@click.option(
    "--timestamps",
    type=click.Choice(["none", "segment", "word"]),
    default="none",
    show_default=True,
    help="How finely; the answer is JSON then, unless it is subtitles.",
)
@click.option(
    "--format",
    "format_",
    type=click.Choice(["text", "json", "srt", "vtt"]),
    default="text",
    show_default=True,
    help="What to write; subtitles have their times anyway.",
)
def transcribe(
    audio: Path, config_file: Path | None, *, demo: bool, model: str | None, timestamps: str, format_: str
) -> None:
    """Write down what is said in AUDIO, without a server."""
    from gateway.transcribe import transcribe_file  # noqa: PLC0415 - other commands need none of it

    settings = _settings(config_file, demo=demo)
    click.echo(run(transcribe_file(settings, audio, model or _first_model(settings), timestamps, format_)))


@main.command()
@click.option("--audio", required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@_CONFIG
@_DEMO
@click.option("--model", help="A model of the configuration; otherwise its default_model, or its first.")
@click.option(
    "--timestamps", type=click.Choice(["none", "segment", "word"]), default="none", show_default=True, help="As asked."
)
@click.option("--language", help="As asked, e.g. en.")
def explain(
    audio: Path, config_file: Path | None, *, demo: bool, model: str | None, timestamps: str, language: str | None
) -> None:
    """Say which deployments would be asked for AUDIO, in which order, and why the others would not.

    Nothing is sent anywhere. A running gateway says the same of itself to a request with X-Gateway-Dry-Run: true.
    """
    from gateway.transcribe import explain_file  # noqa: PLC0415 - other commands need none of it

    settings = _settings(config_file, demo=demo)
    click.echo(run(explain_file(settings, audio, model or _first_model(settings), timestamps, language)))


_URL = click.option("--url", default="http://127.0.0.1:8080", show_default=True, help="A running gateway.")
_KEY = click.option("--key", envvar="ASR_GATEWAY_KEY", help="An admin key.", show_envvar=True)


@main.group()
def cache() -> None:
    """Look at a running gateway's answers, or let it forget them."""


@cache.command("stats")
@_URL
@_KEY
def cache_stats(url: str, key: str | None) -> None:
    """Show how many answers are kept, and how much they take."""
    from gateway.cache import cache_stats as asked  # noqa: PLC0415 - other commands need none of it

    click.echo(run(asked(url, key)))


@cache.command("purge")
@_URL
@_KEY
def cache_purge(url: str, key: str | None) -> None:
    """Forget every answer, wherever it is kept."""
    from gateway.cache import purge_cache  # noqa: PLC0415 - other commands need none of it

    click.echo(run(purge_cache(url, key)))


@main.command()
@_URL
@_KEY
@click.option("--json", "as_json", is_flag=True, help="As the gateway says it.")
def status(url: str, key: str | None, *, as_json: bool) -> None:
    """Show how a running gateway and its deployments are."""
    from gateway.status import ask_status, in_lines  # noqa: PLC0415 - other commands need none of it

    told = run(ask_status(url, key))
    click.echo(msgspec.json.encode(told).decode() if as_json else in_lines(told))


@main.command()
@_CONFIG
@click.option(
    "--by", default="key,model", show_default=True, help="Of key, model, deployment, front, cache, outcome, day."
)
@click.option("--since", default="7d", show_default=True, help="How long ago, or a date: 7d, 2026-11-01.")
@click.option("--until", help="The same; until now unless told.")
@click.option(
    "--format",
    "format_",
    type=click.Choice(["table", "csv", "json"]),
    default="table",
    show_default=True,
    help="What to write.",
)
@click.option("--raw", is_flag=True, help="Every row instead of sums: as CSV, or JSON lines with --format json.")
def usage(config_file: Path | None, *, by: str, since: str, until: str | None, format_: str, raw: bool) -> None:
    """Show what was used and what it cost: requests, seconds of audio, US dollars.

    asr-gateway usage --by key,model --since 7d

    It is read where the gateway writes it (`usage` in the configuration), whether one runs or not.
    """
    from gateway.stores.usage_query import read_by, read_period  # noqa: PLC0415 - other commands need none of it
    from gateway.usage import sums_of, write_json_lines, write_rows  # noqa: PLC0415 - other commands need none of it

    settings = _settings(config_file)
    try:
        names, period = read_by(by), read_period(since, until, datetime.now(UTC).timestamp())
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    if raw:
        write = write_json_lines if format_ == "json" else write_rows
        run(write(settings, period, sys.stdout))
    else:
        click.echo(run(sums_of(settings, names, period, format_)))


@main.command()
@click.argument("provider", type=click.Choice(sorted(PROVIDERS)))
@click.option("--port", type=click.IntRange(0, 65_535), default=9001, show_default=True)
@click.option("--key", default="emulated-key", show_default=True, help="The one credential it accepts.")
@click.option("--digest", is_flag=True, help="Answer with the audio's digest instead of a transcript.")
def emulate(provider: str, *, port: int, key: str, digest: bool) -> None:
    """Serve an emulation of PROVIDER on loopback, to try a configuration without a key.

    What to configure for it is written to standard output: asr-gateway emulate fal-ai > emulated.yaml
    """
    from gateway.emulate import serve_emulator  # noqa: PLC0415 - other commands need none of it

    run(serve_emulator(provider, port=port, key=key, digest=digest))


@main.command("exec", context_settings={"ignore_unknown_options": True})
@click.option("--url", required=True, help="The gateway, e.g. http://127.0.0.1:8080")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def execute(url: str, command: tuple[str, ...]) -> None:
    """Run an unchanged Python program with huggingface_hub's inference calls pointed at a gateway.

    asr-gateway exec --url http://127.0.0.1:8080 -- python app.py
    """
    from gateway.exec.launch import run as run_program  # noqa: PLC0415 - other commands need none of it

    sys.exit(run_program(url, command, os.environ))


def _settings(
    config_file: Path | None, *, demo: bool = False, host: str | None = None, port: int | None = None
) -> Settings:
    """Return the effective settings; say what is wrong with them and exit with 2."""
    try:
        return _effective(config_file, demo=demo, host=host, port=port)
    except BadConfiguration as error:
        click.echo(f"The configuration cannot be used:\n{error}", err=True)
        sys.exit(2)


def _effective(config_file: Path | None, *, demo: bool, host: str | None, port: int | None) -> Settings:
    """Return what the file, the environment and the command line say together. Raises BadConfiguration."""
    catalog = load_catalog()
    settings = _listening_at(load(config_file), host, port)
    settings = (
        demonstration(settings, catalog, installed()) if demo else from_environment(settings, catalog, os.environ)
    )
    check_adapters(settings)
    build_routes(settings, catalog)
    return settings


def _listening_at(settings: Settings, host: str | None, port: int | None) -> Settings:
    """Return the settings with what the command line says of the address. Raises BadConfiguration."""
    changes = {name: value for name, value in (("host", host), ("port", port)) if value is not None}
    settings = settings.model_copy(update={"server": settings.server.model_copy(update=changes)})
    try:
        refuse_open_door(settings)
    except ValueError as error:
        raise BadConfiguration(str(error)) from error
    return settings


def _announce(settings: Settings, missing: list[str], ports: Ports) -> None:
    """Say where it listens, what it serves, and a line to paste."""
    url = _url_of(settings.server.host, ports.callers)
    if missing:
        click.echo("\n".join(missing), err=True)
    model = _first_model(settings)
    if ports.admin is not None:
        click.echo(f"Admin port: {_url_of(settings.server.admin_host, ports.admin)}", err=True)
    click.echo(f"asr-gateway listens on {url} with {len(settings.models)} models.", err=True)
    if demonstrated := _demonstrated(settings):
        click.echo(f"Demonstration: {demonstrated}", err=True)
    header = ' -H "Authorization: Bearer $KEY"' if settings.auth.mode != "none" else ""
    click.echo(f"A page for people: {url}/", err=True)
    click.echo(f"Try: curl{header} --data-binary @{_sample()} {url}/models/{model}", err=True)
    notify(READY, os.environ)


def _url_of(host: str, port: int) -> str:
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _demonstrated(settings: Settings) -> str | None:
    """Return what answers in a demonstration; None where it is none."""
    targets = [target for route in settings.models.values() for target in route.targets]
    natives = {each.native_model for each in targets if each.target in DEMO_TARGETS}
    if any(each.target not in DEMO_TARGETS for each in targets) or not any(each.substitute for each in targets):
        return None
    if MULTILINGUAL in natives:
        return (
            "Whisper base (small, 99 languages) answers every model name of the catalog, tiny.en those that end in .en."
        )
    return "Whisper tiny.en (small, English only) answers every model name of the catalog."


def _first_model(settings: Settings) -> str:
    return settings.default_model or next((name for name in settings.models if name != WILDCARD), DEMO_MODEL)


def _sample() -> str:
    """Return the bundled sample's path where this is a checkout, else a name to replace."""
    sample = Path(__file__).parents[1] / "tests" / "audio" / "jfk.flac"
    if not sample.is_file():
        return "audio.flac"
    return os.path.relpath(sample)


if __name__ == "__main__":
    main()
