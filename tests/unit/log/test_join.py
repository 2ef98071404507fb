import random
from collections.abc import Iterator, Sequence
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
from shared.log.records import APPRENTICE, LOGGING_ONLY, event_key
from shared.log.reward import AGGREGATIONS, aggregate
from tests.journalled import T0, Obs, Rank, Record
from tests.unit.ranking.trained import job

RULES = Rules(wait=10.0, default_reward=0.25, aggregation="sum", reward_range=(-1.0, 1.0))


def joined(records: Sequence[Record], rules: Rules = RULES, earlier: Sequence[Rank] = ()) -> Joined:
    events = decode_events([r.line() for r in records if isinstance(r, Rank)])
    observed = observations_of({event_key(e.e) for e in events}, [r.line() for r in records if isinstance(r, Obs)])
    return join(events, observed, [e.mark() for e in earlier], rules)


def lines(records: Sequence[Record], rules: Rules = RULES) -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in joined(records, rules).lines]


def activation(event_id: str, t: float, request: str | None = None) -> Obs:
    return Obs(event_id, t, 0.0, "a", request)


def reward_of(line: dict[str, Any]) -> float:
    return -float(line["_original_label_cost"])


@pytest.mark.parametrize(
    ("offset", "counts"),
    [
        (0, True),
        (9.5, True),
        (9.999999, True),
        (10, False),
        (10.5, False),
        (-119.5, True),
        (-120, False),
        (-121, False),
    ],
)
def test_a_reward_counts_inside_the_window_alone(offset: float, counts: bool) -> None:
    (line,) = lines([Rank("e", T0), Obs("e", T0 + offset, 0.5)])

    assert reward_of(line) == (0.5 if counts else 0.25)
    assert len(line["o"]) == counts


@pytest.mark.parametrize("wait", [5.0, 12.5, 600.0, 172_800.0])
def test_a_reward_at_the_end_of_the_wait_is_too_late(wait: float) -> None:
    rules = replace(RULES, wait=wait)
    assert reward_of(lines([Rank("e", T0), Obs("e", T0 + wait, 0.5)], rules)[0]) == 0.25
    assert reward_of(lines([Rank("e", T0), Obs("e", T0 + wait - 0.5, 0.5)], rules)[0]) == 0.5


@pytest.mark.parametrize(
    ("aggregation", "reward"),
    [("earliest", 0.5), ("average", 0.125), ("median", 0.25), ("sum", 0.5), ("min", -0.5), ("max", 0.5)],
)
def test_rewards_are_aggregated_in_order_of_arrival(aggregation: str, reward: float) -> None:
    given = [Obs("e", T0 + 3, -0.5), Obs("e", T0 + 1, 0.5), Obs("e", T0 + 2, 0.0), Obs("e", T0 + 4, 0.5)]
    (line,) = lines([Rank("e", T0), *given], replace(RULES, aggregation=aggregation))

    assert reward_of(line) == reward
    assert [o["v"] for o in line["o"]] == [0.5, 0.0, -0.5, 0.5]


def test_the_largest_of_rewards_below_zero_is_not_the_default() -> None:
    given: list[Record] = [Rank("e", T0), Obs("e", T0 + 1, -0.5), Obs("e", T0 + 2, -0.75)]
    assert reward_of(lines(given, replace(RULES, aggregation="max"))[0]) == -0.5


@pytest.mark.parametrize("default", [0.0, 0.5, -1.0])
def test_an_event_without_a_reward_earns_the_default(default: float) -> None:
    result = joined([Rank("e", T0)], replace(RULES, default_reward=default))

    assert reward_of(orjson.loads(result.lines[0])) == default
    assert result.rewarded == 0
    assert b'_cost":-0.0' not in result.lines[0]


@pytest.mark.parametrize(
    ("name", "deferred", "observations", "skipped", "reward"),
    [
        ("never activated", True, [], True, 0.25),
        ("activated", True, [activation("e", T0 + 1)], False, 0.25),
        ("activated too late", True, [activation("e", T0 + 10)], True, 0.25),
        ("activated early", True, [activation("e", T0 - 1)], False, 0.25),
        ("rewarded only: a reward does not activate", True, [Obs("e", T0 + 1, 0.5)], True, 0.5),
        ("activated, then rewarded", True, [activation("e", T0 + 1), Obs("e", T0 + 2, 0.5)], False, 0.5),
        ("rewarded, then activated", True, [Obs("e", T0 + 1, 0.5), activation("e", T0 + 2)], False, 0.5),
        ("activated twice", True, [activation("e", T0 + 1), activation("e", T0 + 2)], False, 0.25),
        ("another one activated", True, [activation("f", T0 + 1)], True, 0.25),
        ("not deferred", False, [], False, 0.25),
        ("not deferred, activated all the same", False, [activation("e", T0 + 1), Obs("e", T0, 0.5)], False, 0.5),
    ],
)
def test_deferred_events(name: str, deferred: bool, observations: list[Obs], skipped: bool, reward: float) -> None:
    result = joined([Rank("e", T0, deferred), *observations])
    line = orjson.loads(result.lines[0])

    assert line.get("_skipLearn") is (True if skipped else None)
    assert result.inactive == skipped
    assert reward_of(line) == reward


