"""Turns an app's storage calls into named points, at which the process that makes them can be ended."""

from __future__ import annotations

import asyncio
import inspect
import os
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import msgspec

from shared.storage import Blobs, Queues, Tables
from tests.faults.points import point_of

BEFORE, AMID, AFTER = "before", "amid", "after"
"""Of a call: not begun; sent, its answer not read; answered without an error. A reading has no middle."""
TURNS = ("activity.grown", "activity.read")
"""What each run of the train timer begins with, and each of the join timer."""
_SHARED = f"{os.sep}shared{os.sep}"
_LONGEST_AMID = 0.004
"""Seconds that a call is under way before its process ends, about as long as Azurite takes to answer it."""


class Fault(msgspec.Struct, frozen=True):
    """Where a process ends: at the nth time that it comes to one side of a point."""

    point: str
    side: str
    nth: int = 1


class Gate:
    """Ends this process at the first of its faults that it comes to.

    Args:
        faults: where.
        tell: called with "turn" and the point of `TURNS` that a timer's run begins with, with "fault" and a point with
            its side, or with "unnamed" and a call that is none of the points.
        number: the signal that ends it.
        claims: a folder in which processes note the faults that they take, so that each is taken once, at whichever
            time it comes about; None where each process takes its own.
    """

    def __init__(
        self,
        faults: Sequence[Fault],
        tell: Callable[[str, str], None],
        number: signal.Signals = signal.SIGKILL,
        claims: Path | None = None,
    ) -> None:
        self._faults = set(faults)
        self._sides = {(fault.point, fault.side) for fault in faults}
        self._tell = tell
        self._number = number
        self._claims = claims
        self._passed: Counter[tuple[str, str]] = Counter()

    def name(self, call: str) -> str:
        """The point of a call that this process is about to make."""
        point = point_of(call, list(_functions()))
        if point is None:
            self._tell("unnamed", f"{call} in {' < '.join(_functions())}")
        elif point.name in TURNS:
            self._tell("turn", point.name)
        return point.name if point else "?"

    def takes(self, point: str, side: str) -> bool:
        """Whether this is where to end."""
        if self._claims is not None:
            return (point, side) in self._sides and self._claim(f"{point} {side}")
        self._passed[point, side] += 1
        return Fault(point, side, self._passed[point, side]) in self._faults

    def _claim(self, name: str) -> bool:
        assert self._claims is not None
        try:
            (self._claims / name).touch(exist_ok=False)
        except FileExistsError:
            return False
        return True

    def end(self, point: str, side: str) -> None:
        """End this process: at once by SIGKILL, in order by SIGTERM."""
        self._tell("fault", f"{point} {side}")
        os.kill(os.getpid(), self._number)

    def passes(self, point: str, side: str) -> None:
        """End here, if this is where."""
        if self.takes(point, side):
            self.end(point, side)


class Gated:
    """Tables, blobs or queues, whatever methods they have, each call of which passes a gate."""

    def __init__(self, storage: Tables | Blobs | Queues, gate: Gate, moment: Callable[[], float]) -> None:
        self._storage = storage
        self._gate = gate
        self._moment = moment

    def __getattr__(self, operation: str) -> Callable[..., Any]:
        method = getattr(self._storage, operation)
        if operation == "aclose":  # which is no call of storage
            return cast(Callable[..., Any], method)
        through = self._read if inspect.isasyncgenfunction(method) else self._call

        def call(*arguments: Any, **named: Any) -> Any:
            return through(operation, method, inspect.signature(method).bind(*arguments, **named))

        return call

    async def _call(self, operation: str, method: Callable[..., Awaitable[Any]], given: inspect.BoundArguments) -> Any:
        point = self._gate.name(_spell(operation, given))
        self._gate.passes(point, BEFORE)
        if self._gate.takes(point, AMID):
            under_way = asyncio.ensure_future(method(*given.args, **given.kwargs))
            await asyncio.sleep(self._moment() * _LONGEST_AMID)
            self._gate.end(point, AMID)
            return await under_way
        result = await method(*given.args, **given.kwargs)
        self._gate.passes(point, AFTER)
        return result

    async def _read(
        self, operation: str, method: Callable[..., AsyncIterator[Any]], given: inspect.BoundArguments
    ) -> AsyncIterator[Any]:
        point = self._gate.name(_spell(operation, given))
        self._gate.passes(point, BEFORE)
        async for found in method(*given.args, **given.kwargs):
            yield found
        self._gate.passes(point, AFTER)


def gated_tables(tables: Tables, gate: Gate, moment: Callable[[], float]) -> Tables:
    """Tables whose calls pass the gate; `moment` draws from [0, 1) how far a call is under way when it is cut off."""
    return cast(Tables, Gated(tables, gate, moment))


def gated_blobs(blobs: Blobs, gate: Gate, moment: Callable[[], float]) -> Blobs:
    """The same for blobs."""
    return cast(Blobs, Gated(blobs, gate, moment))


def gated_queues(queues: Queues, gate: Gate, moment: Callable[[], float]) -> Queues:
    """The same for queues."""
    return cast(Queues, Gated(queues, gate, moment))


def _spell(operation: str, given: inspect.BoundArguments) -> str:
    """A call as text: what is done, to which table and partition, blob or queue, and what of it is wanted."""
    arguments = given.arguments
    words = [operation]
    words += [value for name, value in arguments.items() if name in ("table", "path", "prefix", "partition", "queue")]
    if "row" in arguments and isinstance(arguments["row"], dict):
        words.append(arguments["row"]["PartitionKey"])
    if "partitions" in arguments:
        words.append(arguments["partitions"][0])
    if arguments.get("select"):
        words.append(",".join(arguments["select"]))
    return " ".join(words)


def _functions() -> Iterator[str]:
    """The product's functions that this call is made for, the innermost first; a task begins with its own."""
    frame = sys._getframe(1)
    while frame is not None:
        code = frame.f_code
        if _SHARED in code.co_filename:
            yield code.co_qualname
        frame = frame.f_back  # type: ignore[assignment]
