"""A multi-slot rank call's decisions as a function of its inputs (contract 5.4, 5.5), and what VW makes of them."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import orjson
import pytest
from vowpalwabbit import Workspace

from shared.contract.errors import ApiError
from shared.contract.requests import multi_slot_rank_request
from shared.learning import registry
from shared.learning.lesson import learn
from shared.learning.model import Learner, ModelError, ServingModel
from shared.learning.registry import Version
from shared.log.buckets import Waits
from shared.log.join import Rules, decode_events, join
from shared.log.records import (
    APPRENTICE,
    LOGGING_ONLY,
    MODES,
    ONLINE,
    Observed,
    Ranked,
    RankedSlot,
    decode_ranked,
    event_key,
)
from shared.loops import policy
from shared.loops.service import ServiceConfiguration
from shared.loops.settings import Loop
from shared.ranking.action_cache import ActionCache
from shared.ranking.decision import Decision, log_line
from shared.ranking.features import is_plain
from shared.ranking.model_cache import Held
from shared.ranking.multi_slot import decide_slots
from tests.unit.ranking.labels import LabelReader
from tests.unit.ranking.trained import LOOP as ID
from tests.unit.ranking.trained import QUICK_SLOTS, job, trained_model

LOOP = Loop(ID, ServiceConfiguration(), policy.read(QUICK_SLOTS), Waits(((0, 600.0),)))
RULES = Rules(5, 0.5, "earliest", (-1.0, 1.0))


def actions(count: int) -> list[dict[str, Any]]:
    return [{"id": f"a{n}", "features": [{"topic": f"t{n % 5}"}]} for n in range(count)]


def slot(n: int, *excluded: int, baseline: int | None = None, **more: Any) -> dict[str, Any]:
    """The slot `s<n>` with the baseline `a<n>`."""
    made = {"id": f"s{n}", "baselineAction": f"a{n if baseline is None else baseline}", **more}
    return {**made, "excludedActions": [f"a{e}" for e in excluded]} if excluded else made


def request(count: int, *slots: dict[str, Any], event_id: str | None = "e1", **more: Any) -> dict[str, Any]:
    return {"actions": actions(count), "slots": slots, "eventId": event_id, **more}


def decided(body: dict[str, Any], held: Held | None = None, mode: str = ONLINE) -> Decision:
    raw = orjson.dumps(body)
    loop = replace(LOOP, configuration=ServiceConfiguration(learning_mode=mode))
    return decide_slots(multi_slot_rank_request(raw), is_plain(raw), loop, held or Held(), ActionCache())


def shown(decision: Decision) -> dict[str, str | None]:
    """The action answered for each slot; None for a slot that is answered by its id alone."""
    return {entry["id"]: entry.get("rewardActionId") for entry in orjson.loads(decision.body)["slots"]}


def logged(decision: Decision) -> Ranked:
    return decode_ranked(log_line(decision, 1.0, False))


def drawn(decision: Decision) -> list[RankedSlot]:
    slots = logged(decision).s
    assert slots is not None
    return slots


def random_request(r: random.Random, event_id: str) -> dict[str, Any]:
    """Actions, slots and exclusions in any number that is allowed; some slots are left without an action."""
    count = r.choice((*range(1, 8), *range(1, 8), 30))
    slots = []
    for n, baseline in enumerate(r.sample(range(count), r.randrange(1, count + 1))):
        others = [other for other in range(count) if other != baseline]
        excluded = r.sample(others, r.choice((0, 0, r.randrange(count), count - 1)))
        slots.append(slot(n, *excluded, baseline=baseline, features=[{"place": f"p{n}"}]))
    return request(count, *slots, event_id=event_id, contextFeatures=[{"time": f"t{r.randrange(4)}"}])


@pytest.fixture(scope="module")
def held() -> Iterator[Held]:
    data = trained_model(1500, QUICK_SLOTS)
    version = Version(registry.version_name(5, data), "", QUICK_SLOTS, 5, 1500, 0.0, 0.0, 0.0)
    model = ServingModel(data, "--epsilon 0.2")
    yield Held(version, model, LOOP.policy, 0.2)
    model.close()


# -- the answer ------------------------------------------------------------------------------------------------------


def test_the_answer_is_written_as_the_service_wrote_it() -> None:
    body = decided(request(3, slot(0, 1, 2), slot(1, 0, 2), event_id="e/1")).body

    assert body == b'{"slots":[{"id":"s0","rewardActionId":"a0"},{"id":"s1","rewardActionId":"a1"}],"eventId":"e/1"}'


def test_an_event_id_is_made_where_none_is_sent() -> None:
    ids = {orjson.loads(decided(request(2, slot(0), event_id=None)).body)["eventId"] for _ in range(2)}

    assert len(ids) == 2
    assert all(re.fullmatch(r"[0-9a-f]{32}-01234", event_id) for event_id in ids)


@pytest.mark.parametrize("trained", [True, False])
def test_the_same_event_id_gives_the_same_answer_and_others_explore(held: Held, trained: bool) -> None:
    chosen: Counter[tuple[str | None, ...]] = Counter()
    for n in range(200):
        body = request(4, slot(0), slot(1), slot(2), event_id=f"e{n}")
        first = decided(body, held if trained else None)
        assert first == decided(body, held if trained else None)
        chosen[tuple(shown(first).values())] += 1

    assert len(chosen) > 10
    if trained:  # topic 0 pays in the first place, and so on
        assert chosen.most_common(1)[0][0] == ("a0", "a1", "a2")
        assert chosen["a0", "a1", "a2"] > 200 * 0.85**3 - 40


@pytest.mark.parametrize("trained", [True, False])
def test_no_action_stands_twice_and_none_that_its_slot_excludes(held: Held, trained: bool) -> None:
    r = random.Random(2)
    for n in range(300):
        body = random_request(r, f"e{n}")
        decision = decided(body, held if trained else None)
        answer = shown(decision)

        taken = [action for action in answer.values() if action is not None]
        assert len(set(taken)) == len(taken)
        assert list(answer) == [s["id"] for s in body["slots"]]
        for asked, entry in zip(body["slots"], drawn(decision), strict=True):
            assert answer[asked["id"]] not in asked.get("excludedActions", ())
            listed = {f"a{action}" for action in entry.actions}
            assert not listed & set(asked.get("excludedActions", ()))
            assert sum(entry.probabilities) == pytest.approx(1.0 if entry.actions else 0.0, abs=1e-5)
            assert f"a{entry.baseline}" == asked["baselineAction"]


@pytest.mark.parametrize("trained", [True, False])
def test_a_slot_without_an_action_is_answered_by_its_id_alone(held: Held, trained: bool) -> None:
    empty = 0
    for n in range(60):
        # `s1` admits a1 alone, which `s0` may take.
        decision = decided(request(3, slot(0, 2), slot(1, 0, 2), slot(2), event_id=f"e{n}"), held if trained else None)
        answer = shown(decision)

        assert decision.empty_slots == (answer["s1"] is None) == (answer["s0"] == "a1")
        assert b'{"id":"s1"}' in decision.body or answer["s1"] == "a1"
        assert [s.actions == [] for s in drawn(decision)] == [False, answer["s1"] is None, False]
        empty += decision.empty_slots

    assert 0 < empty < 60


def test_without_a_model_every_action_is_as_probable() -> None:
    counts: Counter[tuple[str | None, ...]] = Counter()
    for n in range(2400):
        decision = decided(request(3, slot(0), slot(1), event_id=f"e{n}"))
        assert [entry.probabilities for entry in drawn(decision)] == [pytest.approx([1 / 3] * 3), [0.5, 0.5]]
        counts[tuple(shown(decision).values())] += 1

    assert len(counts) == 6
    assert sum((count - 400) ** 2 / 400 for count in counts.values()) < 20.5  # 5 degrees of freedom, one in a thousand


# -- what is refused -------------------------------------------------------------------------------------------------


LONG = "x" * 257


@pytest.mark.parametrize(
    ("body", "code", "target", "problem"),
    [
        (request(3, {"id": "s0"}), "BadRequest", "slots[0].baselineAction", "is required"),
        (request(3, {"id": "s0", "baselineAction": None}), "BadRequest", "slots[0].baselineAction", "str"),
        (request(3, slot(0), slot(1, baseline=9)), "InvalidRankRequest", "slots[1].baselineAction", "'a9' is none"),
        (request(3, slot(0, 0)), "InvalidRankRequest", "slots[0].baselineAction", "excludedActions"),
        (request(3, slot(0), slot(1, baseline=0)), "InvalidRankRequest", "slots[1].baselineAction", "'a0' is"),
        (request(3, slot(0), slot(1, 2, 7)), "InvalidRankRequest", "slots[1].excludedActions", "'a7' is none"),
        (request(3, slot(0), {**slot(1), "id": "s0"}), "InvalidRankRequest", "slots[1].id", "'s0' is"),
        (request(3, slot(0), {**slot(1), "id": ""}), "InvalidRankRequest", "slots[1].id", "1 to 256"),
        (request(3, slot(0), {**slot(1), "id": LONG}), "InvalidRankRequest", "slots[1].id", "it has 257"),
        (request(3, slot(0), None), "BadRequest", "slots[1]", "object"),  # type: ignore[arg-type]
        (request(3), "InvalidRankRequest", "slots", "1 to 3"),
        (request(2, slot(0), slot(1), slot(2)), "InvalidRankRequest", "slots", "1 to 2"),
        (request(0, slot(0)), "InvalidRankRequest", "actions", "1 to 50"),
        (request(51, slot(0)), "InvalidRankRequest", "actions", "1 to 50"),
        ({**request(2, slot(0)), "actions": actions(1) * 2}, "InvalidRankRequest", "actions", "more than once"),
        (request(2, slot(0), event_id=""), "InvalidRankRequest", "eventId", "1 to 256"),
        (request(2, slot(0, features=[{"l": ["x"]}])), "InvalidRankRequest", "slots[0].features[0].l[0]", "numbers"),
        (request(2, slot(0, features=[None])), "InvalidRankRequest", "slots[0].features[0]", "null"),
        (request(2, slot(0, features={})), "BadRequest", "slots[0].features", "must be an array"),
        (request(2, slot(0), contextFeatures=7), "BadRequest", "contextFeatures", "must be an array"),
        (request(2, slot(0), contextFeatures=[{f"f{n}": n + 1 for n in range(8000)}]), "InvalidRankRequest", "actions",
         "units of work"),
        (request(20, *(slot(n) for n in range(20)), contextFeatures=[{f"f{n}": n + 1 for n in range(400)}]),
         "InvalidRankRequest", "actions", "units of work"),
    ],
)  # fmt: skip
def test_a_broken_rule_is_refused(body: dict[str, Any], code: str, target: str, problem: str) -> None:
    with pytest.raises(ApiError) as caught:
        decided(body)

    assert (caught.value.code, caught.value.target, caught.value.status) == (code, target, 400)
    assert problem in caught.value.message


@pytest.mark.parametrize(
    "sent", ['"eventId":"e1"', '"id":"s0"', '"baselineAction":"a0"', '"excludedActions":["a1"]', '"topic":"t0"']
)
def test_a_lone_surrogate_is_refused(sent: str) -> None:
    raw = orjson.dumps(request(2, slot(0, 1))).decode()
    broken = raw.replace(sent, re.sub(r'"\w+"(]?)$', r'"\\ud800"\1', sent)).encode()
    assert broken != raw.encode()

    with pytest.raises(ApiError) as caught:
        decide_slots(multi_slot_rank_request(broken), is_plain(broken), LOOP, Held(), ActionCache())

    assert caught.value.status == 400


@pytest.mark.parametrize(
    "body",
    [
        request(1, slot(0)),
        request(50, *(slot(n) for n in range(50))),
        request(3, slot(0, 1, 2), slot(1, features=None), slot(2, features=[])),
        request(3, {**slot(0), "excludedActions": None}, {**slot(1), "excludedActions": []}),
        request(3, slot(0, 1, 1, 1)),
        request(3, slot(0, features=[{}, {"_x": ["y"], "o": {"p": [1, 2]}}])),
        request(3, slot(0, positionFeatures=[{"x": 1}]), contextFeatures=None, excludedActions=["a0"]),
        request(3, {**slot(0), "id": "x" * 256}),
    ],
)
def test_what_the_contract_allows_is_decided(held: Held, body: dict[str, Any]) -> None:
    answer = shown(decided(body, held))

    assert list(answer) == [s["id"] for s in body["slots"]]
    assert None not in answer.values()


def test_the_budget_is_that_of_the_model_that_scores(held: Held) -> None:
    """Whose policy need not be the loop's any more."""
    body = request(30, slot(0), slot(1), contextFeatures=[{f"f{n}": n + 1 for n in range(400)}])
    raw = orjson.dumps(body)
    plain = replace(LOOP, policy=policy.read("--ccb_explore_adf"))

    assert decide_slots(multi_slot_rank_request(raw), True, plain, Held(), ActionCache())
    for loop, model in ((plain, held), (LOOP, Held())):
        with pytest.raises(ApiError, match="units of work"):
            decide_slots(multi_slot_rank_request(raw), True, loop, model, ActionCache())


