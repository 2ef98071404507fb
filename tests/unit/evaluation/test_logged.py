"""Of each slot a model is asked under the condition of what was drawn before it; and what matters there comes first."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import numpy as np
import orjson
import pytest

from shared.evaluation import logged
from shared.evaluation.importance import Task, Weighed, weigh
from shared.evaluation.logged import Drawn, Logged
from shared.learning.model import Learner, ModelError, ServingModel, of_slots
from shared.log.join import MIN_PROBABILITY
from tests.unit.evaluation.logged import excerpt, lines, slot_lines
from tests.unit.ranking.trained import QUICK_SLOTS

LEARNED, COUNT = 300, 500


@pytest.fixture(scope="module")
def slotted() -> list[bytes]:
    return slot_lines(COUNT)


@pytest.fixture(scope="module")
def data(slotted: list[bytes]) -> bytes:
    learner = Learner(QUICK_SLOTS, None)
    for line in slotted[:LEARNED]:
        learner.learn(line)
    learned = learner.save()
    learner.close()
    return learned


@pytest.fixture(scope="module")
def model(data: bytes) -> Iterator[ServingModel]:
    made = ServingModel(data, "")
    yield made
    made.close()


def test_a_slot_is_asked_for_after_what_was_drawn_before_it(model: ServingModel, slotted: list[bytes]) -> None:
    """What it draws by other seeds is as probable when it is asked by these, by which it would have drawn others."""
    seen = set()
    for n, event in enumerate(logged.read(slotted[LEARNED:], True)):
        one = event.situation
        seeded = [{**slot, "_tag": f"seed={n}-{place}"} for place, slot in enumerate(one.slots)]
        whole = {"FromUrl": one.context, "_multi": one.actions, "_slots": seeded}
        own = model.score_slots(orjson.dumps(whole))
        drawn = [Drawn(slot, left[0][0], len(left), left[0][1], 0.0) for slot, left in enumerate(own) if left]
        seen.add(len(drawn))

        assert Logged(one, drawn).probabilities(model, one) == pytest.approx([each.probability for each in drawn])
    assert seen == {2, 3}, "slots that have nothing left, too"


def test_it_is_asked_as_one_that_learns_the_line_is(data: bytes, model: ServingModel, slotted: list[bytes]) -> None:
    for line in slotted[LEARNED : LEARNED + 20]:
        learner = Learner(QUICK_SLOTS, data, "")
        [told] = learner.replay([line], of_slots)
        assert not isinstance(told, ModelError)
        learner.close()
        [event] = logged.read([line], True)

        first, *_ = event.probabilities(model, event.situation)
        assert first == pytest.approx(dict(told[0])[event.drawn[0].action])


@pytest.mark.parametrize("multi_slot", [False, True])
def test_what_was_drawn_is_that_of_the_line(multi_slot: bool) -> None:
    line, *_ = slot_lines(1) if multi_slot else lines(1)
    [event] = logged.read([line], multi_slot)

    held = orjson.loads(line)
    if multi_slot:
        outcomes = [one for one in held["_outcomes"] if one["_a"]]
        expected = [(one["_a"][0], len(one["_a"]), one["_p"][0], -one.get("_label_cost", 0.0)) for one in outcomes]
    else:
        expected = [(held["_labelIndex"], 4, held["_label_probability"], -held["_label_cost"])]
    assert [one[1:] for one in event.drawn] == expected


def test_what_was_drawn_is_weighed_by_the_probability_of_the_draw_not_by_its_bound() -> None:
    single, slotted = orjson.loads(lines(1)[0]), orjson.loads(slot_lines(1)[0])
    single |= {"_label_probability": MIN_PROBABILITY, "p": [0.0004, 0.9996, 0.0, 0.0]}
    slotted["_outcomes"][0]["_p"] = [MIN_PROBABILITY, 0.9996, 0.0]

    for held, multi_slot in ((single, False), (slotted, True)):
        [event] = logged.read([orjson.dumps(held)], multi_slot)
        assert event.drawn[0].probability == pytest.approx(0.0004)
    [event] = logged.read([orjson.dumps({**single, "p": []})], False)
    assert event.drawn[0].probability == MIN_PROBABILITY


def test_what_cannot_be_read_is_left_out() -> None:
    slots, single = slot_lines(1)[0], lines(1)[0]
    odd = orjson.loads(slots)
    odd["_outcomes"][0]["_a"][0] = 9
    short = {**odd, "_outcomes": odd["_outcomes"][1:]}

    assert list(logged.read([b"{", single, orjson.dumps(odd), orjson.dumps(short)], True)) == []
    assert list(logged.read([b"{", slots, single.replace(b'"_labelIndex":', b'"_labelIndex":7')], False)) == []


def test_what_a_model_cannot_decide_is_a_draw(model: ServingModel, monkeypatch: pytest.MonkeyPatch) -> None:
    [event] = logged.read(slot_lines(1), True)

    def refused(example: bytes) -> object:
        raise ModelError("no")

    monkeypatch.setattr(model, "score_slots", refused)
    assert event.probabilities(model, event.situation) == [1 / one.among for one in event.drawn]


def planted(count: int) -> list[bytes]:
    """Lines whose slots have a feature that means nothing besides."""
    chance = np.random.default_rng(5)
    made = []
    for line in slot_lines(count):
        held = orjson.loads(line)
        for slot in held["c"]["_slots"]:
            slot["sj"] = [*slot["sj"], {"noise": f"n{chance.integers(4)}"}]
        made.append(orjson.dumps(held))
    return made


def test_the_features_of_slots_are_weighed_with_the_others() -> None:
    policy = f"{QUICK_SLOTS} -q sj"
    task = Task(excerpt(planted(2000), multi_slot=True, rules=None), policy, "", "--epsilon 0", 3)
    weighed = msgspec.msgpack.decode(weigh(msgspec.msgpack.encode(task)), type=Weighed)

    found = {f"{one.namespace}.{one.feature_name}": one for one in weighed.features}
    assert set(found) == {"FromUrl.time", "j.topic", "i.id", "sj.size", "sj.noise"}
    assert (weighed.features[0].feature_name, weighed.events) == ("time", 1000)
    assert found["FromUrl.time"].loss > 5 * found["FromUrl.time"].error
    assert abs(found["sj.noise"].loss) <= 2 * found["sj.noise"].error
    assert found["sj.noise"].error > 0
