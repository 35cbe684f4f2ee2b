"""How the Grafana boards look: colours, legends, sizes, and how a query is written.

Every query is limited to the job and the instances that the reader chose, every rate runs over
``$__rate_interval``, and every panel has a title, a description and a unit; the tests hold that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, TypeAlias

from grafana_foundation_sdk.builders import (
    common,
    dashboard,
    heatmap,
    prometheus,
    stat,
    statetimeline,
    table,
    text,
    timeseries,
)
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models import common as common_models
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models.heatmap import HeatmapColorMode
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from trading_app import palette

Panel: TypeAlias = Any
"""A panel builder of the SDK; they share methods, but no type that names them."""

SOURCE: Final = common_models.DataSourceRef(type_val="prometheus", uid="$datasource")
SIDECAR: Final = "metrics-sidecar"  # as in infra/prometheus/prometheus.yml, and so is the next
ENGINE: Final = "market-engine"
ALL: Final = "$__all"
OTHER_JOB: Final = {SIDECAR: f'job!="{ENGINE}"', ENGINE: f'job!="{SIDECAR}"', ALL: ""}
"""What keeps a board to its own job where both have a series of a name, when all jobs are chosen."""
OF_SIDECARS: Final = f"{{@, {OTHER_JOB[SIDECAR]}}}"
OF_ENGINES: Final = f"{{@, {OTHER_JOB[ENGINE]}}}"
MATCHERS: Final = 'job=~"$job", instance=~"$instance"'
RATE: Final = "$__rate_interval"
SIDES: Final = {"buy": palette.BUY_MARK, "sell": palette.SELL_MARK}
GOOD: Final = palette.NEUTRAL_MARK  # blue: red and green look the same to one man in twelve
WARNING: Final = palette.WARNING_MARK
DANGER: Final = palette.DANGER_MARK
FAINT: Final = palette.MUTED.dark
FULL_WIDTH: Final = 24


@dataclass(frozen=True)
class Query:
    """PromQL, in which ``@`` inside braces stands for the matchers of job and instance."""

    expression: str
    legend: str = "__auto"
    instant: bool = False
    format: PromQueryFormat | None = None

    def build(self, ref_id: str) -> prometheus.Dataquery:
        """The query as the SDK has it."""
        query = (
            prometheus.Dataquery()
            .ref_id(ref_id)
            .datasource(SOURCE)
            .expr(self.expression.replace("@", MATCHERS))
            .legend_format(self.legend)
        )
        if self.format is not None:
            query.format(self.format)
        return query.instant() if self.instant else query.range()


@dataclass(frozen=True)
class State:
    """What a number of a state means: a word and a colour."""

    value: int
    word: str
    color: str


def _dress(
    panel: Panel, title: str, description: str, unit: str, size: tuple[int, int], *queries: Query
) -> Panel:
    """What every panel with data has; ``size`` is width and height on Grafana's 24 columns."""
    panel.title(title).description(description).unit(unit).datasource(SOURCE)
    panel.span(size[0]).height(size[1]).no_value("—")
    for index, query in enumerate(queries):
        panel.with_target(query.build(chr(ord("A") + index)))
    return panel


def number(
    title: str,
    description: str,
    query: Query,
    *,
    unit: str = "locale",
    width: int,
    color: str = GOOD,
    steps: Sequence[tuple[float, str]] = (),
) -> Panel:
    """A big number with its last minutes behind it; it takes the colour of the last step passed.

    Where the query has no answer it is not a number, shown as a dash: without that, Grafana would
    go on showing the last number that there was. The time range is its own, for over a long one
    the last point would be minutes old.
    """
    panel = _stat(title, description, query, unit, width)
    panel.time_from("15m").hide_time_override(True).max_data_points(1000)
    panel.graph_mode(common_models.BigValueGraphMode.AREA)
    panel.color_mode(common_models.BigValueColorMode.VALUE)
    return _color_by_steps(panel, [(None, color), *steps])


def state(
    title: str, description: str, query: Query, states: Sequence[State], *, width: int
) -> Panel:
    """The state of now, as a word on its colour."""
    panel = _stat(title, description, replace(query, instant=True), "none", width)
    panel.graph_mode(common_models.BigValueGraphMode.NONE)
    panel.color_mode(common_models.BigValueColorMode.BACKGROUND_SOLID)
    _color_by_steps(panel, [(None, states[0].color)])
    return panel.mappings([_words(states), _unknown()])


def _stat(title: str, description: str, query: Query, unit: str, width: int) -> Panel:
    known = replace(query, expression=f"{query.expression} or vector(NaN)")
    panel = _dress(stat.Panel(), title, description, unit, (width, 4), known)
    panel.reduce_options(common.ReduceDataOptions().calcs(["last"]))
    return panel.mappings([_unknown()])


