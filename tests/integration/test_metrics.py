"""Numbers over time on a real Azurite, over HTTP: from calls to sums, those of a process that has ended among them."""

from pathlib import Path
from typing import Any

from localhost.azurite import Azurite
from tests.contract.conftest import Instance, wait_until

ACTIONS = [{"id": name, "features": [{"taste": taste}]} for name, taste in (("pasta", "salty"), ("cake", "sweet"))]
EVENTS = 20


def test_what_was_called_and_joined_is_told_by_the_minute_and_the_latest_first(tmp_path: Path) -> None:
    with Azurite() as azurite:
        first = Instance(azurite.connection_string, tmp_path / "first")
        try:
            shown = _play(first)
            latest = _told(first, "events?limit=5")["events"]
            assert [one["kind"] for one in latest[:2]] == ["reward", "rank"]
            assert latest[0]["eventId"] == latest[1]["eventId"] == f"event-{EVENTS - 1}"
            wait_until(lambda: sum(_told(first, "metrics")["series"]["events"]) == EVENTS)
        finally:
            assert first.stop() == 0
        second = Instance(azurite.connection_string, tmp_path / "second")
        try:
            told = _told(second, "metrics")
            actions = _told(second, "metrics/actions")["actions"]
            latest = _told(second, "events")["events"]
        finally:
            assert second.stop() == 0

    sums = {name: sum(values) for name, values in told["series"].items()}
    assert (sums["rewards"], sums["squares"], sums["rewarded"]) == (EVENTS / 2, EVENTS / 4, EVENTS)
    assert sums["explorationAsked"] == EVENTS / 2  # of two actions that are drawn evenly
    assert sums["baselineWeights"] == 2 * shown.count("pasta")
    assert {one["id"]: sum(one["events"]) for one in actions} == {name: shown.count(name) for name in set(shown)}
    calls = {f"{kind}.{name}": sum(values) for kind, of in told["calls"].items() for name, values in of.items()}
    assert {name: n for name, n in calls.items() if n} == {
        "rank.ok": EVENTS, "rank.refused": 1, "reward.ok": EVENTS,
    }  # fmt: skip
    joined = [one for one in latest if one["kind"] == "rank"]
    assert [one["eventId"] for one in joined] == [f"event-{n}" for n in range(EVENTS - 1, -1, -1)]
    assert {one["joined"] for one in joined} == {True}


def _play(instance: Instance) -> list[str]:
    """Rank and reward; the actions that were shown."""
    held = instance.call("GET", "/personalizer/v1.0/configurations/service").json
    quick = {**held, "rewardWaitTime": "PT5S"}
    assert instance.call("PUT", "/personalizer/v1.0/configurations/service", quick).status == 200
    shown = []
    for n in range(EVENTS):
        answer = instance.call("POST", "/personalizer/v1.0/rank", {"eventId": f"event-{n}", "actions": ACTIONS})
        assert answer.status == 201
        shown.append(answer.json["rewardActionId"])
        assert instance.call("POST", f"/personalizer/v1.0/events/event-{n}/reward", {"value": 0.5}).status == 204
    assert instance.call("POST", "/personalizer/v1.0/rank", {"actions": []}).status == 400
    return shown


def _told(instance: Instance, path: str) -> Any:
    answer = instance.call("GET", f"/rankloop/v1/{path}")
    assert answer.status == 200, answer.body
    return answer.json
