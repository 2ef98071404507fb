"""Each finding: it comes of what is planted, and not of a healthy log."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import pytest

from shared.health import tally
from shared.health.catalogue import CATALOGUE, ENOUGH, SEVERITIES, Finding
from shared.health.examined import DAY, HOUR, Examined, Rewards, Standing, Totals
from shared.health.findings import findings
from shared.health.tally import Tally
from shared.log.records import APPRENTICE
from tests.unit.health import planted
from tests.unit.health.planted import Change, Line

FREQUENCY = 300.0


def examine(lines: list[bytes], window: int = 500) -> Examined:
    """What examining these lines gives, window by window."""
    held = Examined()
    for n in range(0, len(lines), window):
        held = held.with_window(tally.of_lines(lines[n : n + window], window, n, n + window))
    return held


def found(held: Examined, trained_through: int = 0, now: float = 0.0) -> dict[str, Finding]:
    """The findings by code; where there are several of one, the first."""
    return {one.code: one for one in reversed(findings(held, trained_through, now, FREQUENCY))}


@dataclass(frozen=True)
class Wrong:
    """What is wrong with an application, what is found of it, and the words in which its place is told."""

    code: str
    change: Change
    words: str = ""


def _context(**features: Any) -> Change:
    return lambda line, rng, n: line["c"]["FromUrl"].append(
        {name: value(rng, n) if callable(value) else value for name, value in features.items()}
    )


def _reward(of: Any) -> Change:
    def change(line: Line, rng: random.Random, n: int) -> None:
        reward = of(rng, n)
        line["_original_label_cost"] = 0.0 - reward
        line["_label_cost"] = 0.0 - max(-1.0, min(1.0, reward))
        line["o"] = [{"v": reward}]

    return change


def _best(line: Line, rng: random.Random, n: int) -> None:
    """Always draw the likeliest: a seed that does not vary."""
    pairs = sorted(zip(line["p"], line["a"], strict=True), key=lambda pair: -pair[0])
    line["p"], line["a"] = [p for p, _ in pairs], [a for _, a in pairs]


def _third_again(line: Line, rng: random.Random, n: int) -> None:
    """Rank anew where the third action was drawn: it is drawn less often than it should be."""
    if line["a"][0] == 3 and n % 2:
        line["a"][0], line["a"][1] = line["a"][1], line["a"][0]
        line["p"][0], line["p"][1] = line["p"][1], line["p"][0]


def _second_slot_first(line: Line, rng: random.Random, n: int) -> None:
    planted.slots(line, rng, n)
    line["_outcomes"][1]["_a"].sort()


def _alone(line: Line, rng: random.Random, n: int) -> None:
    line["c"]["_multi"] = line["c"]["_multi"][:1]
    line["a"], line["p"] = [1], [1.0]


def _apart(line: Line, rng: random.Random, n: int) -> None:
    for action in line["c"]["_multi"]:
        action["i"]["id"] = f"{n % 2} {action['i']['id']}"


def _improbable(line: Line, rng: random.Random, n: int) -> None:
    if n % 50 == 0:
        line["a"], line["p"] = [1, 2, 3, 4], [0.0001, 0.4, 0.3, 0.2999]


def _unexplored(line: Line, rng: random.Random, n: int) -> None:
    line["p"] = [1.0, 0.0, 0.0, 0.0]


def _many_names(line: Line, rng: random.Random, n: int) -> None:
    line["c"]["FromUrl"].append({f"visit-{n}": 1})


def _action_feature(line: Line, rng: random.Random, n: int) -> None:
    for action in line["c"]["_multi"]:
        action["j"].append({"offer": {"token": str(rng.random())}})


WRONG = {
    "an id in the context": Wrong("valuesAreIds", _context(session=lambda rng, n: f"s{n}"), "'context.session' looks"),
    "an id in the actions": Wrong("valuesAreIds", _action_feature, "'action.offer.token'"),
    "names made of data": Wrong("namesAreValues", _many_names, "contexts"),
    "a feature that never varies": Wrong("featureConstant", _context(site="web"), "'context.site' has the same value"),
    "a feature that is always 0": Wrong("featureConstant", _context(clicks=0), "'context.clicks' is empty"),
    "milliseconds": Wrong(
        "numbersLarge", _context(now=lambda rng, n: 1_700_000_000_000 + n), "'context.now' is beyond a million"
    ),
    "a seed that does not vary": Wrong("drawsOff", _best, "standing by probability"),
    "calls that are repeated until they please": Wrong("drawsOff", _third_again, ""),
    "a slot that is not drawn": Wrong("drawsOff", _second_slot_first, "of slot 1"),
    "nothing to choose": Wrong("oneAction", _alone, ""),
    "two decisions in a loop": Wrong("actionsApart", _apart, "2 groups"),
    "no rewards": Wrong("rewardsMissing", lambda line, rng, n: line.update(o=[]), ""),
    "equal rewards": Wrong("rewardsEqual", _reward(lambda rng, n: 1.0), "the reward 1:"),
    "rewards in cents": Wrong("rewardsClamped", _reward(lambda rng, n: rng.randrange(500)), "499"),
    "no activations": Wrong(
        "activationsMissing", lambda line, rng, n: line.update(DeferredAction=True, _skipLearn=bool(n % 3)), ""
    ),
    "tiny probabilities": Wrong("probabilitiesClamped", _improbable, ""),
    "no exploration": Wrong("explorationOff", _unexplored, "probability 0.000"),
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_found_and_told(wrong: Wrong) -> None:
    one = found(examine(planted.lines(2000, change=wrong.change)))[wrong.code]

    assert wrong.words in one.what
    assert (one.severity, one.todo) == CATALOGUE[wrong.code]
    assert one.numbers


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
def test_of_a_few_events_nothing_is_said(wrong: Wrong) -> None:
    assert wrong.code not in found(examine(planted.lines(90, change=wrong.change)))


@pytest.mark.parametrize("name", sorted(WRONG))
def test_nothing_else_is_found(name: str) -> None:
    also = {
        "a slot that is not drawn": {"explorationOff"},  # slots are drawn uniformly here, with an epsilon of 0.2
        "no exploration": {"drawsOff"},
        "nothing to choose": {"featureConstant"},
        "tiny probabilities": {"drawsOff"},
    }
    codes = set(found(examine(planted.lines(2000, change=WRONG[name].change))))

    assert codes - {WRONG[name].code} <= also.get(name, set())


@pytest.mark.no_cover
def test_healthy_logs_raise_no_alarms() -> None:
    # Half of them with two slots, whose epsilon is what uniform draws come to.
    def two_slots(line: Line, rng: random.Random, n: int) -> None:
        planted.slots(line, rng, n)
        line["epsilon"] = 1.0

    alarms: list[str] = []
    for seed in range(200):
        change = two_slots if seed % 2 else None
        actions = planted.ACTIONS if seed % 3 else [f"{n} dish" for n in range(10)]
        alarms += found(examine(planted.lines(ENOUGH, seed, change, actions)))

    assert len(alarms) <= 2, alarms


def _days(rng: np.random.Generator, means: Iterable[float], each: int = 40) -> dict[int, Rewards]:
    """Rewards of 0 and 1 for two days or more, with more of them by day than by night."""
    hours = {}
    for day, mean in enumerate(means):
        for hour in range(24):
            rewards = (rng.random(each) < mean * (1.5 if 8 <= hour < 20 else 0.5)).astype(float)
            hours[day * DAY + hour * HOUR] = Rewards(each, float(rewards.sum()), float((rewards**2).sum()))
    return hours


def test_what_rewards_do_from_day_to_day_is_told() -> None:
    rng = np.random.default_rng(1)

    fell = found(Examined(hours=_days(rng, (0.5, 0.2))))
    rose = found(Examined(hours=_days(rng, (0.2, 0.5))))

    assert set(fell) == {"rewardFell"}
    assert fell["rewardFell"].numbers["mean"] == pytest.approx(0.2, abs=0.05)
    assert fell["rewardFell"].numbers["meanBefore"] == pytest.approx(0.5, abs=0.05)
    assert set(rose) == {"rewardRose"}


@pytest.mark.parametrize(("before", "after"), [(0.05, 0.02), (0.01, 0.0), (0.10, 0.05)])
@pytest.mark.parametrize("lowest", [0.0, -1.0])
def test_rare_rewards_that_fall_are_told_of_whatever_no_reward_counts(
    before: float, after: float, lowest: float
) -> None:
    hours = {}
    for start, mean in ((0, before), (DAY, after)):
        n = 20_000
        total, squares = (mean + (1 - mean) * lowest**power for power in (1, 2))
        hours[start] = Rewards(n, n * total, n * squares)

    held = Examined(hours=hours, latest=Tally(start=0, end=2 * DAY, lowest=lowest, highest=1.0))

    assert set(found(held)) == {"rewardFell"}


def test_a_mean_near_nothing_of_rewards_of_both_signs_is_no_measure() -> None:
    """Of one in a hundred and one in five hundred, where each reward is 1 or -1: sure, and less than a fifth of all."""
    hours = {start: Rewards(10**6, mean * 10**6, 10**6) for start, mean in ((0, 0.01), (DAY, 0.002))}

    assert found(Examined(hours=hours, latest=Tally(start=0, end=2 * DAY, lowest=-1.0, highest=1.0))) == {}


def _rare(events: int, rewarded: int, start: int = 0, end: int = DAY) -> Tally:
    return Tally(start=start, end=end, events=events, lines=events, rewarded=rewarded, lowest=0.0, highest=1.0)


def test_rewards_that_have_ceased_are_told_of_though_they_came_the_day_before() -> None:
    ceased = Examined(before=_rare(24_000, 240), latest=_rare(24_000, 0, DAY, 2 * DAY))

    told = found(ceased)["rewardsMissing"]

    assert told.what.startswith("24000 of the last 24000 events got no reward")
    assert told.numbers["rewardedBefore"] == 240
    assert [one.code for one in findings(ceased, 0, 0.0, FREQUENCY)] == ["rewardsMissing"]


@pytest.mark.parametrize(
    "latest",
    [
        _rare(24_000, 100, DAY, 2 * DAY),
        _rare(1_000, 0, DAY, 2 * DAY),  # of a few that is chance
        _rare(24_000, 0, DAY, DAY + 6 * HOUR),  # a night
    ],
)
def test_rare_rewards_that_go_on_or_may_are_not_said_to_have_ceased(latest: Tally) -> None:
    assert found(Examined(before=_rare(24_000, 240), latest=latest)) == {}


def test_days_of_rare_rewards_that_are_alike_raise_no_alarms() -> None:
    rng = np.random.default_rng(4)
    alarms: list[str] = []
    for _ in range(300):
        before, latest = (int(n) for n in rng.binomial(5000, 0.0025, 2))
        days = Examined(before=_rare(5000, before), latest=_rare(5000, latest, DAY, 2 * DAY))
        alarms += found(msgspec.structs.replace(days, hours=_days(rng, (0.02, 0.02))))

    assert len(alarms) <= 2, alarms


def test_days_that_are_alike_raise_no_alarms() -> None:
    rng = np.random.default_rng(2)
    alarms = [code for _ in range(200) for code in found(Examined(hours=_days(rng, (0.3, 0.3))))]

    assert len(alarms) <= 2


def test_a_day_is_compared_with_the_same_hours() -> None:
    hours = _days(np.random.default_rng(3), (0.3, 0.3))
    noon = {start: rewards for start, rewards in hours.items() if start < DAY + 12 * HOUR}  # half of a second day

    assert found(Examined(hours=noon)) == {}
    assert found(Examined(hours=_days(np.random.default_rng(3), (0.6,)))) == {}
    assert found(Examined(hours=_days(np.random.default_rng(3), (0.6, 0.1), each=10))) == {}


def test_a_difference_that_is_sure_and_small_is_no_finding() -> None:
    hours = {0: Rewards(10**6, 0.50 * 10**6, 0.50 * 10**6), DAY: Rewards(10**6, 0.49 * 10**6, 0.49 * 10**6)}

    assert found(Examined(hours=hours)) == {}


@pytest.mark.parametrize(
    ("totals", "code"),
    [
        (Totals(joined=1000, answered=900, late=100), "rewardsLate"),
        (Totals(joined=1000, answered=900, unknown=100), "rewardsUnknown"),
        (Totals(joined=1000, repeated=100), "ranksRepeated"),
    ],
)
def test_what_join_and_hours_count_is_told_as_a_share(totals: Totals, code: str) -> None:
    held = examine(planted.lines(10))
    counts = msgspec.structs.asdict(totals)
    few = Totals(**{name: count // 10 for name, count in counts.items()})
    fine = Totals(**{name: count if count >= 900 else 10 for name, count in counts.items()})

    assert set(found(held.with_totals(totals))) == {code}
    assert found(held.with_totals(few)) == {}
    assert found(held.with_totals(msgspec.structs.replace(fine, joined=1000))) == {}


def test_events_without_a_model_are_told_of_once_a_loop_is_older_than_a_day() -> None:
    def without(line: Line, rng: random.Random, n: int) -> None:
        line["VWState"] = {"m": "N/A"}

    held = examine(planted.lines(1000, change=without))
    older = msgspec.structs.replace(held, before=Tally(start=0, end=DAY, events=5000))

    assert found(held) == {}
    assert set(found(older)) == {"modelMissing"}


def test_a_model_that_is_not_made_is_told_of() -> None:
    held = Examined(standing=Standing(trained_through=60, since=1000.0))

    assert found(held, 60, 1000.0 + 1400) == {}
    assert set(found(held, 60, 1000.0 + 1600)) == {"modelStale"}
    assert found(held, 120, 1000.0 + 1600) == {}  # it was made meanwhile


def test_apprentices_rewards_are_no_finding() -> None:
    def change(line: Line, rng: random.Random, n: int) -> None:
        line |= {"mode": APPRENTICE, "_label_cost": 0.0 - (line["a"][0] == 1)}

    assert found(examine(planted.lines(1000, change=change))) == {}


def test_a_rare_feature_is_not_named() -> None:
    def change(line: Line, rng: random.Random, n: int) -> None:
        if n % 200 == 0:
            line["c"]["FromUrl"].append({"jane.doe@example.org": 10**9})

    assert found(examine(planted.lines(2000, change=change))) == {}


def test_where_nothing_varies_no_feature_is_to_blame() -> None:
    def change(line: Line, rng: random.Random, n: int) -> None:
        line["c"] = {"FromUrl": [{"site": "web"}], "_multi": line["c"]["_multi"][:1]}
        line["a"], line["p"] = [1], [1.0]

    assert set(found(examine(planted.lines(1000, change=change)))) == {"oneAction"}


def test_the_worst_comes_first() -> None:
    def change(line: Line, rng: random.Random, n: int) -> None:
        _context(site="web", session=lambda rng, n: f"s{n}")(line, rng, n)
        _best(line, rng, n)

    severities = [one.severity for one in findings(examine(planted.lines(2000, change=change)), 0, 0.0, FREQUENCY)]

    assert severities == sorted(severities, key=SEVERITIES.index)
    assert set(severities) == set(SEVERITIES)


def test_a_long_name_is_cut() -> None:
    one = found(examine(planted.lines(2000, change=_context(**{"n" * 256: 0}))))["featureConstant"]

    assert len(one.what) < 200
    assert "…" in one.what


def test_every_finding_of_the_catalogue_is_tested() -> None:
    others = {
        "rewardFell",
        "rewardRose",
        "rewardsLate",
        "rewardsUnknown",
        "ranksRepeated",
        "modelMissing",
        "modelStale",
    }

    assert {wrong.code for wrong in WRONG.values()} | others == set(CATALOGUE)
