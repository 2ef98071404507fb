"""Calls that erase, and that tell what became of it; with the timers in between, over storage in memory."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import orjson
import pytest

from shared.contract.errors import ApiError
from shared.edge import erasures as edge
from shared.log import activity, erasures
from shared.log import checkpoint as checkpoints
from shared.log.eraser import QUIET
from shared.loops.loops import DEFAULT
from tests.unit.edge.inmemory import InMemory, error, most_reads_at_once, refusal

T0 = 1_700_000_040.0
ACTIONS = [{"id": f"a{n}", "features": [{"x": n}]} for n in range(3)]
OWN = "rankloop/v1"


class Pauses:
    """Stands for asyncio where a pause moves the clock instead."""

    def __init__(self, served: InMemory) -> None:
        self._served = served

    async def sleep(self, seconds: float) -> None:
        assert self._served.now is not None
        self._served.now += max(seconds, 0.0)


@pytest.fixture
def timed(served: InMemory, monkeypatch: pytest.MonkeyPatch) -> InMemory:
    served.now = T0
    monkeypatch.setattr(edge, "asyncio", Pauses(served))
    return served


async def rank(served: InMemory, event_id: str, subject: str | None = None, loop: str = "") -> None:
    headers = {} if subject is None else {"x_rankloop_subject": subject}
    path = f"{loop}personalizer/v1.0/rank"
    response = await served("POST", path, {"eventId": event_id, "actions": ACTIONS}, **headers)
    assert response.status_code == 201, response.get_body()
    await served("POST", f"{loop}personalizer/v1.0/events/{event_id}/reward", {"value": 1.0})
    assert served.now is not None
    served.now += 1.0


async def timers(served: InMemory, seconds: float) -> None:
    assert served.now is not None
    served.now += seconds
    await served.app.join_due()
    await served.app.train_due()
    failed = [name for name in served.app.counters.snapshot() if name.endswith(".failed")]
    assert failed == []


async def test_an_erasure_is_told_from_the_call_to_its_end(timed: InMemory) -> None:
    await rank(timed, "keep")
    await rank(timed, "a/b", "ann")
    await rank(timed, "other", "ann")
    response = await timed("DELETE", f"{OWN}/events/a%2Fb")
    asked = orjson.loads(response.get_body())
    subject = await timed.json("DELETE", f"{OWN}/subjects/ann")

    assert response.status_code == 202
    assert urlsplit(response.headers["Operation-Location"]).path == f"/{OWN}/erasures/{asked['id']}"
    assert asked == {**asked, "kind": "event", "status": "running",
                     "removed": {"events": 0, "observations": 0, "windows": 0, "rows": 0, "hours": 0}}  # fmt: skip
    assert "doneAt" not in asked
    assert (await timed.json("GET", f"{OWN}/health"))["erasuresInForce"] == 2
    assert [e["id"] for e in (await timed.json("GET", f"{OWN}/erasures"))["value"]] == [subject["id"], asked["id"]]
    await timers(timed, 1200)
    await timers(timed, QUIET + 1)
    await timers(timed, 61)

    done = await timed.json("GET", f"{OWN}/erasures/{asked['id']}")
    assert (done["status"], done["removed"]["events"], done["removed"]["observations"]) == ("done", 1, 1)
    assert done["doneAt"] > done["at"] == asked["at"]
    of_subject = await timed.json("GET", f"{OWN}/erasures/{subject['id']}")
    assert (of_subject["status"], of_subject["kind"]) == ("done", "subject")
    assert of_subject["removed"]["events"] == 2
    assert (await timed.json("GET", f"{OWN}/health"))["erasuresInForce"] == 0
    assert [e["status"] for e in (await timed.json("GET", f"{OWN}/erasures"))["value"]] == ["done", "done"]
    assert (await activity.for_train_timer(timed.tables)).erasing == []
    assert timed.app.counters["erase.done"] == 2
    assert timed.app.counters["join.events"] == 1


async def test_what_comes_after_the_answer_is_kept(timed: InMemory) -> None:
    await rank(timed, "e", "ann")
    assert timed.now is not None
    began = timed.now
    await timed.json("DELETE", f"{OWN}/subjects/ann")
    (held,) = (await checkpoints.load(timed.blobs, (await timed.app.loops.named(DEFAULT)).id))[0].erasures
    assert began < held.at < timed.now
    await rank(timed, "later", "ann")
    await timers(timed, 1200)
    assert timed.app.counters["join.events"] == 1


async def test_a_loop_erases_what_is_its_own(timed: InMemory) -> None:
    key, _ = await timed.make_loop("news")
    for loop in ("", "loops/news/"):
        await rank(timed, "e", "ann", loop)
    response = await timed("DELETE", f"loops/news/{OWN}/subjects/ann", ocp_apim_subscription_key=key)
    place = urlsplit(response.headers["Operation-Location"]).path

    assert place.startswith(f"/loops/news/{OWN}/erasures/")
    assert await refusal(timed("GET", place.removeprefix("/loops/news/"))) == (404, "ResourceNotFound")
    await timers(timed, 1200)
    events = [(await checkpoints.load(timed.blobs, (await timed.app.loops.named(name)).id))[0].events
              for name in (DEFAULT, "news")]  # fmt: skip
    assert events == [1, 0]


async def test_repeating_a_call_and_erasing_what_never_was_does_no_harm(timed: InMemory) -> None:
    await rank(timed, "keep")
    for _ in range(3):
        assert (await timed("DELETE", f"{OWN}/events/nobody")).status_code == 202
    await timers(timed, 1200)
    await timers(timed, QUIET + 1)

    listed = (await timed.json("GET", f"{OWN}/erasures"))["value"]
    assert [(e["status"], e["removed"]["events"]) for e in listed] == [("done", 0)] * 3
    assert timed.app.counters["join.events"] == 1


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("events/", "eventId must have 1 to 256 characters; it has 0"),
        ("events/" + "x" * 257, "eventId must have 1 to 256"),
        ("subjects/", "subject must have 1 to 256 characters; it has 0"),
        ("subjects/" + "x" * 257, "it has 257"),
        ("subjects/Zoë", "printable ASCII"),
        ("subjects/ ann", "neither begin nor end with a space"),
    ],
)
async def test_what_is_no_name_is_refused(timed: InMemory, path: str, told: str) -> None:
    found = error(await timed("DELETE", f"{OWN}/{path}"))

    assert found["code"] == "BadRequest"
    assert told in found["message"]
    assert found["target"] == ("eventId" if path.startswith("events/") else "subject")
    assert found["message"].startswith(f"{found['target']} must ")


@pytest.mark.parametrize("name", ["Zoë", " ann", "x" * 257])
async def test_rank_refuses_a_subject_that_could_not_be_erased(timed: InMemory, name: str) -> None:
    call = timed("POST", "personalizer/v1.0/rank", {"actions": ACTIONS}, x_rankloop_subject=name)
    assert error(await call)["code"] == "BadRequest"


@pytest.mark.parametrize("name", ["nowhere", "1700000000000-0000000000000000", "../settings", "a/b", "x" * 300])
async def test_an_erasure_that_nobody_asked_for_is_not_found(timed: InMemory, name: str) -> None:
    found = error(await timed("GET", f"{OWN}/erasures/{name}"))

    assert found["code"] == "ResourceNotFound"
    assert name[:64] in found["message"]


async def test_more_than_can_be_in_force_are_refused_for_a_while(
    timed: InMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(erasures, "MOST", 3)
    for n in range(3):
        await timed.json("DELETE", f"{OWN}/events/e{n}")
    response = await timed("DELETE", f"{OWN}/events/e3")

    assert (response.status_code, error(response)["code"]) == (503, "OperationNotAllowed")
    assert response.headers["Retry-After"] == "60"
    await timers(timed, 1200)
    await timers(timed, QUIET + 1)
    assert (await timed("DELETE", f"{OWN}/events/e3")).status_code == 202


async def test_an_erasure_whose_asker_died_is_carried_out_after_the_next_sweep(timed: InMemory) -> None:
    await rank(timed, "e", "ann")
    loop = await timed.app.loops.named(DEFAULT)
    await timers(timed, 1200)
    tag = await timed.app.subjects.tag(loop.id, "ann")
    await erasures.ask(timed.blobs, loop.id, "subject", tag, timed.now or 0.0, b"12345678")
    for _ in range(3):
        await timers(timed, 3601)

    assert timed.app.counters["erase.done"] == 1


async def test_what_fails_is_counted_hidden_and_tried_again(
    timed: InMemory, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    await rank(timed, "e", "ann")
    await timed.json("DELETE", f"{OWN}/subjects/ann")
    run: Any = timed.app.eraser.run

    async def fails(*_: object) -> None:
        raise ApiError("BadRequest", "no reason")

    monkeypatch.setattr(timed.app.eraser, "run", fails)
    assert timed.now is not None
    timed.now += 1200
    await timed.app.train_due()
    assert timed.app.counters["erase.failed"] == 1
    assert "the erase of loop" in caplog.text
    monkeypatch.setattr(timed.app.eraser, "run", run)
    for _ in range(2):
        timed.now += QUIET + 1
        await timed.app.train_due()
    assert timed.app.counters["erase.done"] == 1


async def test_only_the_newest_are_listed(timed: InMemory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(erasures, "SHOWN", 3)
    loop = await timed.app.loops.named(DEFAULT)
    for n in range(5):
        record = await erasures.ask(timed.blobs, loop.id, "event", "00" * 8, T0 + n, b"12345678")
        if n < 4:
            await erasures.close(timed.blobs, loop.id, record)
    await timed.blobs.put(erasures.folder(loop.id) + "else.json", b"")

    listed = (await timed.json("GET", f"{OWN}/erasures"))["value"]
    assert len(listed) == 3
    ids = [e["id"] for e in listed]
    assert ids == sorted(ids, reverse=True)
    assert ids[0].startswith(str(int((T0 + 4) * 1000)))


async def test_records_are_read_some_at_once(timed: InMemory, monkeypatch: pytest.MonkeyPatch) -> None:
    loop = await timed.app.loops.named(DEFAULT)
    for n in range(20):
        record = await erasures.ask(timed.blobs, loop.id, "event", "00" * 8, T0 + n, b"12345678")
        await erasures.close(timed.blobs, loop.id, record)
    most = most_reads_at_once(timed, monkeypatch)

    listed = (await timed.json("GET", f"{OWN}/erasures"))["value"]
    assert [one["id"][:10] for one in listed] == [str(int(T0) + n) for n in range(19, -1, -1)]
    assert most() == 16
