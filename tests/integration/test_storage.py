"""What every storage must do, asked of the one in memory and of a real Azurite."""

import asyncio
import base64
import time
import uuid
from collections.abc import AsyncIterator, Callable
from typing import NamedTuple

import pytest
from azure.storage.queue import QueueMessage
from azure.storage.queue.aio import QueueClient

from localhost.azurite import Azurite, Ports
from shared.counters import Counters
from shared.storage import MAX_MESSAGE, Blobs, Conflict, Row, Tables, Unavailable
from shared.storage.azure import CONTAINER, AzureStorage
from shared.storage.memory import MemoryBlobs, MemoryTables


class Storage(NamedTuple):
    tables: Tables
    blobs: Blobs


@pytest.fixture(params=["memory", "azurite"])
async def storage(request: pytest.FixtureRequest) -> AsyncIterator[Storage]:
    if request.param == "memory":
        yield Storage(MemoryTables(), MemoryBlobs())
        return
    azurite: Azurite = request.getfixturevalue("azurite")
    async with AzureStorage(azurite.connection_string) as azure:
        yield Storage(azure.tables, azure.blobs)


@pytest.fixture
def table() -> str:
    return f"rank{uuid.uuid4().hex}20231114"


@pytest.fixture
def folder() -> str:
    """A prefix of blobs that is this test's alone."""
    return f"loops/{uuid.uuid4().hex}/"


def row(partition: str, key: str, **properties: str | int | float | bool | bytes) -> Row:
    return {"PartitionKey": partition, "RowKey": key, **properties}


async def rows(tables: Tables, table: str, low: str = "", high: str = "~") -> list[Row]:
    return [found async for found, _ in tables.query(table, (low, high))]


async def test_a_row_comes_back_as_it_was_put(storage: Storage, table: str) -> None:
    given = row("00_1700000000", "w_1", s="ä", i=7, f=1700000000.5, whole=12.0, t=True, b=bytes(range(256)) * 256)
    await storage.tables.put(table, given)

    (found,) = await rows(storage.tables, table)
    assert found == given
    assert [type(found[name]) for name in ("s", "i", "f", "t", "b")] == [str, int, float, bool, bytes]


async def test_a_row_is_replaced_whole(storage: Storage, table: str) -> None:
    await storage.tables.put(table, row("p", "r", old=1))
    await storage.tables.put(table, row("p", "r", new=2))

    assert await rows(storage.tables, table) == [row("p", "r", new=2)]


async def test_ten_full_properties_and_the_marks_fit_into_a_row(storage: Storage, table: str) -> None:
    given = row("p", "r", f=1, n=4096, h=b"m" * 65_536, **{f"d{n}": b"x" * 65_536 for n in range(10)})
    await storage.tables.put(table, given)

    assert await rows(storage.tables, table) == [given]


async def test_a_write_tells_the_storages_time(storage: Storage, table: str) -> None:
    before = time.time()
    first = await storage.tables.put(table, row("p", "r"))
    second = await storage.tables.put(table, row("p", "r"))

    assert before - 0.1 <= first < second <= time.time() + 0.1


async def test_partitions_of_a_range_come_in_order_its_end_left_out(storage: Storage, table: str) -> None:
    for partition, key in [("01_5", "b"), ("00_5", "a"), ("01_5", "a"), ("01_0", "z"), ("02_0", "a")]:
        await storage.tables.put(table, row(partition, key))

    found = await rows(storage.tables, table, "01_0", "02_0")
    assert [(r["PartitionKey"], r["RowKey"]) for r in found] == [("01_0", "z"), ("01_5", "a"), ("01_5", "b")]
    assert await rows(storage.tables, table, "03", "04") == []


async def test_more_rows_than_a_page_holds(storage: Storage, table: str) -> None:
    for start in range(0, 1100, 50):
        await asyncio.gather(*(storage.tables.put(table, row("p", f"{n:05}")) for n in range(start, start + 50)))

    assert [r["RowKey"] for r in await rows(storage.tables, table)] == [f"{n:05}" for n in range(1100)]


async def test_only_the_selected_properties_are_read(storage: Storage, table: str) -> None:
    await storage.tables.put(table, row("p", "r", n=1, d0=b"large"))

    found = storage.tables.query(table, ("", "~"), ("PartitionKey", "n", "missing"))
    assert [
        {name: value for name, value in properties.items() if value is not None} async for properties, _ in found
    ] == [{"PartitionKey": "p", "n": 1}]


async def test_a_missing_table_has_no_rows(storage: Storage, table: str) -> None:
    assert await rows(storage.tables, table) == []
    await storage.tables.delete(table, "p", "r")
    await storage.tables.drop(table)
    assert await storage.tables.names(table) == []


