"""Turns a loop's settings blob into the loop, and a loop into its blob."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import msgspec
import orjson

from shared.contract.errors import ApiError
from shared.log.buckets import Waits
from shared.log.join import LoopRules
from shared.loops import policy
from shared.loops.holdback import NOBODY, Holdback
from shared.loops.keys import NAMES
from shared.loops.limits import PERSONALIZERS, Limits
from shared.loops.policy import DEFAULT_ARGUMENTS, Policy, Problem, with_exploration
from shared.loops.service import ServiceConfiguration
from shared.storage import StorageError, documents


@dataclass(frozen=True, slots=True)
class Loop:
    """A learning loop.

    Attributes:
        id: 32 hex digits, for ever; names its tables, rows and blobs.
        configuration: its service settings.
        policy: its learning policy.
        waits: the reward waits, past and coming.
        keys: the hashes of its keys; none where only the deployment key opens it.
        created: when it was made, in seconds since the epoch.
        edited: when what shapes learning was last changed, or None.
        etag: the state of its settings blob.
        limits: how far its settings may go.
        holdback: the share of its decisions that are kept from the model.
        apprentice: when it was last turned to Apprentice mode, in seconds since the epoch; 0 where it was before that
            was written down, None where it never was.
        imports: names of what it learns before its log; see `shared.log.imports`.
    """

    id: str
    configuration: ServiceConfiguration
    policy: Policy
    waits: Waits
    keys: tuple[bytes, ...] = ()
    created: float = 0.0
    edited: float | None = None
    etag: str = ""
    limits: Limits = PERSONALIZERS
    holdback: Holdback = NOBODY
    apprentice: float | None = None
    imports: frozenset[str] = frozenset()

    def rules(self) -> LoopRules:
        """The loop as the join sees it."""
        held = self.configuration
        return LoopRules(self.id, self.waits, held.default_reward, held.reward_aggregation, held.reward_range)

    @property
    def learned(self) -> Policy:
        """The policy as the loop's models are made with it: within its reward range."""
        return self.policy.within(self.configuration.reward_range)

    @property
    def multi_slot(self) -> bool:
        """Whether it decides for slots."""
        return self.policy.problem is Problem.MULTI_SLOT


class _Settings(msgspec.Struct):
    configuration: ServiceConfiguration
    waits: Annotated[list[tuple[int, float]], msgspec.Meta(min_length=1)]
    policy: str | None = None
    keys: Annotated[list[str], msgspec.Meta(max_length=len(NAMES))] = []
    created: float = 0.0
    edited: float | None = None
    limits: Limits = PERSONALIZERS
    holdback: Holdback = NOBODY
    apprentice: float | None = None
    imports: list[str] = []
    format: int = documents.FORMAT


_INNER = ("configuration", "limits", "holdback")
"""The members that are records themselves."""


def path(loop_id: str) -> str:
    """The blob of a loop's settings."""
    return f"loops/{loop_id}/settings.json"


def encode(loop: Loop, held: bytes = b"{}") -> bytes:
    """The settings blob of a loop.

    Args:
        loop: what is to be kept.
        held: the blob so far; members that only a later release knows stay in it.
    """
    known = _Settings(
        loop.configuration,
        list(loop.waits.steps),
        loop.policy.arguments,
        [key.hex() for key in loop.keys],
        loop.created,
        loop.edited,
        loop.limits,
        loop.holdback,
        loop.apprentice,
        sorted(loop.imports),
    )
    before, now = orjson.loads(held), msgspec.to_builtins(known)
    inner = {name: {**before.get(name, {}), **now[name]} for name in _INNER}
    return orjson.dumps({**before, **now, **inner})


def decode(loop_id: str, data: bytes, etag: str) -> Loop:
    """The loop of a settings blob.

    Raises:
        StorageError: it is damaged, or of a later release.
    """
    held = documents.decode(data, _Settings, path(loop_id))
    # Before policies could be changed, the exploration percentage was all there was to one.
    arguments = held.policy
    if arguments is None:
        default = DEFAULT_ARGUMENTS[Problem.SINGLE_SLOT]
        arguments = with_exploration(default, held.configuration.exploration_percentage)
    try:
        learned = policy.read(arguments)
        keys = tuple(bytes.fromhex(key) for key in held.keys)
    except (ApiError, ValueError) as e:
        raise StorageError(f"{path(loop_id)} holds a policy or key that this release cannot read: {e}") from e
    return Loop(
        loop_id,
        held.configuration,
        learned,
        Waits(tuple(held.waits)),
        keys,
        held.created,
        held.edited,
        etag,
        held.limits,
        held.holdback,
        held.apprentice,
        frozenset(held.imports),
    )
