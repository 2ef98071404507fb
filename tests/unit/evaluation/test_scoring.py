"""A piece of an evaluation: what comes of a message, and that pieces which go on from each other are one long run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import orjson
import pytest

from shared.child import compute
from shared.contract.evaluations import PolicySource
from shared.evaluation import decisions as actions
from shared.evaluation import slots
from shared.evaluation.judge import Judge
from shared.evaluation.namespaces import USUAL, Namespaces
from shared.evaluation.scores import join, unpack
from shared.evaluation.scoring import Candidate, Scored, Task, score
from shared.learning.excerpt import Excerpt, Stretch
from shared.learning.model import Learner, ModelError
from shared.log.erasure import Erasure
from shared.log.join import Rules
from shared.log.records import digest_of
from shared.storage import StorageError
from tests.unit.evaluation.logged import QUICK, RULES, T0, alike, blob, excerpt, lines, slot_lines
from tests.unit.ranking.trained import QUICK_SLOTS

ONLINE = Candidate("online", PolicySource.ONLINE)
BASELINE = Candidate("baseline1", PolicySource.BASELINE)
RANDOM = Candidate("BaselineRand", PolicySource.RANDOM)
CUSTOM = Candidate("mine", PolicySource.CUSTOM, QUICK)
FOUND = Candidate("Hyper1", PolicySource.FOUND, "--cb_explore_adf --squarecb -q ::")
RANGE = (-1.0, 1.0)


def scored(given: Excerpt, *candidates: Candidate, **more: Any) -> Scored:
    message = msgspec.msgpack.encode(Task(given, candidates, RANGE, **more))
    return msgspec.msgpack.decode(score(message), type=Scored)


def test_each_policy_is_scored_on_every_event() -> None:
    made = lines(300)
    found = scored(excerpt(made[:200], made[200:]), ONLINE, BASELINE, RANDOM, CUSTOM, FOUND)

    of = {name: unpack(data) for name, data in found.scores.items()}
    decisions = actions.read(made)
    judge, learner = Judge(None, RANGE), Learner(QUICK, None)
    expected = judge.expect(decisions)
    assert list(of) == ["online", "baseline1", "BaselineRand", "mine", "Hyper1"]
    assert alike(of["online"], decisions.scores(decisions.shares, expected, online=True))
    assert alike(of["baseline1"], decisions.scores(decisions.baseline, expected))
    assert alike(of["BaselineRand"], decisions.scores(decisions.uniform, expected))
    assert alike(of["mine"], decisions.scores(decisions.replay(learner)[0], expected))
    assert set(of["baseline1"].targets) == {0.0, 1.0}
    assert not alike(of["Hyper1"], of["mine"])
    assert found.models.keys() == {"mine", "Hyper1"}
    assert found.models["mine"] == learner.save()
    assert found.judge == judge.model()
    assert (found.events, found.refused, set(found.undecided.values())) == (300, 0, {0})
    judge.close()
    learner.close()


@pytest.mark.parametrize("multi_slot", [False, True])
def test_pieces_that_go_on_from_each_other_are_one_long_run(multi_slot: bool) -> None:
    made = slot_lines(200) if multi_slot else lines(200)
    custom = Candidate("mine", PolicySource.CUSTOM, QUICK_SLOTS if multi_slot else QUICK)
    whole = scored(excerpt(made, multi_slot=multi_slot), ONLINE, custom)

    first = scored(excerpt(made[:90], multi_slot=multi_slot), ONLINE, custom)
    more = msgspec.structs.replace(custom, model=first.models["mine"])
    second = scored(excerpt(made[90:], multi_slot=multi_slot), ONLINE, more, judge=first.judge)
    for name in whole.scores:
        assert alike(join([unpack(first.scores[name]), unpack(second.scores[name])]), unpack(whole.scores[name]))
    assert (second.models, second.judge) == (whole.models, whole.judge)


def test_a_window_may_be_cut() -> None:
    made = lines(101)
    held = blob(made)
    whole = scored(excerpt(made), CUSTOM)

    cuts = [Stretch(T0, held, 0, 3, 8), Stretch(T0, held, 3, 8, 8)]
    parts = [scored(Excerpt(False, "Online", RULES, [], [cut]), CUSTOM) for cut in cuts]
    assert [part.events for part in parts] == [101 * 3 // 8, 101 - 101 * 3 // 8]
    both = scored(Excerpt(False, "Online", RULES, [], cuts), CUSTOM)
    assert alike(unpack(both.scores["mine"]), unpack(whole.scores["mine"]))


@pytest.mark.parametrize("multi_slot", [False, True])
def test_what_the_model_of_rewards_has_told_is_not_asked_again(multi_slot: bool) -> None:
    made = slot_lines(100) if multi_slot else lines(100)
    custom = Candidate("mine", PolicySource.CUSTOM, QUICK_SLOTS if multi_slot else QUICK)
    given = excerpt(made[:60], made[60:], multi_slot=multi_slot)
    together = scored(given, ONLINE, custom)

    apart = scored(given, custom, expected=scored(given, ONLINE).expected)
    assert alike(unpack(apart.scores["mine"]), unpack(together.scores["mine"]))
    assert (apart.judge, apart.expected) == (None, None)
    assert unpack(together.scores["mine"]).modelled.any()


def test_where_no_model_of_rewards_is_asked_it_expects_nothing() -> None:
    made = lines(100)
    found = scored(excerpt(made), CUSTOM, judged=False, keep=False)

    with_one, without = unpack(scored(excerpt(made), CUSTOM).scores["mine"]), unpack(found.scores["mine"])
    assert without.targets.tolist() == with_one.targets.tolist()
    assert not without.modelled.any()
    assert not without.values.any()
    assert (found.models, found.judge, found.expected) == ({}, None, None)


def test_what_is_not_for_learning_is_left_out() -> None:
    made = lines(6)
    other = [b'{"_skipLearn":true,' + made[0][1:], b'{"mode":"Apprentice",' + made[1][1:], *slot_lines(2)]
    held = b'{"holdback":true,' + made[2][1:]
    erasure = Erasure("event", digest_of("e1-3").hex(), T0 + 1e6)
    unsound = made[4].replace(b'"_label_cost":', b'"_label_cost":1e30,"x":')
    given = excerpt([*other, held, made[3], unsound, made[5]], erasures=[erasure])

    found = scored(given, CUSTOM)
    assert unpack(found.scores["mine"]).times.tolist() == [T0 + 0.5]
    assert (found.events, found.refused) == (2, 1)


def test_lines_are_labelled_by_the_rules_of_the_loop() -> None:
    before, now = Rules(600, 0.0, "earliest", (-1.0, 1.0)), Rules(600, 0.0, "earliest", (0.0, 0.5))
    made = lines(50, rules=before)
    unsound = made[0].replace(b'"_label_cost":', b'"_label_cost":"x","x":')
    stretch = Stretch(T0, blob([*made, unsound], before.labels))
    found = scored(Excerpt(False, "Online", now, [], [stretch]), ONLINE)
    same = scored(Excerpt(False, "Online", before, [], [stretch]), ONLINE)

    assert set(unpack(found.scores["online"]).rewards) == {0.0, 0.5}
    assert set(unpack(same.scores["online"]).rewards) == {0.0, 0.75}
    assert found.refused == same.refused == 1


def test_what_is_expected_stays_within_the_range_of_rewards() -> None:
    made = [line.replace(b'"_label_cost":-0.75', b'"_label_cost":-900') for line in lines(200)]
    judge = Judge(None, (0.0, 1.0))
    expected = judge.expect(actions.read(made))

    assert (expected.min(), expected.max()) == (0.0, 1.0)
    judge.close()


@pytest.mark.parametrize("multi_slot", [False, True])
def test_the_model_of_rewards_learns_which_action_pays(multi_slot: bool) -> None:
    decisions = slots.read(slot_lines(1500), ()) if multi_slot else actions.read(lines(1500))
    judge = Judge(None, RANGE)
    expected = judge.expect(decisions)
    late = decisions.times > T0 + 75
    of_drawn = expected[decisions.begins + decisions.drawn]

    paid = decisions.rewards > 0
    assert of_drawn[late & paid].mean() - of_drawn[late & ~paid].mean() > 0.4
    # Before it has learned anything it expects nothing.
    assert not expected[: decisions.counts[0]].any()
    judge.close()


def test_of_an_event_that_vw_cannot_read_nothing_is_expected() -> None:
    made = lines(20)
    odd = orjson.loads(made[10])
    odd["c"]["FromUrl"] = ["VW reads no text here"]
    judge = Judge(None, (0.25, 1.0))
    expected = judge.expect(actions.read([*made[:10], orjson.dumps(odd)]))

    assert expected[40:].tolist() == [0.25] * 4
    judge.close()


def test_an_empty_stretch_has_scores_of_nothing() -> None:
    for given in (excerpt(), excerpt([]), excerpt(slot_lines(3))):
        found = scored(given, ONLINE, BASELINE, RANDOM, CUSTOM)
        assert [unpack(data).decisions for data in found.scores.values()] == [0] * 4
        assert (found.events, found.namespaces) == (0, USUAL)


def test_the_namespaces_of_features_are_told() -> None:
    assert scored(excerpt(lines(3)), ONLINE).namespaces == Namespaces({"F": 1}, {"i": 8, "j": 4})
    assert scored(excerpt(slot_lines(3), multi_slot=True), ONLINE).namespaces == Namespaces(
        {"F": 1, "s": 1}, {"i": 8, "j": 4}
    )


def test_what_cannot_be_scored_is_an_error() -> None:
    with pytest.raises(ModelError):
        scored(excerpt(lines(1)), CUSTOM, Candidate("broken", PolicySource.CUSTOM, QUICK, "", b"no model"))
    damaged = msgspec.structs.replace(blob(lines(1)), sha256="0")
    with pytest.raises(StorageError, match="damaged"):
        scored(Excerpt(False, "Online", None, [], [Stretch(T0, damaged)]), ONLINE)


async def test_a_process_of_its_own_computes_the_same() -> None:
    candidates: Sequence[Candidate] = (ONLINE, CUSTOM)
    message = msgspec.msgpack.encode(Task(excerpt(lines(50)), candidates, RANGE))

    assert await compute(score, message, 60.0) == score(message)
