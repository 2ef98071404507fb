"""Turns joined lines into a tally: counts that add up, of bounded size, which hold no value of a caller's features."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from shared.health import distinct, draws, features, offers
from shared.health.draws import Row, SlotDraws
from shared.health.features import Counting, Features
from shared.health.offers import Offers
from shared.log import entry
from shared.log.entry import Entry
from shared.log.join import MIN_PROBABILITY
from shared.log.records import ONLINE, readable

SLOTS = 4
"""Slots whose draws are counted apart; the last one stands for all further ones."""
NO_MODEL = "N/A"
"""How the log names the version where none served."""
MOST_LINES = 1_000
"""Lines of a window that are examined; with the next two it keeps examining below a third of what joining costs."""
FEW = 250
"""Lines of a window that are examined in any case: they are a matter of milliseconds."""
MOST_BYTES = 4_000_000
"""Bytes of a window that are read: the rest may hold more of the same."""


class Tally(msgspec.Struct, frozen=True, omit_defaults=True):
    """What was counted in a run of windows.

    Attributes:
        start, end: the run, in seconds since the epoch.
        lines: events in it.
        events: those of them that were examined; all that follows is of these.
        deferred: events that waited for activation.
        inactive: those of them that were never activated; what is said of rewards is not of these.
        rewarded: events with a reward.
        reward, squares: the sums of the events' rewards and of their squares, before any clamping.
        lowest, highest: of those rewards; None where there is none.
        clamped: rewards outside the reward range; learning sees its end.
        improbable: draws logged with a probability so small that learning sees a larger one.
        modelless: events that were decided without a model.
        alone: events that offered one action.
        draws: by slot, those that were made: in Online mode, and not held back.
        explored, asked: over those made with a model, the probability of not drawing the likeliest action: as it was,
            and as the exploration percentage asks for.
        modelled: how many of these there are.
        offers: which actions were offered together.
        features: see there.
        joined, repeated: events joined, and retries left out, while the windows were examined.
        answered, late, unknown: events with a reward that were joined meanwhile, and rewards that came too late or for
            no event.
    """

    start: int = 0
    end: int = 0
    lines: int = 0
    events: int = 0
    deferred: int = 0
    inactive: int = 0
    rewarded: int = 0
    reward: float = 0.0
    squares: float = 0.0
    lowest: float | None = None
    highest: float | None = None
    clamped: int = 0
    improbable: int = 0
    modelless: int = 0
    alone: int = 0
    draws: list[SlotDraws] = []
    explored: float = 0.0
    asked: float = 0.0
    modelled: int = 0
    offers: Offers = Offers()
    features: Features = Features()
    joined: int = 0
    repeated: int = 0
    answered: int = 0
    late: int = 0
    unknown: int = 0

    @property
    def settled(self) -> int:
        """Events that had their chance of a reward."""
        return self.events - self.inactive


_APART = {"start", "end", "lowest", "highest", "draws", "offers", "features"}
_SUMS = [name for name in Tally.__struct_fields__ if name not in _APART]


def merge(one: Tally, other: Tally) -> Tally:
    """The tally of two runs."""
    if not one.end or not other.end:
        return one if one.end else other
    slots = max(len(one.draws), len(other.draws))
    pad = [[*tally.draws, *[SlotDraws()] * (slots - len(tally.draws))] for tally in (one, other)]
    lows = [low for low in (one.lowest, other.lowest) if low is not None]
    highs = [high for high in (one.highest, other.highest) if high is not None]
    return Tally(
        start=min(one.start, other.start),
        end=max(one.end, other.end),
        lowest=min(lows, default=None),
        highest=max(highs, default=None),
        draws=[draws.merge(a, b) for a, b in zip(*pad, strict=True)],
        offers=offers.merge(one.offers, other.offers),
        features=features.merge(one.features, other.features),
        **{name: getattr(one, name) + getattr(other, name) for name in _SUMS},
    )


def of_lines(lines: Sequence[bytes], count: int, start: int, end: int, sparing: int = 1) -> Tally:
    """The tally of a window: of all lines that are given, or of every nth.

    Args:
        lines: of its joined log, perhaps not all; one that cannot be decoded counts as not examined.
        count: how many it has.
        start: of the window.
        end: of the window.
        sparing: examine every so manieth line only, where `FEW` are left.
    """
    counting = _Counting()
    step = max(1, -(-len(lines) // MOST_LINES), min(sparing, len(lines) // FEW))
    for event in readable(entry.of_line, lines[::step]):
        counting.add(event)
    return counting.tally(count, start, end)


class _Counting:
    """A tally as it is being counted."""

    def __init__(self) -> None:
        self._counts = dict.fromkeys(_SUMS, 0.0)
        self._rewards: list[float] = []
        self._rows: list[Row] = []
        self._features = Counting()
        self._hashes: dict[bytes, int] = {}
        self._offered: set[tuple[int, ...]] = set()

    def add(self, event: Entry) -> None:
        counts = self._counts
        actions = self._features.add(bytes(event.example))
        self._offered.add(tuple([self._hashes.get(action) or self._hash(action) for action in actions]))
        counts["events"] += 1
        counts["deferred"] += event.deferred
        counts["modelless"] += event.scorer.version == NO_MODEL
        counts["alone"] += len(actions) == 1
        if event.outcomes is None:
            labels = [(event.cost, event.raw_cost)]
            drawn = [([action - 1 for action in event.order], event.probabilities)]
            observed = event.observed
        else:
            labels = [(slot.cost, slot.raw_cost) for slot in event.outcomes]
            drawn = [(slot.actions, slot.probabilities) for slot in event.outcomes]
            observed = [one for slot in event.outcomes for one in slot.observed]
        if event.inactive:
            counts["inactive"] += 1
        else:
            counts["rewarded"] += any(one.value is not None for one in observed)
            raw = [-cost for _, cost in labels if cost is not None]
            if raw:
                self._rewards.append(sum(raw) / len(raw))
            if event.mode == ONLINE:
                counts["clamped"] += any(cost != was for cost, was in labels)
        if event.mode == ONLINE and not event.holdback:
            for slot, (its, probabilities) in enumerate(drawn):
                if its:
                    self._draw(event, min(slot, SLOTS - 1), its, probabilities)

    def _hash(self, action: bytes) -> int:
        self._hashes[action] = found = distinct.hash_of(features.id_of(action).encode())
        return found

    def _draw(self, event: Entry, slot: int, actions: Sequence[int], probabilities: Sequence[float]) -> None:
        counts = self._counts
        while len(self._rows) <= slot:
            self._rows.append(Row())
        self._rows[slot].add(actions, probabilities)
        counts["improbable"] += probabilities[0] <= MIN_PROBABILITY
        if event.epsilon is not None and event.scorer.version != NO_MODEL:
            counts["modelled"] += 1
            counts["explored"] += 1.0 - max(probabilities) / sum(probabilities)
            counts["asked"] += event.epsilon * (1.0 - 1.0 / len(actions))

    def tally(self, lines: int, start: int, end: int) -> Tally:
        counts = {name: type(getattr(Tally(), name))(count) for name, count in self._counts.items()}
        rewards = self._rewards
        counts |= {"lines": lines, "reward": sum(rewards), "squares": sum(reward**2 for reward in rewards)}
        return Tally(
            start=start,
            end=end,
            lowest=min(rewards, default=None),
            highest=max(rewards, default=None),
            draws=[row.counted() for row in self._rows],
            offers=offers.of(sorted(self._offered)),
            features=self._features.counted(),
            **counts,
        )
