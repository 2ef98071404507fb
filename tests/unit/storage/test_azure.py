import logging
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from azure.core.async_paging import AsyncItemPaged
from azure.core.exceptions import HttpResponseError, ResourceExistsError, ResourceNotFoundError, ServiceRequestError
from azure.core.pipeline.policies import HttpLoggingPolicy
from azure.storage.blob.aio import BlobPrefix

from shared.storage import MAX_MESSAGE, Blob, Conflict, Unavailable
from shared.storage.azure import AzureStorage, options
from shared.storage.azure.blobs import AzureBlobs
from shared.storage.azure.calls import Calls
from shared.storage.azure.errors import translated
from shared.storage.azure.queues import AzureQueues
from shared.storage.azure.tables import _server_time


@pytest.mark.parametrize(
    ("answer", "seconds"),
    [
        ({"etag": "W/\"datetime'2023-11-14T22%3A13%3A20.1234567Z'\""}, 1_700_000_000.123456),
        ({"etag": "W/\"datetime'2023-11-14T22:13:20.5Z'\""}, 1_700_000_000.5),
        ({"etag": "W/\"datetime'2023-11-14T22%3A13%3A20Z'\""}, 1_700_000_000),
        ({"etag": "0x1", "date": datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)}, 1_700_000_000),
        ({"date": "Tue, 14 Nov 2023 22:13:20 GMT"}, 1_700_000_000),
    ],
)
def test_the_storages_time_is_read_from_the_etag_or_the_date(answer: dict[str, Any], seconds: float) -> None:
    assert _server_time(answer) == seconds


def refused(code: str | None, status: int) -> HttpResponseError:
    error = HttpResponseError("refused")
    error.status_code = status
    error.error_code = code  # type: ignore[attr-defined]
    return error


@pytest.mark.parametrize(
    ("error", "ours"),
    [
        (refused("ConditionNotMet", 412), Conflict),
        (refused("BlobAlreadyExists", 409), Conflict),
        (refused("UpdateConditionNotSatisfied", 412), Conflict),
        (refused("TableBeingDeleted", 409), Unavailable),
        (refused("ContainerBeingDeleted", 409), Unavailable),
        (refused("LeaseIdMissing", 412), Unavailable),
        (refused("BlobImmutableDueToPolicy", 409), Unavailable),
        (refused("ServerBusy", 503), Unavailable),
        (refused(None, 403), Unavailable),
        (ServiceRequestError("no route"), Unavailable),
        (TimeoutError("slow"), Unavailable),
        (ConnectionResetError("gone"), Unavailable),
    ],
    ids=lambda case: getattr(case, "error_code", None) or getattr(case, "__name__", type(case).__name__),
)
def test_the_sdks_errors_are_ours(error: Exception, ours: type[Exception]) -> None:
    with pytest.raises(Conflict if ours is Conflict else Unavailable) as told, translated():
        raise error
    assert type(told.value) is ours


def test_a_fault_of_ours_is_no_storage_error() -> None:
    with pytest.raises(KeyError), translated():
        raise KeyError("ours")


async def test_an_account_is_opened_by_the_apps_own_identity() -> None:
    async with AzureStorage("account") as storage:
        assert storage._credential is not None
        assert [service.url.rstrip("/") for service in storage._services] == [
            "https://account.table.core.windows.net",
            "https://account.blob.core.windows.net",
        ]
        queues = await storage.queues._opened_once()
        assert queues.url.rstrip("/") == "https://account.queue.core.windows.net"
        assert await storage.queues._opened_once() is queues


class Part:
    """A blob's client that answers with what it is given: an error to raise, bytes to download, or its size."""

    def __init__(self, *answers: Exception | bytes | int) -> None:
        self._answers = list(answers)

    def get_container_client(self, _: str) -> "Part":
        return self

    def get_blob_client(self, _: str) -> "Part":
        return self

    async def download_blob(self, *_: object, **__: object) -> SimpleNamespace:
        answer = self._answers.pop(0)
        if isinstance(answer, Exception):
            raise answer

        async def readall() -> object:
            return answer

        return SimpleNamespace(readall=readall, properties=properties("later"))

    async def get_blob_properties(self, **_: object) -> SimpleNamespace:
        return properties("now", size=self._answers.pop(0))


def properties(etag: str, **others: object) -> SimpleNamespace:
    """As of a blob that was not written by us: without an MD5 or metadata."""
    return SimpleNamespace(etag=etag, metadata=None, content_settings=SimpleNamespace(content_md5=None), **others)


def blobs_of(*answers: Exception | bytes | int) -> AzureBlobs:
    return AzureBlobs(Part(*answers), Calls(lambda _: None, lambda: 0.0))  # type: ignore[arg-type]


@pytest.mark.parametrize("error", [refused("AuthorizationFailure", 403), refused("InvalidInput", 400)])
async def test_a_download_that_is_refused_is_no_missing_blob(error: HttpResponseError) -> None:
    with pytest.raises(Unavailable):
        await blobs_of(error).get("a")
    with pytest.raises(Unavailable):
        await blobs_of(error).get_range("a", 0, 1)


async def test_a_part_and_its_state_belong_together_where_the_blob_grows_meanwhile() -> None:
    past = refused("InvalidRange", 416)

    assert await blobs_of(past, 7).get_range("a", 7, 1) == Blob(b"", "now")
    assert await blobs_of(past, 8, b"x").get_range("a", 7, 1) == Blob(b"x", "later")


async def test_a_blob_whose_md5_nobody_took_is_taken_as_it_is() -> None:
    assert await blobs_of(b"x").get("a") == Blob(b"x", "later")


