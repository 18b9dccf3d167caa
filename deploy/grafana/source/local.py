"""Whether the models on our own machines keep up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from deploy.grafana.source.style import (
    COUNT,
    RATE,
    REQUESTS_PER_S,
    SECONDS,
    Panel,
    Q,
    Step,
    board,
    choice,
    filled,
    over_time,
    quantiles,
)

if TYPE_CHECKING:
    from grafana_foundation_sdk.models.dashboard import Dashboard

_MODEL: Final = 'model=~"$model"'
_THIS: Final = 'deployment=~"$deployment"'


def build() -> Dashboard:
    """Return the dashboard."""
    built = board(
        "local",
        "asr-gateway: local engine",
        "Do the models on our own machines keep up with what is asked of them?",
        choice("model", "Model", "label_values(asr_local_queue_depth, model)"),
        choice("deployment", "Deployment", "label_values(asr_local_jobs, deployment)"),
    )
    return filled(built, {"": _queue(), "Work": _work()})


def _queue() -> list[Panel]:
    return [
        over_time(
            "Waiting",
            "Jobs that wait for the model to be free. 16 for each worker are let in; more are told to come back.",
            COUNT,
            Q(f"sum by (model) (asr_local_queue_depth{{{_MODEL}}})", "{{model}}"),
            steps=(Step("transparent"), Step("red", 16)),
        ),
        over_time(
            "Jobs",
            "Waiting or worked on.",
            COUNT,
            Q(f"sum by (deployment) (asr_local_jobs{{{_THIS}}})", "{{deployment}}"),
        ),
        over_time(
            "Jobs worked on together",
            "Mean size of a batch. Many waiting and small batches: the model cannot batch, or memory is short.",
            COUNT,
            Q(
                f"sum by (model) (rate(asr_local_batch_size_sum{{{_MODEL}}}{RATE}))"
                f" / sum by (model) (rate(asr_local_batch_size_count{{{_MODEL}}}{RATE}))",
                "{{model}}",
            ),
        ),
        over_time(
            "Waiting time",
            "Of the eldest piece in each batch. A model that is idle waits `max_wait` for others to come.",
            SECONDS,
            *quantiles("asr_local_wait_seconds", _MODEL, by="model"),
        ),
    ]


def _work() -> list[Panel]:
    return [
        over_time(
            "Jobs, by what came of them",
            "rate_limited: the queue was full.",
            REQUESTS_PER_S,
            Q(f"sum by (outcome) (rate(asr_attempts_total{{{_THIS}}}{RATE}))", "{{outcome}}"),
            stacked=40,
        ),
        over_time(
            "Time of a job",
            "Waiting included, as the job's caller feels it.",
            SECONDS,
            *quantiles("asr_attempt_seconds", _THIS, by="deployment"),
        ),
        over_time(
            "Real-time factor",
            "Seconds, waiting included, for each second of audio: above 1 the model does not keep up with speech.",
            COUNT,
            *quantiles("asr_real_time_factor", _THIS, by="deployment"),
            steps=(Step("transparent"), Step("red", 1)),
        ),
    ]
