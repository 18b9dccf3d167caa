"""A running gateway's own account of itself, asked over HTTP."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import aiohttp
import click

from gateway.columns import aligned

if TYPE_CHECKING:
    from collections.abc import Mapping

_PATIENCE_S = 10.0
_ADVICE = "; give an admin key with --key or in ASR_GATEWAY_KEY (asr-gateway keys new --role admin makes one)"
_COLUMNS = ("DEPLOYMENT", "STATE", "WHY", "AGAIN IN", "IN FLIGHT", "WAITING", "S PER S")


async def ask_status(url: str, key: str | None) -> dict[str, Any]:
    """Return what `GET /status` says. Raises ClickException."""
    return await ask("GET", url, "/status", key)


async def ask(method: str, url: str, path: str, key: str | None) -> dict[str, Any]:
    """Return what an operator's route says. Raises ClickException."""
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_PATIENCE_S), headers=headers) as session,
            session.request(method, f"{url.rstrip('/')}{path}") as reply,
        ):
            told = await reply.json()
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        raise click.ClickException(_why(url, error)) from error
    if not isinstance(told, dict):
        raise click.ClickException(f"{url} does not answer like a gateway")
    if reply.status != HTTPStatus.OK:
        advice = _ADVICE if reply.status == HTTPStatus.UNAUTHORIZED else ""
        raise click.ClickException(f"{url}: {told.get('error', reply.status)}{advice}")
    return told


def _why(url: str, error: Exception) -> str:
    match error:
        case aiohttp.InvalidURL():
            return f"{url} is no address such as http://127.0.0.1:8080"
        case aiohttp.ClientConnectorDNSError():
            return f"{url}: there is no host of that name"
        case aiohttp.ClientConnectorError(os_error=ConnectionRefusedError()):
            return f"nobody listens at {url}"
        case aiohttp.ClientConnectorError():
            return f"{url} cannot be reached: {error.strerror}"
        case TimeoutError():
            return f"{url} does not answer within {_PATIENCE_S:g} s"
    return f"{url} does not answer like a gateway ({type(error).__name__})"  # what it says is no HTTP, or no JSON


def in_lines(told: Mapping[str, Any]) -> str:
    """Return it for people: a line for the process, and a table of its deployments."""
    rows = [_COLUMNS, *(_row(each) for each in told["deployments"])]
    notes = [*told.get("missing", ()), *([told["reload_error"]] if told.get("reload_error") else [])]
    return "\n".join([f"{told['status']}, {told['in_flight']} requests in flight", *notes, aligned(rows)])


def _row(each: Mapping[str, Any]) -> tuple[str, ...]:
    again_in_s, pace = each["again_in_s"], each["pace"]
    return (
        each["deployment"],
        each["state"],
        each["why"] or "-",
        "-" if again_in_s is None else f"{again_in_s:.1f} s",
        str(each["in_flight"]),
        str(each["waiting"]),
        "-" if pace is None else f"{pace:.3f}",
    )
