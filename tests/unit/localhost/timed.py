"""A clock that the test moves, and timers whose runs are recorded: no waiting, no flakiness."""

import asyncio
import heapq
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from azure.functions.timer import TimerRequest

from localhost.functions import Function, RetryPolicy, TimerTrigger
from localhost.timers import Timers

START = datetime(2026, 11, 22, 12, 0, 0, tzinfo=UTC)


class FakeClock:
    """Time passes only in `advance`."""

    def __init__(self) -> None:
        self.time = START
        self._sleepers: list[tuple[datetime, int, asyncio.Event]] = []

    def now(self) -> datetime:
        return self.time

    async def sleep(self, seconds: float) -> None:
        event = asyncio.Event()
        heapq.heappush(self._sleepers, (self.time + timedelta(seconds=seconds), id(event), event))
        await event.wait()

    async def advance(self, seconds: float) -> None:
        end = self.time + timedelta(seconds=seconds)
        await settle()
        while self._sleepers and self._sleepers[0][0] <= end:
            self.time, _, event = heapq.heappop(self._sleepers)
            event.set()
            await settle()
        self.time = end


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


class Runs:
    """Records the runs of timers, each of which may take time or fail."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.seen: list[tuple[float, bool, tuple[int, int]]] = []
        self.status: list[dict[str, str]] = []
        self.durations: list[float] = []
        self.failures = 0
        self.running = 0
        self.most = 0

    async def __call__(self, function: Function, request: TimerRequest, retry: tuple[int, int]) -> None:
        self.seen.append(((self.clock.time - START).total_seconds(), request.past_due, retry))
        self.status.append(request.schedule_status)
        self.running += 1
        self.most = max(self.most, self.running)
        if self.durations:
            await self.clock.sleep(self.durations.pop(0))
        self.running -= 1
        if self.failures:
            self.failures -= 1
            raise RuntimeError("boom")

    @property
    def times(self) -> list[float]:
        return [time for time, _, _ in self.seen]


def make(
    schedule: str,
    *,
    startup: bool = False,
    monitor: bool = False,
    disabled: bool = False,
    retry: RetryPolicy | None = None,
) -> Function:
    return Function(
        name="tick",
        trigger=TimerTrigger(schedule, startup, monitor),
        call=lambda timer: None,
        argument="timer",
        wants_context=False,
        is_async=True,
        returns=False,
        disabled=disabled,
        retry=retry,
        directory=".",
    )


Make = Callable[[Function], Timers]
