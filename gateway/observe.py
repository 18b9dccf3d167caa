"""What is known of a request when it ends: the source of its log line and its metrics."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway.dispatch.charge import NOTHING, charges_of, total
from gateway.stores.usage import NOT_PAID

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.dispatch.answers import Answer
    from gateway.dispatch.charge import Charge
    from providers.types import Deployment


@dataclass(slots=True, kw_only=True)
class Observed:
    """Filled in along a request's way. Holds no audio, text, prompt or credential."""

    request_id: str
    started: float  # on the event loop's clock, in seconds
    front: str = "ops"
    caller: str = ""
    model: str = ""  # from the configuration, or "other"
    deployment: str = ""
    label: str = ""  # the deployment's, from the configuration whatever callers write
    cache: str = "bypass"  # or hit, miss, joined, stale
    billed_s: float | None = None
    cost_usd: float | None = None
    charges: tuple[tuple[str, Charge], ...] = ()  # what these are the sums of, by the deployment's label
    attempts: int = 0  # made for this request alone
    upload_bytes: int = 0
    audio_s: float | None = None
    problem: str = ""  # the stable word of what went wrong
    cause: str = ""  # in our own words: of a 5xx a line for each attempt, of what callers are not told more about

    def answered(self, answer: Answer, label: Callable[[Deployment], str]) -> None:
        """label: a deployment's, from the configuration."""
        self.deployment, self.label = answer.deployment.name, label(answer.deployment)
        self.cache = answer.cached.value
        self.attempts = 0 if self.cache in NOT_PAID else len(answer.attempts)
        charges = () if self.cache in NOT_PAID else charges_of(answer, self.audio_s)
        self.charges = tuple((label(to), charge) for to, charge in charges)
        charge = total(charge for _, charge in charges) if charges else NOTHING
        self.billed_s, self.cost_usd = charge.billed_s, charge.cost_usd
        self.audio_s = answer.transcript.duration_s or self.audio_s

    def failed(self) -> None:
        """Charge nothing: there was no answer, whatever it cost us."""
        self.billed_s, self.cost_usd, self.charges = NOTHING.billed_s, NOTHING.cost_usd, ()
