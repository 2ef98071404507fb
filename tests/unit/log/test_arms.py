"""What both arms of a holdback have earned, from journal lines on."""

from __future__ import annotations

import random

import orjson
import pytest

from shared.learning.lesson import takes
from shared.log import arms
from shared.log.arms import Arms, Sums
from shared.log.records import APPRENTICE, MODES, ONLINE, Arm
from tests.journalled import T0, Obs, Rank, Record, SlotRank
from tests.unit.log.test_apprentice import joined

HELD, MODEL = Arm(True, 5.125), Arm(False, 5.125)


def test_each_arm_has_its_own_sums() -> None:
    found = joined([
        Rank("a", T0, arm=HELD), Obs("a", T0, 0.5), Rank("b", T0 + 1, arm=HELD),
        Rank("c", T0 + 2, chosen=1, arm=MODEL), Obs("c", T0 + 2, -2.0),
        Rank("without", T0 + 3), Rank("deferred", T0 + 4, True, arm=HELD), Obs("deferred", T0 + 4, 1.0),
    ])  # fmt: skip

    assert arms.add(None, found.earned) == Arms(5.125, Sums(2, 0.5, 0.25), Sums(1, -2.0, 4.0))


def test_the_reward_of_slots_is_their_sum() -> None:
    found = joined([SlotRank("e", T0, arm=MODEL), Obs("e", T0, slots=(("top", 0.5), ("side", 1.0)))])

    assert arms.add(Arms(), found.earned) == Arms(5.125, Sums(), Sums(1, 1.5, 2.25))


def test_another_share_begins_anew_and_what_comes_of_the_one_before_is_left_out() -> None:
    first = arms.add(None, joined([Rank("a", T0, arm=HELD)]).earned)
    later = joined([Rank("b", T0 + 1, arm=Arm(False, 6.0)), Rank("c", T0 + 2, arm=HELD)])

    assert arms.add(first, later.earned) == Arms(6.0, Sums(), Sums(1, 0.0, 0.0))
    assert arms.add(first, []) is first


def test_it_makes_no_difference_how_the_log_was_cut() -> None:
    chance, records = random.Random(4), list[Record]()
    for n in range(500):
        arm = Arm(chance.random() < 0.3, 7.0)
        records += [Rank(f"e{n}", T0 + n, arm=arm), Obs(f"e{n}", T0 + n, chance.random())]
    earned = joined(records).earned
    whole, held = arms.add(None, earned), None
    while earned:
        cut = chance.randrange(1, 99)
        held, earned = arms.add(held, earned[:cut]), earned[cut:]

    assert held == whole
    assert held is not None and held.held.events + held.model.events == 500


@pytest.mark.parametrize("kind", [Rank, SlotRank])
@pytest.mark.parametrize("deferred", [False, True])
def test_a_held_line_is_marked_in_its_head_and_never_learned(kind: type[Rank], deferred: bool) -> None:
    (held,) = joined([kind("e", T0, deferred, arm=HELD)]).lines
    (model,) = joined([kind("e", T0, deferred, arm=MODEL)]).lines
    line = orjson.loads(held)

    assert line.pop("holdback") is True
    assert orjson.loads(model) == line
    assert held.startswith(b'{"_skipLearn":true,"holdback":true,' if deferred else b'{"holdback":true,')
    assert not any(takes(held, mode, multi_slot) for mode in MODES for multi_slot in (False, True))
    assert takes(model, ONLINE, kind is SlotRank) is not deferred


def test_a_callers_own_text_is_no_mark() -> None:
    (line,) = joined([Rank('"holdback":true,', T0)]).lines
    assert takes(line, ONLINE, False)
    (line,) = joined([Rank('{"holdback":true,', T0, mode=APPRENTICE)]).lines
    assert takes(line, APPRENTICE, False)