# -- learning modes (contract 5.4) -----------------------------------------------------------------------------------


@pytest.mark.parametrize("trained", [True, False])
def test_logging_only_answers_and_logs_the_baselines_for_certain(held: Held, trained: bool) -> None:
    r = random.Random(3)
    for n in range(100):
        body = random_request(r, f"e{n}")
        decision = decided(body, held if trained else None, LOGGING_ONLY)

        assert list(shown(decision).values()) == [s["baselineAction"] for s in body["slots"]]
        assert decision.empty_slots == 0
        taken: set[int] = set()
        for asked, entry in zip(body["slots"], drawn(decision), strict=True):
            admitted = {int(a["id"][1:]) for a in body["actions"] if a["id"] not in asked.get("excludedActions", ())}
            assert entry.actions[0] == entry.baseline
            assert entry.probabilities == [1.0] + [0.0] * (len(entry.actions) - 1)
            assert set(entry.actions[1:]) == admitted - taken - {entry.baseline}
            assert entry.actions[1:] == sorted(entry.actions[1:])
            taken.add(entry.baseline)
        assert logged(decision).m == LOGGING_ONLY


def unshown(slot: RankedSlot) -> RankedSlot:
    """The slot less what was shown in it."""
    return msgspec.structs.replace(slot, shown="")


