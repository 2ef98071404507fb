"""What is read of joined lines, and the policies that follow from the lines alone."""

from __future__ import annotations

import numpy as np
import orjson
import pytest

from shared.evaluation import decisions as actions
from shared.evaluation import slots
from shared.evaluation.decisions import Decisions
from shared.learning.model import Learner
from shared.log import entry as entries
from shared.log.join import MIN_PROBABILITY
from tests.unit.evaluation.logged import QUICK, T0, lines, slot_lines
from tests.unit.ranking.trained import QUICK_SLOTS

SLOTS = ("top", "side", "end")


def ends(decisions: Decisions) -> list[int]:
    found: list[int] = np.cumsum(decisions.counts).tolist()
    return found


def test_a_line_is_a_decision() -> None:
    made = lines(200)
    found = actions.read(made)

    events = [entries.of_line(line) for line in made]
    assert found.lines == made
    assert found.times.tolist() == [T0 + n / 10 for n in range(200)]
    assert found.rewards.tolist() == [0.0 - (event.cost or 0.0) for event in events]
    assert {0.0, 0.75} == set(found.rewards)
    assert set(found.slots) == {0}
    assert found.counts.tolist() == [4] * 200
    assert [n + 1 for n in found.drawn] == [event.order[0] for event in events]
    assert found.logged.tolist() == pytest.approx([event.probabilities[0] for event in events])
    for end, event in zip(ends(found), events, strict=True):
        by_position = dict(zip(event.order, event.probabilities, strict=True))
        assert found.shares[end - 4 : end].tolist() == [by_position[n] for n in (1, 2, 3, 4)]
        assert found.baseline[end - 4 : end].tolist() == [1, 0, 0, 0]
    assert set(found.uniform) == {0.25}


def test_scores_are_made_of_what_a_policy_and_a_model_of_rewards_say() -> None:
    found = actions.read(lines(50))
    shares, expected = np.tile([0.1, 0.2, 0.3, 0.4], 50), np.tile([1.0, 2.0, 3.0, 4.0], 50)
    scores = found.scores(shares, expected)

    assert scores.targets.tolist() == [(0.1, 0.2, 0.3, 0.4)[n] for n in found.drawn]
    assert scores.modelled.tolist() == [1.0 + n for n in found.drawn]
    assert scores.values.tolist() == pytest.approx([3.0] * 50)
    assert scores.logged is found.logged
    assert found.scores(shares, expected, online=True).targets is found.logged


def rarely(line: bytes, probability: float) -> bytes:
    """The line of a decision of single slot that was drawn with a small probability, as the join writes it."""
    made = orjson.loads(line)
    rest = (1.0 - probability) / (len(made["p"]) - 1)
    return orjson.dumps(
        {**made, "_label_probability": MIN_PROBABILITY, "p": [probability, *[rest] * (len(made["p"]) - 1)]}
    )


@pytest.mark.parametrize("told", [0.0004, 0.00002])
def test_an_estimate_divides_by_the_probability_of_the_draw_not_by_its_bound(told: float) -> None:
    line = lines(1)[0]
    assert actions.read([rarely(line, told)]).logged.tolist() == [told]
    # Of a log from elsewhere, which may tell no probabilities but its labels', or others.
    for p in ([], [0.0, 0.5, 0.25, 0.25], [-1.0, 0, 0, 0], "x"):
        other = orjson.dumps({**orjson.loads(rarely(line, told)), "p": p})
        assert actions.read([other]).logged.tolist() == [MIN_PROBABILITY]
    unbound = orjson.dumps({**orjson.loads(line), "_label_probability": 0.25, "p": [0.5, 0.5, 0.0, 0.0]})
    assert actions.read([unbound]).logged.tolist() == [0.25]