def lines(
    title: str,
    description: str,
    *queries: Query,
    unit: str = "short",
    size: tuple[int, int] = (12, 7),
    colors: dict[str, str] | None = None,
    decimals: int | None = None,
    from_zero: bool = True,
) -> Panel:
    """Lines over time, from 0 up unless what matters is how they differ.

    ``colors`` fixes those of named lines.
    """
    panel = _dress(timeseries.Panel(), title, description, unit, size, *queries)
    if from_zero:
        panel.min(0)
    panel.line_width(2).fill_opacity(12).span_nulls(False)
    panel.show_points(common_models.VisibilityMode.NEVER)
    panel.legend(
        common.VizLegendOptions()
        .show_legend(True)
        .display_mode(common_models.LegendDisplayMode.LIST)
        .placement(common_models.LegendPlacement.BOTTOM)
        .calcs(["lastNotNull"])
    )
    panel.tooltip(
        common.VizTooltipOptions()
        .mode(common_models.TooltipDisplayMode.MULTI)
        .sort(common_models.SortOrder.DESCENDING)
    )
    if unit == "percentunit" and from_zero:
        panel.max(1)
    if decimals is not None:
        panel.decimals(decimals)
    for name, color in (colors or {}).items():
        panel.override_by_name(name, [_fixed(color)])
    return panel


def timeline(
    title: str,
    description: str,
    query: Query,
    states: Sequence[State],
    *,
    size: tuple[int, int] = (FULL_WIDTH, 4),
) -> Panel:
    """States over time, one row for each series; a time that nobody saw is a gap."""
    panel = _dress(statetimeline.Panel(), title, description, "none", size, query)
    panel.merge_values(True).row_height(0.8).fill_opacity(80).line_width(0)
    panel.show_value(common_models.VisibilityMode.AUTO)
    panel.legend(common.VizLegendOptions().show_legend(False))
    _color_by_steps(panel, [(None, states[0].color)])
    return panel.mappings([_words(states)])


def buckets(title: str, description: str, query: Query, *, size: tuple[int, int]) -> Panel:
    """A heatmap of a histogram's buckets over time."""
    panel = _dress(heatmap.Panel(), title, description, "s", size, query)
    panel.calculate(False).cell_gap(1).hide_legend()
    color = heatmap.HeatmapColorOptions().mode(HeatmapColorMode.OPACITY).fill(GOOD)
    panel.color(color.exponent(0.5).steps(32))
    return panel.y_axis(heatmap.YAxisConfig().unit("s"))


@dataclass(frozen=True)
class Column:
    """A column of a table: its name, and the query that fills it."""

    name: str
    expression: str
    unit: str = "locale"
    decimals: int = 0
    danger_at: float | None = None


def rows(
    title: str,
    description: str,
    keys: dict[str, str],
    columns: Sequence[Column],
    *,
    sort_by: str,
    size: tuple[int, int],
) -> Panel:
    """A table with one row for each set of ``keys`` (label: heading), and numbers beside them."""
    queries = [Query(c.expression, "", True, PromQueryFormat.TABLE) for c in columns]
    panel = _dress(table.Panel(), title, description, "locale", size, *queries)
    names = {f"Value #{chr(ord('A') + i)}": column.name for i, column in enumerate(columns)}
    if len(columns) == 1:
        names = {"Value": columns[0].name}
    order = [*keys, *names]
    options = {
        "excludeByName": {"Time": True},
        "indexByName": {name: index for index, name in enumerate(order)},
        "renameByName": keys | names,
    }
    panel.with_transformation(models.DataTransformerConfig("merge", options={}))
    panel.with_transformation(models.DataTransformerConfig("organize", options=options))
    panel.sort_by([common.TableSortByFieldState().display_name(sort_by).desc(True)])
    for column in columns:
        properties = [
            models.DynamicConfigValue("unit", column.unit),
            models.DynamicConfigValue("decimals", column.decimals),
        ]
        if column.danger_at is not None:
            properties += _danger_at(column.danger_at)
        panel.override_by_name(column.name, properties)
    return panel


def dashed(panel: Panel, names: dict[str, list[float]]) -> Panel:
    """Tell lines of one colour apart by their dashes (pixels on, pixels off)."""
    for name, dash in names.items():
        style = models.DynamicConfigValue("custom.lineStyle", {"fill": "dash", "dash": dash})
        panel.override_by_name(name, [_fixed(GOOD), style])
    return panel


def for_each(panel: Panel, variable: str) -> Panel:
    """Draw the panel once for each value that was chosen, three side by side."""
    return panel.repeat(variable).repeat_direction("h").max_per_row(3)


def note(title: str, description: str, content: str, *, size: tuple[int, int]) -> Panel:
    """Markdown, for what to do."""
    panel = text.Panel().title(title).description(description).content(content)
    return panel.span(size[0]).height(size[1])


def row(title: str) -> dashboard.Row:
    """A heading; what follows it belongs to it."""
    return dashboard.Row(title)


def _fixed(color: str) -> models.DynamicConfigValue:
    return models.DynamicConfigValue("color", {"mode": "fixed", "fixedColor": color})


def _danger_at(limit: float) -> list[models.DynamicConfigValue]:
    steps = [{"color": "text", "value": None}, {"color": DANGER, "value": limit}]
    return [
        models.DynamicConfigValue("thresholds", {"mode": "absolute", "steps": steps}),
        models.DynamicConfigValue("custom.cellOptions", {"type": "color-text"}),
    ]