@pytest.mark.parametrize("trained", [True, False])
def test_an_apprentice_answers_the_baselines_and_logs_the_draw(held: Held, trained: bool) -> None:
    r = random.Random(4)
    differs = empty = 0
    for n in range(200):
        body = random_request(r, f"e{n}")
        apprentice, online = (decided(body, held if trained else None, mode) for mode in (APPRENTICE, ONLINE))

        assert list(shown(apprentice).values()) == [s["baselineAction"] for s in body["slots"]]
        assert apprentice.dsjson == online.dsjson
        watched, acting = drawn(apprentice), drawn(online)
        assert [slot.shown for slot in watched] == [s["baselineAction"] for s in body["slots"]]
        assert [slot.shown or None for slot in acting] == list(shown(online).values())
        assert [msgspec.structs.replace(slot, shown="") for slot in watched] == [
            msgspec.structs.replace(slot, shown="") for slot in acting
        ]
        assert (logged(apprentice).m, logged(online).m) == (APPRENTICE, ONLINE)
        assert apprentice.empty_slots == online.empty_slots
        differs += shown(apprentice) != shown(online)
        empty += online.empty_slots

    assert differs > 20
    assert empty > 5  # a baseline is answered where the draw left none, too


# -- the log ---------------------------------------------------------------------------------------------------------


