"""What OpenTelemetry's libraries are handed, by exporters that keep it: names, units, values, and nothing secret."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from opentelemetry.sdk.metrics import Counter, Histogram
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    MetricExporter,
    MetricExportResult,
    MetricsData,
)
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import Decision, TraceIdRatioBased
from opentelemetry.trace import SpanKind

from shared.counters import Counters
from shared.telemetry import export
from shared.telemetry.export import Export
from shared.telemetry.instruments import DISTRIBUTIONS, GAUGES
from shared.telemetry.traces import NOTHING, Traces

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"


class Kept(MetricExporter):
    """Keeps metrics, as differences; by name and attributes."""

    def __init__(self) -> None:
        delta = AggregationTemporality.DELTA
        super().__init__(preferred_temporality={Counter: delta, Histogram: delta})
        self.rounds: list[dict[tuple[str, str], Any]] = []
        self.units: dict[str, str] = {}

    def export(self, metrics_data: MetricsData, timeout_millis: float = 10_000, **kwargs: Any) -> MetricExportResult:
        found: dict[tuple[str, str], Any] = {}
        for resource in metrics_data.resource_metrics:
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    self.units[metric.name] = metric.unit or ""
                    for point in metric.data.data_points:
                        found[metric.name, ",".join(map(str, (point.attributes or {}).values()))] = point
        self.rounds.append(found)
        return MetricExportResult.SUCCESS

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        return True

    def shutdown(self, timeout_millis: float = 30_000, **kwargs: Any) -> None:
        return None


class Kit:
    """An export whose metrics and spans stay here."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, environment: Mapping[str, str]) -> None:
        self.metrics, self.spans = Kept(), InMemorySpanExporter()
        monkeypatch.setattr(export, "_metric_exporters", lambda environment: iter([self.metrics]))
        monkeypatch.setattr(export, "_span_exporters", lambda environment: iter([self.spans]))
        self.counters, self.traces = Counters(), Traces()
        self.readings: dict[str, float] = {}
        self.export = Export(environment, self.counters, self.traces, lambda: self.readings)


ALL = {"OTEL_TRACES_SAMPLER_ARG": "1"}


@pytest.fixture
def kit(monkeypatch: pytest.MonkeyPatch) -> Iterator[Kit]:
    made = Kit(monkeypatch, ALL)
    yield made
    made.export.close()


def test_counts_go_out_as_one_metric_by_name_and_only_what_has_changed(kit: Kit) -> None:
    kit.counters.add("http.201", 3)
    kit.counters.add("journal.lost")
    kit.export.send()
    kit.counters.add("http.201", 2)
    kit.export.send()

    first, second = kit.metrics.rounds
    assert {key: point.value for key, point in first.items()} == {
        ("rankloop.count", "http.201"): 3,
        ("rankloop.count", "journal.lost"): 1,
    }
    assert {key: point.value for key, point in second.items()} == {("rankloop.count", "http.201"): 2}


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_what_is_measured_goes_out_as_a_distribution_with_its_unit(kit: Kit, name: str) -> None:
    for value in (0.5, 1.5):
        kit.counters.measure(name, value, "rank")
    kit.export.send()

    (point,) = kit.metrics.rounds[0].values()
    assert (point.count, point.sum, point.min, point.max) == (2, 2.0, 0.5, 1.5)
    assert tuple(point.explicit_bounds) == DISTRIBUTIONS[name].bounds
    assert kit.metrics.units == {f"rankloop.{name}": DISTRIBUTIONS[name].unit}


def test_what_is_looked_at_goes_out_once_for_each_time_that_it_was_told(kit: Kit) -> None:
    kit.readings["journal.waiting"] = 7
    for lag in (3.0, 9.0, 5.0):
        kit.counters.worst("join.lag", lag)
    kit.export.send()
    kit.export.send()

    first, second = ({name: point.value for (name, _), point in found.items()} for found in kit.metrics.rounds)
    assert first == {"rankloop.journal.waiting": 7, "rankloop.join.lag": 9.0}
    assert second == {"rankloop.journal.waiting": 7}
    assert set(GAUGES) >= {"journal.waiting", "join.lag"}


def test_a_call_is_a_span_of_its_callers_trace_and_its_parts_are_below_it(kit: Kit) -> None:
    with kit.traces.whole("rank", PARENT) as span:
        span.tell("rankloop.loop", "news")
        with kit.traces.part("decide"):
            pass
    kit.export.send()

    part, whole = kit.spans.get_finished_spans()
    assert (whole.name, whole.kind, dict(whole.attributes or {})) == (
        "rank",
        SpanKind.SERVER,
        {"rankloop.loop": "news"},
    )
    assert whole.parent is not None
    assert (f"{whole.context.trace_id:032x}", f"{whole.parent.span_id:016x}") == tuple(PARENT.split("-")[1:3])
    assert part.parent is not None
    assert (part.name, part.parent.span_id) == ("decide", whole.context.span_id)


