"""Turns what OpenTelemetry's and Azure's exporters post into metrics and spans, decoded as a collector would."""

import gzip
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


@dataclass
class Collector:
    """What was received so far.

    Attributes:
        address: where it listens.
        metrics: values by metric and the values of their attributes; of a distribution how many there were.
        spans: each as its name, its ids and its attributes.
        azure: envelopes of Application Insights.
        paths: all that was posted to.
        raw: every body as it came, unpacked.
    """

    address: str
    metrics: dict[tuple[str, ...], float] = field(default_factory=dict)
    spans: list[dict[str, Any]] = field(default_factory=list)
    azure: list[dict[str, Any]] = field(default_factory=list)
    paths: set[str] = field(default_factory=set)
    raw: list[bytes] = field(default_factory=list)

    def take(self, path: str, body: bytes) -> bytes:
        """Decode a body; returns the answer's."""
        self.paths.add(path)
        self.raw.append(body)
        if path == "/v1/metrics":
            self._take_metrics(ExportMetricsServiceRequest.FromString(body))
        elif path == "/v1/traces":
            self._take_spans(ExportTraceServiceRequest.FromString(body))
        else:
            received = json.loads(body)
            self.azure += received
            told = {"itemsReceived": len(received), "itemsAccepted": len(received), "errors": []}
            return json.dumps(told).encode()
        return b""

    def _take_metrics(self, request: ExportMetricsServiceRequest) -> None:
        for resource in request.resource_metrics:
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    held = getattr(metric, str(metric.WhichOneof("data")))
                    for point in held.data_points:
                        attributes = [each.value.string_value for each in point.attributes]
                        value = point.count if hasattr(point, "bucket_counts") else point.as_double or point.as_int
                        self.metrics[metric.name, *attributes] = value

    def _take_spans(self, request: ExportTraceServiceRequest) -> None:
        for resource in request.resource_spans:
            for scope in resource.scope_spans:
                for span in scope.spans:
                    told = {each.key: each.value.string_value or each.value.int_value for each in span.attributes}
                    ids = {
                        "trace": span.trace_id.hex(),
                        "span": span.span_id.hex(),
                        "parent": span.parent_span_id.hex(),
                    }
                    self.spans.append({"name": span.name, **ids, **told})


@contextmanager
def collecting() -> Iterator[Collector]:
    """A collector that listens on loopback."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            answer = collector.take(self.path, body)
            self.send_response(200)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *args: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    collector = Collector(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield collector
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