def test_the_logged_part_holds_what_was_decided(held: Held) -> None:
    assert held.version
    body = request(
        4,
        slot(0, features=[{"place": "top"}]),
        slot(2, 0, 3, features=[{"place": "side"}]),
        event_id="e7",
        contextFeatures=[{"time": "t1"}],
    )
    decision = decided(body, held)
    line, entries = orjson.loads(decision.dsjson), drawn(decision)

    assert line["Version"] == "1"
    assert line["EventId"] == "e7"
    assert line["VWState"] == {"m": held.version.version}
    assert line["_ba"] == [0, 2]
    assert line["c"]["FromUrl"] == [{"time": "t1"}]
    assert [action["_tag"] for action in line["c"]["_multi"]] == ["a0", "a1", "a2", "a3"]
    assert line["c"]["_slots"] == [
        {"_id": "s0", "_tag": "seed=e7s0", "sj": [{"place": "top"}]},
        {"_id": "s2", "_tag": "seed=e7s2", "_inc": [1, 2], "sj": [{"place": "side"}]},
    ]
    assert [entry.id for entry in entries] == ["s0", "s2"]
    assert [f"a{entry.actions[0]}" for entry in entries] == list(shown(decision).values())
    # The shortest spelling of the 32-bit floats that were drawn from.
    assert re.findall(rb"0\.\d+", decision.choice)[0] in (b"0.85", b"0.05")


