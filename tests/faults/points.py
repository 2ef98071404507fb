"""Turns an app's storage calls into named points, at which the process that makes them can be ended."""

from __future__ import annotations

import asyncio
import inspect
import os
import re
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import msgspec

from shared.storage import Blobs, Queues, Tables

BEFORE, AMID, AFTER = "before", "amid", "after"
"""Of a call: not begun; sent, its answer not read; answered without an error. A reading has no middle."""
_SHARED = f"{os.sep}shared{os.sep}"
_LONGEST_AMID = 0.004
"""Seconds that a call is under way before its process ends, about as long as Azurite takes to answer it."""
_WORDS = {
    "<loop>": "[0-9a-f]{32}",
    "<day>": "[0-9]{8}",
    "<window>": r"loops/[0-9a-f]{32}/joined/year=.*/[0-9]{10}-[0-9]{10}(\.[0-9]+)?",
    "<version>": "loops/[0-9a-f]{32}/models/[^/]+",
}


@dataclass(frozen=True, slots=True)
class Point:
    """A step that touches storage.

    Attributes:
        name: what tests call it.
        call: the calls it makes, as `_spell` spells them: a pattern with the words of `_WORDS` in it.
        within: the function, by its qualified name, on whose behalf the call is made; any if empty.
        needs: the point behind which an end makes this one come about, if it does not come about by itself.
    """

    name: str
    call: str
    within: str = ""
    needs: str = ""


