"""How one deployment is, and what it does to us."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from deploy.grafana.source.style import (
    COUNT,
    RANGE,
    RATE,
    REQUESTS_PER_S,
    SECONDS,
    SHARE,
    USD,
    Panel,
    Q,
    Step,
    board,
    breaker_of,
    choice,
    filled,
    number,
    over_time,
    quantiles,
    states,
)

if TYPE_CHECKING:
    from grafana_foundation_sdk.models.dashboard import Dashboard

_THIS: Final = 'deployment=~"$deployment"'


def build() -> Dashboard:
    """Return the dashboard."""
    built = board(
        "provider",
        "asr-gateway: one provider",
        "How is a deployment (account/native model): its breaker, its errors, its pace, its price?",
        choice("deployment", "Deployment", "label_values(asr_deployment_away, deployment)"),
    )
    return filled(built, {"": _at_a_glance(), "Calls": _calls(), "Beside other deployments": _beside()})


def _at_a_glance() -> list[Panel]:
    return [
        states(
            "Breaker",
            "closed: asked as usual. open: left alone after failures. parked: it answers, and limits or refuses us.",
            Q(breaker_of(f", {_THIS}"), "{{deployment}}"),
            width=12,
        ),
        number(
            "Calls that were answered",
            "Of all calls in the time shown. Cancelled ones, as of hedges that lost, are not in it.",
            SHARE,
            Q(
                f'sum(increase(asr_attempts_total{{{_THIS}, outcome="ok"}}{RANGE}))'
                f' / sum(increase(asr_attempts_total{{{_THIS}, outcome!="cancelled"}}{RANGE}))'
            ),
            steps=(Step("red"), Step("orange", 0.9), Step("green", 0.99)),
        ),
        number(
            "Median real-time factor",
            "Seconds that an answered call took for each second of audio.",
            COUNT,
            Q(f"histogram_quantile(0.5, sum by (le) (rate(asr_real_time_factor_bucket{{{_THIS}}}{RANGE})))"),
            steps=(Step("green"), Step("orange", 0.5), Step("red", 1)),
        ),
        number(
            "Cost",
            "US dollars charged in the time shown, as far as prices are known.",
            USD,
            Q(f"sum(increase(asr_cost_usd_total{{{_THIS}}}{RANGE}))"),
        ),
    ]


def _calls() -> list[Panel]:
    return [
        over_time(
            "Calls, by what came of them",
            "ok, or why not: unavailable, timeout, malformed open the breaker; rate_limited, credentials, quota park.",
            REQUESTS_PER_S,
            Q(f"sum by (outcome) (rate(asr_attempts_total{{{_THIS}}}{RATE}))", "{{outcome}}"),
            stacked=40,
        ),
        over_time(
            "Calls, by why they were made",
            "first: asked first. failover: another had failed. retry: once more. hedge: beside a slow one. doubt: a "
            "second opinion on an empty text.",
            REQUESTS_PER_S,
            Q(f"sum by (kind) (rate(asr_attempts_total{{{_THIS}}}{RATE}))", "{{kind}}"),
        ),
        over_time(
            "Left alone, and why",
            "1 while a deployment is not asked.",
            COUNT,
            Q(f"max by (deployment, why) (asr_deployment_away{{{_THIS}}}) > 0", "{{deployment}}: {{why}}"),
        ),
        over_time("Time of a call", "Upload, work and answer.", SECONDS, *quantiles("asr_attempt_seconds", _THIS)),
        over_time(
            "Real-time factor",
            "Seconds that an answered call took for each second of audio: below 1 it is faster than speech.",
            COUNT,
            *quantiles("asr_real_time_factor", _THIS),
            steps=(Step("transparent"), Step("red", 1)),
        ),
        over_time(
            "In flight and waiting",
            "Calls in progress, and jobs that wait for a place (max_concurrent).",
            COUNT,
            Q(f"sum by (deployment) (asr_deployment_in_flight{{{_THIS}}})", "{{deployment}} in flight"),
            Q(f"sum by (deployment) (asr_deployment_waiting{{{_THIS}}})", "{{deployment}} waiting"),
        ),
    ]


def _beside() -> list[Panel]:
    return [
        over_time(
            "Failed over from here",
            "Jobs that went on to another, by what had been said here.",
            REQUESTS_PER_S,
            Q(f'sum by (to, reason) (rate(asr_failovers_total{{from=~"$deployment"}}{RATE}))', "to {{to}}: {{reason}}"),
        ),
        over_time(
            "Stood in for others",
            "Jobs that came here because another failed.",
            REQUESTS_PER_S,
            Q(f'sum by (from, reason) (rate(asr_failovers_total{{to=~"$deployment"}}{RATE}))', "{{from}}: {{reason}}"),
        ),
        over_time(
            "Hedges here",
            "Second calls beside a slow first one elsewhere, by whether their answer was used.",
            REQUESTS_PER_S,
            Q(f"sum by (outcome) (rate(asr_hedges_total{{{_THIS}}}{RATE}))", "{{outcome}}"),
        ),
    ]
