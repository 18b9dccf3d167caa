"""A prompt for services that take words and phrases to expect, and no free text."""

from __future__ import annotations

import re


def terms_of(prompt: str) -> list[str]:
    """Return a prompt's words and phrases: what stands between commas, semicolons and line ends."""
    return [term for each in re.split(r"[,;\n]", prompt) if (term := each.strip())]
