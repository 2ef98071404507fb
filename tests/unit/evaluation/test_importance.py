"""What matters in the coffee tutorial comes first, and what was planted to mean nothing is near nothing."""

from __future__ import annotations

import math
import tracemalloc
from functools import lru_cache

import msgspec
import numpy as np
import pytest

from bench.learning.policies import DEFAULT, FOUND, MUCH, explored
from shared.evaluation import importance, logged
from shared.evaluation.importance import ENOUGH, Importance, Task, Weighed, grouped, weigh
from shared.learning.excerpt import Excerpt, Stretch
from shared.learning.model import Learner, ModelError, ServingModel
from shared.log import joined
from shared.log.join import Rules
from shared.log.joined import Held
from shared.log.records import ONLINE
from tests.unit.evaluation import brewed

RULES = Rules(600.0, 0.0, "earliest", (-1.0, 1.0))
POLICY = explored(MUCH, FOUND)
"""It crosses context features by two and three, which the tutorial cannot do without."""


def task(lines: list[bytes], policy: str = POLICY) -> bytes:
    packed = joined.pack(lines, RULES.labels)
    held = Held("x", packed.data, packed.metadata["sha256"], RULES.labels)
    excerpt = Excerpt(False, ONLINE, RULES, [], [Stretch(0, held)])
    return msgspec.msgpack.encode(Task(excerpt, policy, "", "--epsilon 0", 7))


def found(message: bytes) -> Weighed:
    return msgspec.msgpack.decode(weigh(message), type=Weighed)


@lru_cache(maxsize=1)
def of_coffee() -> Weighed:
    return found(task(list(brewed.lines(4000))))


def test_what_means_nothing_is_within_two_standard_errors_of_nothing() -> None:
    planted = [one for one in of_coffee().features if one.feature_name in brewed.NOISE]

    assert len(planted) == len(brewed.NOISE)
    for one in planted:
        assert abs(one.loss) <= 2 * one.error, one


def test_the_true_context_features_come_first() -> None:
    ordered = [one for one in of_coffee().features if one.namespace == "FromUrl"]

    assert [one.feature_name for one in ordered[:2]] == ["weather", "name"]
    assert ordered[2].feature_name == "timeofday"
    assert min(one.loss / one.error for one in ordered[:3]) > 5
    assert [one.feature_name for one in of_coffee().features[:2]] == ["weather", "name"], "before those of actions, too"


def test_the_result_says_what_it_is_of() -> None:
    weighed = of_coffee()

    assert (weighed.learned, weighed.events, weighed.features_found) == (2000, 2000, 11)
    assert weighed.value > 0.9
    assert weighed.effective == pytest.approx(500, abs=60), "a quarter, of a greedy policy on a uniform log"
    assert weighed.says is None
    assert [one.loss for one in weighed.features] == sorted((one.loss for one in weighed.features), reverse=True)
    scores = [one.score for one in weighed.features]
    assert (scores[0], scores) == (1.0, sorted(scores, reverse=True))
    assert all(one.score == max(0.0, one.loss / weighed.features[0].loss) for one in weighed.features)


def test_it_is_the_same_each_time() -> None:
    message = task(list(brewed.lines(1200)))

    assert weigh(message) == weigh(message)


def test_too_little_is_said_in_words() -> None:
    weighed = found(task(list(brewed.lines(1000))))

    assert (weighed.features, weighed.events) == ([], 500)
    assert weighed.effective < ENOUGH
    assert "too little to go by: the 500 events" in (weighed.says or "")


def test_nothing_is_said_of_nothing() -> None:
    weighed = found(task([]))

    assert (weighed.features, weighed.value, weighed.events, weighed.effective) == ([], 0.0, 0, 0.0)


def test_lines_that_cannot_be_read_are_left_out() -> None:
    lines = list(brewed.lines(2000))
    odd = [
        lines[0].replace(b'"_label_cost":', b'"_label_cost":"x","y":'),
        lines[0].replace(b'"_labelIndex":', b'"_labelIndex":9'),
        lines[0].replace(b'"c":', b'"d":'),
    ]
    model, r = ServingModel(_learned(lines[:1000]), "--epsilon 0"), np.random.default_rng(1)

    assert importance.weighed(model, list(logged.read([*lines[1000:], *odd], False)), r).events == 1000
    model.close()


def _learned(lines: list[bytes]) -> bytes:
    learner = Learner(POLICY, None)
    for line in lines:
        learner.learn(line)
    data = learner.save()
    learner.close()
    return data


def test_of_many_features_each_is_weighed_on_fewer_events(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importance, "FEATURES", 3)
    monkeypatch.setattr(importance, "WORK", 4 * 900)

    weighed = found(task(list(brewed.lines(2400))))

    assert (weighed.events, len(weighed.features), weighed.features_found) == (900, 3, 11)
    assert weighed.says == "Of 11 features the 3 that come most often were looked at."


