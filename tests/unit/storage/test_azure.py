from datetime import UTC, datetime
from typing import Any

import pytest
from azure.core.exceptions import HttpResponseError, ServiceRequestError

from shared.storage import Conflict, Unavailable
from shared.storage.azure import AzureStorage
from shared.storage.azure.blobs import AzureBlobs
from shared.storage.azure.errors import translated
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


async def test_a_download_that_is_refused_is_no_missing_blob(monkeypatch: pytest.MonkeyPatch) -> None:
    class Container:
        async def download_blob(self, *_: object, **__: object) -> None:
            raise refused("AuthorizationFailure", 403)

    class Service:
        def get_container_client(self, _: str) -> Container:
            return Container()

    with pytest.raises(Unavailable):
        await AzureBlobs(Service()).get("a")  # type: ignore[arg-type]