POINTS = (
    Point("clock.probe", "put clock clock"),
    Point("deployment.read", "(get|get_changed) deployment.json"),
    Point("deployment.found", "put deployment.json", "Loops._found"),
    Point("deployment.write", "put deployment.json"),
    Point("settings.found", "put loops/<loop>/settings.json", "Loops._found"),
    Point("settings.create", "put loops/<loop>/settings.json", "Loops.create"),
    Point("settings.write", "put loops/<loop>/settings.json"),
    Point("settings.read", "get loops/<loop>/settings.json"),
    # Rank, reward, activate
    Point("pointer.poll", "get_changed loops/<loop>/models/current.json"),
    Point("model.load", "get <version>/model.vw", "_Entry._look"),
    Point("subject.read", "get loops/<loop>/subject.key"),
    Point("subject.key", "put loops/<loop>/subject.key"),
    Point("activity.note", "put activity join"),
    Point("journal.overflow", "put journal/(rank|obs)<loop><day>/.*"),
    Point("journal.write.rank", "put rank<loop><day> .*"),
    Point("journal.write.obs", "put obs<loop><day> .*"),
    # Join
    Point("activity.read", "query activity join"),
    Point("activity.forget", "delete activity join"),
    Point("activity.joined", "put activity train", "note_joined"),
    Point("join.checkpoint", "get loops/<loop>/join.json", "Joiner.run"),
    Point("join.count", "query rank<loop><day> .*", "Joiner._cut"),
    Point("join.read.marks", "query rank<loop><day> .* PartitionKey,RowKey,h"),
    Point("join.read.rank", "query rank<loop><day> .*"),
    Point("join.read.obs", "query obs<loop><day> .*"),
    Point("join.read.overflow", "get journal/.*", "Joiner._join"),
    Point("join.output", "put <window>.dsjson.zst"),
    Point("join.output.check", "get <window>.dsjson.zst", "Joiner._carry_out", needs="join.output"),
    Point("join.observations", "put <window>.observations.zst"),
    Point("join.observations.check", "get <window>.observations.zst", "Joiner._carry_out", needs="join.observations"),
    Point("join.index", "put <window>.index", "Joiner._carry_out"),
    Point("checkpoint.move", "put loops/<loop>/join.json", "Joiner._carry_out"),
    Point("checkpoint.plan", "put loops/<loop>/join.json", "Joiner.run"),
    Point("journal.prune", "delete (rank|obs)<loop><day> .*"),
    # Train
    Point("activity.grown", "query activity sweep"),
    Point("activity.trained", "delete activity train", "trained"),
    Point("activity.put_off", "put activity train", "put_off"),
    # Examination, whose steps are named before those of training, as they are less
    Point("examine.read", "get loops/<loop>/examined.json"),
    Point("examine.checkpoint", "get loops/<loop>/join.json", "Examiner.run"),
    Point("examine.list", "(names|folders) loops/<loop>/joined/.*", "Examiner._examine"),
    Point("examine.window.read", "get <window>.dsjson.zst", "Examiner._examine"),
    Point("examine.move", "put loops/<loop>/examined.json", "Examiner.run"),
    Point("train.checkpoint", "get loops/<loop>/join.json", "App._train"),
    Point("train.list", "(names|folders) loops/<loop>/joined/.*", "windows"),
    Point("train.read", "get <window>.dsjson.zst", "Trainer._extend"),
    Point("vet.read", "get <window>.dsjson.zst", "Vetter._recent"),
    Point("renewal.read", "get loops/<loop>/renewal.json"),
    Point("renewal.move", "put loops/<loop>/renewal.json"),
    Point("renewal.sizes", "(sizes|folders) loops/<loop>/joined/.*", "plan"),
    Point("job.read", "get loops/<loop>/jobs/.*"),
    Point("job.write", "put loops/<loop>/jobs/.*"),
    Point("job.list", "names loops/<loop>/jobs/"),
    Point("piece.list", "names loops/<loop>/pieces/.*"),
    Point("piece.window", "get <window>.dsjson.zst", "Pieces._do"),
    Point("piece.write", "put loops/<loop>/pieces/.*"),
    Point("piece.read", "get loops/<loop>/pieces/.*"),
    Point("piece.delete", "delete loops/<loop>/pieces/.*"),
    Point("thin.pointer", "get loops/<loop>/models/current.json", "thin"),
    Point("pointer.read", "get loops/<loop>/models/current.json"),
    Point("model.check", "get <version>/model.vw", "store", needs="model.write"),
    Point("model.read", "get <version>/model.vw", "Trainer._extend"),
    Point("vet.model", "get <version>/model.vw", "Vetter._stored"),
    Point("model.write", "put <version>/model.vw"),
    Point("version.write", "put <version>/version.json"),
    Point("version.read", "get <version>/version.json"),
    Point("model.rebuild", "get <version>/model.vw", "Rebuilder._stored"),
    Point("pointer.change", "put loops/<loop>/models/current.json", "change"),
    Point("pointer.move", "put loops/<loop>/models/current.json", "Publisher.publish"),
    # Closed hours
    Point("hours.read", "get loops/<loop>/hours.json"),
    Point("hours.checkpoint", "get loops/<loop>/join.json", "Hours.run"),
    Point("hours.days", "sizes loops/<loop>/index/"),
    Point("hours.folders", "folders loops/<loop>/joined/.*", "Hours.run"),
    Point("hours.list", "sizes loops/<loop>/joined/.*", "Hours.run"),
    Point("hours.index.read", "(get|get_range) (<window>|loops/<loop>/index/.*).index"),
    Point("hours.window.read", "get <window>.(observations|dsjson).zst", "Hours._pass"),
    Point("hours.index", "put loops/<loop>/index/.*"),
    Point("hours.table", "put loops/<loop>/parquet/.*"),
    Point("hours.older", "names loops/<loop>/(index|parquet)/.*"),
    Point("hours.move", "put loops/<loop>/hours.json"),
    # Sweep: retention, and what deleted loops have left
    Point("sweep.turn", "put activity sweep"),
    Point("retention.checkpoint", "get loops/<loop>/join.json", "expire"),
    Point("retention.move", "put loops/<loop>/join.json", "expire"),
    Point("erase.forget", "delete activity train", "forget_loop"),
    Point("erase.tables", "names (rank|obs)<loop>", "erase"),
    Point("erase.drop", "drop (rank|obs)<loop><day>", "erase"),
    Point("erase.list", "names loops/<loop>/"),
    Point("erase.delete", "delete loops/<loop>/[a-z]+.(json|key)"),
    Point("thin.checkpoint", "get loops/<loop>/join.json", "thin"),
    Point("thin.read", "get loops/<loop>/models/thinned.json"),
    Point("thin.list", "names loops/<loop>/models/.*", "thin"),
    Point("versions.list", "names loops/<loop>/models/.*"),
    Point("versions.checkpoint", "get loops/<loop>/join.json", "_bytes"),
    Point("pin.checkpoint", "get loops/<loop>/join.json", "unpin"),
    Point("thin.move", "put loops/<loop>/models/thinned.json"),
    Point("retention.tables", "names (rank|obs)<loop>"),
    Point("retention.drop", "drop (rank|obs)<loop><day>"),
    Point("retention.overflow", "names journal/(rank|obs)<loop>"),
    Point("retention.overflow.delete", "delete journal/.*"),
    Point("retention.folders", "folders loops/<loop>/(joined|parquet/[a-z]+)/.*", "_prune"),
    Point("retention.slices", "names loops/<loop>/slices/"),
    Point("retention.list", "names loops/<loop>/(joined|parquet/[a-z]+)/year=.*"),
    Point("retention.delete", "delete (<window>|loops/<loop>/(parquet|index)/).*"),
    # Work
    Point("work.send", "send rankloop-work"),
)
"""In order of the day; of those that a call fits, the first counts."""
PRUNING = frozenset({"journal.prune"})
"""Where journal rows are deleted as soon as they are joined, and nowhere else."""
ASKED = frozenset({"work.send"})
"""Where somebody asks for long work, as the traffic of these tests does not."""


def _pattern(call: str) -> re.Pattern[str]:
    call = call.replace(".", r"\.").replace(r"\.*", ".*")
    for word, meaning in _WORDS.items():
        call = call.replace(word, meaning)
    return re.compile(call)


_PATTERNS = tuple((point, _pattern(point.call)) for point in POINTS)


def point_of(call: str, functions: Sequence[str]) -> Point | None:
    """The point of a storage call.

    Args:
        call: see `_spell`.
        functions: the qualified names of those of the product that are under way, the innermost first.
    """
    for point, pattern in _PATTERNS:
        if pattern.fullmatch(call) and (not point.within or point.within in functions):
            return point
    return None


class Fault(msgspec.Struct, frozen=True):
    """Where a process ends: at the nth time that it comes to one side of a point."""

    point: str
    side: str
    nth: int = 1


class Gate:
    """Ends this process at the first of its faults that it comes to.

    Args:
        faults: where.
        tell: called with "fault" and a point with its side, or "unnamed" and a call that is none of the points.
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