def test_without_a_model_the_log_says_so() -> None:
    assert orjson.loads(decided(request(2, slot(0))).dsjson)["VWState"] == {"m": "N/A"}


# -- against VW ------------------------------------------------------------------------------------------------------


HOSTILE_IDS = (
    "\0", "a\0b", '"', '\\"', "|", "a |b:1", " ", "\t\n", "seed=7", "'", "été", "中文🎉", "\u2028", "\x7f", "\x80",
    "_id", "{}", "x" * 256, "é" * 256, "%2F", "1", ":", "a:b", "\\u0000", "null",
)  # fmt: skip


class FreshVw:
    """VW by itself, over a model file or a blank one."""

    def __init__(self, arguments: str) -> None:
        self._workspace = Workspace(f"{arguments} --json --quiet")

    def draw(self, decision: Decision) -> list[list[tuple[int, float]]]:
        """What it draws for the example that was logged with a decision."""
        example = orjson.dumps(orjson.loads(decision.dsjson)["c"]).decode()
        found: list[list[tuple[int, float]]] = self._workspace.predict(example)
        return found

    def close(self) -> None:
        self._workspace.finish()


def assert_same_draw(decision: Decision, theirs: Sequence[Sequence[tuple[int, float]]]) -> None:
    ours = drawn(decision)
    assert [entry.actions for entry in ours] == [[action for action, _ in slot] for slot in theirs]
    for entry, slot in zip(ours, theirs, strict=True):
        assert entry.probabilities == pytest.approx([p for _, p in slot], rel=1e-6)


def hostile_request(r: random.Random, n: int) -> dict[str, Any]:
    """A random request under odd event and slot ids."""
    body = random_request(r, r.choice(HOSTILE_IDS)[:200] + str(n))
    for k, asked in enumerate(body["slots"]):
        asked["id"] = (r.choice(HOSTILE_IDS) + str(k))[-256:]
    for action in body["actions"]:
        action["features"][0][r.choice(HOSTILE_IDS)] = r.choice(HOSTILE_IDS)
    return body


@pytest.mark.parametrize("epsilon", [0.0, 0.2, 1.0])
@pytest.mark.parametrize("make", [random_request, hostile_request])
def test_draws_are_those_of_vw_over_the_logged_example(make: Any, epsilon: float, tmp_path: Path) -> None:
    data = trained_model(1500, QUICK_SLOTS)
    (tmp_path / "model.vw").write_bytes(data)
    model = ServingModel(data, f"--epsilon {epsilon}")
    fresh = FreshVw(f"-i {tmp_path / 'model.vw'} -t --epsilon {epsilon}")
    r = random.Random(5)
    for n in range(250):
        decision = decided(make(r, f"e{n}" if make is random_request else n), Held(model=model))

        assert_same_draw(decision, fresh.draw(decision))
    fresh.close()
    model.close()


@pytest.mark.parametrize("make", [random_request, hostile_request])
def test_draws_without_a_model_are_those_of_a_blank_vw_that_only_explores(make: Any) -> None:
    blank = FreshVw("--ccb_explore_adf --epsilon 1")
    r = random.Random(6)
    empty = 0
    for n in range(500):
        decision = decided(make(r, f"e{n}" if make is random_request else n))

        assert_same_draw(decision, blank.draw(decision))
        empty += decision.empty_slots
    blank.close()
    assert empty > 20


def test_the_callers_ids_are_answered_and_logged_as_they_came(held: Held) -> None:
    r = random.Random(7)
    for n in range(100):
        body = hostile_request(r, n)
        decision = decided(body, held)

        assert orjson.loads(decision.body)["eventId"] == logged(decision).e == body["eventId"]
        assert [entry["id"] for entry in orjson.loads(decision.body)["slots"]] == [s["id"] for s in body["slots"]]
        assert [entry.id for entry in drawn(decision)] == [s["id"] for s in body["slots"]]


