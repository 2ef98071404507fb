"""Turns a stretch of the log and a policy into how much each feature matters: what is lost when it says nothing.

A model learns the first half of the events and then learns no more. On events of the second half its value is
estimated, by SNIPS, and again with one feature permuted at a time. What is lost, with the standard error of the
difference, is the feature's importance (Breiman 2001; docs/adr/0033).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from shared.evaluation import logged, permuted
from shared.evaluation.logged import Logged
from shared.evaluation.permuted import Feature, Situation
from shared.learning.excerpt import Excerpt
from shared.learning.lesson import cost_of
from shared.learning.model import Learner, ServingModel

FEATURES: Final = 200
"""Features that are weighed, those that come in the most events."""
EVENTS: Final = 10_000
"""Events that they are weighed on at most, evenly spread."""
BYTES: Final = 32 * 1024 * 1024
"""Of lines that they are in at most: decoded they take some six times as much memory."""
WORK: Final = 500_000
"""Decisions that are made for it at most, some 50 s of a core: of many features each is weighed on fewer events."""
ENOUGH: Final = 200
"""As many events of equal weight must tell of the policy, or nothing can be said of its features."""
APART: Final = 2.0
"""Standard errors by which two losses differ, or one is none."""
Numbers = NDArray[np.float64]
T = TypeVar("T")


class Task(msgspec.Struct, frozen=True, array_like=True):
    """All that it takes to weigh features.

    Attributes:
        excerpt: the stretch of the log.
        training, resuming, serving: what VW is told to make a model, to go on from one, and to decide by it without
            exploring.
        seed: of the permutations.
    """

    excerpt: Excerpt
    training: str
    resuming: str
    serving: str
    seed: int


class Importance(msgspec.Struct, frozen=True, rename="camel"):
    """How much a feature matters.

    Attributes:
        namespace, feature_name: see `permuted.Feature`.
        score: what is lost without it, as a share of what is lost without the feature that matters the most: from 0
            to 1.
        loss: the same in units of the reward; may be less than 0 by chance.
        error: the standard error of `loss`.
    """

    namespace: str
    feature_name: str
    score: float
    loss: float
    error: float


class Weighed(msgspec.Struct, frozen=True):
    """What came of it.

    Attributes:
        features: the one that matters the most first.
        value: what the policy earns with all of them, by SNIPS; 0 where nothing tells.
        learned: events that the model learned.
        events: those that the features were weighed on.
        effective: as many events of equal weight tell as much of the policy (Kish).
        features_found: how many features there were.
    """

    features: list[Importance]
    value: float
    learned: int
    events: int
    effective: float
    features_found: int

    @property
    def says(self) -> str | None:
        """What the reader should know of it, in sentences; None for nothing."""
        if self.effective < ENOUGH:
            return (
                f"There is too little to go by: the {self.events} events that were looked at tell as much of the "
                f"policy as {self.effective:.0f} would that it had decided itself; {ENOUGH} are the least."
            )
        if self.features_found > len(self.features):
            return f"Of {self.features_found} features the {len(self.features)} that come most often were looked at."
        return None


def weigh(message: bytes) -> bytes:
    """What comes of a `Task`, as the message of a `Weighed`.

    Raises:
        ModelError: VW does not take the policy.
        StorageError: a window is damaged.
    """
    task = msgspec.msgpack.decode(message, type=Task)
    model, learned, lines = _learned(task)
    try:
        events = list(logged.read(lines, task.excerpt.multi_slot))
        found = weighed(model, events, np.random.default_rng(task.seed))
        return msgspec.msgpack.encode(msgspec.structs.replace(found, learned=learned))
    finally:
        model.close()


def _learned(task: Task) -> tuple[ServingModel, int, list[bytes]]:
    """A model of the first half of the events, of how many it is, and those of the second half that are looked at.

    The excerpt is gone through twice, a window at a time: unpacked it may be a hundred times as large.
    """
    counts = [(len(lesson), sum(map(len, lesson))) for lesson in task.excerpt.lessons()]
    total, size = sum(count for count, _ in counts), sum(size for _, size in counts)
    half = total // 2
    wanted = set(_spread(range(half, total), min(EVENTS, BYTES * total // max(1, size))))
    learner, learned, kept = Learner(task.training, None, task.resuming), 0, list[bytes]()
    try:
        for n, line in enumerate(line for lesson in task.excerpt.lessons() for line in lesson):
            if n < half:
                learned += cost_of(learner, line) is not None
            elif n in wanted:
                kept.append(line)
        return ServingModel(learner.save(), task.serving), learned, kept
    finally:
        learner.close()


def _spread(listed: Sequence[T], most: int) -> list[T]:
    """So many of a list at most, evenly spread."""
    count = min(most, len(listed))
    return [listed[n * len(listed) // count] for n in range(count)]


def weighed(model: ServingModel, events: Sequence[Logged], random: np.random.Generator) -> Weighed:
    """How much the features of events matter to a model.

    Args:
        model: has not learned them.
        events: each with a decision, or one for each of its slots.
        random: draws the permutations.
    """
    found = permuted.features([event.situation for event in events])
    looked_at = found[:FEATURES]
    events = _spread(events, int(WORK / (len(looked_at) + 1) / _work(events)))
    situations = [event.situation for event in events]
    drawn = [(n, one) for n, event in enumerate(events) for one in event.drawn]
    of = np.array([n for n, _ in drawn], np.intp)
    rewards = np.array([one.reward for _, one in drawn])
    probabilities = np.array([one.probability for _, one in drawn])

    def weights(told: Iterable[Situation]) -> Numbers:
        shares: Numbers = np.array(logged.told(model, events, told)) / probabilities
        return shares

    base = weights(situations)
    effective = _effective(_by_event(base, of))
    losses = {
        feature: _loss(base, weights(permuted.permuted(situations, feature, random)), rewards, of)
        for feature in (looked_at if effective >= ENOUGH else ())
    }
    return Weighed(_ordered(losses), _value(base, rewards), 0, len(events), effective, len(found))


def _work(events: Sequence[Logged]) -> float:
    """How many slots are filled for an event, the mean: for each one those before it, too."""
    return sum(len(event.drawn) * (len(event.drawn) + 1) / 2 for event in events) / max(1, len(events)) or 1.0


def _by_event(values: Numbers, of: NDArray[np.intp]) -> Numbers:
    """The sums of what the decisions of an event have: its slots share a context, and are one observation."""
    return np.bincount(of, values).astype(np.float64)


def _value(weights: Numbers, rewards: Numbers) -> float:
    """SNIPS: the mean of the rewards by their weights; 0 where there are none."""
    total = weights.sum()
    return float((weights * rewards).sum() / total) if total > 0 else 0.0


def _effective(weights: Numbers) -> float:
    squares = (weights**2).sum()
    return float(weights.sum() ** 2 / squares) if squares > 0 else 0.0


def _loss(base: Numbers, other: Numbers, rewards: Numbers, of: NDArray[np.intp]) -> tuple[float, float]:
    """What is lost with other weights, and its standard error; `of` has the event of each decision.

    Both estimates are of the same events, so that most of their noise is the same: what each event adds to the
    difference is taken, to first order (the delta method), and the error is that of the mean of these.
    """
    added = _influence(base, rewards) - _influence(other, rewards)
    error = float(np.sqrt((_by_event(added, of) ** 2).sum()) / len(added))
    return _value(base, rewards) - _value(other, rewards), error


def _influence(weights: Numbers, rewards: Numbers) -> Numbers:
    """What each event adds to SNIPS, apart from its mean."""
    mean = weights.mean()
    return weights * (rewards - _value(weights, rewards)) / mean if mean > 0 else np.zeros_like(weights)


def _ordered(losses: dict[Feature, tuple[float, float]]) -> list[Importance]:
    most = max([loss for loss, _ in losses.values()], default=0.0)
    listed = sorted(losses.items(), key=lambda one: (-one[1][0], one[0]))
    return [
        Importance(feature.namespace, feature.name, max(0.0, loss / most) if most > 0 else 0.0, loss, error)
        for feature, (loss, error) in listed
    ]


def grouped(features: Sequence[Importance]) -> list[list[str]]:
    """The features that matter, as v1.x has them: in order, those together that cannot be told apart.

    Args:
        features: as `Weighed` has them. One whose loss may be chance is left out; one is put with those before it where
            it may matter as much as the first of them.
    """
    groups: list[list[Importance]] = []
    for one in features:
        if one.loss <= APART * one.error:
            continue
        if groups and groups[-1][0].loss - one.loss <= APART * float(np.hypot(groups[-1][0].error, one.error)):
            groups[-1].append(one)
        else:
            groups.append([one])
    return [[f"{one.namespace}.{one.feature_name}" for one in group] for group in groups]