def test_what_is_raised_is_told_by_nothing_but_the_fact(kit: Kit) -> None:
    with pytest.raises(ValueError, match="secret"), kit.traces.whole("rank"):
        raise ValueError("a secret")
    kit.export.send()

    (span,) = kit.spans.get_finished_spans()
    assert not span.events
    assert not span.status.is_ok


def test_a_span_below_the_hosts_own_is_a_part_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    kit = Kit(monkeypatch, {**ALL, "WEBSITE_SITE_NAME": "rankloop-1", "WEBSITE_INSTANCE_ID": "i"})
    with kit.traces.whole("rank", PARENT):
        pass
    kit.export.close()

    (span,) = kit.spans.get_finished_spans()
    assert span.kind is SpanKind.INTERNAL
    assert (span.resource.attributes["service.name"], span.resource.attributes["service.instance.id"]) == (
        "rankloop-1",
        "i",
    )


def test_the_service_is_called_what_was_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_SERVICE_NAME", "mine")
    kit = Kit(monkeypatch, {**ALL, "OTEL_SERVICE_NAME": "mine"})
    with kit.traces.whole("rank"):
        pass
    kit.export.close()

    (span,) = kit.spans.get_finished_spans()
    assert span.resource.attributes["service.name"] == "mine"


@pytest.mark.parametrize(
    ("told", "share"),
    [
        ({}, export.SHARE),
        ({"OTEL_TRACES_SAMPLER_ARG": "odd"}, export.SHARE),
        ({"OTEL_TRACES_SAMPLER_ARG": "7"}, 1.0),
        ({"OTEL_TRACES_SAMPLER": "always_on"}, None),
    ],
)
def test_a_share_of_traces_is_sent_or_what_the_standard_setting_chooses(
    told: dict[str, str], share: float | None
) -> None:
    assert export.share_of(told) == share


def test_which_traces_are_sent_is_what_opentelemetrys_own_sampler_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    kit = Kit(monkeypatch, {"OTEL_TRACES_SAMPLER_ARG": "0.3"})
    own, chance = TraceIdRatioBased(0.3), random.Random(1)
    taken = 0
    for _ in range(500):
        trace_id = chance.getrandbits(128)
        with kit.traces.whole("rank", f"00-{trace_id:032x}-b7ad6b7169203331-00") as span:
            took = span is not NOTHING
        assert took == (own.should_sample(None, trace_id, "rank").decision is Decision.RECORD_AND_SAMPLE)
        taken += took
    kit.export.close()

    assert 100 < taken < 200
    assert len(kit.spans.get_finished_spans()) == taken


def test_the_standard_settings_sampler_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "parentbased_always_on")
    kit = Kit(monkeypatch, {"OTEL_TRACES_SAMPLER": "parentbased_always_on"})
    for parent in (PARENT, PARENT[:-1] + "1"):
        with kit.traces.whole("rank", parent), kit.traces.part("decide"):
            pass
    kit.export.close()

    assert [span.name for span in kit.spans.get_finished_spans()] == ["decide", "rank"]


def test_what_is_not_sent_has_no_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    kit = Kit(monkeypatch, {"OTEL_TRACES_SAMPLER_ARG": "0"})
    with kit.traces.whole("rank", PARENT), kit.traces.part("decide") as part:
        assert part is NOTHING
    kit.export.close()

    assert not kit.spans.get_finished_spans()


def test_behind_the_end_nothing_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    kit = Kit(monkeypatch, ALL)
    kit.counters.add("http.201")
    kit.export.close()
    kit.counters.measure("rank.scoring", 1.0)

    assert [set(found) for found in kit.metrics.rounds if found] == [{("rankloop.count", "http.201")}]
    assert kit.traces.whole("rank") is NOTHING


def test_exporters_are_those_of_where_it_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in export._QUIET:
        monkeypatch.delenv(name, raising=False)
    key = "InstrumentationKey=00000000-0000-0000-0000-000000000001;IngestionEndpoint=http://127.0.0.1:9/"
    collector, insights = (
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"},
        {"APPLICATIONINSIGHTS_CONNECTION_STRING": key},
    )
    cases: list[tuple[dict[str, str], list[str]]] = [
        ({}, []),
        (collector, ["OTLP"]),
        (insights, ["AzureMonitor"]),
        (collector | insights, ["OTLP", "AzureMonitor"]),
    ]
    for environment, kinds in cases:
        metrics, spans = list(export._metric_exporters(environment)), list(export._span_exporters(environment))
        assert [type(each).__name__ for each in metrics] == [f"{kind}MetricExporter" for kind in kinds]
        names = [type(each).__name__.replace("MonitorTrace", "MonitorSpan") for each in spans]
        assert names == [f"{kind}SpanExporter" for kind in kinds]
        for metric in metrics:
            metric.shutdown()
        for span in spans:
            span.shutdown()
    # It reports to nobody but whom it was told to.
    assert {os.environ[name] for name in export._QUIET} == {"true"}
    for name in export._QUIET:
        monkeypatch.delenv(name)


def test_one_signal_alone_may_go_to_a_collector() -> None:
    told = {"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://127.0.0.1:9/v1/metrics"}

    assert (export.to_collector(told, "METRICS"), export.to_collector(told, "TRACES")) == (True, False)
