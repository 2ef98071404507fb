"""Turns what was decided for a call into its answer and its journal line: the parts that every kind of Rank shares."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from shared.contract import numbers
from shared.contract.errors import ApiError
from shared.log.buckets import iso
from shared.log.records import APPRENTICE, ONLINE, ranked_line
from shared.loops.settings import Loop
from shared.ranking.features import Action
from shared.ranking.holdback import held_back


@dataclass(frozen=True, slots=True)
class Decision:
    """A decision, ready to be logged and answered.

    Attributes:
        event_id: the caller's, or one made here.
        event_json: the same as JSON.
        body: the answer as JSON.
        choice: what was drawn and answered, as members of the journal line; see `records.ranked_line`.
        mode: the learning mode it was decided in.
        dsjson: the members of the joined log's line that are known now, as a JSON object, less its Timestamp.
        empty_slots: slots for which earlier ones had left no action.
        trial: of what trial it is, as a member of the journal line; see `Trial`.
    """

    event_id: str
    event_json: bytes
    body: bytes
    choice: bytes
    mode: str
    dsjson: bytes
    empty_slots: int = 0
    trial: bytes = b""


@dataclass(frozen=True, slots=True)
class Trial:
    """What the loop tries out, as far as a decision is part of it: a holdback, or an apprenticeship.

    Attributes:
        held: whether the decision is held back from the model.
        share: the share that is held back.
        member: of the journal line, as JSON: the event's side, or when the apprenticeship began; see `records.Ranked`.
    """

    held: bool = False
    share: float = 0.0
    member: bytes = b""

    @property
    def logged(self) -> bytes:
        """A member of the joined line, behind a comma: the share; what is held back follows from it."""
        return b',"holdbackShare":%a' % self.share if self.share else b""


NO_TRIAL = Trial()


def trial_of(loop: Loop, event_id: str, subject: str | None) -> Trial:
    """What a decision for a loop is part of."""
    mode, holdback = loop.configuration.learning_mode, loop.holdback
    if mode == APPRENTICE and loop.apprentice:
        return Trial(member=b'"b":%.3f' % loop.apprentice)
    if not holdback.share or mode != ONLINE:
        return NO_TRIAL
    held = held_back(event_id, subject, loop.id, mode, holdback.share)
    return Trial(held, holdback.share, b'"h":[%b,%.3f]' % (b"true" if held else b"false", holdback.since))


def new_event_id(loop_id: str) -> str:
    """An event id for a caller who sent none, in the original's form (contract 1.5)."""
    return f"{uuid.uuid4().hex}-{loop_id[:5]}"


def log_line(decision: Decision, time: float, deferred: bool, subject: str | None = None) -> bytes:
    """The journal line of a decision.

    Args:
        decision: the decision.
        time: when it was taken, in seconds since the epoch.
        deferred: whether it waits for activation.
        subject: the tag of its subject, or None.
    """
    named = b'"subject":"%b",' % subject.encode() if subject else b""
    waits = b'"DeferredAction":true,' if deferred else b""
    dsjson = b'{"Timestamp":"%b",%b%b%b' % (iso(time).encode(), named, waits, decision.dsjson[1:])
    mode, trial = decision.mode, decision.trial
    return ranked_line(decision.event_json, time, deferred, decision.choice, mode, dsjson, subject, trial)


def check_distinct(actions: list[Action]) -> None:
    """Refuse actions that share an id.

    Raises:
        ApiError: InvalidRankRequest.
    """
    ids = [action.id for action in actions]
    if len(set(ids)) != len(ids):
        repeated = next(name for n, name in enumerate(ids) if name in ids[:n])
        message = f"Action ids must be distinct; {repeated!r} stands more than once."
        raise ApiError("InvalidRankRequest", message, "actions")


def odd_ids(ids: Sequence[bytes]) -> bytes:
    """A member of the joined line, behind a comma: the ids that the example does not hold as they are.

    Args:
        ids: of the actions in the example, as JSON. VW would cut an id off at a NUL, so another character stands there.
    """
    odd = [b"[%d,%b]" % (n, action_id) for n, action_id in enumerate(ids) if b"\\u0000" in action_id]
    return b',"ids":[%b]' % b",".join(odd) if odd else b""


@lru_cache(maxsize=4096)
def number(value: float) -> bytes:
    """The shortest JSON number for the 32-bit float that the original would send (contract 1.5)."""
    return numbers.spell(value).encode()
