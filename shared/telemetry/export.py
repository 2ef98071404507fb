"""Turns what this process measures, and its spans, into OpenTelemetry's, and sends them where the environment says.

It is loaded only where that is anywhere, and never before the first call is answered: the libraries take some 0.4 s of
a core and 15 MB of memory. Which of them were chosen, and what they are told not to do: docs/adr/0037.
"""

from __future__ import annotations

import math
import os
import random
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.sdk.metrics import AlwaysOffExemplarFilter, MeterProvider
from opentelemetry.sdk.metrics.export import MetricExporter, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from shared.counters import Counters
from shared.telemetry.instruments import COUNT, DISTRIBUTIONS, GAUGES, PREFIX
from shared.telemetry.traces import Span, Traces, Value

_SCOPE = "rankloop"
SHARE = 0.05
"""Of traces that are sent unless OTEL_TRACES_SAMPLER_ARG says otherwise: one costs as much as its call does."""
_QUIET = (
    "APPLICATIONINSIGHTS_STATSBEAT_DISABLED_ALL",
    "APPLICATIONINSIGHTS_SDKSTATS_DISABLED",
    "APPLICATIONINSIGHTS_CONTROLPLANE_DISABLED",
)
"""By which Azure's exporter is told neither to report on itself to Microsoft nor to fetch its settings from there."""
_PATIENCE = 10_000
"""Milliseconds for which one round of sending may last, for each receiver."""

Readings = Callable[[], Mapping[str, float]]
"""Tells what is to be looked at from time to time: values by names of `GAUGES`."""


class Export:
    """The way out of one process's telemetry.

    Args:
        environment: OTEL_* and APPLICATIONINSIGHTS_*, as the libraries and Azure define them.
        counters: whose counts and measurements are sent.
        traces: whose spans are.
        readings: told anew each time.
    """

    def __init__(self, environment: Mapping[str, str], counters: Counters, traces: Traces, readings: Readings) -> None:
        self._counters = counters
        self._traces = traces
        self._readings = readings
        self._sent: dict[str, int] = {}
        self._read: Mapping[str, float] = {}
        resource = Resource.create(_identity(environment))
        # They send when told to, not by threads of their own: a timer's run must not end before its telemetry is out.
        readers = [
            PeriodicExportingMetricReader(exporter, export_interval_millis=math.inf)
            for exporter in _metric_exporters(environment)
        ]
        self._meters = MeterProvider(
            readers, resource, shutdown_on_exit=False, exemplar_filter=AlwaysOffExemplarFilter()
        )
        share = share_of(environment)
        sampler = None if share is None else ALWAYS_ON  # of those that are begun
        self._tracers = TracerProvider(sampler, resource, shutdown_on_exit=False)
        for exporter in _span_exporters(environment):
            self._tracers.add_span_processor(BatchSpanProcessor(exporter))
        meter = self._meters.get_meter(_SCOPE)
        self._count = meter.create_counter(PREFIX + COUNT, "1", "How often something happened, by name")
        self._distributions = {
            name: meter.create_histogram(
                PREFIX + name, one.unit, one.about, explicit_bucket_boundaries_advisory=list(one.bounds)
            )
            for name, one in DISTRIBUTIONS.items()
        }
        for name, one in GAUGES.items():
            meter.create_observable_gauge(PREFIX + name, [self._gauge(name)], one.unit, one.about)
        counters.listen(self._record)
        # Where the Functions host stands before us it tells of each call itself: ours is a part of that.
        kind = trace.SpanKind.INTERNAL if "WEBSITE_SITE_NAME" in environment else trace.SpanKind.SERVER
        traces.send_to(_Tracer(self._tracers.get_tracer(_SCOPE), kind, share))

    def send(self) -> None:
        """Send what there is; what cannot be sent is logged by the libraries, and metrics go with the next round."""
        counts = self._counters.snapshot()
        for name, count in counts.items():
            if more := count - self._sent.get(name, 0):
                self._count.add(more, {"name": name})
        self._sent = counts
        self._read = {**self._readings(), **self._counters.take_worst()}
        self._meters.force_flush(_PATIENCE)
        self._tracers.force_flush(_PATIENCE)

    def close(self) -> None:
        """Send what is left, and take nothing more."""
        self._counters.listen(None)
        self._traces.send_to(None)
        self.send()
        self._meters.shutdown(_PATIENCE)
        self._tracers.shutdown()

    def _record(self, name: str, value: float, kind: str) -> None:
        self._distributions[name].record(value, {"kind": kind} if kind else None)

    def _gauge(self, name: str) -> Callable[[CallbackOptions], Iterable[Observation]]:
        def read(options: CallbackOptions) -> Iterable[Observation]:
            return [Observation(self._read[name])] if name in self._read else []

        return read


