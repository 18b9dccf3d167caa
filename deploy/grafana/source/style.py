"""How a panel of ours looks, whatever it shows: few shapes, each with a unit, a description and a legend."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

from grafana_foundation_sdk.builders import bargauge, stat, statetimeline, table, timeseries
from grafana_foundation_sdk.builders.common import (
    GraphThresholdsStyleConfig,
    ReduceDataOptions,
    StackingConfig,
    VizLegendOptions,
    VizTooltipOptions,
)
from grafana_foundation_sdk.builders.dashboard import (
    AnnotationQuery,
    Dashboard,
    DashboardLink,
    DatasourceVariable,
    QueryVariable,
    Row,
    ThresholdsConfig,
)
from grafana_foundation_sdk.builders.prometheus import Dataquery
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models import common, dashboard
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from grafana_foundation_sdk.cog import variants

Panel: TypeAlias = Builder[dashboard.Panel]

SOURCE: Final = dashboard.DataSourceRef(type_val="prometheus", uid="${datasource}")
TAG: Final = "asr-gateway"
WHOLE: Final = 24  # columns
_HEIGHT, _HEIGHT_OF_NUMBER = 8, 4

REQUESTS_PER_S, SECONDS, SHARE, USD, COUNT, BYTES = "reqps", "s", "percentunit", "currencyUSD", "short", "bytes"
"""Units, by Grafana's names."""


@dataclass(frozen=True, slots=True)
class Q:
    """A query, and what its series are called."""

    expr: str
    legend: str = ""


@dataclass(frozen=True, slots=True)
class Step:
    """From which value on it is which colour."""

    color: str
    value: float | None = None  # None: from the lowest


PLAIN: Final = (Step("text"),)
RATE: Final = "[$__rate_interval]"
RANGE: Final = "[$__range]"

BREAKER: Final = ("closed", "half-open", "parked", "open")
_BREAKER_COLORS: Final = ("green", "yellow", "orange", "red")


def breaker_of(where: str = "") -> str:
    """Return the expression of a deployment's worst state, as a place in BREAKER. where: more matchers."""
    worst_first = [f'{place} * asr_breaker_state{{state="{BREAKER[place]}"{where}}}' for place in (3, 2, 1)]
    return f"max by (deployment) ({' or '.join(worst_first)})"


def quantiles(histogram: str, where: str, by: str = "") -> tuple[Q, ...]:
    """Return the queries of its median and slow ends. by: a label; each of its values has lines of its own."""
    rates = f"sum by (le{by and ', ' + by}) (rate({histogram}_bucket{{{where}}}{RATE}))"
    named = by and f"{{{{{by}}}}} "
    parts = ((0.5, "median"), (0.95, "p95"), (0.99, "p99"))
    return tuple(Q(f"histogram_quantile({part}, {rates})", f"{named}{name}") for part, name in parts)


def over_time(
    title: str, says: str, unit: str, *queries: Q, width: int = 8, steps: Sequence[Step] = (), stacked: float = 0
) -> Panel:
    """Return lines. steps: bounds, drawn as dashed lines. stacked: how opaque areas are that stand on each other."""
    panel = (
        timeseries.Panel()
        .title(title)
        .description(says)
        .datasource(SOURCE)
        .unit(unit)
        .min(0)
        .span(width)
        .height(_HEIGHT)
        .show_points(common.VisibilityMode.NEVER)
        .legend(
            VizLegendOptions()
            .show_legend(True)
            .display_mode(common.LegendDisplayMode.LIST)
            .placement(common.LegendPlacement.BOTTOM)
        )
        .tooltip(VizTooltipOptions().mode(common.TooltipDisplayMode.MULTI).sort(common.SortOrder.DESCENDING))
        .targets(_targets(queries))
    )
    if stacked:
        panel = panel.fill_opacity(stacked).stacking(StackingConfig().mode(common.StackingMode.NORMAL))
    if steps:
        dashed = GraphThresholdsStyleConfig().mode(common.GraphThresholdsStyleMode.DASHED)
        panel = panel.thresholds(_thresholds(steps)).thresholds_style(dashed)
    return panel


def number(title: str, says: str, unit: str, query: Q, *, steps: Sequence[Step] = PLAIN, width: int = 4) -> Panel:
    """Return one number, its last, in the colour of its step."""
    return (
        stat.Panel()
        .title(title)
        .description(says)
        .datasource(SOURCE)
        .unit(unit)
        .span(width)
        .height(_HEIGHT_OF_NUMBER)
        .no_value("none")
        .reduce_options(ReduceDataOptions().calcs(["lastNotNull"]))
        .graph_mode(common.BigValueGraphMode.NONE)
        .thresholds(_thresholds(steps))
        .targets([_query(query).instant()])
    )


def bars(title: str, says: str, unit: str, query: Q, *, steps: Sequence[Step], most: float, width: int = 8) -> Panel:
    """Return a bar for each series, as it is now. most: where a bar is full."""
    return (
        bargauge.Panel()
        .title(title)
        .description(says)
        .datasource(SOURCE)
        .unit(unit)
        .min(0)
        .max(most)
        .span(width)
        .height(_HEIGHT)
        .orientation(common.VizOrientation.HORIZONTAL)
        .display_mode(common.BarGaugeDisplayMode.BASIC)
        .thresholds(_thresholds(steps))
        .targets([_query(query).instant()])
    )


