"""What was found of an account or a model that was asked, or looked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from providers.errors import CredentialsRejected, QuotaExhausted, RateLimited
from providers.local.provider import NAME as LOCAL
from providers.local.remote import Absence

if TYPE_CHECKING:
    from providers.allowances import Allowance
    from providers.types import Deployment

OK: Final = "ok"
HERE: Final = "found"  # on this machine, where nothing was loaded
NOT_TRIED: Final = "not tried"  # whether it can be had shows when it is
LOADING: Final = "loading"
MISSING: Final = "missing"
_WELL: Final = frozenset({OK, HERE, NOT_TRIED})
# What an outcome says of the credentials. Of the others nothing: nobody may have looked at them.
_CREDENTIALS: Final = {
    OK: "accepted",
    LOADING: "accepted",
    MISSING: "accepted",
    Absence.NOT_HELD: "accepted",
    RateLimited.outcome: "accepted",
    QuotaExhausted.outcome: "accepted",
    CredentialsRejected.outcome: "refused",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """How it went."""

    deployment: Deployment
    outcome: str  # an attempt's, or one of the above
    reason: str  # in our words
    seconds: float | None  # until it answered; None: nobody was asked
    left: tuple[Allowance, ...] = ()  # of its rate limits, as it told them

    @property
    def is_well(self) -> bool:
        return self.outcome in _WELL

    @property
    def credentials(self) -> str:
        if self.deployment.account.adapter == LOCAL:
            return "-"
        return _CREDENTIALS.get(self.outcome, "not known")