@pytest.mark.parametrize(
    ("times", "kept"),
    [
        ((0, 1), (0,)),
        ((0, 119.5), (0,)),
        ((0, 120), (0, 120)),
        ((0, 300), (0, 300)),
        ((0, 100, 200), (0,)),  # each follows another within two minutes
        ((0, 100, 250), (0, 250)),
    ],
)
def test_a_repeated_id_is_a_retry_for_two_minutes(times: tuple[float, ...], kept: tuple[float, ...]) -> None:
    result = joined([Rank("e", T0 + t, chosen=n % 3) for n, t in enumerate(times)])

    assert [orjson.loads(line)["Timestamp"] for line in result.lines] == [iso(T0 + t) for t in kept]
    assert result.retries == len(times) - len(kept)


@pytest.mark.parametrize(("ago", "retry"), [(0.5, True), (119.5, True), (120, False), (500, False)])
def test_a_retry_of_an_event_of_an_earlier_window_is_known_by_its_mark(ago: float, retry: bool) -> None:
    result = joined([Rank("e", T0), Rank("f", T0)], earlier=[Rank("e", T0 - ago), Rank("e", T0 - 600)])

    assert [orjson.loads(line)["EventId"] for line in result.lines] == (["f"] if retry else ["e", "f"])
    assert result.retries == retry


def test_a_later_repeat_is_an_event_with_rewards_of_its_own() -> None:
    first, second = lines([Rank("e", T0), Obs("e", T0 + 1, 0.5), Rank("e", T0 + 300), Obs("e", T0 + 301, -0.5)])

    assert (reward_of(first), reward_of(second)) == (0.5, -0.5)


def test_rewards_of_unknown_events_are_nobodys() -> None:
    (line,) = lines([Rank("e", T0), Obs("unknown", T0 + 1, 1.0)])
    assert reward_of(line) == 0.25


@pytest.mark.parametrize(("ranked", "rewarded"), [("a/b", "a%2Fb"), ("a%2fb", "a/b"), ("a/b", "a/b")])
def test_a_slash_in_an_id_matches_however_it_came(ranked: str, rewarded: str) -> None:
    (line,) = lines([Rank(ranked, T0), Obs(rewarded, T0 + 1, 0.5)])
    assert (line["EventId"], reward_of(line)) == (ranked, 0.5)


def test_an_observation_counts_once_under_one_request_id() -> None:
    result = joined(
        [
            *(Rank("e", T0), Rank("f", T0, deferred=True)),
            *(Obs("e", T0 + 1, 0.5, request="q"), Obs("e", T0 + 2, 0.5, request="q")),  # a repetition
            *(Obs("e", T0 + 3, 0.25, request="other"), Obs("e", T0 + 4, 0.125), Obs("e", T0 + 4, 0.125)),
            *(Obs("f", T0 + 1, 1.0, request="q"), activation("f", T0 + 2, "q")),  # another event, another kind
        ]
    )
    e, f = map(orjson.loads, result.lines)

    assert reward_of(e) == 0.5 + 0.25 + 0.125 + 0.125
    assert (reward_of(f), "_skipLearn" in f) == (1.0, False)
    assert result.duplicates == 1


@pytest.mark.parametrize(
    ("reward", "learned"), [(5.0, 1.0), (-5.0, -1.0), (0.5, 0.5), (1.0, 1.0), (-1.0, -1.0), (1e30, 1.0)]
)
def test_learning_sees_the_reward_range_and_the_log_the_raw_reward(reward: float, learned: float) -> None:
    (line,) = lines([Rank("e", T0), Obs("e", T0 + 1, reward)])

    assert line["_label_cost"] == -learned
    assert (line["_original_label_cost"], line["o"][0]["v"]) == (-reward, reward)


def test_the_sum_is_bounded_not_each_reward() -> None:
    given: list[Record] = [Rank("e", T0), Obs("e", T0 + 1, 3.0), Obs("e", T0 + 2, -2.5)]
    assert lines(given)[0]["_label_cost"] == -0.5
    assert lines(given, replace(RULES, reward_range=(0.0, 0.125)))[0]["_label_cost"] == -0.125