def states(title: str, says: str, query: Q, *, width: int = WHOLE) -> Panel:
    """Return a lane for each deployment, in the colours of its breaker; a click opens its own dashboard."""
    named = {
        str(place): dashboard.ValueMappingResult(text=word, color=color, index=place)
        for place, (word, color) in enumerate(zip(BREAKER, _BREAKER_COLORS, strict=True))
    }
    to_provider = DashboardLink("One provider").url(
        f"/d/{TAG}-provider?var-deployment=${{__field.labels.deployment}}&${{__url_time_range}}"
    )
    return (
        statetimeline.Panel()
        .title(title)
        .description(says)
        .datasource(SOURCE)
        .span(width)
        .height(_HEIGHT)
        .mappings([dashboard.ValueMap(options=named)])
        .show_value(common.VisibilityMode.NEVER)
        .data_links([to_provider])
        .targets(_targets([query]))
    )


def rows(title: str, says: str, unit: str, query: Q, *, width: int = 8) -> Panel:
    """Return a table of what there is now, most first."""
    hidden = dashboard.DataTransformerConfig(id_val="organize", options={"excludeByName": {"Time": True}})
    most_first = dashboard.DataTransformerConfig(id_val="sortBy", options={"sort": [{"field": "Value", "desc": True}]})
    return (
        table.Panel()
        .title(title)
        .description(says)
        .datasource(SOURCE)
        .unit(unit)
        .span(width)
        .height(_HEIGHT)
        .with_transformation(hidden)
        .with_transformation(most_first)
        .targets([_query(query).instant().format(PromQueryFormat.TABLE)])
    )


def board(name: str, title: str, says: str, *choices: Builder[dashboard.VariableModel]) -> Dashboard:
    """Return a dashboard without panels yet. choices: what its reader may choose."""
    built = (
        Dashboard(title)
        .uid(f"{TAG}-{name}")
        .description(says)
        .tags([TAG])
        .readonly()
        .time("now-6h", "now")
        .refresh("30s")
        .tooltip(dashboard.DashboardCursorSync.CROSSHAIR)
        .link(
            DashboardLink("asr-gateway")
            .type(dashboard.DashboardLinkType.DASHBOARDS)
            .tags([TAG])
            .as_dropdown(True)
            .keep_time(True)
        )
        .with_variable(DatasourceVariable("datasource").label("Prometheus").type("prometheus"))
    )
    for choice in choices:
        built = built.with_variable(choice)
    for note in _notes():
        built = built.annotation(note)
    return built


def filled(built: Dashboard, rows_of_panels: Mapping[str, Sequence[Panel]]) -> dashboard.Dashboard:
    """Return the dashboard with its panels, row by row. A row without a title has no line of its own."""
    for title, panels in rows_of_panels.items():
        if title:
            built = built.with_row(Row(title))
        for panel in panels:
            built = built.with_panel(panel)
    whole = built.build()
    for place, shown in enumerate(whole.panels or (), start=1):
        shown.id_val = place  # a link to a panel stays one when others look elsewhere
    return whole


def choice(name: str, label: str, query: str) -> Builder[dashboard.VariableModel]:
    """Return a choice of one, several or all of a label's values. query: as Grafana reads it, label_values(...)."""
    return (
        QueryVariable(name)
        .label(label)
        .datasource(SOURCE)
        .query({"query": query, "refId": name})
        .refresh(dashboard.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(dashboard.VariableSort.ALPHABETICAL_ASC)
        .multi(True)
        .include_all(True)
        .current(dashboard.VariableOption(selected=True, text=["All"], value=["$__all"]))
    )


def _notes() -> Iterable[AnnotationQuery]:
    """Yield what is marked on every graph: what changed, when something else changes."""
    reloads = "sum by (outcome) (increase(asr_config_reloads_total[1m])) > 0"
    versions = "count by (version) (asr_build_info) unless count by (version) (asr_build_info offset 5m)"
    for name, expr, color in (("Configuration read again", reloads, "blue"), ("Another version", versions, "purple")):
        yield AnnotationQuery().name(name).datasource(SOURCE).enable(True).icon_color(color).expr(expr)


def _targets(queries: Sequence[Q]) -> list[Builder[variants.Dataquery]]:
    return [_query(query).ref_id(chr(ord("A") + place)) for place, query in enumerate(queries)]


def _query(query: Q) -> Dataquery:
    return Dataquery().ref_id("A").expr(query.expr).legend_format(query.legend or "__auto")


def _thresholds(steps: Sequence[Step]) -> ThresholdsConfig:
    return (
        ThresholdsConfig()
        .mode(dashboard.ThresholdsMode.ABSOLUTE)
        .steps([dashboard.Threshold(value=step.value, color=step.color) for step in steps])
    )