# -- what is logged is learned ---------------------------------------------------------------------------------------


def joined_line(decision: Decision) -> bytes:
    (line,) = join(decode_events([log_line(decision, 1.0, False)]), [], [], RULES).lines
    return line


def test_whatever_was_decided_is_learned(held: Held) -> None:
    r = random.Random(8)
    learner = Learner(QUICK_SLOTS, None)
    lines = [joined_line(decided(hostile_request(r, n), held if n % 2 else None)) for n in range(300)]

    lesson = learn(learner, lines, job(QUICK_SLOTS))

    assert (lesson.events, lesson.skipped, lesson.refused) == (300, 0, 0)
    learner.close()


def test_vw_reads_of_a_line_what_was_decided_and_earned(held: Held) -> None:
    r = random.Random(9)
    reader, empty = LabelReader(), 0
    for n in range(200):
        decision = decided(hostile_request(r, n), held if n % 2 else None)
        ranked = logged(decision)
        assert ranked.s
        paid = [(entry.id, r.choice([-1.0, -0.5, 0.0, 0.25, 1.0])) for entry in ranked.s]
        observed = Observed(event_key(ranked.e), 2.0, "r", 0.0, paid)
        (line,) = join([ranked], [observed], [], RULES).lines

        for entry, (_, reward), label in zip(ranked.s, paid, reader.read(line), strict=True):
            if not entry.actions:
                assert label is None
                empty += 1
                continue
            assert label
            assert (label.cost, label.actions) == (-reward, entry.actions)
            assert label.probabilities == pytest.approx(entry.probabilities, rel=1e-6)
    reader.close()
    assert empty > 5


def test_no_id_changes_what_is_learned() -> None:
    """Where the draw is the same: of one action, under any name."""

    def model(event_id: str, slot_id: str) -> bytes:
        learner = Learner(QUICK_SLOTS, None)
        learner.learn(joined_line(decided(request(1, {"id": slot_id, "baselineAction": "a0"}, event_id=event_id))))
        saved = learner.save()
        learner.close()
        return saved

    assert {model(text, "s") for text in HOSTILE_IDS} | {model("e", text) for text in HOSTILE_IDS} == {model("e", "s")}


MARKS = (
    '"_skipLearn":true',
    "_skipLearn",
    '{"_skipLearn":true,"mode":"Apprentice","_label_cost":-1',
    '"mode":"Online"',
)


@pytest.mark.parametrize("text", MARKS)
@pytest.mark.parametrize("mode", MODES)
def test_no_text_of_a_caller_keeps_an_event_from_being_learned(text: str, mode: str) -> None:
    body = {
        "contextFeatures": [{text: True, "v": text, "n": {text: True}}],
        "actions": [{"id": text, "features": [{text: 1}]}, *actions(2)],
        "slots": [{"id": text, "baselineAction": text, "features": [{text: text}]}, slot(1, 0)],
        "eventId": text,
    }
    line = joined_line(decided(body, mode=mode))
    learner = Learner(QUICK_SLOTS, None)
    lessons = {own: learn(learner, [line], job(QUICK_SLOTS, own)) for own in MODES}
    learner.close()

    assert {own for own, lesson in lessons.items() if lesson.events} == {mode}
    assert [lesson.skipped + lesson.events for lesson in lessons.values()] == [1, 1, 1]
    assert not job(mode=mode).takes(line)  # which is for single-slot loops


class Refusing(ServingModel):
    """A model that takes no example."""

    def __init__(self) -> None:
        self.met = frozenset()

    def meet(self, initials: frozenset[str]) -> None:
        pass

    def score_slots(self, example: bytes) -> list[list[tuple[int, float]]]:
        raise ModelError("inside")


def test_logging_only_asks_no_model() -> None:
    body = request(2, slot(0), slot(1))

    assert shown(decided(body, Held(model=Refusing()), LOGGING_ONLY)) == {"s0": "a0", "s1": "a1"}
    with pytest.raises(ModelError):
        decided(body, Held(model=Refusing()))
