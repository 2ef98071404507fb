"""Turns a served deployment into loops that a test has for itself, and into one that has learned."""

import functools
import http.client
import json
import uuid
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from tests.contract.conftest import DEADLINE, Deployment, wait_until
from tests.contract.swagger import Got, Sent

_UNTRAINED = "0001-01-01T00:00:00"
_ACTIONS = [{"id": name, "features": [{"taste": name}]} for name in ("sweet", "sour")]


class Loop(NamedTuple):
    """A loop that a test has for itself.

    Attributes:
        endpoint: what an SDK is given, without a slash at the end.
        key: one of its two.
    """

    name: str
    endpoint: str
    key: str

    def send(self, sent: Sent, key: str | None = None) -> Got:
        """Send a request as it is, with the loop's key unless another one is given."""
        address = urlsplit(self.endpoint)
        connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=DEADLINE)
        headers = {"Ocp-Apim-Subscription-Key": self.key if key is None else key, **sent.headers}
        try:
            connection.request(sent.method, address.path + sent.path, sent.body, headers)
            response = connection.getresponse()
            return Got(response.status, response.headers, response.read())
        finally:
            connection.close()

    def call(self, method: str, path: str, body: object = None, version: str = "v1.1-preview.3") -> Any:
        """Call an operation that must succeed; returns the JSON of its answer, or its bytes."""
        sent = Sent(method, f"/personalizer/{version}/{path}", None if body is None else json.dumps(body).encode(), {})
        got = self.send(sent)
        assert got.status < 300, got
        return json.loads(got.body) if got.headers.get_content_type() == "application/json" else got.body

    def configure(self, **changed: object) -> None:
        """Change some of its settings."""
        held = self.call("GET", "configurations/service")
        self.call("PUT", "configurations/service", {**held, **changed})

    def use_slots(self) -> None:
        """Turn it into a loop of several slots."""
        self.configure(isAutoOptimizationEnabled=False)
        policy = self.call("GET", "configurations/policy")
        several = policy["arguments"].replace("--cb_explore_adf", "--ccb_explore_adf")
        self.call("PUT", "configurations/policy", {**policy, "arguments": several})


def make_loop(served: Deployment) -> Loop:
    """A loop that has seen nothing yet."""
    name = f"test-{uuid.uuid4().hex[:12]}"
    made = served.kept.call("POST", "/rankloop/v1/loops", {"name": name})
    assert made.status == 201, made.body
    assert made.json["name"] == name
    assert made.json["endpoint"].rstrip("/") == f"{served.kept.endpoint}/loops/{name}"
    return Loop(name, made.json["endpoint"].rstrip("/"), made.json["keys"]["key1"])


@functools.cache
def learned_loop(served: Deployment) -> Loop:
    """A loop with a log and a model, for tests that change nothing in it."""
    loop = make_loop(served)
    loop.configure(rewardWaitTime="PT5S", modelExportFrequency="PT5S")
    for n in range(10):
        chosen = loop.call("POST", "rank", {"actions": _ACTIONS, "eventId": f"event-{n}"})["rewardActionId"]
        loop.call("POST", f"events/event-{n}/reward", {"value": float(chosen == "sour")})
    wait_until(lambda: not loop.call("GET", "model/properties")["lastModifiedTime"].startswith(_UNTRAINED))
    return loop


def signed_model(served: Deployment) -> bytes:
    """The model of the loop that has learned, as GET model?signed=true gives it."""
    model: bytes = learned_loop(served).call("GET", "model?signed=true")
    return model