@pytest.mark.parametrize("told", [0.0004, 0.00002])
def test_a_slots_estimate_divides_by_what_the_other_actions_leave(told: float) -> None:
    made = orjson.loads(slot_lines(1)[0])
    made["_outcomes"][0]["_p"] = [MIN_PROBABILITY, *[(1.0 - told) / 2] * 2]
    found = slots.read([orjson.dumps(made)], SLOTS)

    assert found.logged[0] == pytest.approx(told)
    assert list(found.shares)[:3] == pytest.approx([told, (1 - told) / 2, (1 - told) / 2])
    single = orjson.loads(next(iter(found.singles)))
    assert single["_label_probability"] == MIN_PROBABILITY, "a model of rewards learns what every model does"
    made["_outcomes"][0]["_p"] = [MIN_PROBABILITY, 0.6, 0.6]  # where they leave nothing
    assert slots.read([orjson.dumps(made)], SLOTS).logged[0] == MIN_PROBABILITY


def test_slots_are_told_apart_by_their_ids_wherever_they_stand() -> None:
    made = []
    for n, line in enumerate(slot_lines(40)):
        event = orjson.loads(line)
        if n % 2:
            event["_outcomes"].reverse()
            event["_ba"].reverse()
        made.append(orjson.dumps(event))
    kept = [[one["_id"] for one in orjson.loads(line)["_outcomes"] if one["_a"]] for line in made]
    found = slots.read(made, SLOTS[:2])

    assert found.slots.tolist() == [{"top": 0, "side": 1, "end": 2}[name] for names in kept for name in names]
    places = [n for line in made for n, one in enumerate(orjson.loads(line)["_outcomes"]) if one["_a"]]
    assert found.places.tolist() == places


@pytest.mark.parametrize(
    "damage",
    [
        {"_label_cost": "NaN"},
        {"_label_probability": 1e-30},
        {"_labelIndex": 4},
        {"_labelIndex": -1},
        {"Timestamp": "yesterday"},
        {"a": []},
        {"a": [0, 1]},
    ],
)
def test_lines_with_unsound_labels_are_left_out(damage: dict[str, object]) -> None:
    made = lines(3)
    bad = orjson.dumps({**orjson.loads(made[1]), **damage})

    assert actions.read([made[0], bad, made[2]]).lines == [made[0], made[2]]
    assert actions.read([b"", b"no line", b"\xff"]).lines == []


@pytest.mark.parametrize("damage", [{"p": [1.0]}, {"p": "x"}, {"a": [2, 1, 9, 3]}])
def test_where_a_line_does_not_tell_probabilities_the_draw_was_from_all_alike(damage: dict[str, object]) -> None:
    made = lines(2)
    bad = orjson.dumps({**orjson.loads(made[0]), **damage})
    found = actions.read([bad, made[1]])

    assert found.shares.tolist() == [0.25] * 4 + actions.read(made[1:]).shares.tolist()


def test_features_named_as_members_of_a_line_are_not_taken_for_them() -> None:
    made = orjson.loads(lines(1)[0])
    made["c"]["FromUrl"].append({"p": [5, 5, 5, 5], "c": {"a": [1]}, "_labelIndex": 3})
    made["EventId"] = ',"c":{"p":['
    found = actions.read([orjson.dumps(made)])

    whole = actions.read(lines(1))
    assert found.shares.tolist() == whole.shares.tolist()
    assert found.drawn.tolist() == whole.drawn.tolist()


def test_of_no_lines_there_are_no_decisions() -> None:
    for found in (actions.read([]), slots.read([], ())):
        scores = found.scores(found.uniform, found.uniform)
        assert (scores.decisions, len(found.baseline), len(found.shares)) == (0, 0, 0)


