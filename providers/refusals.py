"""What the refusals of most services have in common, for an adapter that knows no better.

Source: the error bodies of OpenAI (openai-openapi 2.3.0), fal.ai ("Exhausted balance"), Replicate ("insufficient
credit"), Hugging Face's router ("exceeded your monthly included credits") and Deepgram, as their documents show them.
"""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from providers.errors import QuotaExhausted, by_status
from providers.retry_after import retry_after_s

if TYPE_CHECKING:
    from providers.errors import ProviderError
    from providers.exchange import HttpReply

NO_MONEY: Final = re.compile(
    r"insufficient[_ -]?(?:quota|credit|balance|fund)|exceeded your current quota|billing_(?:hard_limit|not_active)"
    r"|(?:exhausted|account) balance|monthly (?:included credits|usage limit)|spending limit"
    r"|(?:enough|out[ -]of|no remaining) credits?\b",
    re.IGNORECASE,
)
"""What is said where the account must be topped up: waiting, as a rate limit asks for, would not help."""
_MAY_BE_MONEY: Final = frozenset({HTTPStatus.FORBIDDEN, HTTPStatus.TOO_MANY_REQUESTS})


def by_reply(provider: str, reply: HttpReply) -> ProviderError:
    """Name a reply that is not 2xx by its status, by what it says of money, and by when it says to come back."""
    if reply.status in _MAY_BE_MONEY and NO_MONEY.search(reply.said):
        return QuotaExhausted(provider, "the account is out of credit")
    return by_status(provider, reply.status, f"status {reply.status}", retry_after_s=retry_after_s(reply))
