"""Turns a loop, a span of its log and what was asked for into the plan of an evaluation."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final

import msgspec

from shared import jobs
from shared.contract.evaluations import DateRange, PolicySource
from shared.evaluation import namespaces, search
from shared.evaluation import plan as plans
from shared.evaluation.plan import Entrant, Plan
from shared.evaluation.resources import Evaluation
from shared.learning.lesson import takes
from shared.log import joined
from shared.log.erasure import Erased
from shared.log.join import Rules
from shared.log.joined import DSJSON, Window
from shared.log.labels import sound
from shared.loops import policy
from shared.loops.settings import Loop
from shared.storage import Blobs

ONLINE, BASELINE, RANDOM = OWN = ("online", "baseline1", "BaselineRand")
"""The names of what every evaluation compares: what decided, the first action or the slot's baseline, and a draw."""
MOST_BYTES: Final = 2400 * 1024 * 1024
"""Compressed bytes of log that an evaluation may look at: about ten million events of ten actions."""
_HOUR = 3600
MOST_SLOTS: Final = 100
"""Slots of a loop that are told apart."""
_SAMPLE_BYTES = 512 * 1024
_TRIES = 5
"""Windows that are looked at for a sample."""


class _Slot(msgspec.Struct, gc=False):
    id: str = msgspec.field(name="_id")


class _Line(msgspec.Struct, gc=False):
    outcomes: list[_Slot] = msgspec.field(name="_outcomes", default_factory=list)


_decode = msgspec.json.Decoder(_Line).decode


async def sizes(blobs: Blobs, loop_id: str, dates: DateRange, since: int) -> dict[Window, int]:
    """The windows of the log that hold something of a span, in order, with their sizes in bytes.

    Args:
        blobs: hold them.
        loop_id: the loop.
        dates: the span.
        since: what the log held before is deleted.
    """
    # A window lies in one hour, so one that reaches into the span does not begin before its first hour.
    first = max(math.floor(dates.start) // _HOUR * _HOUR, since)
    held = (await joined.sizes(blobs, loop_id, first, math.ceil(dates.end)))[DSJSON]
    return {window: size for window, size in held.items() if window.end > dates.start}


async def sample(blobs: Blobs, loop: Loop, held: Iterable[Window], erased: Erased) -> list[bytes]:
    """The first events for learning of the last window that has some at its beginning; of a few windows none.

    Raises:
        StorageError: a window is gone or damaged, or storage does not answer.
    """
    for window in list(held)[: -_TRIES - 1 : -1]:
        lines, _ = await joined.read_beginning(blobs, loop.id, window, _SAMPLE_BYTES, erased)
        taken = [line for line in lines if takes(line, loop.configuration.learning_mode, loop.multi_slot)]
        if found := [line for line in taken if sound(line)]:
            return found[: namespaces.ENOUGH]
    return []


def plan(loop: Loop, evaluation: Evaluation, held: Mapping[Window, int], events: Sequence[bytes]) -> Plan:
    """The plan of an evaluation.

    Args:
        loop: as it is now.
        evaluation: what was asked for.
        held: windows of its log, in order, with their sizes; one at least.
        events: some of its lines, by which features and slots are known.
    """
    configuration = loop.configuration
    rewards = configuration.reward_range
    own = [
        Entrant(ONLINE, PolicySource.ONLINE, loop.policy.arguments),
        Entrant(BASELINE, PolicySource.BASELINE),
        Entrant(RANDOM, PolicySource.RANDOM),
    ]
    custom = [_entrant(one.name, PolicySource.CUSTOM, one.arguments, rewards) for one in evaluation.policies]
    taken = {one.name for one in [*own, *custom]}
    first = search.first(loop.policy.arguments, namespaces.of_lines(events)) if evaluation.optimize else []
    found = [_entrant(_free(one.name, taken), PolicySource.FOUND, one.arguments, rewards) for one in first]
    windows = plans.sized(held)
    ends, rounds = plans.shards(sum(size for _, _, size in windows), search.SHARES if found else ())
    groups = [own, *([one] for one in custom)]
    return Plan(
        job=evaluation.job_id,
        evaluation=evaluation.id,
        created=evaluation.created,
        mode=configuration.learning_mode,
        multi_slot=loop.multi_slot,
        rules=Rules(
            configuration.reward_wait_time, configuration.default_reward, configuration.reward_aggregation, rewards
        ),
        windows=windows,
        ends=ends,
        rounds=rounds,
        groups=[*groups, *plans.batches(found)],
        slots=_slots(events),
        searched=len(groups),
    )


def job_id(loop_id: str, evaluation_id: str, now: float) -> str:
    """The id of an evaluation's job."""
    return jobs.new_id(now, f"evaluate {loop_id} {evaluation_id}")


def _slots(events: Sequence[bytes]) -> list[str]:
    """The ids of the slots of the most events, in the order in which they come first; none in single slot.

    Two events may have the same slots in another order, or other ones: pages differ.
    """
    counts = Counter(slot.id for line in events for slot in _decode(line).outcomes)
    kept = {slot_id for slot_id, _ in counts.most_common(MOST_SLOTS)}
    return [slot_id for slot_id in counts if slot_id in kept]


def _entrant(name: str, source: PolicySource, arguments: str, rewards: tuple[float, float]) -> Entrant:
    learned = policy.read(arguments)
    return Entrant(name, source, arguments, learned.within(rewards).training, learned.resuming)


def _free(name: str, taken: Collection[str]) -> str:
    """The name, or where a caller has taken it for a policy of theirs one like it."""
    return name if name not in taken else _free(f"{name}'", taken)
