"""Kept answers against the same uploads without a cache: python -m tests.bench.cache. The upstream answers at once."""

from __future__ import annotations

import asyncio
from collections import Counter
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

import aiohttp
import numpy as np

from tests.chaos.load import MODEL, quantile
from tests.chaos.upstream import answers, upstream
from tests.conftest import encoded
from tests.program import configuration, program

LENGTHS_S = {"10 s": 10, "10 min": 600, "1 h": 3600}
FOR_S = 4.0


def noise(seconds: int) -> bytes:
    """Return noise as MP3 at 48 kbit/s: what an hour of speech weighs."""
    minute = (np.random.default_rng(1).standard_normal((1, 16_000 * 60)) * 3000).astype(np.int16)
    whole = np.tile(minute, (1, -(-seconds // 60)))[:, : 16_000 * seconds]
    return encoded(whole, 16_000, "mp3", "libmp3lame", bit_rate=48_000)


async def rate(session: aiohttp.ClientSession, url: str, body: bytes, clients: int, **headers: str) -> str:
    """Send for some seconds from so many clients; return the rate, the times and what the cache said."""
    clock = asyncio.get_running_loop().time
    until, took_s, states = clock() + FOR_S, list[float](), Counter[str]()

    async def send() -> None:
        while (started := clock()) < until:
            async with session.post(url, data=BytesIO(body), headers=headers) as reply:
                await reply.read()
                reply.raise_for_status()
                states[reply.headers["X-Gateway-Cache"]] += 1
            took_s.append(clock() - started)

    async with asyncio.TaskGroup() as group:
        for _ in range(clients):
            group.create_task(send())
    p50, p99 = (quantile(took_s, q) * 1000 for q in (0.5, 0.99))
    return f"{len(took_s) / FOR_S:7.1f}/s  p50 {p50:7.2f} ms  p99 {p99:7.2f} ms  {dict(states)}"


async def main() -> None:
    """Print a line for each length, number of clients, and with and without a cache."""
    with TemporaryDirectory() as folder:
        async with upstream(answers()) as up, aiohttp.ClientSession() as session:
            document = configuration({"a": up.url}, model=MODEL, cache={"store": "memory"})
            async with program(document, Path(folder)) as served:
                url = f"{served.url}/models/{MODEL}"
                for name, seconds in LENGTHS_S.items():
                    body = noise(seconds)
                    for clients in (1, 10):
                        without = await rate(session, url, body, clients, **{"Cache-Control": "no-store"})
                        print(f"{name:6} {len(body) / 1e6:5.2f} MB c={clients:<2} without {without}")
                        print(
                            f"{name:6} {len(body) / 1e6:5.2f} MB c={clients:<2} kept    "
                            + await rate(session, url, body, clients)
                        )


if __name__ == "__main__":
    asyncio.run(main())