@pytest.mark.parametrize(("p", "label"), [(1e-30, 0.001), (0.001, 0.001), (0.0011, 0.0011), (1.0, 1.0)])
def test_no_probability_below_a_thousandth_reaches_learning(p: float, label: float) -> None:
    (line,) = lines([Rank("e", T0, p=p)])
    assert line["_label_probability"] == pytest.approx(label)
    assert line["p"][0] == p


@pytest.mark.parametrize(("chosen", "label"), [(0, -1.0), (1, 0.0), (2, 0.0)])
@pytest.mark.parametrize("reward", [-1.0, 0.5, 7.0])
def test_an_apprentice_learns_to_do_what_the_application_does(chosen: int, label: float, reward: float) -> None:
    result = joined([Rank("e", T0, chosen=chosen, mode=APPRENTICE), Obs("e", T0 + 1, reward)])
    line = orjson.loads(result.lines[0])

    assert line["mode"] == "Apprentice"
    assert line["_label_cost"] == label
    assert b'_cost":-0.0' not in result.lines[0]
    assert (reward_of(line), line["o"][0]["v"]) == (reward, reward)  # what it earned is kept beside it
    assert line["_labelIndex"] == chosen


def test_an_apprentices_label_is_not_bounded_by_the_reward_range() -> None:
    rules = replace(RULES, reward_range=(0.0, 0.125))
    assert lines([Rank("e", T0, mode=APPRENTICE)], rules)[0]["_label_cost"] == -1.0


def test_logging_only_learns_what_the_application_earned() -> None:
    (line,) = lines([Rank("e", T0, p=1.0, mode=LOGGING_ONLY), Obs("e", T0 + 1, 0.5)])

    assert (line["mode"], line["_label_cost"], line["_labelIndex"]) == ("LoggingOnly", -0.5, 0)


def test_an_event_of_a_loop_online_carries_no_mode() -> None:
    (line,) = lines([Rank("e", T0)])

    assert "mode" not in line


@pytest.mark.parametrize(
    "damaged",
    [
        b"",
        b"{",
        b"garbage",
        b"\xff",
        b'{"e":"e","t":"now"}',
        b"[]",
        b'{"e":"\xff","t":1.0,"d":false,"r":{}}',
        b'{"r":' + b"[" * 100_000,
    ],
    ids=lambda line: line[:20].decode(errors="replace"),
)
def test_a_line_that_cannot_be_decoded_holds_up_no_other(damaged: bytes) -> None:
    rank, reward = Rank("e", T0), Obs("e", T0 + 1, 0.5)
    events = decode_events([damaged, rank.line(), damaged])
    observed = observations_of({"e"}, [damaged, reward.line(), damaged])

    assert join(events, observed, [], RULES) == joined([rank, reward])


def test_the_joined_line_is_personalizers() -> None:
    result = joined([Rank("e-1", T0, True, 2), Obs("e-1", T0 + 2, 0.5), activation("e-1", T0 + 1)])

    assert result.lines == [
        b'{"_label_cost":-0.5,"_label_probability":0.5,"_label_Action":3,"_labelIndex":2,"_original_label_cost":-0.5,'
        b'"o":[{"EventId":"e-1","ActionTaken":true},{"v":0.5,"EventId":"e-1","ActionTaken":false}],'
        b'"Timestamp":"2023-11-14T22:14:00.000000Z","Version":"1","EventId":"e-1","a":[3,1,2],'
        b'"c":{"FromUrl":[{"hour":22}],"_multi":[{"_tag":"a0","i":{"constant":1,"id":"a0"},"j":[{"x":0}]},'
        b'{"_tag":"a1","i":{"constant":1,"id":"a1"},"j":[{"x":1}]},{"_tag":"a2","i":{"constant":1,"id":"a2"},'
        b'"j":[{"x":2}]}]},"p":[0.5,0.25,0.25],"VWState":{"m":"N/A"}}'
    ]
    assert (result.rewarded, result.retries, result.inactive, result.duplicates) == (1, 0, 0, 0)


@pytest.fixture
def learner() -> Iterator[Learner]:
    made = Learner("--cb_explore_adf --epsilon 0.2 --power_t 0 -l 0.001 --cb_type mtr -q ::", None)
    yield made
    made.close()


@pytest.mark.parametrize(("reward", "p", "ips"), [(0.5, 0.25, 2.0), (-0.5, 0.5, -1.0), (3.0, 0.5, 2.0)])
def test_vw_reads_cost_and_probability_of_the_line(learner: Learner, reward: float, p: float, ips: float) -> None:
    learner.learn(joined([Rank("e", T0, chosen=1, p=p), Obs("e", T0 + 1, reward)]).lines[0])

    # An untrained model takes each of the three actions alike, and is charged by inverse propensity.
    assert -learner.loss == pytest.approx(ips / 3, rel=1e-5)


