"""What one caller asks for, gets and costs."""

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

_THIS: Final = 'caller=~"$caller"'
_SPENT: Final = (Step("green"), Step("orange", 0.8), Step("red", 0.9))


def build() -> Dashboard:
    """Return the dashboard."""
    built = board(
        "caller",
        "asr-gateway: one caller",
        "What does a key ask for, get and cost? Callers are known by their keys' names.",
        choice("caller", "Caller", "label_values(asr_caller_requests_total, caller)"),
    )
    return filled(built, {"": _at_a_glance(), "Over time": _over_time(), "Limits, and who is who": _limits()})


def _at_a_glance() -> list[Panel]:
    asked = f"sum(increase(asr_caller_requests_total{{{_THIS}}}{RANGE}))"
    return [
        number("Requests", "With audio, in the time shown.", COUNT, Q(asked), width=6),
        number(
            "Answered",
            "Of those, with a transcript.",
            SHARE,
            Q(f'sum(increase(asr_caller_requests_total{{{_THIS}, outcome="ok"}}{RANGE})) / {asked}'),
            steps=(Step("red"), Step("orange", 0.9), Step("green", 0.99)),
            width=6,
        ),
        number(
            "Audio",
            "Transcribed in the time shown.",
            SECONDS,
            Q(f"sum(increase(asr_caller_audio_seconds_total{{{_THIS}}}{RANGE}))"),
            width=6,
        ),
        number(
            "Cost",
            "US dollars charged in the time shown, as far as prices are known.",
            USD,
            Q(f"sum(increase(asr_caller_cost_usd_total{{{_THIS}}}{RANGE}))"),
            width=6,
        ),
    ]


def _over_time() -> list[Panel]:
    return [
        over_time(
            "Requests, by what came of them",
            "refused: 4xx, limits and budgets among them. failed: 5xx. cancelled: the caller left first.",
            REQUESTS_PER_S,
            Q(f"sum by (outcome) (rate(asr_caller_requests_total{{{_THIS}}}{RATE}))", "{{outcome}}"),
            stacked=40,
        ),
        over_time(
            "Audio",
            "Seconds of audio transcribed in each second.",
            COUNT,
            Q(f"sum by (caller) (rate(asr_caller_audio_seconds_total{{{_THIS}}}{RATE}))", "{{caller}}"),
        ),
        over_time(
            "Cost by the hour",
            "US dollars charged, at the rate of the moment.",
            USD,
            Q(f"3600 * sum by (caller) (rate(asr_caller_cost_usd_total{{{_THIS}}}{RATE}))", "{{caller}}"),
        ),
    ]


def _limits() -> list[Panel]:
    return [
        bars(
            "Budgets",
            "Part of the day's or month's budget that is spent; at 100 % the caller is told 429 budget.",
            SHARE,
            Q(
                'max by (name, period) (asr_budget_spent_ratio{scope="key", name=~"$caller"})',
                "{{name}}, this {{period}}",
            ),
            steps=_SPENT,
            most=1,
        ),
        over_time(
            "Refused by keys' limits",
            "429 limit or budget of all keys together, by what was limited.",
            REQUESTS_PER_S,
            Q(f'sum by (kind) (rate(asr_limited_total{{scope="key"}}{RATE}))', "{{kind}}"),
        ),
        rows(
            "Callers, by audio",
            "Seconds transcribed for each caller in the time shown.",
            SECONDS,
            Q(f"sum by (caller) (increase(asr_caller_audio_seconds_total{RANGE}))"),
        ),
    ]
