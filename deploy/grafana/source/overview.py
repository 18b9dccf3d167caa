"""Whether callers are served, and if not: by whose fault."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from deploy.grafana.source.style import (
    BYTES,
    COUNT,
    RATE,
    REQUESTS_PER_S,
    SECONDS,
    SHARE,
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
    rows,
    states,
)

if TYPE_CHECKING:
    from grafana_foundation_sdk.models.dashboard import Dashboard

_OURS: Final = 'front!="ops"'  # without what operators ask
_OF_MODEL: Final = f'{_OURS}, model=~"$model"'
_LEFT: Final = (Step("red"), Step("orange", 0.0), Step("green", 0.25))
_ALL_UP: Final = (Step("red"), Step("green", 1))
_SOME_ARE_BAD: Final = (Step("green"), Step("red", 1))


def build() -> Dashboard:
    """Return the dashboard."""
    built = board(
        "overview",
        "asr-gateway: overview",
        "Are callers served? If not: is it the gateway, a deployment or a limit?",
        choice("model", "Model", "label_values(asr_requests_total, model)"),
    )
    return filled(built, {"": _at_a_glance(), "What callers get": _callers(), "What is behind it": _behind()})


def _at_a_glance() -> list[Panel]:
    failed_30d = "sum(sum_over_time(asr:requests_failed:rate5m[30d]))"
    valid_30d = "sum(sum_over_time(asr:requests_valid:rate5m[30d]))"
    return [
        number(
            "Availability, last hour",
            "Of the requests that count, those that were answered. The objective is 99.9 %.",
            SHARE,
            Q("1 - max(asr:requests_failed:ratio_rate1h)"),
            steps=(Step("red"), Step("orange", 0.99), Step("green", 0.999)),
        ),
        number(
            "Error budget left, 30 days",
            "What may still fail of the 0.1 % that the objective allows in 30 days; below nothing, it is broken.",
            SHARE,
            Q(f"1 - {failed_30d} / {valid_30d} / 0.001"),
            steps=_LEFT,
        ),
        number(
            "Within 30 s, last hour",
            "Of the requests for a transcript, those that ended within 30 s. The objective is 99 %.",
            SHARE,
            Q("1 - max(asr:requests_slow:ratio_rate1h)"),
            steps=(Step("red"), Step("orange", 0.95), Step("green", 0.99)),
        ),
        number(
            "Gateways that answer",
            "Of those that Prometheus knows, the part it can scrape.",
            SHARE,
            Q('avg(up{job="asr-gateway"})'),
            steps=_ALL_UP,
        ),
        number("In flight", "Requests being answered now, by all gateways.", COUNT, Q("sum(asr_requests_in_flight)")),
        number(
            "Alerts",
            "Alerts of the gateway that fire now.",
            COUNT,
            Q('count(ALERTS{alertname=~"Asr.*", alertstate="firing"})'),
            steps=_SOME_ARE_BAD,
        ),
    ]


def _callers() -> list[Panel]:
    return [
        over_time(
            "Requests",
            "By status. 4xx are the callers' own; cancelled ones left before they were answered.",
            REQUESTS_PER_S,
            Q(f"sum by (status) (rate(asr_requests_total{{{_OF_MODEL}}}{RATE}))", "{{status}}"),
            stacked=40,
        ),
        over_time(
            "Time to answer",
            "From a request's first byte to its answer's last. It grows with the audio's length.",
            SECONDS,
            *quantiles("asr_request_seconds", _OURS),
            steps=(Step("transparent"), Step("red", 30)),
        ),
        over_time(
            "Where the time goes",
            "Seconds of each step for each second of traffic: its height is how many requests are in it at once.",
            COUNT,
            Q(f"sum by (stage) (rate(asr_stage_seconds_sum{RATE}))", "{{stage}}"),
            stacked=40,
        ),
        over_time(
            "Told instead of a transcript",
            "Problems by their word; the README's table says what each means. overloaded: requests that were shed.",
            REQUESTS_PER_S,
            Q(f"sum by (type) (rate(asr_problems_total{RATE}))", "{{type}}"),
        ),
        over_time(
            "Burn rate of the error budget",
            "How many times faster than allowed requests fail. 14.4 over an hour pages; 1 for 30 days spends it all.",
            COUNT,
            Q("max(asr:requests_failed:ratio_rate5m) / 0.001", "5 minutes"),
            Q("max(asr:requests_failed:ratio_rate1h) / 0.001", "1 hour"),
            Q("max(asr:requests_failed:ratio_rate6h) / 0.001", "6 hours"),
            steps=(Step("transparent"), Step("orange", 6), Step("red", 14.4)),
        ),
        over_time(
            "Fronts",
            "Requests by the API they came through.",
            REQUESTS_PER_S,
            Q(f"sum by (front) (rate(asr_requests_total{{{_OF_MODEL}}}{RATE}))", "{{front}}"),
        ),
    ]


def _behind() -> list[Panel]:
    return [
        states(
            "Deployments",
            "closed: asked as usual. open: left alone after failures. parked: it answers, and limits or refuses us.",
            Q(breaker_of(), "{{deployment}}"),
            width=16,
        ),
        rows(
            "Models, by deployments that can be asked",
            "0: nothing answers for this model now.",
            COUNT,
            Q("asr:model_deployments:usable"),
        ),
        over_time(
            "Failovers",
            "Jobs that went on to another deployment, by what the one before had said.",
            REQUESTS_PER_S,
            Q(f"sum by (from, to, reason) (rate(asr_failovers_total{RATE}))", "{{from}} to {{to}}: {{reason}}"),
        ),
        over_time(
            "Answers, by the cache",
            "hit and stale were kept, joined shared another's call; the rest was asked anew.",
            REQUESTS_PER_S,
            Q(f"sum by (state) (rate(asr_cache_answers_total{RATE}))", "{{state}}"),
            stacked=40,
        ),
        over_time(
            "Waiting",
            "Jobs that wait for a place at a deployment or at a local model.",
            COUNT,
            Q("sum by (deployment) (asr_deployment_waiting) > 0", "{{deployment}}"),
            Q("sum by (model) (asr_local_queue_depth)", "{{model}}"),
        ),
        over_time(
            "Uploads kept",
            "Bytes of uploads in memory and on disk, and how much there may be on disk.",
            BYTES,
            Q("sum by (where) (asr_spool_bytes)", "{{where}}"),
            Q('sum(asr_spool_limit_bytes{where="disk"})', "limit of disk"),
        ),
        over_time(
            "What replicas share",
            "1 while Redis, the cache's store and the last reload are as they should be, by the gateway worst off.",
            COUNT,
            Q("min(asr_redis_up)", "Redis"),
            Q("min by (store) (asr_cache_store_up)", "cache in {{store}}"),
            Q("min(asr_config_last_reload_successful)", "configuration"),
        ),
        rows(
            "Versions",
            "Gateways by what they run.",
            COUNT,
            Q("count by (version, python) (asr_build_info)"),
        ),
    ]
