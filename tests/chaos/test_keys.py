"""Trials H8 and H9 of keys: what a wrong one's time tells, and where a right one may stand."""

from __future__ import annotations

import asyncio
import math
import re
import statistics
from random import Random
from typing import TYPE_CHECKING, Final

import pytest

from tests.asking import key
from tests.chaos.conftest import FULL, Report
from tests.chaos.load import MODEL
from tests.program import configuration, program

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from pathlib import Path

    from tests.program import Program

    Emulate = Callable[..., Awaitable[str]]

SECRET: Final = "hf_gw_planted7Qm2vX9kLs4TzR8nWc3pYdB6h"
SAMPLES: Final = 10_000 if FULL else 1_000  # of each kind
RIGHT: Final = (0, 6, 20, len(SECRET) - 1)  # characters of the right key that a wrong one begins with
TRIMMED: Final = 0.02  # of each end: the scheduler's pauses, which no key has a part in


def guess(right: int) -> str:
    """Return a wrong key of the right length."""
    return SECRET[:right] + "".join("x" if each != "x" else "y" for each in SECRET[right:])


def welch_t(one: Sequence[float], other: Sequence[float]) -> float:
    """Return Welch's t: the means' distance in standard errors."""
    error = math.sqrt(statistics.variance(one) / len(one) + statistics.variance(other) / len(other))
    return (statistics.fmean(one) - statistics.fmean(other)) / error


def without_ends(times: Sequence[float]) -> list[float]:
    cut = int(len(times) * TRIMMED)
    return sorted(times)[cut : len(times) - cut]


async def timed(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, token: str) -> tuple[float, bytes]:
    """Ask with a key; return the seconds until the answer began, and the answer without what is its own."""
    request = f"GET /v1/models HTTP/1.1\r\nHost: x\r\nX-Request-Id: same\r\nAuthorization: Bearer {token}\r\n\r\n"
    clock = asyncio.get_running_loop().time
    started = clock()
    writer.write(request.encode())
    head = await reader.readuntil(b"\r\n\r\n")
    took_s = clock() - started
    lines = head.split(b"\r\n")
    (length,) = [int(line[16:]) for line in lines if line.startswith(b"Content-Length: ")]
    own = (b"X-Compute-Time:", b"Date:")
    return took_s, b"\n".join(line for line in lines if not line.startswith(own)) + await reader.readexactly(length)


def keyed(url: str) -> dict[str, object]:
    keys = [key("a", SECRET).model_dump(mode="json"), key("b", ADMIN, role="admin").model_dump()]
    return configuration({"a": url}, model=MODEL, auth={"mode": "keys", "keys": keys}, logs={"level": "debug"})


@pytest.mark.timeout(280)
async def test_h8_a_wrong_keys_time_does_not_tell_how_much_of_it_is_right(
    emulate: Emulate, tmp_path: Path, report: Report
) -> None:
    """In an order by chance, over one connection; the same status and body for each."""
    order = [right for right in RIGHT for _ in range(SAMPLES)]
    Random(8).shuffle(order)  # noqa: S311 - it keeps no secret
    times: dict[int, list[float]] = {right: [] for right in RIGHT}
    answers: set[bytes] = set()
    async with program(keyed(await emulate("hf-inference")), tmp_path) as served:
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
        for right in order:
            took_s, answer = await timed(reader, writer, guess(right))
            times[right].append(took_s)
            answers.add(answer)
        writer.close()
    assert len(answers) == 1
    assert answers.pop().startswith(b"HTTP/1.1 401")
    ts = {right: welch_t(without_ends(times[0]), without_ends(times[right])) for right in RIGHT[1:]}
    told = ", ".join(f"{right} right: t = {t:+.2f}" for right, t in ts.items())
    report("H8", f"{SAMPLES} each; {told}", "|t| < 4.5; one status and body")
    assert max(map(abs, ts.values())) < 4.5


async def test_h9_a_key_has_one_place_and_is_written_nowhere(emulate: Emulate, tmp_path: Path, report: Report) -> None:
    """Everything that the process writes, its metrics too, is searched for the planted keys."""
    async with program(keyed(await emulate("hf-inference")), tmp_path) as served:
        said = {place: (await status(served, *place[:2]))[0] for place in PLACES}
        _, metrics = await status(served, "/metrics", (f"Authorization: Bearer {ADMIN}",))
    assert said == {place: place[2] for place in PLACES}
    assert "asr_requests_total" in metrics
    written = "".join(served.written) + metrics
    found = written.lower().count("planted")
    report("H9", f"{len(PLACES)} places, {found} keys in {len(written)} characters written", "0 keys")
    assert found == 0


LIST: Final = "/v1/models"
ADMIN: Final = "hf_gw_planted_admin"
BEARER: Final = f"Bearer {SECRET}"
PLACES: Final[list[tuple[str, tuple[str, ...], int]]] = [
    (LIST, (f"Authorization: {BEARER}",), 200),
    (LIST, (f"authorization: {BEARER}",), 200),
    (LIST, (f"AUTHORIZATION: bearer {SECRET}",), 200),
    (LIST, (f"Authorization: Key {SECRET}",), 200),
    (LIST, (f"Authorization: {BEARER}", f"authorization: {BEARER}"), 401),
    (LIST, (f"Authorization: {BEARER}", "Authorization: Bearer x"), 401),
    (LIST, ("Authorization: Bearer x", f"AUTHORIZATION: {BEARER}"), 401),
    (LIST, (f"X-Api-Key: {SECRET}",), 401),
    (LIST, (f"Proxy-Authorization: {BEARER}",), 401),
    (LIST, (f"Cookie: authorization={SECRET}",), 401),
    (LIST, (f"Authorization: Bearer {SECRET.upper()}",), 401),
    (f"{LIST}?key={SECRET}", (), 400),
    (f"{LIST}?Access_Token={SECRET}", (f"Authorization: {BEARER}",), 400),
    (f"/{SECRET}{LIST}", (), 400),
    (f"/{SECRET}{LIST}", (f"Authorization: {BEARER}",), 400),
    (f"/admin/keys/{SECRET}", (f"Authorization: Bearer {ADMIN}",), 400),
    (f"http://{SECRET}@x{LIST}", (), 401),
]


async def status(served: Program, path: str, headers: tuple[str, ...]) -> tuple[int, str]:
    """Send the headers as they are; return the status and the whole answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
    lines = (f"GET {path} HTTP/1.1", "Host: x", "Connection: close", *headers, "", "")
    writer.write("\r\n".join(lines).encode())
    answer = (await reader.read()).decode()
    writer.close()
    (code,) = re.findall(r"\AHTTP/1.1 (\d{3}) ", answer)
    return int(code), answer
