"""Turns the app's timer triggers into runs: one at a time for each timer, at the instants of its schedule."""

from __future__ import annotations

import asyncio
import json
import logging
import os
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from azure.functions.timer import TimerRequest

from localhost.functions import Function, TimerTrigger
from localhost.leases import Alone, Leases
from localhost.ncrontab import Schedule

Invoke = Callable[[Function, TimerRequest, tuple[int, int]], Awaitable[object]]

_log = logging.getLogger("localhost.timers")
# The computer may sleep, or its clock be set: the wall clock is looked at again at least this often.
_LONGEST_SLEEP = 30.0


class Clock(Protocol):
    """Where timers take the time from."""

    def now(self) -> datetime:
        """Return the time, in UTC."""

    async def sleep(self, seconds: float) -> None:
        """Return when so many seconds have passed."""


class SystemClock:
    """The computer's own clock."""

    def now(self) -> datetime:
        """Return the time, in UTC."""
        return datetime.now(UTC)

    async def sleep(self, seconds: float) -> None:
        """Return when so many seconds have passed."""
        await asyncio.sleep(seconds)


@dataclass(frozen=True, slots=True)
class Status:
    """What a monitored timer's file says: the last run (if any), the next one, and when that was written."""

    last: datetime | None
    next: datetime
    updated: datetime

    def as_dict(self) -> dict[str, str]:
        """Return it with the names that the host's own status blobs use."""
        last = self.last or datetime.min.replace(tzinfo=UTC)
        return {"Last": last.isoformat(), "Next": self.next.isoformat(), "LastUpdated": self.updated.isoformat()}


class Timer:
    """One timer function, its schedule and, where it is monitored, its status file."""

    def __init__(self, function: Function, trigger: TimerTrigger, directory: Path) -> None:
        """Parse the schedule (`StartError` where it is wrong); the status file lies in the directory."""
        self.function = function
        self.trigger = trigger
        self.schedule = Schedule(trigger.schedule)
        self.monitored = trigger.use_monitor and not self.schedule.sub_minute
        self.lock = asyncio.Lock()
        self._path = directory / f"{function.name}.json"

    def read_status(self) -> Status | None:
        """Return the status, or None where there is none that can be read."""
        try:
            stored = json.loads(self._path.read_text())
            last, following, updated = (datetime.fromisoformat(stored[k]) for k in ("Last", "Next", "LastUpdated"))
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return Status(last if last.year > 1 else None, following, updated)

    def write_status(self, last: datetime | None, now: datetime) -> None:
        """Note the last run, and when the next one is due; a file that cannot be written does not stop the timer."""
        status = Status(last, self.schedule.next(last or now), now)
        try:
            self._write(json.dumps(status.as_dict()))
        except OSError as error:
            _log.warning("the status of timer %s was not written: %s", self.function.name, error)

    def _write(self, text: str) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        draft = self._path.with_suffix(".new")
        # Replacing is atomic: a kill leaves the old status or the new one.
        draft.write_text(text)
        os.replace(draft, self._path)


class Timers:
    """All timers of the app."""

    def __init__(
        self,
        functions: Iterable[Function],
        invoke: Invoke,
        clock: Clock,
        directory: Path,
        leases: Leases | None = None,
    ) -> None:
        """Take the functions with a timer trigger; others are passed over. `StartError` where a schedule is wrong.

        With `leases`, a schedule's runs are left to the replica that has the timer's; a run that is asked for is done.
        """
        self.timers = {
            function.name: Timer(function, function.trigger, directory)
            for function in functions
            if isinstance(function.trigger, TimerTrigger)
        }
        self._invoke = invoke
        self._clock = clock
        self._leases = leases or Alone()
        self._tasks: set[asyncio.Task[None]] = set()
        self._busy: set[asyncio.Task[None] | None] = set()
        self._stopping = False

    def start(self) -> None:
        """Begin to follow the schedules of the timers that are not disabled."""
        for timer in self.timers.values():
            if not timer.function.disabled:
                self._spawn(self._follow(timer))

    def run_now(self, name: str) -> bool:
        """Begin one run of the timer, after the one under way if there is one; False where there is no such timer."""
        timer = self.timers.get(name)
        if timer is None or self._stopping:
            return False
        self._spawn(self._run(timer, past_due=False))
        return True

    async def stop(self, grace: float) -> bool:
        """Start nothing more and wait for what is running, at most `grace` seconds; False if something was left."""
        self._stopping = True
        for task in self._tasks - self._busy:
            task.cancel()
        left: set[asyncio.Task[None]] = set()
        if self._tasks:
            _, left = await asyncio.wait(self._tasks, timeout=grace)
            for task in left:
                task.cancel()
        await self._leases.close()
        return not left

    def _spawn(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        # The loop keeps only weak references to tasks.
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("a timer is no longer followed", exc_info=error)

    async def _follow(self, timer: Timer) -> None:
        now = self._clock.now()
        status = timer.read_status() if timer.monitored else None
        # The schedule may have been changed since the status was written, so what was due is computed afresh.
        past_due = status is not None and timer.schedule.next(status.last or status.updated) < now
        if timer.monitored and status is None:
            timer.write_status(None, now)
        due = now if past_due or timer.trigger.run_on_startup else timer.schedule.next(now)
        while not self._stopping:
            while (left := (due - self._clock.now()).total_seconds()) > 0:
                await self._clock.sleep(min(left, _LONGEST_SLEEP))
            # A sleep can end a moment early, and that run must not fall due twice.
            started = max(due, self._clock.now())
            async with self._leases.run(timer.function.name) as ours:
                if ours:
                    await self._run(timer, past_due=past_due)
            if timer.monitored:
                timer.write_status(started, self._clock.now())
            # Counted from the start: a run that outlasted its period is followed by one run at once, not by several.
            due, past_due = timer.schedule.next(started), False

    async def _run(self, timer: Timer, *, past_due: bool) -> None:
        """Run the function, and again after failures as its retry policy says."""
        async with timer.lock:
            function, policy = timer.function, timer.function.retry
            status = timer.read_status() if timer.monitored else None
            request = TimerRequest(
                past_due=past_due,
                schedule_status=status.as_dict() if status is not None else None,
                schedule={"AdjustForDST": True},
            )
            limit = policy.max_retries if policy is not None else 0
            failures = 0
            while not self._stopping:
                task = asyncio.current_task()
                self._busy.add(task)
                try:
                    await self._invoke(function, request, (failures, limit))
                    return
                except Exception:
                    _log.exception("timer %s failed (run %d)", function.name, failures + 1)
                finally:
                    self._busy.discard(task)
                failures += 1
                if policy is None or 0 <= limit < failures:
                    return
                await self._clock.sleep(policy.delay(failures))
