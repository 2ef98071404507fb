"""Turns a scenario and a served loop into a curve: rank and reward, event by event, through the official SDK."""

from __future__ import annotations

import random
import time
import uuid
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from azure.cognitiveservices.personalizer import PersonalizerClient
from azure.cognitiveservices.personalizer.models import RankableAction, RankRequest
from msrest.authentication import CognitiveServicesCredentials
from msrest.exceptions import ClientException, HttpOperationError
from tqdm import tqdm

from demo.curve import Curve
from demo.loop import Loop, Problem
from demo.scenario import Scenario

SHOWN = 500
"""Events of the rolling mean beside the progress bar."""
FASTEST = 25.0
"""Events a second; faster, most of a run is over before its first rewards are learned."""
_LOOK_SECONDS = 3.0
_PATIENCE_SECONDS = 30.0


def play(scenario: Scenario, loop: Loop, curve: Curve, events: int, rate: float) -> None:
    """Play so many events, at most `rate` a second.

    Args:
        scenario: what is played.
        loop: against whom.
        curve: gets what was earned, event by event; an interrupted run leaves what it has.
        events: how many.
        rate: events a second.

    Raises:
        Problem: the loop stopped answering, or refused a call.
    """
    chance = random.Random()  # noqa: S311 - a simulation
    actions = [RankableAction(id=name, features=[features]) for name, features in scenario.actions.items()]
    note = "" if rate <= FASTEST else f" (too fast to learn: over {FASTEST:.0f}/s)"
    versions = _Versions(loop)
    bar = tqdm(_paced(events, rate), total=events, desc=scenario.name + note, unit="event", dynamic_ncols=True)
    connect: Any = PersonalizerClient  # its package has no types
    # Inside the client's context one connection serves all calls.
    with bar, connect(loop.endpoint, CognitiveServicesCredentials(loop.key)) as client:
        for _ in bar:
            visit = chance.choice(scenario.visits)
            try:
                request = RankRequest(actions=actions, context_features=list(visit.context))
                ranked = repeated(partial(client.rank, request))
                reward = visit.rewards[ranked.reward_action_id]
                send_reward(client, ranked.event_id, reward)
            except ClientException as error:
                told = str(error).strip().splitlines() or [type(error).__name__]
                raise Problem(f"{loop.endpoint} failed after {len(curve.rewards)} events: {told[0]}") from error
            curve.rewards.append(reward)
            if versions.changed():
                curve.changes.append(len(curve.rewards))
            bar.set_postfix_str(
                f"mean of the last {SHOWN}: {curve.latest(SHOWN):.3f}, new models: {len(curve.changes)}", refresh=False
            )


def send_reward(client: Any, event_id: str, value: float) -> None:
    """Send one reward, which counts once however often it must be repeated.

    A reward that was answered 503 may have been stored all the same. The loop tells its repetition from another reward
    by `x-ms-client-request-id`, which this SDK does not send by itself.
    """
    headers = {"x-ms-client-request-id": str(uuid.uuid4())}
    repeated(partial(client.events.reward, event_id=event_id, value=value, custom_headers=headers))


def repeated(call: Callable[[], Any]) -> Any:
    """The answer to a call, repeated while it is a 503: storage is slow just now, and the loop asks for patience."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            return call()
        except HttpOperationError as error:
            if getattr(error.response, "status_code", 0) != 503 or time.monotonic() > deadline:
                raise
        time.sleep(1.0)


def _paced(events: int, rate: float) -> Iterator[int]:
    """Count events at most this fast: one that comes late does not make the next ones hurry."""
    due = time.monotonic()
    for n in range(events):
        now = time.monotonic()
        if now < due:
            time.sleep(due - now)
        due = max(due, now - 1.0) + 1 / rate  # a second of delay may be caught up with
        yield n


class _Versions:
    """The loop's model version, looked at every three seconds."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._version = loop.health()["modelVersion"]
        self._next = time.monotonic() + _LOOK_SECONDS

    def changed(self) -> bool:
        """Whether another version serves than at the last look."""
        if time.monotonic() < self._next:
            return False
        before, self._version = self._version, self._loop.health()["modelVersion"]
        self._next = time.monotonic() + _LOOK_SECONDS
        return bool(before != self._version)