@pytest.mark.parametrize(("name", "most", "events"), [("EVENTS", 300, 300), ("BYTES", 100_000, 100)])
def test_of_many_events_some_are_looked_at(monkeypatch: pytest.MonkeyPatch, name: str, most: int, events: int) -> None:
    lines = [line.ljust(1000) for line in brewed.lines(2400)]
    assert {len(line) for line in lines} == {1000}
    monkeypatch.setattr(importance, name, most)

    weighed = found(task(lines))

    assert (weighed.learned, weighed.events) == (1200, events)


def test_a_long_excerpt_is_not_held_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importance, "EVENTS", 100)
    lines = list(brewed.lines(200))
    packed = joined.pack(lines, RULES.labels)
    held = Held("x", packed.data, packed.metadata["sha256"], RULES.labels)
    message = msgspec.msgpack.encode(
        Task(Excerpt(False, ONLINE, RULES, [], [Stretch(n, held) for n in range(50)]), DEFAULT, "", "--epsilon 0", 7)
    )
    tracemalloc.start()
    try:
        assert found(message).learned == 5000
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak < 50 * sum(map(len, lines)) / 2


def test_what_a_model_cannot_decide_is_a_draw(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = list(brewed.lines(1000))
    model = ServingModel(_learned(lines[:10]), "--epsilon 0")

    def refused(example: bytes) -> object:
        raise ModelError("no")

    monkeypatch.setattr(model, "score", refused)
    weighed = importance.weighed(model, list(logged.read(lines, False)), np.random.default_rng(1))

    assert weighed.effective == pytest.approx(1000)
    assert {(one.loss, one.error, one.score) for one in weighed.features} == {(0.0, 0.0, 0.0)}
    model.close()


def test_the_error_is_that_of_the_paired_difference() -> None:
    """Against the spread of the difference over samples drawn anew with replacement."""
    r = np.random.default_rng(3)
    base, rewards = r.exponential(1.0, 2000), r.random(2000)
    other = np.where(r.random(2000) < 0.9, base, r.exponential(1.0, 2000))

    loss, error = importance._loss(base, other, rewards, np.arange(2000))

    drawn = []
    for _ in range(600):
        rows = r.integers(0, 2000, 2000)
        drawn.append(importance._loss(base[rows], other[rows], rewards[rows], np.arange(2000))[0])
    assert error == pytest.approx(float(np.std(drawn)), rel=0.1)
    assert loss == pytest.approx((base @ rewards) / base.sum() - (other @ rewards) / other.sum())
    assert error < 0.5 * math.hypot(importance._loss(base, 0 * base, rewards, np.arange(2000))[1], 0.0)


def test_the_default_policy_cannot_use_what_it_does_not_cross() -> None:
    weighed = found(task(list(brewed.lines(4000)), DEFAULT))

    assert weighed.value < 0.75
    assert weighed.features[0].feature_name == "weather"


def test_to_a_policy_that_knows_actions_by_their_ids_these_matter_most_and_then_the_context() -> None:
    policy = explored(MUCH, "-q Fi --cubic FFi --interactions FFFi")

    weighed = found(task(list(brewed.lines(4000)), policy))

    assert [one.feature_name for one in weighed.features[:4]] == ["id", "weather", "name", "timeofday"]
    assert all(abs(one.loss) < weighed.features[3].loss / 5 for one in weighed.features[4:])


def test_the_slots_of_an_event_are_one_observation() -> None:
    """Of three slots that earn and weigh the same the error is that of one of them."""
    r = np.random.default_rng(3)
    base, other, rewards = r.exponential(1.0, 500), r.exponential(1.0, 500), r.random(500)

    one = importance._loss(base, other, rewards, np.arange(500))
    base, other, rewards = (np.repeat(column, 3) for column in (base, other, rewards))
    three = importance._loss(base, other, rewards, np.repeat(np.arange(500), 3))

    assert three == pytest.approx(one)


def feature(name: str, loss: float, error: float) -> Importance:
    return Importance("FromUrl", name, loss, loss, error)


def test_features_that_cannot_be_told_apart_stand_together() -> None:
    listed = [
        feature("a", 0.5, 0.01),
        feature("b", 0.3, 0.01),
        feature("c", 0.28, 0.01),
        feature("d", 0.2, 0.01),
        feature("e", 0.01, 0.01),
        feature("f", -0.1, 0.01),
    ]

    assert grouped(listed) == [["FromUrl.a"], ["FromUrl.b", "FromUrl.c"], ["FromUrl.d"]]
    assert grouped([]) == []
