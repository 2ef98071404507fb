"""Who is held back, what they get, and what is written down of it."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import orjson
import pytest

from shared.contract.requests import multi_slot_rank_request, rank_request
from shared.learning.model import ServingModel
from shared.learning.registry import Version
from shared.log.buckets import Waits
from shared.log.records import APPRENTICE, LOGGING_ONLY, ONLINE, Arm, Ranked, decode_ranked
from shared.loops import policy
from shared.loops.holdback import Holdback
from shared.loops.service import ServiceConfiguration
from shared.loops.settings import Loop
from shared.ranking.action_cache import ActionCache
from shared.ranking.decision import Decision, log_line
from shared.ranking.features import is_plain
from shared.ranking.holdback import held_back
from shared.ranking.model_cache import Held
from shared.ranking.multi_slot import decide_slots
from shared.ranking.rank import decide
from shared.ranking.sampling import seed, uniform
from tests.unit.ranking.trained import LOOP as ID
from tests.unit.ranking.trained import QUICK_SLOTS, SINGLE, trained_model

IDS = [f"event-{n}" for n in range(20_000)]
ACTIONS = [{"id": f"a{n}", "features": [{"topic": f"t{n}"}]} for n in range(4)]
SLOTS = [{"id": "top", "baselineAction": "a2"}, {"id": "side", "baselineAction": "a0", "excludedActions": ["a1"]}]


def loop(arguments: str = SINGLE, mode: str = ONLINE, **more: Any) -> Loop:
    configuration = ServiceConfiguration(learning_mode=mode)
    return Loop(ID, configuration, policy.read(arguments), Waits(((0, 600.0),)), **more)


@pytest.fixture(scope="module", params=[SINGLE, QUICK_SLOTS])
def of(request: pytest.FixtureRequest) -> Iterator[tuple[Loop, Held]]:
    model = ServingModel(trained_model(300, request.param), "--epsilon 0.2")
    version = Version("v1", "", request.param, 5, 300, 0.0, 0.0, 0.0)
    made = loop(request.param)
    yield made, Held(version, model, made.policy, 0.25)
    model.close()


def decided(of: Loop, held: Held, event_id: str, subject: str | None = None, *excluded: str) -> Decision:
    body: dict[str, Any] = {"actions": ACTIONS, "eventId": event_id}
    if of.multi_slot:
        raw = orjson.dumps({**body, "slots": SLOTS})
        return decide_slots(multi_slot_rank_request(raw), is_plain(raw), of, held, ActionCache(), subject)
    raw = orjson.dumps({**body, "excludedActions": excluded})
    return decide(rank_request(raw), is_plain(raw), of, held, ActionCache(), subject)


def logged(decision: Decision) -> tuple[Ranked, dict[str, Any]]:
    ranked = decode_ranked(log_line(decision, 1.0, False))
    return ranked, orjson.loads(bytes(ranked.r))


@pytest.mark.parametrize("share", [0.001, 0.05, 0.5])
def test_the_share_is_what_it_says_and_has_nothing_to_do_with_the_draw(share: float) -> None:
    held = [one for one in IDS if held_back(one, None, ID, ONLINE, share)]
    spread = 4 * math.sqrt(share * (1 - share) * len(IDS))
    assert abs(len(held) - share * len(IDS)) < spread

    draws = [uniform(seed(one, ID)) for one in held]
    assert abs(sum(draws) / len(draws) - 0.5) < 4 * math.sqrt(1 / 12 / len(draws))


def test_a_larger_share_holds_back_all_that_a_smaller_one_did() -> None:
    of = {share: {one for one in IDS if held_back(one, None, ID, ONLINE, share)} for share in (0.05, 0.1, 0.5)}

    assert of[0.05] < of[0.1] < of[0.5]


def test_another_loop_holds_back_others() -> None:
    here, there = ({one for one in IDS if held_back(one, None, loop_id, ONLINE, 0.5)} for loop_id in (ID, "f" * 32))

    assert abs(len(here & there) - 0.25 * len(IDS)) < 4 * math.sqrt(0.25 * 0.75 * len(IDS))


def test_a_subject_is_on_one_side_whatever_the_event() -> None:
    chance = random.Random(1)
    for _ in range(50):
        subject = f"{chance.getrandbits(128):032x}"
        assert len({held_back(one, subject, ID, ONLINE, 0.5) for one in IDS[:50]}) == 1
        assert held_back(IDS[0], subject, ID, ONLINE, 0.5) == held_back(subject, None, ID, ONLINE, 0.5)


def test_nobody_is_held_back_without_a_share_nor_in_a_mode_that_answers_the_baseline_to_all() -> None:
    assert not any(held_back(one, None, ID, ONLINE, 0.0) for one in IDS)
    assert not any(held_back(one, None, ID, mode, 0.5) for one in IDS for mode in (APPRENTICE, LOGGING_ONLY))


def test_what_is_held_back_gets_the_baseline_for_certain_and_is_written_down(of: tuple[Loop, Held]) -> None:
    plain, held = of
    trying = replace(plain, holdback=Holdback(0.25, 5.125))
    sides = []
    for event_id in IDS[:80]:
        without, decision = decided(plain, held, event_id), decided(trying, held, event_id)
        ranked, dsjson = logged(decision)
        sides.append(ranked.held)
        assert ranked.h == Arm(held_back(event_id, None, ID, ONLINE, 0.25), 5.125)
        assert dsjson.pop("holdbackShare") == 0.25
        answer = orjson.loads(decision.body)
        if not ranked.held:
            assert decision.body == without.body
            assert dsjson == logged(without)[1]
            continue
        assert (dsjson["VWState"]["m"], dsjson["epsilon"]) == ("N/A", 0.25)
        if plain.multi_slot:
            assert [slot["rewardActionId"] for slot in answer["slots"]] == ["a2", "a0"]
            assert [(s.actions[0], s.probabilities[0]) for s in ranked.s or ()] == [(2, 1.0), (0, 1.0)]
        else:
            assert [(a["id"], a["probability"]) for a in answer["ranking"]] == [
                ("a0", 1.0), ("a1", 0.0), ("a2", 0.0), ("a3", 0.0)
            ]  # fmt: skip
            assert (dsjson["a"], dsjson["p"], ranked.a, ranked.p) == ([1, 2, 3, 4], [1, 0, 0, 0], 0, 1.0)
    assert 5 < sum(sides) < 40


def test_the_baseline_is_the_first_action_that_is_not_excluded() -> None:
    trying = loop(holdback=Holdback(0.5, 1.0))
    event_id = next(one for one in IDS if held_back(one, None, ID, ONLINE, 0.5))

    answer = orjson.loads(decided(trying, Held(), event_id, None, "a0", "a2").body)

    assert answer["rewardActionId"] == "a1"
    assert [(a["id"], a["probability"]) for a in answer["ranking"]] == [
        ("a0", 0.0), ("a1", 1.0), ("a2", 0.0), ("a3", 0.0)
    ]  # fmt: skip


def test_the_subject_decides_where_there_is_one(of: tuple[Loop, Held]) -> None:
    trying = replace(of[0], holdback=Holdback(0.5, 1.0))
    for subject in ("aa" * 16, "bb" * 16, "cc" * 16, "dd" * 16):
        sides = {logged(decided(trying, of[1], one, subject))[0].held for one in IDS[:20]}
        assert sides == {held_back("", subject, ID, ONLINE, 0.5)}


@pytest.mark.parametrize("mode", [APPRENTICE, LOGGING_ONLY])
def test_in_the_other_modes_nothing_is_written_of_a_holdback(of: tuple[Loop, Held], mode: str) -> None:
    plain = replace(of[0], configuration=ServiceConfiguration(learning_mode=mode))
    for event_id in IDS[:20]:
        expected = decided(plain, of[1], event_id)
        assert decided(replace(plain, holdback=Holdback(0.5, 1.0)), of[1], event_id) == expected


def test_an_apprentices_line_says_when_it_began(of: tuple[Loop, Held]) -> None:
    apprentice = replace(of[0], configuration=ServiceConfiguration(learning_mode=APPRENTICE), apprentice=7.125)

    assert logged(decided(apprentice, of[1], "e"))[0].b == 7.125
    assert logged(decided(replace(apprentice, apprentice=None), of[1], "e"))[0].b is None
    assert logged(decided(replace(of[0], apprentice=7.125), of[1], "e"))[0].b is None
