"""Turns the app's queue triggers into calls: each message at least once, those that fail five times into the poison.

The rules are those of the host's own queue extension, but for three numbers: a message is given for half a minute at a
time and not for ten, so that one whose process was killed is soon delivered again; an empty queue is asked again after
two seconds at most, as Core Tools do; and a piece that does not end in time is given back at once.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import importlib
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping

import azure.functions as func
from azure.functions.queue import QueueMessage

from localhost.config import QueueOptions
from localhost.functions import Function, QueueTrigger
from localhost.queue_client import Message, NoConnection, Queue, QueueError, open_queue

Invoke = Callable[[Function, func.QueueMessage], Awaitable[object]]

_log = logging.getLogger("localhost.queues")
LEASE = 30
"""Seconds for which a message is ours, and hidden from others; renewed every third of it while the function runs."""
_SOONEST = 0.1
"""Seconds after which an empty queue is asked again, at first; twice as long each time."""


class Queues:
    """All queue functions of the app."""

    def __init__(
        self, functions: Iterable[Function], invoke: Invoke, options: QueueOptions, environ: Mapping[str, str]
    ) -> None:
        """Take the functions with a queue trigger; others are passed over."""
        self.functions = [function for function in functions if isinstance(function.trigger, QueueTrigger)]
        if self.functions:
            importlib.import_module("azure.storage.queue.aio")  # takes long: no call is to wait for it
        self._invoke = invoke
        self._options = options
        self._environ = environ
        self._listeners: list[Listener] = []

    def start(self) -> None:
        """Begin to listen to the queues of the functions that are not disabled.

        One whose connection is not set is told of, and not listened to, as the host does it.
        """
        for function in self.functions:
            if function.disabled or not isinstance(trigger := function.trigger, QueueTrigger):
                continue
            try:
                queue = open_queue(trigger.queue, trigger.connection, self._environ)
            except NoConnection as error:
                _log.error("function %s gets no messages of queue %s: %s", function.name, trigger.queue, error)
                continue
            self._listeners.append(Listener(function, queue, self._invoke, self._options))
            self._listeners[-1].start()

    async def stop(self, grace: float) -> bool:
        """Take nothing more, and wait at most `grace` seconds for what is running; what is left is given back.

        False if something that was given back cannot be stopped.
        """
        return all(await asyncio.gather(*(listener.stop(grace) for listener in self._listeners)))


class Listener:
    """One function and its queue."""

    def __init__(self, function: Function, queue: Queue, invoke: Invoke, options: QueueOptions) -> None:
        """Listen as soon as it is started."""
        self._function = function
        self._queue = queue
        self._invoke = invoke
        self._options = options
        self._running: set[asyncio.Task[None]] = set()
        self._stopping = asyncio.Event()
        self._following: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to take messages."""
        self._following = asyncio.ensure_future(self._follow())

    async def stop(self, grace: float) -> bool:
        """See `Queues.stop`."""
        self._stopping.set()
        if self._following is not None:
            await self._following
        left: set[asyncio.Task[None]] = set()
        if self._running:
            _log.info("function %s has %d messages to come to an end with", self._function.name, len(self._running))
            _, left = await asyncio.wait(self._running, timeout=grace)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        await self._queue.close()
        if left:
            _log.warning("function %s was cut off, and its %d messages given back", self._function.name, len(left))
        return self._function.is_async or not left

    async def _follow(self) -> None:
        pause, failing = 0.0, False
        while not self._stopping.is_set():
            try:
                found = await self._queue.receive(self._options.batch_size, LEASE)
                failing = False
            except QueueError as error:
                if not failing:
                    _log.warning("queue %s does not answer, and is asked again: %s", self._queue.name, error)
                found, failing = [], True
            for message in found:
                task = asyncio.ensure_future(self._take(message))
                self._running.add(task)
                task.add_done_callback(self._running.discard)
            pause = 0.0 if found else next_pause(pause, self._options.max_polling_interval)
            await self._wait(pause)

    async def _wait(self, pause: float) -> None:
        """Wait so long, and then until so few messages are being worked on that more may be taken."""
        stop = asyncio.ensure_future(self._stopping.wait())
        try:
            if pause:
                await asyncio.wait([stop], timeout=pause)
            while len(self._running) > self._options.new_batch_threshold and not self._stopping.is_set():
                await asyncio.wait([stop, *self._running], return_when=asyncio.FIRST_COMPLETED)
        finally:
            stop.cancel()

    async def _take(self, message: Message) -> None:
        """See to it that a message is done, or delivered again, or poison; whatever fails here, the lease ends."""
        try:
            await self._process(message)
        except QueueError as error:
            _log.warning("a message of queue %s may be delivered again: %s", self._queue.name, error)
        except asyncio.CancelledError:
            await self._queue.hide(message, 0)
            raise

    async def _process(self, message: Message) -> None:
        function, most = self._function, self._options.max_dequeue_count
        body = decode(message.text, self._options.base64)
        if self._stopping.is_set():
            await self._queue.hide(message, 0)
            return
        if body is None:
            await self._put_away(message, "it is not base64")
            return
        if message.count > most and self._queue.has_poison:
            await self._put_away(message, f"nobody came to an end with it in {most} deliveries")
            return
        try:
            await self._while_leased(message, self._invoke(function, _trigger_value(message, body)))
        except Exception:
            _log.exception("function %s failed (delivery %d of message %s)", function.name, message.count, message.id)
            if message.count < most or not self._queue.has_poison:
                await self._queue.hide(message, self._options.visibility_timeout)
            else:
                await self._put_away(message, f"it failed {most} times")
        else:
            await self._queue.delete(message)

    async def _put_away(self, message: Message, reason: str) -> None:
        """Have a message that cannot be worked on out of the way; the poison of a queue for poison stays in it."""
        _log.error("message %s of queue %s is poison: %s", message.id, self._queue.name, reason)
        if self._queue.has_poison:
            await self._queue.poison(message)

    async def _while_leased(self, message: Message, work: Awaitable[object]) -> None:
        """Await the work, while nobody else gets the message."""
        ended = asyncio.Event()
        renewing = asyncio.ensure_future(self._renew(message, ended))
        try:
            await work
        finally:
            # Not cancelled: an answer that is thrown away may hold the receipt by which the message is ours.
            ended.set()
            await renewing

    async def _renew(self, message: Message, ended: asyncio.Event) -> None:
        while True:
            try:
                await asyncio.wait_for(ended.wait(), LEASE / 3)
                return
            except TimeoutError:
                pass
            try:
                await self._queue.hide(message, LEASE)
            except QueueError as error:
                _log.warning("a message of queue %s is not kept from others: %s", self._queue.name, error)


def next_pause(last: float, longest: float) -> float:
    """Return the seconds until an empty queue is asked again: a tenth at first, doubled each time up to the longest."""
    return min(max(last * 2, _SOONEST), longest)


def decode(text: str, is_base64: bool) -> str | None:
    """Return what the function gets of a message's text, or None where it is not what `host.json` says it is.

    The host hands text over, so bytes that are no UTF-8 do not come through as they are.
    """
    if not is_base64:
        return text
    try:
        return base64.b64decode("".join(text.split()), validate=True).decode(errors="replace")
    except (binascii.Error, ValueError):
        return None


def _trigger_value(message: Message, body: str) -> func.QueueMessage:
    return QueueMessage(
        id=message.id,
        body=body,
        dequeue_count=message.count,
        expiration_time=message.expires,
        insertion_time=message.inserted,
        time_next_visible=message.visible,
        pop_receipt=message.receipt,
    )
