"""A running gateway's cache, asked and emptied over HTTP."""

from __future__ import annotations

from gateway.status import ask


async def cache_stats(url: str, key: str | None) -> str:
    """Return what is kept, in a line. Raises ClickException."""
    told = await ask("GET", url, "/admin/cache", key)
    return f"{told['store']}: {told['entries']} answers, {told['bytes']} bytes, {told['evictions']} evicted"


async def purge_cache(url: str, key: str | None) -> str:
    """Let it forget every answer; return how many, in a line. Raises ClickException."""
    told = await ask("POST", url, "/admin/cache/purge", key)
    return f"{told['purged']} answers forgotten"
