"""Turns a loop, a span of its log and what was asked for into the plan of an evaluation."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Final, NamedTuple

import msgspec

from shared import jobs
from shared.contract.evaluations import DateRange, PolicySource
from shared.evaluation import namespaces, search, work
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
_JUDGE: Final = policy.DEFAULT_ARGUMENTS[policy.Problem.SINGLE_SLOT]
"""A policy that takes as long as the model of rewards."""
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


class Sample(NamedTuple):
    """What is known of a log without reading it all.

    Attributes:
        lines: some of its events for learning; none where none was found.
        size: compressed bytes that an event takes.
    """

    lines: list[bytes]
    size: float


async def sample(blobs: Blobs, loop: Loop, held: Mapping[Window, int], erased: Erased) -> Sample:
    """The first events for learning of the last window that has some at its beginning; of a few windows none.

    Args:
        blobs: hold the log.
        loop: the loop.
        held: windows of its log, in order, with their sizes in bytes; one at least.
        erased: what nobody may see any more.

    Raises:
        StorageError: a window is gone or damaged, or storage does not answer.
    """
    for window in list(held)[: -_TRIES - 1 : -1]:
        lines, count = await joined.read_beginning(blobs, loop.id, window, _SAMPLE_BYTES, erased)
        size = held[window] / max(1, count)
        taken = [line for line in lines if takes(line, loop.configuration.learning_mode, loop.multi_slot)]
        if found := [line for line in taken if sound(line)]:
            return Sample(found[: namespaces.ENOUGH], size)
    return Sample([], size)


def plan(loop: Loop, evaluation: Evaluation, held: Mapping[Window, int], seen: Sample) -> Plan:
    """The plan of an evaluation.

    Args:
        loop: as it is now.
        evaluation: what was asked for.
        held: windows of its log, in order, with their sizes; one at least.
        seen: of it, by which features and slots are known, and how long an event takes.
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
    features = namespaces.of_lines(seen.lines)
    first = search.first(loop.policy.arguments, features) if evaluation.optimize else []
    found = [_entrant(_free(one.name, taken), PolicySource.FOUND, one.arguments, rewards) for one in first]
    windows = plans.sized(held)
    groups = [own, *([one] for one in custom), *plans.batches(found)]
    # What decided, the baseline and a draw follow from the log, but with them a model of rewards replays it.
    policies = [[_JUDGE], *([one.arguments or "" for one in group] for group in groups[1:])]
    dearest = max(work.seconds(each, features) for each in policies) * _decisions(seen.lines)
    most = max(1, min(plans.SHARD_BYTES, round(seen.size * work.SECONDS / dearest)))
    ends, rounds = plans.shards(sum(size for _, _, size in windows), search.SHARES if found else (), most)
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
        groups=groups,
        slots=_slots(seen.lines),
        searched=1 + len(custom),
    )


def job_id(loop_id: str, evaluation_id: str, now: float) -> str:
    """The id of an evaluation's job."""
    return jobs.new_id(now, f"evaluate {loop_id} {evaluation_id}")


def _decisions(events: Sequence[bytes]) -> int:
    """How many there are in an event at most: one for each slot."""
    return max((len(_decode(line).outcomes) for line in events), default=0) or 1


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
