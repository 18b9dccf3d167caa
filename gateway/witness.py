"""What happens beside and within requests, told to whoever keeps account of it: metrics, log, ledger and traces."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import uuid4

from gateway.dispatch.checks import SAMPLE_S
from gateway.logs import LOG, event
from gateway.observe import CURRENT, Observed
from gateway.stores.usage import CHECKS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gateway.dispatch.answers import Answer, Attempt
    from gateway.dispatch.health import HealthBook
    from gateway.dispatch.routes import Routes
    from gateway.metrics import Metrics
    from gateway.state import State
    from providers.types import Deployment


@dataclass(frozen=True, slots=True, kw_only=True)
class Witness:
    """One process's. Deployments are called what the configuration calls them, whatever callers write."""

    metrics: Metrics
    health: HealthBook
    state: State
    routes: Callable[[], Routes]  # the present ones

    def attempt(self, deployment: Deployment, attempt: Attempt) -> None:
        """Tell of a call that has ended."""
        label, observed = self.health.label(deployment), CURRENT.get()
        self.metrics.attempt(label, attempt)
        if observed is None:  # a check of the gateway's own
            return
        if self.state.tracer is not None:
            self.state.tracer.attempt(deployment, label, attempt, observed)
        observed.tried(attempt)

    def failover(self, before: Deployment, after: Deployment, reason: str) -> None:
        """Tell of a job that went on to another deployment."""
        self.metrics.failover(self.health.label(before), self.health.label(after), reason)

    def engine_changed(self, deployment: str, why: str | None) -> None:
        """Tell of a deployment at an engine elsewhere that went away, with why, or is back. deployment: its name."""
        event("engine_lost" if why else "engine_back", logging.WARNING, deployment=deployment, reason=why)

    def hedge(self, deployment: Deployment, outcome: str) -> None:
        """Tell of a second call beside a slow first. outcome: won, lost."""
        self.metrics.hedge(self.health.label(deployment), outcome)

    def check_failed(self, deployment: Deployment, error: Exception) -> None:
        """Tell of a check that broke, for a reason of our own."""
        LOG.error("check_failed", exc_info=error, extra={"fields": {"deployment": self.health.label(deployment)}})

    def check_paid(self, answer: Answer) -> None:
        """Write down what a check cost; most cost nothing."""
        models = (name for name, route in self.routes().by_model.items() if answer.deployment in route.deployments)
        checked = Observed(request_id=uuid4().hex, started=self.health.clock(), front="check", caller=CHECKS)
        checked.model, checked.audio_s = next(models, "other"), SAMPLE_S
        checked.answered(answer, self.health.label)
        if checked.cost_usd:
            self.paid(checked, "200")

    def paid(self, observed: Observed, outcome: str) -> None:
        """Write down what was paid beside the requests."""
        self.metrics.paid(observed)
        if self.state.ledger is not None:
            self.state.ledger.note(observed, outcome, self.health.clock() - observed.started)

    def ways(self) -> Iterator[tuple[str, str]]:
        """Yield each model with each of its deployments."""
        for model, route in self.routes().by_model.items():
            for deployment in route.deployments:
                yield model, self.health.label(deployment)
