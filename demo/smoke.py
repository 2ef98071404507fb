"""Turns a deployment's address and key into what only a real one can prove: one line a proof, and an exit code.

`python -m demo.smoke ENDPOINT KEY`, with the deployment key. It makes a loop of its own and deletes it in the end; the
default loop sees two events.
"""

from __future__ import annotations

import sys
import time
import uuid
from collections.abc import Callable
from typing import Any
from urllib.parse import quote, unquote

import requests
from azure.cognitiveservices.personalizer import PersonalizerClient
from azure.cognitiveservices.personalizer.models import RankableAction, RankRequest
from msrest.authentication import CognitiveServicesCredentials

_PATIENCE = 60.0
"""Seconds that one call may take: the first after a while finds no instance."""
_LEARNING = 600.0
"""Seconds until a reward must have reached a model, where each timer runs every two minutes and the wait is 5 s."""
_TASTES = ("sweet", "sour")
_EVENT = {"actions": [{"id": taste, "features": [{"taste": taste}]} for taste in _TASTES]}


class Failed(Exception):
    """The deployment does not do what it should; the text says what."""


class Deployment:
    """A served deployment, or one of its loops."""

    def __init__(self, endpoint: str, key: str) -> None:
        self.endpoint = endpoint.rstrip("/")
        self.key = key

    def call(self, method: str, path: str, body: Any = None, key: str | None = None, expect: int = 200) -> Any:
        """The JSON of an answer, None where it has none. `Failed` where its status is not the expected one."""
        answer = self.ask(method, path, body, key, expect)
        return answer.json() if answer.content and "json" in answer.headers.get("content-type", "") else None

    def ask(
        self, method: str, path: str, body: Any = None, key: str | None = None, expect: int = 200
    ) -> requests.Response:
        """The answer itself; see `call`."""
        headers = {"Ocp-Apim-Subscription-Key": self.key if key is None else key}
        try:
            answer = requests.request(method, f"{self.endpoint}/{path}", json=body, headers=headers, timeout=_PATIENCE)
        except requests.RequestException as error:
            raise Failed(f"{method} {path}: {type(error).__name__}") from error
        if answer.status_code != expect:
            raise Failed(f"{method} {path}: {answer.status_code} in place of {expect}: {answer.text[:300]}")
        return answer


def described(served: Deployment) -> str:
    """Whether the address is Rankloop's."""
    found = served.call("GET", "openapi.json")
    return f"{len(found['paths'])} paths are described"


def closed(served: Deployment) -> str:
    """Whether nobody gets in without a key."""
    for key in ("", "a-key-that-is-none"):
        served.call("POST", "personalizer/v1.0/rank", _EVENT, key=key, expect=401)
    return "no key and a wrong one are refused"


def page(served: Deployment) -> str:
    """Whether the page answers, where the host would put its own, and the program that it loads."""
    found = served.ask("GET", "", key="")
    if "/page/page.js" not in found.text or "default-src 'none'" not in found.headers.get(
        "content-security-policy", ""
    ):
        raise Failed("GET /: a page that is not Rankloop's: is AzureWebJobsDisableHomepage true?")
    served.ask("GET", "page/page.js", key="")
    return "the page and its program are there"


def sdk(served: Deployment) -> str:
    """Whether the official SDK ranks and rewards."""
    connect: Any = PersonalizerClient  # its package has no types
    client = connect(f"{served.endpoint}/", CognitiveServicesCredentials(served.key))
    actions = [RankableAction(id=taste, features=[{"taste": taste}]) for taste in _TASTES]
    ranked = client.rank(RankRequest(actions=actions))
    client.events.reward(ranked.event_id, 1.0)
    return f"ranked {ranked.reward_action_id}, rewarded"


def slash(served: Deployment) -> str:
    """Whether an event id with a slash, which Azure decodes before it routes, is rewarded and found."""
    event = f"smoke/{uuid.uuid4().hex}"
    served.call("POST", "personalizer/v1.0/rank", {**_EVENT, "eventId": event}, expect=201)
    served.call("POST", f"personalizer/v1.0/events/{quote(event, safe='')}/reward", {"value": 1}, expect=204)
    told = served.call("GET", f"rankloop/v1/events/{quote(event, safe='')}")
    if unquote(told["eventId"]) != event:  # `func start` and `make run` may keep %2F as it is (ADR 0005)
        raise Failed(f"the event {event} was found as {told['eventId']}")
    return "an event id with a slash is rewarded and found"


def timers(served: Deployment) -> str:
    """Whether a reward reaches a model by the timers alone, and how long that takes."""
    name = f"smoke-{uuid.uuid4().hex[:12]}"
    made = served.call("POST", "rankloop/v1/loops", {"name": name}, expect=201)
    try:
        return _learned(Deployment(made["endpoint"], made["keys"]["key1"]))
    finally:
        served.call("DELETE", f"rankloop/v1/loops/{name}", expect=204)


def _learned(loop: Deployment) -> str:
    settings = loop.call("GET", "personalizer/v1.0/configurations/service")
    quick = {**settings, "rewardWaitTime": "PT5S", "modelExportFrequency": "PT5S"}
    loop.call("PUT", "personalizer/v1.0/configurations/service", quick)
    time.sleep(6)  # a setting holds for what is ranked 5 s later
    event = loop.call("POST", "personalizer/v1.0/rank", _EVENT, expect=201)["eventId"]
    loop.call("POST", f"personalizer/v1.0/events/{event}/reward", {"value": 1}, expect=204)
    began = time.monotonic()
    joined = _until(loop, "joinedEvents", began)
    trained = _until(loop, "modelEvents", began)
    return f"a reward was joined after {joined:.0f} s and learned after {trained:.0f} s"


def _until(loop: Deployment, member: str, began: float) -> float:
    """Seconds from `began` until health tells more than none."""
    while not loop.call("GET", "rankloop/v1/health")[member]:
        if time.monotonic() - began > _LEARNING:
            raise Failed(f"{member} is still 0 after {_LEARNING:.0f} s: do the timers run?")
        time.sleep(1)
    return time.monotonic() - began


PROOFS: tuple[Callable[[Deployment], str], ...] = (described, closed, page, sdk, slash, timers)


def main(arguments: list[str]) -> int:
    """Prove all, and say so: 0, or 1 where something was not proven."""
    if len(arguments) != 2 or not all(arguments):
        print("usage: make smoke ENDPOINT=https://... KEY=<the deployment key>", file=sys.stderr)
        return 2
    served, failed = Deployment(*arguments), 0
    for proof in PROOFS:
        try:
            print(f"ok      {proof.__name__}: {proof(served)}", flush=True)
        except Exception as error:  # whatever it is, the other proofs are worth having
            failed += 1
            print(f"FAILED  {proof.__name__}: {error or type(error).__name__}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