async def test_a_row_is_deleted_once_and_for_all(storage: Storage, table: str) -> None:
    await storage.tables.put(table, row("p", "r"))
    await storage.tables.put(table, row("p", "s"))
    await storage.tables.delete(table, "p", "r")
    await storage.tables.delete(table, "p", "r")

    assert await rows(storage.tables, table) == [row("p", "s")]


async def test_a_row_is_replaced_in_the_state_that_was_seen_alone(storage: Storage, table: str) -> None:
    with pytest.raises(Conflict):
        await storage.tables.replace(table, row("p", "r", n=0), "W/\"datetime'2023-11-14T00%3A00%3A00.0000000Z'\"")
    await storage.tables.put(table, row("p", "r", n=1, old=True))
    ((_, seen),) = [found async for found in storage.tables.query(table, ("", "~"))]
    await storage.tables.replace(table, row("p", "r", n=2), seen)
    assert await rows(storage.tables, table) == [row("p", "r", n=2)]

    with pytest.raises(Conflict):
        await storage.tables.replace(table, row("p", "r", n=3), seen)
    assert await rows(storage.tables, table) == [row("p", "r", n=2)]
    ((_, seen),) = [found async for found in storage.tables.query(table, ("", "~"))]
    await storage.tables.delete(table, "p", "r")
    with pytest.raises(Conflict):
        await storage.tables.replace(table, row("p", "r", n=4), seen)
    assert await rows(storage.tables, table) == []


async def test_a_row_is_deleted_in_the_state_that_was_seen_alone(storage: Storage, table: str) -> None:
    await storage.tables.put(table, row("p", "r", n=1))
    ((_, seen),) = [found async for found in storage.tables.query(table, ("", "~"))]
    await storage.tables.put(table, row("p", "r", n=1))
    with pytest.raises(Conflict):
        await storage.tables.delete(table, "p", "r", seen)
    assert await rows(storage.tables, table) == [row("p", "r", n=1)]

    ((_, seen),) = [found async for found in storage.tables.query(table, ("", "~"))]
    await storage.tables.delete(table, "p", "r", seen)
    await storage.tables.delete(table, "p", "r", seen)
    assert await rows(storage.tables, table) == []


async def test_tables_are_found_by_the_beginning_of_their_name_and_dropped(storage: Storage, table: str) -> None:
    later = f"{table[:-8]}20231115"
    for name in (later, table, f"obs{table[4:]}"):
        await storage.tables.put(name, row("p", "r"))
    assert await storage.tables.names(table[:-8]) == [table, later]

    await storage.tables.drop(table)
    assert await storage.tables.names(table[:-8]) == [later]
    assert await rows(storage.tables, table) == []


async def test_a_dropped_table_is_made_again(storage: Storage, table: str) -> None:
    await storage.tables.put(table, row("p", "old"))
    await storage.tables.drop(table)
    await storage.tables.put(table, row("p", "new"))

    assert await rows(storage.tables, table) == [row("p", "new")]


async def test_writers_that_meet_at_a_new_table_both_write(storage: Storage, table: str) -> None:
    await asyncio.gather(*(storage.tables.put(table, row("p", str(n))) for n in range(10)))
    assert len(await rows(storage.tables, table)) == 10


@pytest.mark.parametrize("data", [b"", b"x", bytes(range(256)) * 4000], ids=["empty", "small", "1 MB"])
async def test_a_blob_comes_back_as_it_was_put(storage: Storage, folder: str, data: bytes) -> None:
    etag = await storage.blobs.put(folder + "a", data, metadata={"n": "1", "sha256": "ab"})

    blob = await storage.blobs.get(folder + "a")
    assert blob is not None
    assert (blob.data, blob.etag, blob.metadata) == (data, etag, {"n": "1", "sha256": "ab"})


async def test_a_blob_that_is_not_there(storage: Storage, folder: str) -> None:
    assert await storage.blobs.get(folder + "a") is None
    assert await storage.blobs.get_changed(folder + "a", None) is None
    assert await storage.blobs.get_changed(folder + "a", '"0x1"') is None
    await storage.blobs.delete(folder + "a")
    assert await storage.blobs.names(folder) == []


async def test_without_an_etag_a_blob_is_made_never_replaced(storage: Storage, folder: str) -> None:
    await storage.blobs.put(folder + "a", b"1")
    with pytest.raises(Conflict):
        await storage.blobs.put(folder + "a", b"2")

    blob = await storage.blobs.get(folder + "a")
    assert blob is not None
    assert blob.data == b"1"


