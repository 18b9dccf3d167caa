"""Which deployments a model name leads to."""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import replace

from config.long_audio import AS_USUAL
from config.reliability import Strategy
from gateway.policies.price import cost_usd
from gateway.problems import forbidden, not_found

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import SecretStr

    from config.long_audio import LongAudio
    from config.settings import OnUnsupported
    from gateway.policies.hedging import After
    from providers.types import Deployment

WILDCARD = "*"
NAME_HERE = "{model}"  # in a target: the name that was asked for
_NAME = re.compile(r"[\w.-]+(/[\w.-]+)*")
_LONGEST_NAME = 200


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """A model's deployments, best first."""

    deployments: tuple[Deployment, ...]
    on_unsupported: OnUnsupported
    strategy: Strategy = Strategy.FAILOVER
    hedge_after: After | None = None  # when a second deployment joins the race; None: never
    long_audio: LongAudio = AS_USUAL
    own_key: bool = False  # the credential is the caller's own


class Routes(msgspec.Struct, frozen=True, kw_only=True):
    """Every route by model name; "*" stands for names that have none of their own."""

    by_model: Mapping[str, Route]
    default_model: str | None = None

    @property
    def models(self) -> tuple[str, ...]:
        return tuple(name for name in self.by_model if name != WILDCARD)

    def resolve(self, model: str) -> Route:
        """Return the route of a model. Raises Problem 404 with the nearest known names."""
        route = self.by_model.get(model)
        if route and model != WILDCARD:
            return route
        if not _NAME.fullmatch(model) or ".." in model or len(model) > _LONGEST_NAME:
            raise not_found(f"{model[:80]!r} is not a model name", "unknown-model")
        wild = self.by_model.get(WILDCARD)
        if wild is None:
            raise not_found(f"the model {model!r} is not known here{self._nearest(model)}", "unknown-model")
        return replace(wild, deployments=tuple(_named(each, model) for each in wild.deployments))

    def pinned(self, model: str, account: str) -> Route:
        """Return the part of a model's route that runs on one account. Raises Problem 404."""
        route = self.resolve(model)
        deployments = tuple(each for each in route.deployments if each.account.name == account)
        if not deployments:
            raise not_found(f"the model {model!r} is not routed to the account {account!r}", "unknown-model")
        return replace(route, deployments=deployments)

    def for_token(self, model: str, account: str | None, adapter: str | None, token: SecretStr) -> Route:
        """Return the one deployment a caller's own token may go to. Raises Problem 403 or 404.

        The token is good at one provider: it is shown to no other, nor to a local engine.
        """
        route = self.pinned(model, account) if account else self.resolve(model)
        remote = [each for each in route.deployments if each.account.adapter == adapter or account]
        if len({each.account.name for each in remote}) != 1 or remote[0].account.adapter in {"local", "engine"}:
            raise forbidden(
                "with the caller's own token the path must name the account: POST /{account}/models/{model}",
                "account-needed",
            )
        deployment = replace(remote[0], account=replace(remote[0].account, api_key=token))
        return replace(route, deployments=(deployment,), own_key=True)

    def _nearest(self, model: str) -> str:
        near = difflib.get_close_matches(model, self.models, n=3, cutoff=0.4)
        return f"; near it are: {', '.join(near)}" if near else f"; known are: {', '.join(self.models[:10])}"


def _named(deployment: Deployment, model: str) -> Deployment:
    return replace(deployment, native_model=deployment.native_model.replace(NAME_HERE, model))


def is_paid(deployment: Deployment) -> bool:
    """Tell whether a call there is known to cost something."""
    price = deployment.price
    return price is not None and (price.usd_per_minute > 0 or price.usd_per_request > 0)


def cost_of(deployment: Deployment, duration_s: float | None) -> float | None:
    """Return what audio costs there, in US dollars; None where the price or the length is not known."""
    price = deployment.price
    if price is None:
        return None
    return cost_usd(
        price.usd_per_minute,
        duration_s,
        usd_per_request=price.usd_per_request,
        minimum_s=price.minimum_s,
        step_s=price.step_s,
    )