def test_vw_learns_no_event_that_was_never_activated(learner: Learner) -> None:
    learned = [line for n in range(3) for line in joined([Rank(f"e{n}", T0), Obs(f"e{n}", T0 + 1, 0.5)]).lines]
    assert learn(learner, learned, job()).events == 3
    before, loss = learner.save(), learner.loss

    # Many, since VW would learn the first ones by a label of the past and die of the later ones.
    deferred = [line for n in range(50) for line in joined([Rank(f"d{n}", T0, True), Obs(f"d{n}", T0 + 1, 0.5)]).lines]
    lesson = learn(learner, deferred, job())

    assert (lesson.events, lesson.skipped, lesson.refused) == (0, 50, 0)  # counted as train.skipped by the trainer
    assert (learner.save(), learner.loss) == (before, loss)
    activated = joined([Rank("e", T0, True), Obs("e", T0 + 1, 0.5), activation("e", T0 + 2)]).lines
    assert learn(learner, activated, job()).events == 1
    assert learner.loss != loss


IDS = st.sampled_from(["a", "b", "c/d"])
TIMES = st.integers(0, 400).map(lambda halves: T0 + halves / 2)
RANKS = st.builds(Rank, IDS, TIMES, st.booleans(), st.integers(0, 2), st.sampled_from([0.25, 0.5]))
REWARDS = st.builds(
    Obs, IDS, TIMES.map(lambda t: t - 100), st.integers(-8, 8).map(lambda n: n / 4), st.just("r"),
    st.sampled_from([None, "q1", "q2"]),
)  # fmt: skip
ACTIVATIONS = st.builds(activation, IDS, TIMES, st.sampled_from([None, "q1"]))
RECORDS = st.lists(RANKS | REWARDS | ACTIVATIONS, max_size=30)
ALL_RULES = st.builds(
    Rules, st.sampled_from([5.0, 10.0, 60.0]), st.sampled_from([0.0, 0.5]), st.sampled_from(sorted(AGGREGATIONS)),
    st.just((-1.0, 1.0)),
)  # fmt: skip


@given(RECORDS, ALL_RULES, st.integers(0, 2**32))
def test_the_same_lines_in_any_order_give_the_same_bytes(records: list[Record], rules: Rules, seed: int) -> None:
    shuffled = records.copy()
    random.Random(seed).shuffle(shuffled)

    assert joined(shuffled, rules) == joined(records, rules)


@given(RECORDS, ALL_RULES, st.integers(0, 40).map(lambda n: T0 + 5 * n))
def test_a_window_cut_in_two_joins_the_same_lines(records: list[Record], rules: Rules, cut: int) -> None:
    ranks = [r for r in records if isinstance(r, Rank)]
    observations = [r for r in records if isinstance(r, Obs)]
    before, after = [r for r in ranks if r.t < cut], [r for r in ranks if r.t >= cut]
    whole = joined(records, rules)
    first = joined([*before, *observations], rules)
    second = joined([*after, *observations], rules, earlier=before)

    assert first.lines + second.lines == whole.lines
    assert first.retries + second.retries == whole.retries


@given(RECORDS, ALL_RULES)
def test_the_join_is_what_the_contract_says(records: list[Record], rules: Rules) -> None:
    ranks = sorted((r for r in records if isinstance(r, Rank)), key=lambda r: (r.t, r.id, r.line()))
    observations = sorted((r for r in records if isinstance(r, Obs)), key=lambda o: (o.t, o.request or "", o.value))
    wanted = []
    for n, rank in enumerate(ranks):
        if any(r.id == rank.id and rank.t - r.t < 120 for r in ranks[:n]):
            continue
        inside = [o for o in observations if o.id == rank.id and -120 < o.t - rank.t < rules.wait]
        mine = [
            o for n, o in enumerate(inside)
            if o.request is None or (o.request, o.kind) not in {(p.request, p.kind) for p in inside[:n]}
        ]  # fmt: skip
        rewards = [o.value for o in mine if o.kind == "r"]
        active = not rank.deferred or any(o.kind == "a" for o in mine)
        reward = aggregate(rewards, rules.aggregation, rules.default_reward)
        wanted.append((rank.id, iso(rank.t), rank.chosen, reward, max(-1.0, min(1.0, reward)), active))

    assert [
        (x["EventId"], x["Timestamp"], x["_labelIndex"], reward_of(x), -x["_label_cost"], "_skipLearn" not in x)
        for x in lines(records, rules)
    ] == wanted
