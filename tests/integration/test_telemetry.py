"""What a served app sends of itself: to a collector of OpenTelemetry's and to Application Insights, discreetly."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.conftest import KEY, Instance
from tests.integration.collector import Collector, collecting
from tests.integration.served import ROOT, wait_until

TRACE, CALLER = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
EVENT, FEATURE, SUBJECT = "event-of-the-test", "a-value-that-nobody-may-see", "user-4711"
RANK = {"eventId": EVENT, "contextFeatures": [{"name": FEATURE}], "actions": [{"id": "a", "features": [{"x": 1}]}]}
COLD = """
import asyncio, json, sys
import azure.functions as func
import function_app
from shared import app
from shared.edge import web

async def main():
    headers = {"ocp-apim-subscription-key": "k"}
    body = json.dumps({"actions": [{"id": "a", "features": [{"x": 1}]}]}).encode()
    request = func.HttpRequest("POST", "http://h/", headers=headers, params={}, route_params={}, body=body)
    answer = await web.serve(request, "personalizer/v1.0/rank")
    assert answer.status_code == 201, answer.get_body()
    late = ("opentelemetry", "azure.monitor", "google.protobuf", "psutil")
    loaded = sorted(name for name in sys.modules if name.startswith(late))
    print(json.dumps([loaded, app.current().telemetry.wanted]))
    await app.drain()

asyncio.run(main())
"""


@pytest.fixture
def collector() -> Iterator[Collector]:
    with collecting() as running:
        yield running


def settings(collector: Collector) -> dict[str, str]:
    ids = "InstrumentationKey=00000000-0000-0000-0000-000000000001"
    return {
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.address,
        "APPLICATIONINSIGHTS_CONNECTION_STRING": f"{ids};IngestionEndpoint={collector.address}/",
        "OTEL_METRIC_EXPORT_INTERVAL": "500",
        "OTEL_TRACES_SAMPLER_ARG": "1",
        "RANKLOOP_LOG_DEADLINE_MS": "3500",
    }


def test_a_served_app_sends_metrics_and_traces_and_nothing_secret(
    tmp_path: Path, storage: str, collector: Collector
) -> None:
    schedules = {"RANKLOOP_JOIN_SCHEDULE": "* * * * * *", "RANKLOOP_TRAIN_SCHEDULE": "* * * * * *"}
    served = Instance(storage, tmp_path / "app", settings={**settings(collector), **schedules})
    try:
        headers = {
            "Ocp-Apim-Subscription-Key": KEY,
            "traceparent": f"00-{TRACE}-{CALLER}-00",
            "x-rankloop-subject": SUBJECT,
        }
        wait_until(lambda: served.call("GET", "/health/ready").status == 200, "it was never ready")
        # What is measured before it was loaded, behind the first answer, is told of by nothing but the counts.
        wait_until(lambda: ("rankloop.join.lag",) in collector.metrics, "no timer's run was told of")
        wait_until(lambda: ("rankloop.model.late",) in collector.metrics, "no training was told of")
        assert served.call("POST", "/personalizer/v1.0/rank", RANK, headers).status == 201
        assert served.call("POST", f"/personalizer/v1.0/events/{EVENT}/reward", {"value": 1.0}).status == 204
        wait_until(lambda: any(span["name"] == "reward" for span in collector.spans), "the reward was not told of")
        wait_until(lambda: ("rankloop.count", "http.204") in collector.metrics, "the answers were not told of")
    finally:
        assert served.stop() == 0

    told = collector.metrics
    assert (told["rankloop.count", "http.201"], told["rankloop.count", "http.204"]) == (1, 1)
    assert (told["rankloop.call.duration", "rank"], told["rankloop.call.duration", "reward"]) == (1, 1)
    assert told[("rankloop.rank.scoring",)] == 1
    assert told[("rankloop.journal.write",)] == told[("rankloop.journal.batch",)] == 2
    assert told["rankloop.task.duration", "join_run"] > 0
    assert told[("rankloop.journal.waiting",)] == told[("rankloop.model.late",)] == 0

    spans = {span["name"]: span for span in collector.spans}
    rank = spans["rank"]
    assert (rank["trace"], rank["parent"]) == (TRACE, CALLER)
    assert (rank["rankloop.loop"], rank["rankloop.event"], rank["http.response.status_code"]) == ("default", EVENT, 201)
    assert spans["decide"]["parent"] == spans["log"]["parent"] == rank["span"]
    assert {"reward", "join_timer", "train_timer"} <= set(spans)

    azure = {
        (item["data"]["baseType"], (item["data"]["baseData"].get("metrics") or [item["data"]["baseData"]])[0]["name"])
        for item in collector.azure
    }
    assert {("MetricData", "rankloop.count"), ("MetricData", "rankloop.join.lag"), ("RequestData", "rank")} <= azure
    assert collector.paths == {"/v1/metrics", "/v1/traces", "/v2.1/track"}

    everything = b"\n".join(collector.raw) + (tmp_path / "app" / "output.txt").read_bytes()
    assert EVENT.encode() in everything
    for secret in (KEY, FEATURE, SUBJECT, storage.partition("AccountKey=")[2].partition(";")[0]):
        assert secret.encode() not in everything


def test_no_call_waits_for_telemetry_to_be_loaded(storage: str, collector: Collector) -> None:
    env = {**settings(collector), "RANKLOOP_STORAGE": storage, "RANKLOOP_KEY": "k", "PYTHONPATH": str(ROOT)}
    ended = subprocess.run(
        [sys.executable, "-W", "error", "-c", COLD], cwd=ROOT, env=env, capture_output=True, text=True, check=False
    )

    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout) == [[], True]


def test_a_collector_that_is_not_there_keeps_nobody_waiting(tmp_path: Path, storage: str) -> None:
    nowhere = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "OTEL_METRIC_EXPORT_INTERVAL": "100"}
    served = Instance(storage, tmp_path / "app", settings={**nowhere, "RANKLOOP_LOG_DEADLINE_MS": "3500"})
    try:
        for n in range(20):
            assert served.call("POST", "/personalizer/v1.0/rank", {**RANK, "eventId": f"{n}"}).status == 201
    finally:
        assert served.stop() == 0
