"""The local host's queue triggers against a real Azurite: deliveries, failures, poison, and ends of the process."""

import asyncio
import base64
import json
import signal
import sys
import time
import uuid
from pathlib import Path
from typing import Any

import pytest
from azure.core.exceptions import ResourceNotFoundError
from azure.storage.queue import QueueClient

from localhost.azurite import Azurite
from shared.storage.azure import AzureStorage
from shared.work import QUEUE
from tests.integration import served
from tests.integration.sample_app import write_app
from tests.integration.served import DEADLINE, ROOT, Served, wait_until

APP = """
    import asyncio, pathlib
    import azure.functions as func

    app = func.FunctionApp(http_auth_level="ANONYMOUS")
    release = pathlib.Path("release")

    @app.queue_trigger(arg_name="message", queue_name="%QUEUE%", connection="STORE")
    async def work(message: func.QueueMessage) -> None:
        text = message.get_body().decode()
        print("begin", text, message.dequeue_count)
        if text.startswith("fail"):
            raise RuntimeError("the piece fails")
        if text.startswith("json"):
            message.get_json()
        while text.startswith("wait") and not release.exists():
            await asyncio.sleep(0.01)
        print("end", text, bool(message.id and message.pop_receipt and message.insertion_time))
"""
SYNC = """
    import threading
    import azure.functions as func

    app = func.FunctionApp(http_auth_level="ANONYMOUS")

    @app.queue_trigger(arg_name="message", queue_name="%QUEUE%", connection="STORE")
    def work(message: func.QueueMessage) -> None:
        print("begin", message.get_body().decode(), message.dequeue_count)
        threading.Event().wait()
"""
ONE = {"batchSize": 1, "newBatchThreshold": 0, "maxPollingInterval": "00:00:01"}


class Site:
    """An app in a folder, the queue that it listens to, and the one for poison."""

    def __init__(self, folder: Path, storage: str) -> None:
        self.folder = folder
        self.queue = f"q-{uuid.uuid4().hex}"
        self.storage = storage

    def serve(self, source: str = APP, options: dict[str, Any] | None = None, *arguments: str) -> Served:
        write_app(self.folder, source, prefix=None)
        (self.folder / "host.json").write_text(json.dumps({"extensions": {"queues": options or {}}}))
        return Served(self.folder, *arguments, env={"QUEUE": self.queue, "STORE": self.storage})

    def send(self, *texts: str) -> None:
        """As the app does it."""

        async def send() -> None:
            async with AzureStorage(self.storage) as storage:
                for text in texts:
                    await storage.queues.send(self.queue, text.encode())

        asyncio.run(send())

    def send_raw(self, text: str) -> None:
        with QueueClient.from_connection_string(self.storage, self.queue) as client:
            client.send_message(text)

    def left(self, suffix: str = "") -> int:
        """How many messages there are, hidden or not; -1 where there is no such queue."""
        with QueueClient.from_connection_string(self.storage, self.queue + suffix) as client:
            try:
                return client.get_queue_properties().approximate_message_count or 0
            except ResourceNotFoundError:
                return -1

    def poison(self) -> list[str]:
        """The texts in the queue for poison, as they are stored."""
        with QueueClient.from_connection_string(self.storage, f"{self.queue}-poison") as client:
            return [message.content for message in client.peek_messages(32)]

    def emptied(self) -> None:
        wait_until(lambda: self.left() == 0, "messages are left")


@pytest.fixture
def site(tmp_path: Path, azurite: Azurite) -> Site:
    return Site(tmp_path / "app", azurite.connection_string)


