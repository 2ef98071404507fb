"""Turns an endpoint and a key into a loop's settings and health: the calls that the v1.0 SDK has not."""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_SECONDS = 30.0
_QUICK = {"rewardWaitTime": "PT15S", "modelExportFrequency": "PT15S"}


class Problem(Exception):
    """What keeps the demo from going on, in one line that says what to do."""


class Loop:
    """A served loop.

    Args:
        endpoint: its address, with or without a slash at the end.
        key: opens it.
    """

    def __init__(self, endpoint: str, key: str) -> None:
        if not endpoint.startswith(("http://", "https://")):
            raise Problem(f"{endpoint} is no endpoint: it begins with http:// or https://.")
        self.endpoint = endpoint.rstrip("/") + "/"
        self.key = key

    def settings(self) -> dict[str, Any]:
        """The ServiceConfiguration."""
        return self._call("GET", "personalizer/v1.0/configurations/service")

    def put_settings(self, settings: dict[str, Any]) -> dict[str, Any]:
        """Set the ServiceConfiguration; returns what it is then."""
        return self._call("PUT", "personalizer/v1.0/configurations/service", settings)

    def health(self) -> dict[str, Any]:
        """How far the join and the model are."""
        return self._call("GET", "rankloop/v1/health")

    def send_ahead(self) -> None:
        """Rank one event that is never activated, so never learned: it shows how far the join is."""
        action = {"id": "none", "features": [{"none": True}]}
        self._call("POST", "personalizer/v1.0/rank", {"actions": [action], "deferActivation": True})

    @contextmanager
    def quick(self) -> Iterator[dict[str, Any]]:
        """Let the loop learn every 15 s; at the end, however it comes, its own settings return."""
        former = self.settings()
        try:
            yield self.put_settings({**former, **_QUICK})
        finally:
            try:
                self.put_settings(former)
            except Problem as problem:
                raise Problem(f"The loop's own settings could not be put back, 15 s stay. {problem}") from problem

    def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        headers = {"Ocp-Apim-Subscription-Key": self.key, "Content-Type": "application/json"}
        data = json.dumps(body).encode() if body is not None else None
        request = urllib.request.Request(self.endpoint + path, data, headers, method=method)  # noqa: S310 - see __init__
        try:
            with urllib.request.urlopen(request, timeout=_SECONDS) as answer:  # noqa: S310 - see __init__
                decoded: dict[str, Any] = json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                raise Problem(_refusal(self.endpoint, error.code, error.read())) from error
        except (OSError, http.client.HTTPException) as error:
            raise Problem(
                f"Nothing is served at {self.endpoint}: start `make run` in another terminal, or give --endpoint."
            ) from error
        except ValueError as error:
            raise Problem(f"What is served at {self.endpoint} is no loop: it does not answer in JSON.") from error
        return decoded


def _refusal(endpoint: str, status: int, body: bytes) -> str:
    if status == 401:
        return f"The key does not open {endpoint}: give the one that `make run` tells, in --key or RANKLOOP_KEY."
    try:
        said = json.loads(body)["error"]["message"]
    except (ValueError, KeyError, TypeError):
        return f"What is served at {endpoint} is no loop: it answers {status}."
    return f"{endpoint} answers {status}: {said}"
