"""Jobs as callers see them, from the change of a setting to the model that comes of it."""

from __future__ import annotations

from typing import Any

import pytest

from shared import jobs
from shared.contract.evaluations import Status
from shared.edge import paging
from shared.learning import registry
from shared.loops.loops import DEFAULT
from shared.storage import Unavailable
from tests.unit.edge.inmemory import InMemory, error
from tests.unit.edge.test_openapi import check

T0 = 1_700_000_040.0
ACTIONS = [{"id": f"a{n}", "features": [{"x": n}]} for n in range(3)]
OWN = "rankloop/v1"
SERVICE = "personalizer/configurations/service?api-version=2022-09-01-preview"


async def learned(served: InMemory, *events: str) -> registry.Version:
    """The version that serves once these events are joined and learned."""
    served.now = served.now or T0
    for event_id in events:
        response = await served("POST", "personalizer/v1.0/rank", {"eventId": event_id, "actions": ACTIONS})
        assert response.status_code == 201
        served.now += 1.0
    served.now += 1200
    await served.app.join_due()
    await served.app.train_due()
    assert [name for name in served.app.counters.snapshot() if name.endswith(".failed")] == []
    loop = await served.app.loops.named(DEFAULT)
    version, _ = await registry.current(served.blobs, loop.id)
    assert version is not None
    return version


async def configured(served: InMemory, **members: Any) -> None:
    held = await served.json("GET", SERVICE)
    response = await served("PUT", SERVICE, {**held, **members})
    assert response.status_code == 200, response.get_body()


async def listed(served: InMemory, query: str = "") -> list[dict[str, Any]]:
    return list((await served.json("GET", f"{OWN}/jobs{query}"))["value"])


async def test_a_changed_setting_makes_a_new_model_and_a_job_that_says_why(served: InMemory) -> None:
    before = await learned(served, "e1", "e2")
    assert await listed(served) == []
    await configured(served, explorationPercentage=0.5, rewardAggregation="sum", defaultReward=0.25)

    version = await learned(served)

    (job,) = await listed(served)
    assert job == {
        "id": job["id"],
        "kind": "retrain",
        "cause": (
            "defaultReward changed from 0 to 0.25; rewardAggregation changed from earliest to sum; "
            "explorationPercentage changed from 0.2 to 0.5"
        ),
        "status": "Succeeded",
        "created": job["created"],
        "started": job["started"],
        "ended": job["ended"],
        "pieces": 1,
        "piecesDone": 1,
        "events": 2,
        "eventsEstimated": 2,
        "version": version.version,
    }
    assert version.parent == before.version
    assert version.version != before.version
    assert await served.json("GET", f"{OWN}/jobs/{job['id']}") == job


async def running(served: InMemory, n: int = 0, **members: Any) -> str:
    loop = await served.app.loops.named(DEFAULT)
    record = jobs.Record(id=jobs.new_id(T0 + n, str(n)), kind="retrain", cause="c", created=T0 + n, **members)
    await jobs.create(served.blobs, loop.id, record)
    return record.id


async def test_a_job_is_canceled_once_and_not_after_its_end(served: InMemory) -> None:
    job_id = await running(served, pieces=3, started=T0, estimated=10, error="again")
    done = await running(served, 1, status=Status.SUCCEEDED, outcome="none")

    canceled = await check(served, "cancel_job", f"{OWN}/jobs/{job_id}")

    assert (canceled["status"], canceled["outcome"]) == ("Canceled", "It was canceled by a call.")
    assert canceled["ended"] >= canceled["started"]
    assert await check(served, "get_job", f"{OWN}/jobs/{job_id}") == canceled
    assert await served.json("DELETE", f"{OWN}/jobs/{job_id}") == canceled, "a repetition changes nothing"
    refused = error(await served("DELETE", f"{OWN}/jobs/{done}"))
    assert refused["code"] == "InvalidRequest"
    assert (await served.json("GET", f"{OWN}/jobs/{done}"))["status"] == "Succeeded"


@pytest.mark.parametrize("method", ["GET", "DELETE"])
@pytest.mark.parametrize("name", ["1700000040000-0123456789abcdef", "..%2Fcurrent", "x" * 300])
async def test_there_is_no_job_of_another_name(served: InMemory, method: str, name: str) -> None:
    response = await served(method, f"{OWN}/jobs/{name}")

    assert (response.status_code, error(response)["code"]) == (404, "ResourceNotFound")


async def test_jobs_are_listed_in_pages_the_newest_first(served: InMemory) -> None:
    ids = [await running(served, n) for n in range(5)][::-1]
    page = await check(served, "list_jobs", f"{OWN}/jobs?top=4&maxpagesize=3")

    assert [job["id"] for job in page["value"]] == ids[:3]
    rest = await served.json("GET", page["nextLink"].removeprefix("https://localhost/"))
    assert [job["id"] for job in rest["value"]] == ids[3:4]
    assert "nextLink" not in rest
    assert (await served("GET", f"{OWN}/jobs?top=x")).status_code == 400
    assert len(await listed(served, f"?maxpagesize={paging.MAX_SIZE + 1}")) == 5


async def test_the_oldest_records_go(served: InMemory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "KEPT", 3)
    ids = [await running(served, n, status=Status.SUCCEEDED) for n in range(5)]

    assert [job["id"] for job in await listed(served)] == ids[:1:-1]


async def test_the_record_of_a_job_stays_until_it_has_ended(served: InMemory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "KEPT", 3)
    first, second, *_ = [await running(served, n) for n in range(5)]
    loop = await served.app.loops.named("default")
    assert {first, second} < {job["id"] for job in await listed(served)}

    await jobs.change(served.blobs, loop.id, second, lambda held: held.end(Status.CANCELED, T0))
    await running(served, 5)
    assert await jobs.get(served.blobs, loop.id, first) is not None
    assert await jobs.get(served.blobs, loop.id, second) is None

    monkeypatch.setattr(jobs, "MOST", 4)
    ids = [await running(served, n) for n in range(6, 8)]
    assert [job["id"] for job in await listed(served)][:2] == ids[::-1]
    assert len(await listed(served)) == 4, "of jobs that never end there are no more than that"


async def test_an_old_record_that_is_damaged_goes_as_if_the_job_had_ended(
    served: InMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "KEPT", 1)
    loop = await served.app.loops.named("default")
    damaged = f"{jobs.folder(loop.id)}{jobs.new_id(T0, '0')}.json"
    await served.blobs.put(damaged, b"{")

    made = await running(served, 1)
    assert await served.blobs.names(jobs.folder(loop.id)) == [f"{jobs.folder(loop.id)}{made}.json"]


async def test_where_storage_does_not_tell_whether_a_job_has_ended_its_record_stays(
    served: InMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "KEPT", 1)
    first = await running(served, 0)
    loop = await served.app.loops.named("default")
    record = jobs.Record(id=jobs.new_id(T0 + 1, "1"), kind="retrain", cause="c", created=T0 + 1)
    served.blobs.down = True

    with pytest.raises(Unavailable):
        await jobs.create(served.blobs, loop.id, record)
    served.blobs.down = False
    assert await jobs.get(served.blobs, loop.id, first) is not None