LEASE = 4


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host that waits for less: half a minute would be long for a test."""

    def command(app_dir: Path, *options: str) -> list[str]:
        code = f"""if True:
            import sys
            from localhost import __main__, queues, server
            queues.LEASE = {LEASE}
            server._QUEUES_GRACE = 0.1
            sys.exit(__main__.main())"""
        return [sys.executable, "-c", code, "--app", str(app_dir), "--port", "0", *options]

    monkeypatch.setattr(served, "command", command)


def test_each_message_is_done_and_goes(site: Site) -> None:
    with site.serve() as running:  # before there is a queue
        site.send("a", "b", "c")
        lines = sorted(running.line() for _ in range(6))
        site.emptied()

    assert lines == ["begin a 1", "begin b 1", "begin c 1", "end a True", "end b True", "end c True"]
    assert site.left("-poison") == -1


def test_one_at_a_time_where_the_batch_is_one(site: Site) -> None:
    site.send("wait1", "wait2", "wait3")
    with site.serve(options=ONE) as running:
        first = running.line().split()[1]
        assert site.left() == 3
        (site.folder / "release").touch()
        lines = [running.line() for _ in range(5)]
        site.emptied()

    assert lines[0] == f"end {first} True"
    done = [line.split() for line in lines[1:]]
    assert [verb for verb, *_ in done] == ["begin", "end", "begin", "end"]
    assert done[0][1] == done[1][1] != done[2][1] == done[3][1]


def test_so_many_at_once_as_batch_and_threshold_allow(site: Site) -> None:
    """Two more are taken while one is being worked on: three, and never four."""
    site.send(*(f"wait{n}" for n in range(6)))
    with site.serve(options={"batchSize": 2, "newBatchThreshold": 1}) as running:
        begun = {running.line().split()[1] for _ in range(2)}
        assert len(begun) == 2
        (site.folder / "release").touch()
        lines = [running.line().split() for _ in range(10)]
        site.emptied()

    running_now, most = 2, 2
    for verb, *_ in lines:
        running_now += 1 if verb == "begin" else -1
        most = max(most, running_now)
    assert running_now == 0
    assert most <= 3


def test_what_fails_is_delivered_five_times_and_then_poison(site: Site) -> None:
    site.send("fail", "fine")
    with site.serve() as running:
        wait_until(lambda: site.left("-poison") == 1, "nothing is poison")
        site.emptied()
        site.send("after")
        lines = [running.line() for _ in range(9)]

    assert [line for line in lines if "fail" in line] == [f"begin fail {n}" for n in range(1, 6)]
    assert lines[-1] == "end after True"
    assert [base64.b64decode(text) for text in site.poison()] == [b"fail"]
    assert running.errors.count("RuntimeError: the piece fails") == 5
    assert "is poison: it failed 5 times" in running.errors


def test_a_failure_is_not_delivered_again_before_its_time(site: Site) -> None:
    site.send("fail")
    with site.serve(options={**ONE, "visibilityTimeout": "00:10:00"}) as running:
        assert running.line() == "begin fail 1"
        site.send("fine")
        assert [running.line(), running.line()] == ["begin fine 1", "end fine True"]
        wait_until(lambda: site.left() == 1, "the one that failed is gone")

    assert "begin fail 2" not in running.errors
    assert running.line() == ""
    assert site.left("-poison") == -1


def test_what_is_no_base64_is_poison_at_once_and_what_is_no_json_as_any_failure(site: Site) -> None:
    site.send("json but not quite")
    site.send_raw("no base64!")
    site.send_raw("")
    with site.serve() as running:
        wait_until(lambda: site.left("-poison") == 2, "nothing is poison")
        site.send("after")
        lines = list[str]()
        while lines[-1:] != ["end after True"]:
            lines.append(running.line())
        site.emptied()

    assert sorted(site.poison()) == sorted(["no base64!", base64.b64encode(b"json but not quite").decode()])
    assert not [line for line in lines if "base64" in line]
    assert "is poison: it is not base64" in running.errors


def test_text_as_it_is_where_host_json_says_so(site: Site) -> None:
    site.send("made")
    site.send_raw("plain")
    with site.serve(options={**ONE, "messageEncoding": "none"}) as running:
        begun = {running.line().split()[1] for _ in range(4)}

    assert begun == {"plain", base64.b64encode(b"made").decode()}


def test_a_long_piece_is_delivered_once(site: Site, impatient: None) -> None:
    site.send("wait")
    with site.serve(options={"batchSize": 1, "newBatchThreshold": 1}) as running:
        assert running.line() == "begin wait 1"
        time.sleep(2.5 * LEASE)  # it would be delivered again in this time
        (site.folder / "release").touch()
        assert running.line() == "end wait True"
        site.emptied()


def test_a_piece_whose_process_is_killed_is_delivered_again(site: Site, impatient: None) -> None:
    site.send("wait")
    with site.serve(options=ONE) as running:
        assert running.line() == "begin wait 1"
        running.stop(signal.SIGKILL)

    (site.folder / "release").touch()
    with site.serve(options=ONE) as running:
        assert [running.line(), running.line()] == ["begin wait 2", "end wait True"]
        site.emptied()


def test_what_kills_its_process_each_time_is_poison_in_the_end(site: Site, impatient: None) -> None:
    once = {**ONE, "maxDequeueCount": 1}
    site.send("wait")
    with site.serve(options=once) as running:
        assert running.line() == "begin wait 1"
        running.stop(signal.SIGKILL)

    with site.serve(options=once) as running:
        wait_until(lambda: site.left("-poison") == 1, "nothing is poison")
        site.emptied()

    assert running.line() == ""
    assert "nobody came to an end with it in 1 deliveries" in running.errors


def test_an_end_in_order_lets_the_running_piece_end_and_takes_no_more(site: Site) -> None:
    site.send("wait")
    with site.serve(options=ONE) as running:
        assert running.line() == "begin wait 1"
        running.process.send_signal(signal.SIGTERM)
        wait_until(lambda: "has 1 messages to come to an end with" in running.errors, "it does not end")
        site.send("next")
        (site.folder / "release").touch()

        assert running.line() == "end wait True"
        assert running.process.wait(DEADLINE) == 0
        assert running.line() == ""

    assert site.left() == 1


@pytest.mark.parametrize(("source", "code"), [(APP, 0), (SYNC, 1)], ids=["coroutine", "thread"])
def test_a_piece_that_does_not_end_in_time_is_given_back(site: Site, impatient: None, source: str, code: int) -> None:
    site.send("wait")
    with site.serve(source, ONE) as running:
        assert running.line() == "begin wait 1"
        assert running.stop() == code

    assert "its 1 messages given back" in running.errors
    with QueueClient.from_connection_string(site.storage, site.queue) as client:
        assert [message.dequeue_count for message in client.receive_messages()] == [2]


def test_an_outage_of_storage_ends_nothing(tmp_path: Path, azurite_on_disk: Azurite) -> None:
    site = Site(tmp_path / "app", azurite_on_disk.connection_string)
    site.send("before")
    with site.serve() as running:
        assert [running.line(), running.line()] == ["begin before 1", "end before True"]
        site.emptied()
        azurite_on_disk.stop()
        wait_until(lambda: "does not answer, and is asked again" in running.errors, "nobody was told")
        azurite_on_disk.start()
        site.send("after")
        assert [running.line(), running.line()] == ["begin after 1", "end after True"]

    assert running.errors.count("is asked again") == 1


def test_without_its_connection_a_function_gets_nothing_and_the_others_are_served(tmp_path: Path) -> None:
    source = APP.replace('"%QUEUE%"', '"Q"')
    with Served(write_app(tmp_path / "app", source)) as running:
        (listed,) = json.loads(running.get("/admin/functions").body)
        wait_until(lambda: "there is no app setting STORE" in running.errors, "nobody was told")
        assert running.post("/admin/functions/work").status == 400

    assert listed["config"]["bindings"] == [
        {"type": "queueTrigger", "name": "message", "queueName": "q", "connection": "STORE"}
    ]


def test_the_app_itself_gets_its_work_and_what_it_does_not_know_goes_back(
    tmp_path: Path, azurite_on_disk: Azurite
) -> None:
    site = Site(tmp_path, azurite_on_disk.connection_string)
    site.queue = QUEUE
    site.send('{"kind":"of a later release"}')
    settings = {"RANKLOOP_STORAGE": site.storage, "RANKLOOP_KEY": "k", "RANKLOOP_DATA": str(tmp_path)}
    with Served(ROOT, "--no-timers", env=settings) as running:
        wait_until(lambda: "failed (delivery 1" in running.errors, "it was not delivered")
        answer = running.get("/rankloop/v1/health", {"ocp-apim-subscription-key": "k"})

    assert "this release knows no work of the kind 'of a later release'" in running.errors
    assert json.loads(answer.body)["counters"]["work.failed"] == 1
    assert (site.left(), site.left("-poison")) == (1, -1)


def test_queues_can_be_left_out(site: Site) -> None:
    site.send("a")
    with site.serve(APP, ONE, "--no-queues") as running:
        assert running.get("/admin/host/ping").status == 200

    assert running.line() == ""
    assert site.left() == 1