async def test_with_an_etag_a_blob_is_replaced_in_that_state_alone(storage: Storage, folder: str) -> None:
    first = await storage.blobs.put(folder + "a", b"1", metadata={"n": "1"})
    second = await storage.blobs.put(folder + "a", b"2", first)
    assert second != first
    with pytest.raises(Conflict):
        await storage.blobs.put(folder + "a", b"3", first)

    blob = await storage.blobs.get(folder + "a")
    assert blob is not None
    assert (blob.data, blob.etag, blob.metadata) == (b"2", second, {})

    await storage.blobs.delete(folder + "a")
    with pytest.raises(Conflict):
        await storage.blobs.put(folder + "a", b"4", second)


async def test_one_of_many_wins_a_swap(storage: Storage, folder: str) -> None:
    etag = await storage.blobs.put(folder + "a", b"-")
    swaps = (storage.blobs.put(folder + "a", b"%d" % n, etag) for n in range(8))
    answers = await asyncio.gather(*swaps, return_exceptions=True)

    assert sum(isinstance(answer, str) for answer in answers) == 1
    assert all(isinstance(answer, str | Conflict) for answer in answers)


async def test_only_a_changed_blob_is_read_again(storage: Storage, folder: str) -> None:
    etag = await storage.blobs.put(folder + "a", b"1")
    assert await storage.blobs.get_changed(folder + "a", etag) is None

    first = await storage.blobs.get_changed(folder + "a", None)
    new = await storage.blobs.put(folder + "a", b"2", etag)
    changed = await storage.blobs.get_changed(folder + "a", etag)
    assert first is not None
    assert changed is not None
    assert (first.data, changed.data, changed.etag) == (b"1", b"2", new)


@pytest.mark.parametrize(
    ("start", "length", "part"),
    [(0, 4, b"0123"), (4, 3, b"456"), (8, 9, b"89"), (9, 1, b"9"), (10, 1, b""), (99, 5, b"")],
)
async def test_a_part_of_a_blob(storage: Storage, folder: str, start: int, length: int, part: bytes) -> None:
    etag = await storage.blobs.put(folder + "a", b"0123456789", metadata={"n": "1"})

    blob = await storage.blobs.get_range(folder + "a", start, length)
    assert blob is not None
    assert (blob.data, blob.etag, blob.metadata) == (part, etag, {"n": "1"})


async def test_a_part_of_nothing(storage: Storage, folder: str) -> None:
    assert await storage.blobs.get_range(folder + "a", 0, 1) is None
    assert await storage.blobs.get_range(folder + "a", 5, 1) is None

    etag = await storage.blobs.put(folder + "a", b"")
    blob = await storage.blobs.get_range(folder + "a", 0, 1)
    assert blob is not None
    assert (blob.data, blob.etag) == (b"", etag)


async def test_blobs_are_listed_with_their_sizes(storage: Storage, folder: str) -> None:
    for name, size in (("b/2", 7), ("b/10", 0), ("a", 1), ("b/1/x", 70_000)):
        await storage.blobs.put(folder + name, b"x" * size)

    sizes = await storage.blobs.sizes(folder + "b/")
    assert list(sizes.items()) == [(folder + "b/1/x", 70_000), (folder + "b/10", 0), (folder + "b/2", 7)]
    assert await storage.blobs.sizes(folder + "c") == {}


async def test_blobs_are_found_by_the_beginning_of_their_path_in_order(storage: Storage, folder: str) -> None:
    for name in ("b/2", "b/10", "a", "b/1/x", "c"):
        await storage.blobs.put(folder + name, b"")
    assert await storage.blobs.names(folder + "b/") == [folder + name for name in ("b/1/x", "b/10", "b/2")]

    await storage.blobs.delete(folder + "b/10")
    await storage.blobs.delete(folder + "b/10")
    assert await storage.blobs.names(folder + "b") == [folder + "b/1/x", folder + "b/2"]


async def every_call(storage: Storage) -> list[tuple[str, Exception | None]]:
    async def query() -> None:
        await rows(storage.tables, "rank")

    calls = {
        "put": storage.tables.put("rank", row("p", "r")),
        "query": query(),
        "delete": storage.tables.delete("rank", "p", "r"),
        "names": storage.tables.names("rank"),
        "drop": storage.tables.drop("rank"),
        "get blob": storage.blobs.get("a"),
        "get changed": storage.blobs.get_changed("a", '"0x1"'),
        "get range": storage.blobs.get_range("a", 0, 1),
        "put blob": storage.blobs.put("a", b"1"),
        "swap blob": storage.blobs.put("a", b"1", '"0x1"'),
        "blob names": storage.blobs.names(""),
        "blob sizes": storage.blobs.sizes(""),
        "delete blob": storage.blobs.delete("a"),
    }
    answers = await asyncio.gather(*calls.values(), return_exceptions=True)
    return [(name, a if isinstance(a, Exception) else None) for name, a in zip(calls, answers, strict=True)]


