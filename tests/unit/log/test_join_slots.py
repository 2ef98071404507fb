"""Multi-slot events through the join: rewards by slot, labels by slot, and lines that VW learns from (contract 5.5)."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.learning.lesson import learn
from shared.learning.model import Learner
from shared.log.buckets import iso
from shared.log.join import Joined, Rules, decode_events, join, observations_of
from shared.log.records import APPRENTICE, LOGGING_ONLY, MODES, ONLINE, event_key
from shared.log.reward import AGGREGATIONS, aggregate
from tests.journalled import T0, Obs, Rank, Record, Slot, SlotRank
from tests.unit.ranking.trained import QUICK_SLOTS, SLOTS, job

RULES = Rules(wait=10.0, default_reward=0.25, aggregation="sum", reward_range=(-1.0, 1.0))
EVENT = SlotRank("e", T0)
"""Two slots, `top` and `side`."""
EMPTY = SlotRank("e", T0, slots=(Slot("top", (1, 0, 2, 3)), Slot("only", (), 1, allowed=(1,)), Slot("side", (2, 0, 3))))


def joined(records: Sequence[Record], rules: Rules = RULES) -> Joined:
    events = decode_events([r.line() for r in records if isinstance(r, Rank)])
    observed = observations_of({event_key(e.e) for e in events}, [r.line() for r in records if isinstance(r, Obs)])
    return join(events, observed, [], rules)


def outcomes(records: Sequence[Record], rules: Rules = RULES) -> dict[str, dict[str, Any]]:
    """The outcomes of the one event among the records, by slot."""
    (line,) = joined(records, rules).lines
    return {outcome["_id"]: outcome for outcome in orjson.loads(line)["_outcomes"]}


def rewards(records: Sequence[Record], rules: Rules = RULES) -> dict[str, float]:
    return {slot: -outcome["_original_label_cost"] for slot, outcome in outcomes(records, rules).items()}


def paid(t: float, *slots: tuple[str, float], request: str | None = None) -> Obs:
    return Obs("e", t, 0.0, "r", request, slots)


def activation(t: float) -> Obs:
    return Obs("e", t, 0.0, "a")


def model(lines: Sequence[bytes], arguments: str = SLOTS) -> tuple[bytes, float]:
    """What VW makes of the lines, all of which it must take."""
    learner = Learner(arguments, None)
    lesson = learn(learner, lines, job(arguments))
    assert (lesson.events, lesson.refused) == (len(lines), 0)
    saved, loss = learner.save(), learner.loss
    learner.close()
    return saved, loss


def test_the_joined_line_is_personalizers() -> None:
    result = joined([replace(EVENT, deferred=True), activation(T0 + 1), paid(T0 + 2, ("side", 0.5), ("top", -3.0))])

    assert result.lines == [
        b'{"Timestamp":"2023-11-14T22:14:00.000000Z","Version":"1","EventId":"e","c":{"FromUrl":[{"hour":22}],"_multi":['
        b'{"_tag":"a0","i":{"constant":1,"id":"a0"},"j":[{"x":0}]},{"_tag":"a1","i":{"constant":1,"id":"a1"},"j":'
        b'[{"x":1}]},{"_tag":"a2","i":{"constant":1,"id":"a2"},"j":[{"x":2}]},{"_tag":"a3","i":{"constant":1,"id":"a3"}'
        b',"j":[{"x":3}]}],"_slots":[{"_id":"top","_tag":"seed=etop","sj":[{"place":"top"}]},{"_id":"side","_tag":'
        b'"seed=eside","sj":[{"place":"side"}]}]},"VWState":{"m":"N/A"},"_ba":[0,2],"_outcomes":['
        b'{"_label_cost":1.0,"_id":"top","_a":[1,0,2,3],"_p":[0.5,0.16666666666666666,0.16666666666666666,'
        b'0.16666666666666666],"_o":[{"EventId":"e","Index":"top","ActionTaken":true},{"v":-3.0,"EventId":"e","Index":'
        b'"top","ActionTaken":false}],"_original_label_cost":3.0},'
        b'{"_label_cost":-0.5,"_id":"side","_a":[2,0,3],"_p":[0.5,0.25,0.25],"_o":[{"EventId":"e","Index":"side",'
        b'"ActionTaken":true},{"v":0.5,"EventId":"e","Index":"side","ActionTaken":false}],"_original_label_cost":-0.5}]}'
    ]
    assert (result.rewarded, result.inactive, result.empty_slots) == (1, 0, 0)


# -- rewards ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("aggregation", "top", "side"),
    [
        ("earliest", 0.5, -0.75),
        ("average", 0.125, -0.25),
        ("median", 0.25, -0.25),
        ("sum", 0.5, -0.5),
        ("min", -0.5, -0.75),
        ("max", 0.5, 0.25),
    ],
)
@pytest.mark.parametrize("in_one_call", [True, False])
def test_rewards_are_aggregated_slot_by_slot(aggregation: str, top: float, side: float, in_one_call: bool) -> None:
    given_rewards = [("top", 0.5), ("side", -0.75), ("top", 0.0), ("top", -0.5), ("side", 0.25), ("top", 0.5)]
    if in_one_call:
        calls = [paid(T0 + 1, *given_rewards)]
    else:
        calls = [paid(T0 + 1 + n, reward) for n, reward in enumerate(given_rewards)]

    found = rewards([EVENT, *reversed(calls)], replace(RULES, aggregation=aggregation))

    assert found == {"top": top, "side": side}


@pytest.mark.parametrize("default", [0.0, 0.5, -1.0])
def test_each_slot_without_a_reward_earns_the_default(default: float) -> None:
    rules = replace(RULES, default_reward=default)

    assert rewards([EVENT], rules) == {"top": default, "side": default}
    assert rewards([EVENT, paid(T0 + 1, ("side", 0.75))], rules) == {"top": default, "side": 0.75}
    assert b'_cost":-0.0' not in joined([EVENT], rules).lines[0]


def test_rewards_of_unknown_slots_are_nobodys() -> None:
    result = joined([EVENT, paid(T0 + 1, ("bottom", 1.0), ("Top", 1.0), ("", 1.0))])

    found = {o["_id"]: (o["_original_label_cost"], o["_o"]) for o in orjson.loads(result.lines[0])["_outcomes"]}
    assert found == {"top": (-0.25, []), "side": (-0.25, [])}
    assert result.rewarded == 0
    assert joined([EVENT, paid(T0 + 1, ("bottom", 1.0), ("top", 1.0))]).rewarded == 1


def test_a_reward_without_slots_is_not_for_a_multi_slot_event() -> None:
    result = joined([EVENT, Obs("e", T0 + 1, 0.75)])

    assert {o["_original_label_cost"] for o in orjson.loads(result.lines[0])["_outcomes"]} == {-0.25}
    assert result.rewarded == 0


def test_rewards_by_slot_are_not_for_a_single_slot_event() -> None:
    result = joined([Rank("e", T0), paid(T0 + 1, ("top", 0.75)), paid(T0 + 2)])
    line = orjson.loads(result.lines[0])

    assert (line["_original_label_cost"], line["o"], result.rewarded) == (-0.25, [], 0)


def test_a_reward_call_counts_once_under_one_request_id() -> None:
    call = paid(T0 + 1, ("top", 0.25), ("side", 0.5), request="q")
    result = joined([EVENT, call, replace(call, t=T0 + 2), paid(T0 + 3, ("top", 0.125), request="other")])

    found = {o["_id"]: -o["_original_label_cost"] for o in orjson.loads(result.lines[0])["_outcomes"]}
    assert found == {"top": 0.375, "side": 0.5}
    assert result.duplicates == 1


@pytest.mark.parametrize(("offset", "counts"), [(0, True), (9.5, True), (10, False), (-119.5, True), (-120, False)])
def test_a_reward_counts_inside_the_window_alone(offset: float, counts: bool) -> None:
    assert rewards([EVENT, paid(T0 + offset, ("top", 0.5))])["top"] == (0.5 if counts else 0.25)


@pytest.mark.parametrize(
    ("observations", "skipped"),
    [
        ([], True),
        ([paid(T0 + 1, ("top", 1.0), ("side", 1.0))], True),  # a reward does not activate
        ([activation(T0 + 1)], False),
        ([paid(T0 + 1, ("top", 1.0)), activation(T0 + 2)], False),
        ([activation(T0 + 10)], True),  # too late
    ],
)
def test_activation_covers_all_slots(observations: list[Obs], skipped: bool) -> None:
    result = joined([replace(EVENT, deferred=True), *observations])
    line = orjson.loads(result.lines[0])

    assert line.get("_skipLearn") is (True if skipped else None)
    assert result.inactive == skipped
    taken = [sum(o["ActionTaken"] for o in outcome["_o"]) for outcome in line["_outcomes"]]
    assert taken == ([0, 0] if skipped else [1, 1])


# -- labels ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("reward", "learned"), [(5.0, 1.0), (-5.0, -1.0), (0.5, 0.5), (1e30, 1.0)])
def test_learning_sees_the_reward_range_and_the_log_the_raw_reward(reward: float, learned: float) -> None:
    found = outcomes([EVENT, paid(T0 + 1, ("top", reward), ("side", 0.5))])

    assert (found["top"]["_label_cost"], found["side"]["_label_cost"]) == (-learned, -0.5)
    assert (found["top"]["_original_label_cost"], found["top"]["_o"][0]["v"]) == (-reward, reward)


@pytest.mark.parametrize(("p", "label"), [(1e-30, 0.001), (0.0, 0.001), (0.001, 0.001), (0.0011, 0.0011), (1.0, 1.0)])
def test_no_probability_below_a_thousandth_reaches_learning(p: float, label: float) -> None:
    event = replace(EVENT, slots=(Slot("top", (1, 0, 2), p=p), Slot("side", (2, 0), p=0.5)))
    found = outcomes([event])

    assert found["top"]["_p"] == pytest.approx([label, (1 - p) / 2, (1 - p) / 2])
    assert found["side"]["_p"] == [0.5, 0.5]


def test_vw_learns_from_a_hostile_event_what_its_bounds_allow() -> None:
    def line(reward: float, p: float) -> bytes:
        event = replace(EVENT, slots=(Slot("top", (1, 0, 2, 3), p=p), Slot("side", (2, 0, 3))))
        return joined([event, paid(T0 + 1, ("top", reward))]).lines[0]

    assert model([line(1e30, 1e-30)]) == model([line(1.0, 0.001)])
    assert model([line(1.0, 0.5)]) != model([line(1.0, 0.001)])  # and VW does read both


def test_an_apprentice_imitates_slot_by_slot() -> None:
    event = SlotRank(
        "e", T0, mode=APPRENTICE,
        slots=(Slot("same", (2, 0, 1, 3), 2), Slot("other", (1, 0, 3)), Slot("none", (), 1), Slot("last", (3, 0), 3)),
    )  # fmt: skip
    result = joined(
        [event, paid(T0 + 1, ("same", -1.0), ("other", 5.0), ("none", 1.0))], replace(RULES, reward_range=(0, 0.5))
    )
    line = orjson.loads(result.lines[0])
    found = {o["_id"]: (o.get("_label_cost"), o.get("_original_label_cost")) for o in line["_outcomes"]}

    assert line["mode"] == "Apprentice"
    # What each slot earned is kept beside what is learned: 1 for the baseline's action, 0 for any other.
    assert found == {"same": (-1.0, 1.0), "other": (0.0, -5.0), "none": (None, None), "last": (-1.0, -0.25)}
    assert b'_cost":-0.0' not in result.lines[0]


def test_logging_only_learns_what_the_baselines_earned() -> None:
    event = replace(EVENT, mode=LOGGING_ONLY)
    (line,) = joined([event, paid(T0 + 1, ("side", 0.5))]).lines

    assert orjson.loads(line)["mode"] == "LoggingOnly"
    assert [o["_label_cost"] for o in orjson.loads(line)["_outcomes"]] == [-0.25, -0.5]


# -- empty slots -----------------------------------------------------------------------------------------------------


def test_a_slot_without_an_action_has_no_label_and_is_counted() -> None:
    result = joined([EMPTY, paid(T0 + 1, ("only", 0.5), ("top", 0.75)), SlotRank("f", T0)])
    only = orjson.loads(result.lines[0])["_outcomes"][1]

    assert only == {
        "_id": "only", "_a": [], "_p": [], "_o": [{"v": 0.5, "EventId": "e", "Index": "only", "ActionTaken": False}],
    }  # fmt: skip
    assert result.empty_slots == 1


def with_outcomes(line: bytes, change: dict[int, dict[str, Any]]) -> bytes:
    """The line with other outcomes at some places, and nothing else changed."""
    head, _, tail = line.partition(b',"_outcomes":')
    held = orjson.loads(tail[:-1])
    return head + b',"_outcomes":' + orjson.dumps([change.get(n, outcome) for n, outcome in enumerate(held)]) + b"}"


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_line_with_an_empty_slot_teaches_what_its_other_slots_say(place: int) -> None:
    """At the first place, too, which no decision leaves empty."""
    slots = [Slot("top", (1, 0, 2, 3)), Slot("side", (2, 0, 3)), Slot("end", (3, 0))]
    slots[place] = Slot(slots[place].id, (), 1, allowed=(1,))
    lines = []
    for n in range(20):
        event = SlotRank(f"e{n}", T0 + 3600 * n, slots=tuple(slots))
        pay = tuple((slot.id, float((n + k) % 3 == 0)) for k, slot in enumerate(slots))
        lines += joined([event, Obs(event.id, event.t + 1, 0.0, "r", None, pay)]).lines
    learned, _ = model(lines)

    told_nothing, _ = model([with_outcomes(line, {place: {}}) for line in lines])
    assert learned == told_nothing
    for other in {0, 1, 2} - {place}:  # each of the others does teach something
        assert model([with_outcomes(line, {other: {}}) for line in lines])[0] != learned


def test_a_reward_for_an_empty_slot_teaches_nothing() -> None:
    without, paid_too = (joined([EMPTY, *more]).lines for more in ([], [paid(T0 + 1, ("only", 1.0))]))

    assert without != paid_too
    assert model(without) == model(paid_too)


# -- whatever comes --------------------------------------------------------------------------------------------------


def random_slots(r: random.Random) -> tuple[Slot, ...]:
    """Slots of four actions in which none stands twice."""
    left, slots = [0, 1, 2, 3], []
    for n in range(r.randrange(1, 5)):
        r.shuffle(left)
        allowed = None if r.random() < 0.7 else tuple(sorted(r.sample(range(4), 2)))
        among = tuple(a for a in left if allowed is None or a in allowed)
        slots.append(Slot(f"s{n}", among, n, r.choice([0.25, 0.5]), allowed))
        left = [a for a in left if a not in among[:1]]
    return tuple(slots)


IDS = st.sampled_from(["a", "b"])
TIMES = st.integers(0, 400).map(lambda halves: T0 + halves / 2)
VALUES = st.integers(-8, 8).map(lambda n: n / 4)
REQUESTS = st.sampled_from([None, "q1", "q2"])
EVENTS = st.builds(
    SlotRank, IDS, TIMES, st.booleans(), mode=st.sampled_from(MODES),
    slots=st.integers(0, 2**32).map(lambda seed: random_slots(random.Random(seed))),
)  # fmt: skip
SINGLE_EVENTS = st.builds(Rank, IDS, TIMES, st.booleans(), st.integers(0, 2))
SLOT_REWARDS = st.lists(st.tuples(st.sampled_from(["s0", "s1", "s2", "s3", "x"]), VALUES), max_size=4).map(tuple)
OBSERVATIONS = st.builds(
    Obs, IDS, TIMES.map(lambda t: t - 100), st.just(0.0), st.just("r"), REQUESTS, SLOT_REWARDS
) | st.builds(Obs, IDS, TIMES, VALUES, st.sampled_from(["r", "a"]), REQUESTS)
RECORDS = st.lists(EVENTS | SINGLE_EVENTS | OBSERVATIONS, max_size=20)
ALL_RULES = st.builds(
    Rules, st.sampled_from([5.0, 60.0]), st.sampled_from([0.0, 0.5]), st.sampled_from(sorted(AGGREGATIONS)),
    st.just((-1.0, 1.0)),
)  # fmt: skip


@pytest.mark.parametrize("aggregation", sorted(AGGREGATIONS))
def test_rewards_that_arrive_at_once_are_taken_in_one_order(aggregation: str) -> None:
    calls = [paid(T0 + 1, ("top", 0.5)), paid(T0 + 1, ("top", -0.5)), paid(T0 + 1, ("side", 1.0), ("top", 0.25))]
    rules = replace(RULES, aggregation=aggregation)

    found = {joined([EVENT, *order], rules).lines[0] for order in itertools.permutations(calls)}

    assert len(found) == 1


@given(RECORDS, ALL_RULES, st.integers(0, 2**32))
def test_the_same_lines_in_any_order_give_the_same_bytes(records: list[Record], rules: Rules, seed: int) -> None:
    shuffled = records.copy()
    random.Random(seed).shuffle(shuffled)

    assert joined(shuffled, rules) == joined(records, rules)


@pytest.mark.parametrize("seed", range(5))
def test_the_model_does_not_depend_on_the_order_of_observations(seed: int) -> None:
    r = random.Random(seed)
    events = [SlotRank(f"e{n}", T0 + n, slots=random_slots(r)) for n in range(50)]
    observations = [
        Obs(e.id, e.t + r.choice([1, 1, 2]), 0.0, "r", None, tuple((s.id, r.uniform(-1, 1)) for s in e.slots))
        for e in events for _ in range(3)
    ]  # fmt: skip
    before = model(joined([*events, *observations]).lines, QUICK_SLOTS)
    r.shuffle(observations)

    assert model(joined([*observations, *events]).lines, QUICK_SLOTS) == before


@given(RECORDS, ALL_RULES)
def test_the_join_is_what_the_contract_says(records: list[Record], rules: Rules) -> None:
    ranks = sorted((r for r in records if isinstance(r, Rank)), key=lambda r: (r.t, r.id, r.line()))
    observations = sorted(
        (r for r in records if isinstance(r, Obs)), key=lambda o: (o.t, o.request or "", o.value, o.kind, o.slots or ())
    )
    counted = [
        o for n, o in enumerate(observations)
        if o.request is None or (o.id, o.request, o.kind) not in {(p.id, p.request, p.kind) for p in observations[:n]}
    ]  # fmt: skip
    wanted = []
    for n, rank in enumerate(ranks):
        if not isinstance(rank, SlotRank) or any(r.id == rank.id and rank.t - r.t < 120 for r in ranks[:n]):
            continue
        mine = [o for o in counted if o.id == rank.id and -120 < o.t - rank.t < rules.wait]
        active = not rank.deferred or any(o.kind == "a" for o in mine)
        earned = []
        for slot in rank.slots:
            values = [value for o in mine for name, value in o.slots or () if name == slot.id]
            reward = aggregate(values, rules.aggregation, rules.default_reward)
            imitated = float(slot.actions[:1] == (slot.baseline,))
            learned = imitated if rank.mode == APPRENTICE else max(-1.0, min(1.0, reward))
            earned.append((slot.id, *slot.actions, *((reward, learned) if slot.actions else (None, None))))
        wanted.append((rank.id, iso(rank.t), rank.mode, active, earned))

    found = []
    for line in map(orjson.loads, joined(records, rules).lines):
        if "_outcomes" not in line:
            continue
        earned = []
        for o in line["_outcomes"]:
            costs = [o.get("_original_label_cost"), o.get("_label_cost")]
            earned.append((o["_id"], *o["_a"], *(None if cost is None else -cost for cost in costs)))
        found.append((line["EventId"], line["Timestamp"], line.get("mode", ONLINE), "_skipLearn" not in line, earned))
    assert found == wanted
