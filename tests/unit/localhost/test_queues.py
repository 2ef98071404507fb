"""How a queue is listened to, with a queue that a test fills and watches."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

import azure.functions as func
import pytest

from localhost import queues
from localhost.config import QueueOptions
from localhost.functions import Function, QueueTrigger
from localhost.queue_client import Message, NoConnection, QueueError, open_queue
from localhost.queues import Listener, Queues, decode, next_pause
from tests.unit.localhost.timed import make

FUNCTION = Function(
    name="work",
    trigger=QueueTrigger("q", "STORE"),
    call=lambda message: None,
    argument="message",
    wants_context=False,
    is_async=True,
    returns=False,
    disabled=False,
    retry=None,
    directory=".",
)


class FakeQueue:
    """A queue whose messages are given once, and which notes what becomes of them."""

    def __init__(self, *texts: str, has_poison: bool = True, count: int = 1) -> None:
        self.name = "q"
        self.has_poison = has_poison
        self.messages = [Message(f"m{n}", text, "r", count, None, None, None) for n, text in enumerate(texts)]
        self.seen: list[tuple[str, str | int]] = []
        self.changed = asyncio.Condition()
        self.broken = 0

    async def receive(self, count: int, lease: int) -> list[Message]:
        if self.broken:
            self.broken -= 1
            raise QueueError("away")
        given, self.messages = self.messages[:count], self.messages[count:]
        return given

    async def _note(self, what: str, about: str | int) -> None:
        async with self.changed:
            self.seen.append((what, about))
            self.changed.notify_all()

    async def hide(self, message: Message, seconds: int) -> None:
        await self._note("hide", seconds)

    async def delete(self, message: Message) -> None:
        await self._note("delete", message.text)

    async def poison(self, message: Message) -> None:
        await self._note("poison", message.text)

    async def close(self) -> None:
        await self._note("close", "")

    async def until(self, count: int) -> list[tuple[str, str | int]]:
        """What became of the messages, once there is so much of it."""
        async with asyncio.timeout(30), self.changed:
            await self.changed.wait_for(lambda: len(self.seen) >= count)
        return self.seen


Handler = Callable[[func.QueueMessage], Awaitable[None]]


def listen(queue: FakeQueue, handler: Handler, options: QueueOptions | None = None) -> Listener:
    options = options or QueueOptions(base64=False, visibility_timeout=60, max_polling_interval=0.01)
    listener = Listener(FUNCTION, queue, lambda function, message: handler(message), options)  # type: ignore[arg-type]
    listener.start()
    return listener


async def succeed(message: func.QueueMessage) -> None:
    assert message.get_body() == b"a"


async def fail(message: func.QueueMessage) -> None:
    raise RuntimeError("boom")


async def wait(message: func.QueueMessage) -> None:
    await asyncio.Event().wait()


@pytest.mark.parametrize(
    ("handler", "count", "has_poison", "outcome"),
    [
        (succeed, 1, True, ("delete", "a")),
        (succeed, 5, True, ("delete", "a")),
        (fail, 1, True, ("hide", 60)),
        (fail, 4, True, ("hide", 60)),
        (fail, 5, True, ("poison", "a")),
        (succeed, 6, True, ("poison", "a")),
        (fail, 9, False, ("hide", 60)),
        (succeed, 9, False, ("delete", "a")),
    ],
)
async def test_what_becomes_of_a_message(
    handler: Handler, count: int, has_poison: bool, outcome: tuple[str, str | int]
) -> None:
    queue = FakeQueue("a", count=count, has_poison=has_poison)
    listener = listen(queue, handler)

    assert await queue.until(1) == [outcome]
    assert await listener.stop(30)
    assert queue.seen == [outcome, ("close", "")]


async def test_poison_of_a_queue_for_poison_stays_in_it(caplog: pytest.LogCaptureFixture) -> None:
    queue = FakeQueue("!", has_poison=False)
    listener = listen(queue, succeed, QueueOptions(max_polling_interval=0.01))
    async with asyncio.timeout(30):
        while "is poison: it is not base64" not in caplog.text:  # noqa: ASYNC110 - nothing else tells of it
            await asyncio.sleep(0.01)

    assert await listener.stop(30)
    assert queue.seen == [("close", "")]


async def test_the_lease_is_renewed_while_the_function_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queues, "LEASE", 0.03)
    ended = asyncio.Event()

    async def handler(message: func.QueueMessage) -> None:
        await ended.wait()

    queue = FakeQueue("a")
    listener = listen(queue, handler)
    assert await queue.until(3) == [("hide", 0.03)] * 3
    ended.set()

    assert await listener.stop(30)
    assert queue.seen[-2:] == [("delete", "a"), ("close", "")]


async def test_a_piece_that_outlasts_the_grace_is_given_back_at_once(caplog: pytest.LogCaptureFixture) -> None:
    queue = FakeQueue("a", "b")
    begun = asyncio.Semaphore(0)

    async def handler(message: func.QueueMessage) -> None:
        begun.release()
        await wait(message)

    listener = listen(queue, handler)
    await begun.acquire()
    await begun.acquire()

    assert await listener.stop(0)
    assert queue.seen == [("hide", 0), ("hide", 0), ("close", "")]
    assert "its 2 messages given back" in caplog.text


async def test_what_comes_in_while_it_stops_is_given_back() -> None:
    queue = FakeQueue("a")
    receive, asked, answer = queue.receive, asyncio.Event(), asyncio.Event()

    async def slow(count: int, lease: int) -> list[Message]:
        asked.set()
        await answer.wait()
        return await receive(count, lease)

    queue.receive = slow  # type: ignore[method-assign]
    listener = listen(queue, fail)
    await asked.wait()
    stopping = asyncio.ensure_future(listener.stop(30))
    await asyncio.sleep(0)
    answer.set()

    assert await stopping
    assert queue.seen == [("hide", 0), ("close", "")]


async def test_a_queue_that_does_not_answer_is_asked_again_and_told_of_once(caplog: pytest.LogCaptureFixture) -> None:
    queue = FakeQueue("a")
    queue.broken = 3
    listener = listen(queue, succeed)

    assert await queue.until(1) == [("delete", "a")]
    assert await listener.stop(30)
    assert caplog.text.count("is asked again: away") == 1


async def test_a_message_that_cannot_be_deleted_is_left_to_its_lease(caplog: pytest.LogCaptureFixture) -> None:
    queue = FakeQueue("a")

    async def delete(message: Message) -> None:
        await queue._note("delete", "in vain")
        raise QueueError("away")

    queue.delete = delete  # type: ignore[method-assign]
    listener = listen(queue, succeed)

    await queue.until(1)
    assert await listener.stop(30)
    assert "may be delivered again: away" in caplog.text


async def test_functions_that_are_disabled_or_of_other_kinds_are_not_listened_for() -> None:
    disabled = replace(FUNCTION, disabled=True)
    found = Queues([make("* * * * * *"), disabled], fail, QueueOptions(), {})  # type: ignore[arg-type]
    found.start()

    assert found.functions == [disabled]
    assert await found.stop(0)


def test_pauses_double_up_to_the_longest() -> None:
    pauses = [0.0]
    while len(pauses) < 8:
        pauses.append(next_pause(pauses[-1], 2.0))

    assert pauses[1:] == [0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0]
    assert next_pause(0.0, 0.05) == 0.05


@pytest.mark.parametrize(
    ("text", "is_base64", "body"),
    [
        ("eyJhIjoxfQ==", True, '{"a":1}'),
        (" eyJh\nIjoxfQ== ", True, '{"a":1}'),
        ("", True, ""),
        ("/w==", True, "\ufffd"),
        ("eyJhIjoxfQ", True, None),
        ('{"a":1}', True, None),
        ("é", True, None),
        ('{"a":1}', False, '{"a":1}'),
    ],
)
def test_the_text_of_a_message(text: str, is_base64: bool, body: str | None) -> None:
    assert decode(text, is_base64) == body


KEY = "AccountName=acc;AccountKey=a2V5"


@pytest.mark.parametrize(
    ("environ", "address"),
    [
        ({"STORE": f"DefaultEndpointsProtocol=https;{KEY};EndpointSuffix=core.windows.net"}, "https://acc.queue.core"),
        ({"STORE": "UseDevelopmentStorage=true"}, "http://127.0.0.1:10001/"),
        (
            {"AzureWebJobsSTORE": f"{KEY};QueueEndpoint=http://h:1/acc", "STORE": "UseDevelopmentStorage=true"},
            "http://h:1/acc",
        ),
        ({"STORE__accountName": "acc"}, "https://acc.queue.core.windows.net"),
        ({"STORE__queueServiceUri": "https://u.test", "STORE__accountName": "acc"}, "https://u.test"),
    ],
)
async def test_where_a_queue_is(environ: dict[str, str], address: str) -> None:
    queue = open_queue("q", "STORE", environ)

    assert (queue.name, queue.has_poison) == ("q", True)
    assert queue._queue.url.startswith(address)
    await queue.close()


async def test_a_queue_for_poison_has_none_of_its_own() -> None:
    queue = open_queue("q-poison", "STORE", {"STORE": "UseDevelopmentStorage=true"})

    assert not queue.has_poison
    with pytest.raises(QueueError, match="nowhere to go"):
        await queue.poison(Message("m", "", "r", 1, None, None, None))
    await queue.close()


@pytest.mark.parametrize(
    ("environ", "reason"),
    [({}, "there is no app setting STORE"), ({"STORE": "account"}, "STORE is no connection string")],
)
def test_a_queue_that_no_setting_leads_to(environ: dict[str, str], reason: str) -> None:
    with pytest.raises(NoConnection, match=reason):
        open_queue("q", "STORE", environ)
