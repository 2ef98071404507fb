"""Calls on imports: what is taken, what is told of it, and what of it the loop learns."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import msgspec
import orjson
import pytest

from shared.edge import imports as edge
from shared.learning import registry
from shared.log import imports
from shared.log.imports import Import
from shared.warmstart import convert
from tests.unit.edge.inmemory import InMemory, error, most_reads_at_once, refusal
from tests.unit.warmstart.test_dsjson import LINE, SLOTTED

PATH = "rankloop/v1/imports"
TEXT = orjson.dumps(LINE) + b"\nwhat?\n" + orjson.dumps({**LINE, "_skipLearn": True})


async def imported(served: InMemory, data: bytes = TEXT, query: str = "?format=dsjson") -> dict[str, Any]:
    reply = await served("POST", PATH + query, data)
    assert reply.status_code == 201, reply.get_body()
    made: dict[str, Any] = orjson.loads(reply.get_body())
    assert reply.headers["Location"].endswith(f"/{PATH}/{made['id']}")
    return made


async def test_an_import_is_stored_and_told(served: InMemory) -> None:
    made = await imported(served)

    assert made == {
        "id": made["id"],
        "source": "dsjson, uploaded",
        "createdAt": made["createdAt"],
        "from": "2022-10-25T23:14:43.123456Z",
        "to": "2022-10-25T23:14:43.123456Z",
        "events": 1,
        "skipped": 1,
        "refused": 1,
        "problems": ["2: it is no line of a dsjson log: JSON is malformed: invalid character (byte 0)"],
    }
    assert await served.json("GET", PATH) == {"value": [made]}
    assert await served.json("GET", f"{PATH}/{made['id']}") == made
    loop = await served.app.loops.named("default")
    assert loop.imports == {made["id"]}
    assert len(await imports.parts(served.app.blobs, loop.id, list(loop.imports))) == 1


async def test_the_same_file_again_is_the_same_import(served: InMemory) -> None:
    made = await imported(served)

    assert await imported(served) == made
    assert len((await served.json("GET", PATH))["value"]) == 1


async def test_what_was_there_before_a_deleted_model_is_left_out_until_it_is_sent_again(served: InMemory) -> None:
    made = await imported(served)
    loop = await served.app.loops.named("default")
    assert (await served("DELETE", "personalizer/v1.0/model", b"")).status_code == 204

    async def left_out() -> tuple[str, ...] | None:
        version, _ = await registry.current(served.blobs, loop.id)
        assert version is not None
        return version.left_out

    assert await left_out() == (made["id"],)
    await imported(served)
    assert await left_out() == ()


async def test_a_deleted_import_is_gone(served: InMemory) -> None:
    made = await imported(served)

    reply = await served("DELETE", f"{PATH}/{made['id']}", b"")

    assert reply.status_code == 204
    assert await served.json("GET", PATH) == {"value": []}
    assert await refusal(served("GET", f"{PATH}/{made['id']}")) == (404, "ResourceNotFound")
    assert await refusal(served("DELETE", f"{PATH}/{made['id']}")) == (404, "ResourceNotFound")
    loop = await served.app.loops.named("default")
    assert loop.imports == frozenset()
    assert await served.app.blobs.names(imports.folder(loop.id)) == []


TIMELESS = b'actions,chosen,probability,reward\n"[""tea"",""milk""]",tea,0.5,1\n'


async def test_a_file_without_times_is_one_import_whenever_it_is_sent(served: InMemory) -> None:
    served.now = 1_800_000_000.0
    made = await imported(served, TIMELESS, "?format=csv")
    served.now += 100.0

    assert await imported(served, TIMELESS, "?format=csv") == made
    other = await imported(served, TIMELESS + b"\n", "?format=csv")
    assert len((await served.json("GET", PATH))["value"]) == 2
    assert (await served("DELETE", f"{PATH}/{made['id']}", b"")).status_code == 204
    served.now += 100.0
    again = await imported(served, TIMELESS, "?format=csv")
    assert again["id"] > other["id"] > made["id"], "by the time at which they came"


async def test_a_file_that_is_sent_again_before_it_is_answered_is_one_import(
    served: InMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[dict[str, Any]] = []

    async def run(file: convert.File, patience: float) -> convert.Converted:
        assert patience > 0
        if not asked:
            asked.append(file)
            served.app.trying = asyncio.Lock()  # as another instance has one of its own
            made.append(await imported(served, TIMELESS, "?format=csv"))
            return convert.convert(msgspec.structs.replace(file, time=file.time + 100.0))
        return convert.convert(file)

    asked: list[convert.File] = []
    monkeypatch.setattr(convert, "run", run)

    assert [await imported(served, TIMELESS, "?format=csv")] == made
    assert len((await served.json("GET", PATH))["value"]) == 1


async def test_an_import_of_an_earlier_release_is_not_made_again(served: InMemory) -> None:
    loop = await served.app.loops.named("default")
    held = loop.configuration
    file = convert.File(
        TEXT, "dsjson", loop.policy.arguments, held.reward_wait_time, held.default_reward, held.reward_aggregation,
        held.reward_range, 50, 1.0,
    )  # fmt: skip
    found = convert.convert(file)
    earlier = imports.Import(found.name, "dsjson, uploaded", 1.0, found.first, found.last, found.events)
    await imports.write(served.blobs, loop.id, earlier, found.parts)

    assert (await imported(served))["id"] == found.name
    assert len((await served.json("GET", PATH))["value"]) == 1


async def test_a_file_that_lies_in_storage(served: InMemory) -> None:
    loop = await served.app.loops.named("default")
    await served.app.blobs.put(f"{imports.incoming(loop.id)}2025/log.json", TEXT)

    made = await imported(served, b"", "?format=dsjson&path=2025/log.json")

    assert (made["source"], made["events"]) == ("dsjson, 2025/log.json", 1)


async def test_a_file_in_storage_that_is_too_large(served: InMemory, monkeypatch: pytest.MonkeyPatch) -> None:
    loop = await served.app.loops.named("default")
    await served.app.blobs.put(f"{imports.incoming(loop.id)}log", TEXT)
    monkeypatch.setattr(edge, "MAX_TEXT", len(TEXT) - 1)

    refused = served("POST", f"{PATH}?format=dsjson&path=log", b"")
    assert await refusal(refused) == (400, "PayloadSizeExceeded")


@pytest.mark.parametrize(
    ("query", "body", "status", "told"),
    [
        ("", TEXT, 400, "format must be one of dsjson, csv, parquet"),
        ("?format=xml", TEXT, 400, "format must be one of dsjson, csv, parquet; it is 'xml'"),
        ("?format=csv", b"", 400, "as the body, or name it"),
        ("?format=csv&path=a", TEXT, 400, "as the body, or name it"),
        ("?format=csv&path=../settings.json", b"", 400, "path must be made of"),
        ("?format=csv&path=a/../../settings.json", b"", 400, "path must be made of"),
        ("?format=csv&path=/a", b"", 400, "path must be made of"),
        ("?format=csv&path=a/", b"", 400, "path must be made of"),
        ("?format=csv&path=a", b"", 404, "Nothing is stored at"),
        ("?format=dsjson", b"what?", 400, "nothing that this loop could learn: 1: it is no line"),
        ("?format=dsjson", orjson.dumps({**LINE, "_skipLearn": True}), 400, "nothing that this loop could learn."),
        ("?format=dsjson", orjson.dumps(SLOTTED), 400, "policy is single-slot"),
        ("?format=parquet", b"what?", 400, "cannot be read as Parquet"),
    ],
)
async def test_what_is_no_import(query: str, body: bytes, status: int, told: str, served: InMemory) -> None:
    reply = await served("POST", PATH + query, body)

    assert reply.status_code == status
    assert told in error(reply)["message"]
    assert await served.json("GET", PATH) == {"value": []}


async def test_a_loop_has_so_many_imports_at_most(served: InMemory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(edge, "MOST", 1)
    await imported(served)

    another = orjson.dumps({**LINE, "EventId": "another"})
    assert await refusal(served("POST", f"{PATH}?format=dsjson", another)) == (400, "InvalidRequest")
    await imported(served)


async def test_records_are_read_some_at_once(served: InMemory, monkeypatch: pytest.MonkeyPatch) -> None:
    loop = await served.app.loops.named("default")
    names = [f"{n:010d}-{n:016x}" for n in range(20)]
    for name in names:
        await imports.write(served.blobs, loop.id, Import(name, "a file", 1.0, 1.0, 2.0, 5), [])
    await served.app.loops.change("default", lambda held: replace(held, imports=frozenset(names)))
    most = most_reads_at_once(served, monkeypatch)

    assert [one["id"] for one in (await served.json("GET", PATH))["value"]] == names
    assert most() == 16