def _color_by_steps(panel: Panel, steps: Sequence[tuple[float | None, str]]) -> Panel:
    panel.color_scheme(dashboard.FieldColor().mode(models.FieldColorModeId.THRESHOLDS))
    return panel.thresholds(
        dashboard.ThresholdsConfig()
        .mode(models.ThresholdsMode.ABSOLUTE)
        .steps([models.Threshold(value, color) for value, color in steps])
    )


def _words(states: Sequence[State]) -> models.ValueMap:
    words = {
        str(each.value): models.ValueMappingResult(text=each.word, color=each.color)
        for each in states
    }
    return models.ValueMap(options=words)


def _unknown() -> models.SpecialValueMap:
    result = models.ValueMappingResult(text="—", color=FAINT)
    options = models.DashboardSpecialValueMapOptions(models.SpecialValueMatch.NULL_AND_NAN, result)
    return models.SpecialValueMap(options)


def chooser(
    name: str, label: str, metric: str, *, within: str = MATCHERS, chosen: str = ALL
) -> Builder[Any]:
    """A variable that lists the values of a metric's label, with All among them."""
    selector = f"{metric}{{{within}}}" if within else metric
    query = f"label_values({selector}, {name})"
    shown = "All" if chosen == ALL else chosen
    return (
        dashboard.QueryVariable(name)
        .label(label)
        .datasource(SOURCE)
        .query(query)
        .definition(query)
        .multi(True)
        .include_all(True)
        .all_value(".+")
        .current(models.VariableOption(selected=True, text=[shown], value=[chosen]))
        .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(models.VariableSort.ALPHABETICAL_ASC)
    )


def board(
    uid: str,
    title: str,
    description: str,
    choosers: Sequence[Builder[Any]],
    parts: Sequence[Panel],
    *,
    job: str = SIDECAR,
) -> dashboard.Dashboard:
    """A whole board: the common settings, the choosers, and the panels in reading order.

    ``job`` is what is scraped that it shows, one job or ALL; a link to another board takes no
    choice along, for that may be of another job.
    """
    other = OTHER_JOB[job]
    made = (
        dashboard.Dashboard(title)
        .uid(uid)
        .description(description)
        .tags(["trade-telemetry"])
        .readonly()
        .timezone("browser")
        .time("now-15m", "now")
        .refresh("1s")
        .timepicker(dashboard.TimePicker().refresh_intervals(["1s", "5s", "30s", "1m", "5m"]))
        .tooltip(models.DashboardCursorSync.CROSSHAIR)
        .with_variable(
            dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus")
        )
        .with_variable(chooser("job", "Job", "up", within=other, chosen=job))
        .with_variable(chooser("instance", "Instance", "up", within=_both('job=~"$job"', other)))
        .link(
            dashboard.DashboardLink("Boards")
            .type(models.DashboardLinkType.DASHBOARDS)
            .tags(["trade-telemetry"])
            .include_vars(False)
            .keep_time(True)
        )
        .link(
            dashboard.DashboardLink("Desk")
            .type(models.DashboardLinkType.LINK)
            .url("http://127.0.0.1:8501")
            .tooltip("The trading desk, at its default address")
            .target_blank(True)
        )
    )
    for scraped, started in _STARTED.items():
        if job in (scraped, ALL):
            made.annotation(_starts(*started))
    made.annotation(_alerts())
    for variable in choosers:
        made.with_variable(variable)
    for index, part in enumerate(parts, start=1):
        part.id(index)
        if isinstance(part, dashboard.Row):
            made.with_row(part)
        else:
            made.with_panel(part)
    return made


_STARTED: Final = {
    SIDECAR: (
        "Sidecar started",
        "telemetry_build_info",
        "its totals go on where its state was",
    ),
    ENGINE: (
        "Engine started",
        "market_build_info",
        "its counts begin anew, its trades and bars are those of its store",
    ),
}


def _both(matchers: str, more: str) -> str:
    return f"{matchers}, {more}" if more else matchers


def _starts(name: str, build_info: str, then: str) -> dashboard.AnnotationQuery:
    return (
        dashboard.AnnotationQuery()
        .name(name)
        .datasource(SOURCE)
        .enable(True)
        .icon_color(GOOD)
        .expr(
            f"process_start_time_seconds{{{MATCHERS}}} * 1000 * on (job, instance)"
            f" group_left (version, commit) {build_info}{{{MATCHERS}}}"
        )
        .use_value_for_time(True)
        .title_format("{{instance}} started")
        .text_format(f"version {{{{version}}}}, commit {{{{commit}}}}; {then}")
    )


def _alerts() -> dashboard.AnnotationQuery:
    return (
        dashboard.AnnotationQuery()
        .name("Alerts")
        .datasource(SOURCE)
        .enable(True)
        .icon_color(DANGER)
        .expr(f'ALERTS{{alertstate="firing", severity!="info", {MATCHERS}}}')
        .step("1s")
        .title_format("{{alertname}}")
        .tag_keys("severity,publisher,symbol,reason")
    )
