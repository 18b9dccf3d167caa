"""What is spent, where and for whom, and what is saved."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from deploy.grafana.source.style import (
    COUNT,
    RANGE,
    RATE,
    SECONDS,
    SHARE,
    USD,
    Panel,
    Q,
    Step,
    bars,
    board,
    choice,
    filled,
    number,
    over_time,
    rows,
)

if TYPE_CHECKING:
    from grafana_foundation_sdk.models.dashboard import Dashboard

_THIS: Final = 'deployment=~"$deployment"'
_SPENT: Final = (Step("green"), Step("orange", 0.8), Step("red", 0.9))
_FREE: Final = 'state=~"hit|joined|stale"'


def build() -> Dashboard:
    """Return the dashboard."""
    built = board(
        "cost",
        "asr-gateway: cost",
        "What is spent, where and for whom; what is saved. In US dollars, as far as prices are known.",
        choice("deployment", "Deployment", "label_values(asr_cost_usd_total, deployment)"),
    )
    return filled(built, {"": _at_a_glance(), "Where it goes": _spent(), "Budgets, and what is saved": _saved()})


def _at_a_glance() -> list[Panel]:
    cost = f"sum(increase(asr_cost_usd_total{{{_THIS}}}{RANGE}))"
    billed = f"sum(increase(asr_billed_seconds_total{{{_THIS}}}{RANGE}))"
    return [
        number("Cost", "Charged in the time shown.", USD, Q(cost)),
        number(
            "Cost in 30 days",
            "If it goes on as in the time shown.",
            USD,
            Q(f"30 * 86400 * sum(rate(asr_cost_usd_total{{{_THIS}}}{RANGE}))"),
        ),
        number("Billed audio", "As prices round it, in the time shown.", SECONDS, Q(billed)),
        number("Price of a minute", "Cost for each minute that was billed.", USD, Q(f"60 * {cost} / {billed}")),
        number(
            "Answers not paid for",
            "Part of the answers that were kept, or shared with another request.",
            SHARE,
            Q(
                f"sum(increase(asr_cache_answers_total{{{_FREE}}}{RANGE}))"
                f" / sum(increase(asr_cache_answers_total{RANGE}))"
            ),
        ),
        number(
            "Rows lost",
            "Of the usage ledger, in the time shown: sums there are too small by them.",
            COUNT,
            Q(f"sum(increase(asr_usage_rows_dropped_total{RANGE}))"),
            steps=(Step("green"), Step("red", 1)),
        ),
    ]


def _spent() -> list[Panel]:
    return [
        over_time(
            "Cost by the hour and deployment",
            "At the rate of the moment.",
            USD,
            Q(f"3600 * sum by (deployment) (rate(asr_cost_usd_total{{{_THIS}}}{RATE}))", "{{deployment}}"),
            stacked=40,
        ),
        over_time(
            "Cost by the hour and caller",
            "At the rate of the moment.",
            USD,
            Q(f"3600 * sum by (caller) (rate(asr_caller_cost_usd_total{RATE}))", "{{caller}}"),
            stacked=40,
        ),
        rows(
            "Cost by deployment",
            "In the time shown.",
            USD,
            Q(f"sum by (deployment) (increase(asr_cost_usd_total{{{_THIS}}}{RANGE}))"),
        ),
        over_time(
            "Audio transcribed and billed",
            "Seconds in each second. Billed above transcribed: minimums, rounding, hedges. Below: the cache.",
            COUNT,
            Q(f"sum(rate(asr_audio_seconds_total{RATE}))", "transcribed"),
            Q(f"sum(rate(asr_billed_seconds_total{RATE}))", "billed"),
        ),
        rows(
            "Cost by caller",
            "In the time shown.",
            USD,
            Q(f"sum by (caller) (increase(asr_caller_cost_usd_total{RANGE}))"),
        ),
        over_time(
            "Calls that were made more than once",
            "Paid for besides the first: retries, failovers, hedges and second opinions, in each second.",
            COUNT,
            Q(f'sum by (kind) (rate(asr_attempts_total{{{_THIS}, kind!="first"}}{RATE}))', "{{kind}}"),
        ),
    ]


def _saved() -> list[Panel]:
    return [
        bars(
            "Budgets",
            "Part of each budget that is spent; at 100 % its requests are told 429 budget.",
            SHARE,
            Q("max by (scope, name, period) (asr_budget_spent_ratio)", "{{scope}} {{name}}, this {{period}}"),
            steps=_SPENT,
            most=1,
        ),
        over_time(
            "Looks into the cache",
            "By where, and whether it was there.",
            COUNT,
            Q(f"sum by (store, outcome) (rate(asr_cache_lookups_total{RATE}))", "{{store}}: {{outcome}}"),
        ),
        over_time(
            "Same jobs at the same time",
            "led: calls of their own. joined: waited for another's.",
            COUNT,
            Q(f"sum by (outcome) (rate(asr_flights_total{RATE}))", "{{outcome}}"),
        ),
    ]