def test_each_slot_that_had_an_action_left_is_a_decision() -> None:
    made = slot_lines(200)
    found = slots.read(made, SLOTS)

    of_lines = [
        (n, k, one) for n, line in enumerate(made) for k, one in enumerate(entries.of_line(line).outcomes or ())
    ]
    outcomes = [(n, k, one) for n, k, one in of_lines if one.actions]
    assert 0 < len(of_lines) - len(outcomes) < 100  # some had none
    assert found.times.tolist() == [T0 + n / 10 for n, _, _ in outcomes]
    assert found.places.tolist() == found.slots.tolist() == [k for _, k, _ in outcomes]
    assert found.rewards.tolist() == [0.0 - (one.cost or 0.0) for _, _, one in outcomes]
    assert found.logged.tolist() == [one.probabilities[0] for _, _, one in outcomes]
    assert found.counts.tolist() == [len(one.actions) for _, _, one in outcomes]
    assert set(found.drawn) == {0}
    assert list(found.shares) == [p for _, _, one in outcomes for p in one.probabilities]
    taken = 0
    for end, (_, k, one) in zip(ends(found), outcomes, strict=True):
        share = list(found.baseline[end - len(one.actions) : end])
        if k in one.actions:  # the baseline of each slot is the action of its number
            assert share == [float(action == k) for action in one.actions]
        else:
            assert share == [1 / len(one.actions)] * len(one.actions)
            taken += 1
    assert taken


@pytest.mark.parametrize(
    "damage",
    [
        {"_ba": [0, 1]},
        {"_outcomes": [{"_a": [0, 1], "_p": [1.0]}] * 3},
        {"_outcomes": [{"_a": [7], "_p": [1.0]}] * 3},
        {"_outcomes": [{"_a": [0], "_p": [1e-30]}] * 3},
        {"_outcomes": [{"_label_cost": 1e30, "_a": [0], "_p": [1.0]}] * 3},
        {"Timestamp": ""},
    ],
)
def test_slots_with_unsound_labels_are_left_out(damage: dict[str, object]) -> None:
    made = slot_lines(3)
    bad = orjson.dumps({**orjson.loads(made[1]), **damage})

    assert slots.read([made[0], bad, made[2]], SLOTS).lines == [made[0], made[2]]
    assert slots.read([b"", b"\xff"], SLOTS).lines == []


def test_what_vw_cannot_read_is_drawn_from_all_alike_and_the_rest_is_replayed() -> None:
    made = lines(30)
    odd = orjson.loads(made[10])
    odd["c"]["FromUrl"] = ["VW reads no text here"]
    learner, again = Learner(QUICK, None), Learner(QUICK, None)
    found, undecided = actions.read([*made[:10], orjson.dumps(odd), *made[11:]]).replay(learner)

    rest, none = actions.read([*made[:10], *made[11:]]).replay(again)
    assert (undecided, none) == (1, 0)
    assert list(found[40:44]) == [0.25] * 4
    assert [*found[:40], *found[44:]] == list(rest)
    learner.close()
    again.close()


def test_slots_that_vw_cannot_read_are_drawn_from_all_alike() -> None:
    made = slot_lines(4)
    odd = orjson.loads(made[1])
    odd["c"]["FromUrl"] = ["VW reads no text here"]
    decisions = slots.read([made[0], orjson.dumps(odd), *made[2:]], SLOTS)
    learner = Learner(QUICK_SLOTS, None)
    found, undecided = decisions.replay(learner)

    assert undecided == 1
    of_odd = [n for n, time in enumerate(decisions.times) if time == T0 + 0.1]
    for n in of_odd:
        begin, count = decisions.begins[n], decisions.counts[n]
        assert list(found[begin : begin + count]) == [1 / count] * count
    assert len(of_odd) > 1
    learner.close()


@pytest.mark.parametrize("multi_slot", [False, True])
def test_a_replay_tells_probabilities_of_the_actions_that_were_left(multi_slot: bool) -> None:
    decisions: Decisions = slots.read(slot_lines(400), SLOTS) if multi_slot else actions.read(lines(400))
    learner = Learner(QUICK_SLOTS if multi_slot else QUICK, None)
    found, undecided = decisions.replay(learner)

    assert undecided == 0
    assert np.add.reduceat(np.array(found), decisions.begins) == pytest.approx(1.0, abs=1e-5)
    # It has learned which topic pays: what paid late in the log is what it would have drawn.
    paid = (decisions.rewards > 0) & (decisions.times > T0 + 30) & (decisions.counts > 1)
    targets = np.array(found)[(decisions.begins + decisions.drawn)[paid]]
    assert targets.mean() > (0.5 if multi_slot else 0.8)
    learner.close()
