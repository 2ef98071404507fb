"""Turns an Azurite into a served deployment that has served the coffee tutorial for some time."""

from __future__ import annotations

import json
import random
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from demo.coffee import COFFEE
from tests.integration.served import ROOT, Served

KEY: Final = "the key of the page's tests"
PATIENCE: Final = 120.0
"""Seconds after which something that is waited for is not coming."""
_SETTINGS: Final = {
    "RANKLOOP_KEY": KEY,
    "RANKLOOP_JOIN_SCHEDULE": "*/1 * * * * *",
    "RANKLOOP_TRAIN_SCHEDULE": "*/1 * * * * *",
    "RANKLOOP_JOURNAL_PRUNE": "true",
    # A busy machine is no reason for a 503.
    "RANKLOOP_LOG_DEADLINE_MS": "3500",
    "RANKLOOP_REWARD_DEADLINE_MS": "3500",
    "AzureWebJobsDisableHomepage": "true",
    "FUNCTIONS_WORKER_RUNTIME": "python",
}


class Deployment:
    """A served deployment.

    Args:
        storage: the connection string of its storage.
        settings: of the deployment, besides those that all tests of the page have.

    Attributes:
        address: where it is, without a slash at the end.
        key: opens all of it.
    """

    def __init__(self, storage: str, **settings: str) -> None:
        given = {"RANKLOOP_STORAGE": storage, "AzureWebJobsStorage": storage, **_SETTINGS, **settings}
        self.served = Served(ROOT, env=given)
        self.address = self.served.address.rstrip("/")
        self.key = KEY

    def stop(self) -> None:
        """End it."""
        self.served.stop()

    def call(self, method: str, path: str, body: Any = None, loop: str = "default") -> Any:
        """Call the API: a path below `rankloop/v1/`, or one that begins with `personalizer/`; returns what it answers.

        Raises:
            urllib.error.HTTPError: it refuses.
        """
        below = path if path.startswith("personalizer/") else f"rankloop/v1/{path}"
        start = self.address if loop == "default" else f"{self.address}/loops/{loop}"
        headers = {"Ocp-Apim-Subscription-Key": self.key, "Content-Type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{start}/{below}", data, headers, method=method)
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            told = answer.read()
        return json.loads(told) if told else None

    def hasten(self, loop: str = "default", wait: str = "PT5S", export: str = "PT5S") -> None:
        """Let a loop join and learn within seconds."""
        path = "personalizer/v1.1-preview.3/configurations/service"
        changed = {"rewardWaitTime": wait, "modelExportFrequency": export}
        self.call("PUT", path, {**self.call("GET", path, loop=loop), **changed}, loop)

    def decide_slots(self, loop: str) -> None:
        """Let a loop decide for several slots at a time."""
        path = "personalizer/v1.1-preview.3/configurations"
        held = self.call("GET", f"{path}/service", loop=loop)
        self.call("PUT", f"{path}/service", {**held, "isAutoOptimizationEnabled": False}, loop)
        policy = self.call("GET", f"{path}/policy", loop=loop)
        arguments = policy["arguments"].replace("--cb_", "--ccb_", 1)
        self.call("PUT", f"{path}/policy", {**policy, "arguments": arguments}, loop)

    def serve_coffee(self, events: int, loop: str = "default", seed: int = 1, prefix: str = "coffee-") -> list[str]:
        """Rank and reward so many visits, eight at a time; returns their event ids."""
        chance = random.Random(seed)
        visits = [(f"{prefix}{n}", chance.choice(COFFEE.visits)) for n in range(events)]
        actions = [{"id": name, "features": [features]} for name, features in COFFEE.actions.items()]

        def visit(event: tuple[str, Any]) -> str:
            event_id, visited = event
            asked = {"eventId": event_id, "contextFeatures": visited.context, "actions": actions}
            chosen = self.call("POST", "personalizer/v1.0/rank", asked, loop)["rewardActionId"]
            value = visited.rewards[chosen]
            self.call("POST", f"personalizer/v1.0/events/{event_id}/reward", {"value": value}, loop)
            return event_id

        with ThreadPoolExecutor(8) as callers:
            return list(callers.map(visit, visits))

    def settle(self, events: int, loop: str = "default") -> None:
        """Wait until so many events are joined, and a model has learned them."""
        until(lambda: (self.call("GET", "health", loop=loop).get("modelEvents") or 0) >= events)


def until(holds: Callable[[], bool]) -> None:
    """Wait until something holds; AssertionError where it does not come to be."""
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline, "it did not come to be"
        time.sleep(0.25)
