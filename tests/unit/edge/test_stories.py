"""What the call for an event's story answers where there is none to tell."""

from __future__ import annotations

from typing import Any

import pytest

from shared.access.roles import Role
from shared.edge import stories
from shared.edge.routes import RANKLOOP, find
from shared.learning import pointer
from shared.log import history
from tests.unit.edge.inmemory import InMemory, refusal
from tests.unit.ranking.trained import SINGLE, trained_model

ACTIONS = [{"id": name, "features": [{"x": name}]} for name in ("a", "b")]
PATH = "rankloop/v1/events"


async def rank(served: InMemory, event_id: str, loop: str = "") -> Any:
    return await served.json("POST", f"{loop}personalizer/v1.0/rank", {"actions": ACTIONS, "eventId": event_id})


async def test_a_pending_event_is_told(served: InMemory) -> None:
    answer = await rank(served, "e/1")

    for spelled in ("e/1", "e%2F1"):
        told = await served.json("GET", f"{PATH}/{spelled}")
        (event,) = told["events"]
        assert (told["eventId"], told["missing"]) == (spelled, [])
        assert (event["eventId"], event["state"]) == ("e/1", "pending")
        assert (event["replay"]["answer"], event["replay"]["same"]) == (answer, True)


async def test_the_number_that_was_drawn_is_told(served: InMemory) -> None:
    drawn = set()
    for n in range(8):
        await rank(served, f"e{n}")
        (event,) = (await served.json("GET", f"{PATH}/e{n}"))["events"]
        (draw,) = event["ranked"]["draws"]
        chosen = event["decision"]["ranking"][0]
        assert chosen == {"id": "a" if draw < 0.5 else "b", "probability": 0.5}
        drawn.add(chosen["id"])
    assert drawn == {"a", "b"}


async def test_what_is_not_there_is_not_found(served: InMemory) -> None:
    await served.make_loop("news")
    await rank(served, "e1")

    assert await refusal(served("GET", f"{PATH}/e2")) == (404, "ResourceNotFound")
    assert await refusal(served("GET", f"loops/news/{PATH}/e1")) == (404, "ResourceNotFound")
    assert await refusal(served("GET", f"{PATH}/{'x' * 257}")) == (400, "InvalidRequest")


async def test_too_much_that_is_pending_is_asked_again_later(served: InMemory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "MAX_MARKS", 1)
    for n in range(3):
        await rank(served, f"e{n}")

    response = await served("GET", f"{PATH}/e0")

    assert (response.status_code, response.headers["Retry-After"]) == (503, "60")
    assert b"More than 1 events are not joined yet" in response.get_body()


def test_it_takes_a_reader() -> None:
    (route,) = (route for route in RANKLOOP if route.operation is stories.get_event)

    assert route.role is Role.READ
    assert find("GET", "rankloop/v1/events/a/b%2F", {}).id == "a/b%2F"


async def test_an_event_is_explained_by_what_decided_it(served: InMemory) -> None:
    await rank(served, "e/1")  # before the first model
    loop = await served.app.loops.named("default")
    made = await pointer.install(served.blobs, loop.id, trained_model(100), SINGLE, "", 5, 1.0)
    await served.app.models.renew(loop.id)
    await rank(served, "e2")

    untrained = await served.json("GET", f"{PATH}/e%2F1/explanation")
    trained = await served.json("GET", f"{PATH}/e2/explanation")

    assert (untrained["eventId"], untrained["missing"]) == ("e%2F1", [])
    (event,) = untrained["events"]
    assert (event["modelVersion"], "actions" in event) == (None, False)
    assert "no model yet" in event["cannotExplain"]
    (event,) = trained["events"]
    assert (event["modelVersion"], "cannotExplain" in event) == (made.version, False)
    assert {one["id"] for one in event["actions"]} == {"a", "b"}
    assert "i.constant" in [feature["name"] for feature in event["actions"][0]["features"]]


async def test_what_is_not_there_is_not_explained(served: InMemory) -> None:
    assert await refusal(served("GET", f"{PATH}/e2/explanation")) == (404, "ResourceNotFound")
    assert await refusal(served("GET", f"{PATH}//explanation")) == (400, "InvalidRequest")