class _Span:
    def __init__(self, span: trace.Span) -> None:
        self._span = span

    def tell(self, name: str, value: Value) -> None:
        self._span.set_attribute(name, value)


class _Tracer:
    def __init__(self, tracer: trace.Tracer, kind: trace.SpanKind, share: float | None) -> None:
        self._tracer = tracer
        self._kind = kind
        self._share = share
        self._propagator = TraceContextTextMapPropagator()

    def takes(self, parent: str) -> bool:
        """See `Tracer.takes`; the library would take longer to say no than the rest of a small call takes."""
        if self._share is None:
            return True
        try:
            # The same share of ids as OpenTelemetry's own sampler by ratio takes: those whose last half is low.
            drawn = int(parent[19:35], 16) / 2**64
        except ValueError:
            drawn = random.random()  # noqa: S311 - nothing secret hangs on it
        return drawn < self._share

    @contextmanager
    def span(self, name: str, parent: str | None) -> Iterator[tuple[Span, bool]]:
        context, kind = None, trace.SpanKind.INTERNAL
        if parent is not None:
            context, kind = self._propagator.extract({"traceparent": parent}, Context()), self._kind
        # What an exception says may quote a caller: its type is enough.
        with self._tracer.start_as_current_span(name, context, kind, record_exception=False) as span:
            yield _Span(span), span.is_recording()


def _identity(environment: Mapping[str, str]) -> dict[str, str]:
    """What this process is called; OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES go before it."""
    name = environment.get("WEBSITE_SITE_NAME") or environment.get("CONTAINER_APP_NAME") or "rankloop"
    instance = environment.get("WEBSITE_INSTANCE_ID") or environment.get("CONTAINER_APP_REPLICA_NAME")
    given = {"service.name": name, "service.instance.id": instance or uuid.uuid4().hex}
    if "OTEL_SERVICE_NAME" in environment:
        del given["service.name"]
    return given


def share_of(environment: Mapping[str, str]) -> float | None:
    """The share of traces that are sent, by the trace's id, whatever the caller has decided about its own part.

    The Functions host marks traces as not to be recorded that it records by itself, so that a sampler which asks the
    parent would send nothing. None: as OTEL_TRACES_SAMPLER says.
    """
    if "OTEL_TRACES_SAMPLER" in environment:
        return None
    try:
        return min(max(float(environment.get("OTEL_TRACES_SAMPLER_ARG", SHARE)), 0.0), 1.0)
    except ValueError:
        return SHARE


def _metric_exporters(environment: Mapping[str, str]) -> Iterator[MetricExporter]:
    if to_collector(environment, "METRICS"):
        from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter

        yield OTLPMetricExporter()
    if connection := environment.get("APPLICATIONINSIGHTS_CONNECTION_STRING"):
        _keep_quiet()
        from azure.monitor.opentelemetry.exporter import AzureMonitorMetricExporter

        yield AzureMonitorMetricExporter(connection_string=connection, disable_offline_storage=True)


def _span_exporters(environment: Mapping[str, str]) -> Iterator[SpanExporter]:
    if to_collector(environment, "TRACES"):
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

        yield OTLPSpanExporter()
    if connection := environment.get("APPLICATIONINSIGHTS_CONNECTION_STRING"):
        _keep_quiet()
        from azure.monitor.opentelemetry.exporter import AzureMonitorTraceExporter

        yield AzureMonitorTraceExporter(connection_string=connection, disable_offline_storage=True)


def to_collector(environment: Mapping[str, str], signal: str) -> bool:
    """Whether a signal goes to a collector of OpenTelemetry's."""
    return bool(
        environment.get("OTEL_EXPORTER_OTLP_ENDPOINT") or environment.get(f"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT")
    )


def _keep_quiet() -> None:
    for name in _QUIET:
        os.environ.setdefault(name, "true")
