"""Several replicas of the local host on one storage account: each timer's schedule is one's to follow."""

import asyncio
import signal
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from textwrap import dedent

import pytest
from azure.storage.blob.aio import BlobLeaseClient, ContainerClient

from localhost import leases
from localhost.config import StartError
from localhost.leases import BlobLeases, open_leases
from tests.integration.served import Served, wait_until

APP = """
    import azure.functions as func

    app = func.FunctionApp()

    @app.timer_trigger(schedule="* * * * * *", arg_name="timer", use_monitor=False)
    def tick(timer: func.TimerRequest) -> None:
        print("tick", flush=True)
"""


class Replicas:
    """Two on a container that does not exist yet."""

    def __init__(self, storage: str) -> None:
        name = f"leases-{uuid.uuid4().hex}"
        self.one, self.other = (BlobLeases(ContainerClient.from_connection_string(storage, name)) for _ in range(2))


@pytest.fixture
async def replicas(storage: str) -> AsyncIterator[Replicas]:
    made = Replicas(storage)
    yield made
    await made.one.close()
    await made.other.close()


async def ours(replica: BlobLeases, name: str = "tick") -> bool:
    async with replica.run(name) as found:
        return found


async def test_a_timer_stays_with_the_replica_that_has_it(replicas: Replicas) -> None:
    assert await ours(replicas.one)
    assert not await ours(replicas.other)
    assert await ours(replicas.one)
    assert await ours(replicas.other, "tock")
    assert not await ours(replicas.one, "tock")


async def test_a_replica_that_ends_leaves_its_timers_to_the_others(replicas: Replicas) -> None:
    assert await ours(replicas.one)

    await replicas.one.close()

    assert await ours(replicas.other)


async def test_a_replica_whose_lease_has_run_out_is_succeeded_and_finds_so(replicas: Replicas) -> None:
    assert await ours(replicas.one)
    # As its minute does, where nobody renews it.
    await BlobLeaseClient(replicas.one._container.get_blob_client("timers/tick")).break_lease(0)

    assert await ours(replicas.other)
    assert not await ours(replicas.one)


async def test_a_long_run_keeps_its_lease(replicas: Replicas, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "_RENEWED", 0.01)
    async with replicas.one.run("tick") as found:
        assert found
        held = replicas.one._held["tick"]
        renewed, original = asyncio.Event(), held.renew

        async def noted() -> None:
            await original()
            renewed.set()

        held.renew = noted
        await renewed.wait()
        assert not await ours(replicas.other)


async def test_where_storage_is_gone_no_timer_runs(caplog: pytest.LogCaptureFixture) -> None:
    nowhere = "DefaultEndpointsProtocol=http;AccountName=a;AccountKey=YQ==;BlobEndpoint=http://127.0.0.1:1/a"
    replica = BlobLeases(ContainerClient.from_connection_string(nowhere, "c", retry_total=0))

    assert not await ours(replica)

    assert "timer tick does not run, its lease cannot be had" in caplog.text
    await replica.close()


async def test_where_the_account_is_comes_from_the_hosts_own_settings(storage: str) -> None:
    by_key = open_leases({"AzureWebJobsStorage": storage})
    by_identity = open_leases({"AzureWebJobsStorage__accountName": "name", "AzureWebJobsStorage__clientId": "id"})

    assert by_identity._container.url == "https://name.blob.core.windows.net/rankloop-host"
    assert by_key._container.url.endswith("/devstoreaccount1/rankloop-host")
    for settings in ({}, {"AzureWebJobsStorage": "nonsense"}):
        with pytest.raises(StartError, match="AzureWebJobsStorage"):
            open_leases(settings)
    await by_key.close()
    await by_identity.close()


def test_served_twice_an_app_ticks_once_and_goes_on_when_one_ends(tmp_path: Path, storage: str) -> None:
    (tmp_path / "function_app.py").write_text(dedent(APP))
    env = {"AzureWebJobsStorage": storage}

    with Served(tmp_path, "--replicas", env=env) as one, Served(tmp_path, "--replicas", env=env) as other:
        first = wait_for_a_tick(one, other)
        for _ in range(3):
            assert first.line() == "tick"
        second = other if first is one else one
        assert second._lines.empty()
        assert first.stop(signal.SIGTERM) == 0
        assert second.line() == "tick"


def wait_for_a_tick(*replicas: Served) -> Served:
    ticked: list[Served] = []

    def any_has() -> bool:
        ticked.extend(replica for replica in replicas if not replica._lines.empty())
        return bool(ticked)

    wait_until(any_has, "no replica ran the timer")
    ticked[0].line()
    return ticked[0]