class Listing:
    """A container of three pages of blobs, the second of which is refused when it is asked for first."""

    def __init__(self) -> None:
        self.asked: list[str | None] = []

    def get_container_client(self, _: str) -> "Listing":
        return self

    def list_blob_names(self, **_: object) -> AsyncItemPaged[str]:
        return self._paged([["a"], ["b"], ["c"]])

    def list_blobs(self, **_: object) -> AsyncItemPaged[SimpleNamespace]:
        return self._paged([[SimpleNamespace(name=name, size=7)] for name in "abc"])

    def walk_blobs(self, **_: object) -> AsyncItemPaged[object]:
        folders = [BlobPrefix(prefix=name) for name in ("a/", "c/")]  # type: ignore[no-untyped-call]
        return self._paged([[folders[0]], [SimpleNamespace(name="b")], [folders[1]]])

    def _paged(self, pages: list[list[Any]]) -> AsyncItemPaged[Any]:
        async def page(token: str | None) -> int:
            self.asked.append(token)
            if token == "1" and self.asked.count(token) == 1:
                raise ServiceRequestError("cut off")
            return int(token or 0)

        async def items(n: int) -> tuple[str | None, list[Any]]:
            return (str(n + 1) if n + 1 < len(pages) else None), pages[n]

        return AsyncItemPaged(page, items)


@pytest.mark.parametrize(
    ("call", "found"),
    [("names", ["a", "b", "c"]), ("sizes", {"a": 7, "b": 7, "c": 7}), ("folders", ["a/", "c/"])],
)
async def test_each_page_of_a_listing_has_its_own_time_and_tries(
    monkeypatch: pytest.MonkeyPatch, call: str, found: object
) -> None:
    listing, calls = Listing(), Calls(lambda _: None, lambda: 0.0)
    times: list[float] = []
    answer = calls.answer

    async def timed(page: Any, seconds: float) -> Any:
        times.append(seconds)
        return await answer(page, seconds)

    monkeypatch.setattr(calls, "answer", timed)
    assert await getattr(AzureBlobs(listing, calls), call)("") == found  # type: ignore[arg-type]

    assert listing.asked == [None, "1", "1", "2"]
    assert times == [options.LIST] * 4, "the last finds the end"


class Post:
    """A queue service: each sending or creating ends as the next of `ends` says, by success where that is None."""

    def __init__(self, *ends: Exception | None) -> None:
        self._ends = list(ends)
        self.seen: list[tuple[object, ...]] = []

    def get_queue_client(self, queue: str) -> "Post":
        self.seen.append(("queue", queue))
        return self

    async def send_message(self, text: str, visibility_timeout: int, time_to_live: int) -> None:
        self._pass("send", text, visibility_timeout, time_to_live)

    async def create_queue(self) -> None:
        self._pass("create")

    async def close(self) -> None:
        self._pass("close")

    def _pass(self, *what: object) -> None:
        self.seen.append(what)
        if (end := self._ends.pop(0) if self._ends else None) is not None:
            raise end


SENT = ("send", "eA==", 2, -1)


@pytest.mark.parametrize(
    ("ends", "seen"),
    [
        ([None], [SENT]),
        ([ResourceNotFoundError("QueueNotFound")], [SENT, ("create",), SENT]),
        ([ResourceNotFoundError("QueueNotFound"), ResourceExistsError("rivals")], [SENT, ("create",), SENT]),
        ([ServiceRequestError("cut off")], [SENT, SENT]),
    ],
    ids=["there", "missing", "made by others", "repeated"],
)
async def test_a_message_is_sent_to_a_queue_that_is_made_if_need_be(
    ends: list[Exception | None], seen: list[tuple[object, ...]]
) -> None:
    opened, post = list[Post](), Post(*ends)

    def opening() -> Any:
        opened.append(post)
        return post

    queues = AzureQueues(opening, Calls(lambda _: None, lambda: 0.0))
    await queues.aclose()
    await queues.send("q", b"x", 1.5)
    assert post.seen == [("queue", "q"), *seen]

    await queues.send("q", b"x")
    await queues.aclose()
    assert post.seen[-3:] == [("queue", "q"), ("send", "eA==", 0, -1), ("close",)]
    assert len(opened) == 1


@pytest.mark.parametrize(
    "ends", [[refused("AuthorizationFailure", 403)], [ResourceNotFoundError("a"), refused("QueueBeingDeleted", 409)]]
)
async def test_a_message_that_is_refused_is_told_of(ends: list[Exception | None]) -> None:
    queues = AzureQueues(lambda: Post(*ends), Calls(lambda _: None, lambda: 0.0))  # type: ignore[arg-type,return-value]

    with pytest.raises(Unavailable):
        await queues.send("q", b"x")
    with pytest.raises(ValueError, match="too long"):
        await queues.send("q", b"x" * (MAX_MESSAGE + 1))


async def test_queues_are_opened_by_a_connection_string_too() -> None:
    async with AzureStorage("UseDevelopmentStorage=true") as storage:
        queues = await storage.queues._opened_once()
        assert queues.url == "http://127.0.0.1:10001/devstoreaccount1/"


@pytest.mark.parametrize(("before", "after"), [(logging.NOTSET, logging.WARNING), (logging.DEBUG, logging.DEBUG)])
async def test_the_sdks_tell_of_no_request_unless_they_were_asked_to(
    caplog: pytest.LogCaptureFixture, before: int, after: int
) -> None:
    caplog.set_level(logging.INFO)  # as the Functions worker sets the root
    caplog.set_level(before, "azure")

    async with AzureStorage("UseDevelopmentStorage=true"):
        assert HttpLoggingPolicy().logger.getEffectiveLevel() == after