async def test_every_call_says_so_when_storage_is_gone(make_azurite: Callable[[], Azurite]) -> None:
    azurite = make_azurite()
    async with AzureStorage(azurite.connection_string) as azure:
        storage = Storage(azure.tables, azure.blobs)
        await storage.tables.put("rank", row("p", "r"))
        azurite.stop()

        for name, error in await every_call(storage):
            assert type(error) is Unavailable, name

        azurite.start()
        await storage.tables.put("rank", row("p", "r"))  # by the same client


async def test_a_container_that_is_not_there_is_made_by_the_first_blobs(make_azurite: Callable[[], Azurite]) -> None:
    async with AzureStorage(make_azurite().connection_string) as azure:
        assert await azure.blobs.get("a") is None
        assert await azure.blobs.get_range("a", 0, 1) is None
        assert await azure.blobs.names("") == []
        assert await azure.blobs.sizes("") == {}
        await azure.blobs.delete("a")
        with pytest.raises(Conflict):
            await azure.blobs.put("a", b"1", '"0x1"')

        await asyncio.gather(*(azure.blobs.put(str(n), b"") for n in range(5)))
        assert len(await azure.blobs.names("")) == 5


async def test_a_lease_is_no_conflict_that_reading_again_would_end(azurite: Azurite, folder: str) -> None:
    from azure.storage.blob.aio import BlobServiceClient

    async with (
        AzureStorage(azurite.connection_string) as azure,
        BlobServiceClient.from_connection_string(azurite.connection_string) as service,
    ):
        etag = await azure.blobs.put(folder + "a", b"1")
        await service.get_blob_client(CONTAINER, folder + "a").acquire_lease(15)

        with pytest.raises(Unavailable):
            await azure.blobs.put(folder + "a", b"2", etag)


async def test_clients_of_past_tables_are_let_go(azurite: Azurite, table: str) -> None:
    async with AzureStorage(azurite.connection_string) as azure:
        for n in range(250):
            assert await rows(azure.tables, f"none{n}") == []
        await azure.tables.put(table, row("p", "r"))
        assert await rows(azure.tables, table) == [row("p", "r")]
        assert len(azure.tables._clients) < 202


# -- queues ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def queue() -> str:
    return f"work-{uuid.uuid4().hex}"


async def taken(storage: str, queue: str) -> list[QueueMessage]:
    async with QueueClient.from_connection_string(storage, queue) as client:
        return [message async for message in client.receive_messages(max_messages=32)]


async def test_messages_are_text_in_base64_that_never_expires(azurite: Azurite, queue: str) -> None:
    sent = [b"", b"<a> & \xff\x00", b"x" * MAX_MESSAGE]
    async with AzureStorage(azurite.connection_string) as azure:
        await asyncio.gather(*(azure.queues.send(queue, message) for message in sent))
        with pytest.raises(ValueError, match="too long"):
            await azure.queues.send(queue, b"x" * (MAX_MESSAGE + 1))

    found = await taken(azurite.connection_string, queue)
    assert sorted(base64.b64decode(message.content, validate=True) for message in found) == sent
    assert all(message.expires_on and message.expires_on.year > 9000 for message in found)


async def test_a_delayed_message_is_not_seen_at_once(azurite: Azurite, queue: str) -> None:
    async with AzureStorage(azurite.connection_string) as azure:
        await azure.queues.send(queue, b"later", delay=0.1)
        await azure.queues.send(queue, b"much later", delay=3600)

    assert await taken(azurite.connection_string, queue) == []
    found = list[bytes]()
    async with asyncio.timeout(30):
        while not found:
            await asyncio.sleep(0.1)
            found = [base64.b64decode(message.content) for message in await taken(azurite.connection_string, queue)]
    assert found == [b"later"]


async def test_queues_that_do_not_answer_are_unavailable_after_three_tries(azurite: Azurite, queue: str) -> None:
    counters = Counters()
    nowhere = azurite.connection_string.replace(f":{azurite.ports.queue}/", f":{Ports.free().queue}/")
    async with AzureStorage(nowhere, counters.add) as azure:
        with pytest.raises(Unavailable):
            await azure.queues.send(queue, b"x")

    assert counters.snapshot() == {"storage.failed": 1, "storage.retries": 2}
