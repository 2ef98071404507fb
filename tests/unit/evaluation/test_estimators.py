"""What a policy would have earned: against VW's estimators, by hand, and where it must not be believed."""

from __future__ import annotations

import math
from dataclasses import fields
from functools import reduce
from itertools import pairwise

import numpy as np
import pytest
from estimators.bandits import clopper_pearson, gaussian, ips, snips
from numpy.typing import ArrayLike

from shared.evaluation.estimators import LEAST, Estimate, Estimates, Sums, Z, estimate, gather, judge
from shared.evaluation.scores import Scores, join

RANGE = (-1.0, 1.0)


def scores(
    weights: ArrayLike,
    rewards: ArrayLike,
    *,
    modelled: ArrayLike = 0.0,
    values: ArrayLike = 0.0,
    slots: ArrayLike = 0,
) -> Scores:
    """Of decisions that the log drew with probability 0.02; an event each hour that begins where slots do not rise."""
    count = len(np.asarray(weights))

    def column(numbers: ArrayLike) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        return np.broadcast_to(np.asarray(numbers, np.float64), count).copy()

    places = column(slots)
    begins = np.concatenate([[1.0], np.diff(places) <= 0])[:count]
    return Scores(
        times=3600 * begins.cumsum(),
        places=places.astype(np.int16),
        slots=places.astype(np.int16),
        logged=column(0.02),
        targets=0.02 * column(weights),
        rewards=column(rewards),
        modelled=column(modelled),
        values=column(values),
    )


def drawn(count: int, seed: int = 1, heavy: float = 9.0, clicks: float = 0.3) -> Scores:
    """Weights of 0.5 and, one in some, of more, which average 1; and clicks."""
    chance = np.random.default_rng(seed)
    rare = 0.5 / (heavy - 0.5)
    weights = np.where(chance.random(count) < rare, heavy, 0.5)
    rewards = chance.random(count) < clicks
    return scores(weights, rewards, modelled=chance.random(count), values=chance.random(count))


def even(count: int, heavy: float = 9.0, every: int = 17, clicks: int = 3) -> Scores:
    """One weight in so many is heavy, and they average 1; one reward in so many is 1, of whatever weight."""
    weights = np.resize([heavy, *[(every - heavy) / (every - 1)] * (every - 1)], count)
    return scores(weights, np.resize([1.0, *[0.0] * (clicks - 1)], count))


def times(sums: Sums, factor: int) -> Sums:
    """Of the same events so many times over."""
    return reduce(Sums.__add__, [sums] * factor)


def test_ips_and_snips_and_their_interval_are_what_vws_estimators_say() -> None:
    log = drawn(3000)
    ours = estimate(log, RANGE)
    theirs = ips.Estimator(), snips.Estimator(), gaussian.Interval()
    for logged, reward, target in zip(log.logged, log.rewards, log.targets, strict=True):
        for each in theirs:
            each.add_example(logged, reward, target)

    assert ours.ips.value == pytest.approx(theirs[0].get(), abs=1e-9)
    assert ours.snips.value == pytest.approx(theirs[1].get(), abs=1e-9)
    low, high = theirs[2].get()
    assert (ours.ips.high - ours.ips.low) / Z == pytest.approx((high - low) / 1.959963984540054, abs=1e-9)
    assert ours.ips.low + ours.ips.high == pytest.approx(low + high, abs=1e-9)


def test_of_the_policy_that_decided_the_conservative_interval_is_vws_estimators_too() -> None:
    rewards = [1.0] * 37 + [0.25] * 20 + [0.0] * 200
    theirs = clopper_pearson.Interval()
    for reward in rewards:
        theirs.add_example(0.2, reward, 0.2)

    ours = estimate(scores(np.ones(257), rewards), (0.0, 1.0)).conservative
    assert ours == pytest.approx((42 / 257, *theirs.get()), abs=1e-9)


def test_dr_is_obps_formula() -> None:
    """The doubly robust reward of a decision is what is expected of the policy, corrected by what was not expected."""
    chance = np.random.default_rng(2)
    expected, distribution = chance.random((500, 4)), chance.dirichlet(np.ones(4), 500)
    actions, logged, rewards = chance.integers(4, size=500), chance.uniform(0.05, 1, 500), chance.random(500)
    rows = np.arange(500)
    robust = np.average(expected, weights=distribution, axis=1)
    robust += distribution[rows, actions] / logged * (rewards - expected[rows, actions])

    values = (expected * distribution).sum(axis=1)
    log = Scores(
        rows.astype(np.float64),
        np.zeros(500, np.int16),
        np.zeros(500, np.int16),
        logged,
        distribution[rows, actions],
        rewards,
        expected[rows, actions],
        values,
    )
    found = estimate(log, RANGE).dr
    assert found.value == pytest.approx(robust.mean(), abs=1e-9)
    assert found.high - found.value == pytest.approx(Z * robust.std(ddof=1) / np.sqrt(500), abs=1e-9)


def test_snips_interval_is_that_of_its_linearisation() -> None:
    log = drawn(3000)
    weights = log.targets / log.logged
    found = estimate(log, RANGE).snips

    left = weights * (log.rewards - found.value)
    assert found.high - found.value == pytest.approx(Z * left.std(ddof=1) / np.sqrt(3000) / weights.mean())
    assert found.value - found.low == pytest.approx(found.high - found.value)


def test_the_effective_sample_is_kishs_and_matched_decisions_are_counted() -> None:
    found = estimate(scores([0, 0, 1, 1, 4], [0, 1, 0, 1, 1]), RANGE)

    assert (found.events, found.matched) == (5, 3)
    assert found.effective == pytest.approx(36 / 18)


def test_shards_of_a_log_add_up_to_it_in_any_order() -> None:
    log = join([drawn(900), drawn(500, heavy=40.0, clicks=0.9), drawn(300, heavy=2.0, clicks=0.01)])
    cuts = [0, 900, 1400, 1700]
    shards = [gather(log.where(slice(start, end))) for start, end in pairwise(cuts)]
    whole = gather(log)
    for order in (shards, shards[::-1]):
        apart = reduce(Sums.__add__, order, gather(drawn(0)))
        for part in fields(Sums):
            np.testing.assert_allclose(getattr(apart, part.name), getattr(whole, part.name), rtol=1e-12, atol=1e-9)
    assert judge(whole, RANGE) == estimate(log, RANGE)


def test_the_slots_of_an_event_vary_as_one() -> None:
    events = drawn(1000)
    weights, rewards, modelled, values = (
        np.repeat(column, 3)
        for column in (events.targets / events.logged, events.rewards, events.modelled, events.values)
    )
    thrice = scores(weights, rewards, modelled=modelled, values=values, slots=np.tile([0, 1, 2], 1000))
    once, found = estimate(events, RANGE), estimate(thrice, RANGE)

    assert (found.events, found.matched) == (1000, 3000)
    assert found.effective == pytest.approx(once.effective)
    for name in ("ips", "snips", "dr", "conservative"):
        assert getattr(found, name) == pytest.approx(getattr(once, name), rel=1e-9), name
    assert found.says == once.says
    # A slot alone is a log of its own.
    assert estimate(thrice.where(thrice.slots == 2), RANGE) == once


def test_an_event_begins_where_slots_do_not_rise_or_the_time_is_another() -> None:
    log = scores(np.ones(6), np.ones(6), slots=[0, 1, 1, 2, 0, 2])
    assert gather(log).events == 3
    assert gather(log._replace(times=np.arange(6.0))).events == 6
    # Of events with one slot and with three, each decision counts alike.
    uneven = estimate(scores(np.ones(4), [1, 0, 0, 0], slots=[0, 0, 1, 2]), RANGE)
    assert (uneven.events, uneven.ips.value) == (2, 0.25)


def test_a_reward_is_estimated_in_any_range() -> None:
    chance = np.random.default_rng(4)
    weights = np.where(chance.random(20_000) < 0.1, 5.5, 0.5)
    coins = (chance.random(20_000) < 0.4).astype(np.float64)
    for low, high in ((0.0, 1.0), (-1.0, 1.0), (-1.0, 0.0), (2.0, 5.0), (-5.0, -2.0), (-1.0, 3.0)):
        found = estimate(scores(weights, low + (high - low) * coins), (low, high))
        truth = low + (high - low) * 0.4
        assert found.conservative.low < truth < found.conservative.high
        assert low <= found.conservative.low < found.conservative.value < found.conservative.high <= high
        assert found.conservative.high - found.conservative.low < 0.1 * (high - low) * (2 if low < 0 < high else 1)
        assert found.snips.low < truth < found.snips.high


def test_losses_that_might_be_widen_the_conservative_interval_by_a_few_weights() -> None:
    log = drawn(10_000)
    sure, unsure = estimate(log, (0.0, 1.0)).conservative, estimate(log, (-1.0, 1.0)).conservative

    assert unsure.value == sure.value
    # Both sides share the risk, and there may be 4.4 events' worth of unseen losses of the heaviest weight, 9.
    for narrow, wide in ((sure.value - sure.low, sure.value - unsure.low), (sure.high, unsure.high)):
        assert narrow < wide < 1.2 * narrow + 9 * 4.4 / 10_000


def test_rewards_that_never_come_leave_the_conservative_interval_a_width() -> None:
    found = estimate(scores(np.full(1000, 1.0), 0.0), (0.0, 1.0))

    assert found.ips == (0.0, 0.0, 0.0)
    assert found.conservative[:2] == (0.0, 0.0)
    assert (1 - found.conservative.high) ** 1000 == pytest.approx(0.025)
    assert not found.trusted and found.more_events is None
    assert found.says == (
        "The intervals cannot be trusted: 1000 logged events are worth 1000 of the policy's own, but no reward among "
        "them differs from the others."
    )


def test_weights_below_1_make_no_conservative_interval_narrower_than_the_policys_own_events_would() -> None:
    own = estimate(scores(np.ones(50), 0.0), (0.0, 1.0)).conservative
    assert estimate(scores(np.full(50, 0.2), 0.0), (0.0, 1.0)).conservative == own


@pytest.mark.parametrize(("given", "nothing"), [(RANGE, 0.0), ((2.0, 3.0), 2.0), ((-3.0, -2.0), -2.0)])
def test_of_no_events_nothing_is_known(given: tuple[float, float], nothing: float) -> None:
    found = estimate(drawn(0), given)

    whole, says = Estimate(nothing, *given), "Nothing can be said: there are no events."
    assert found == Estimates(0, 0.0, 0, whole, whole, whole, whole, False, None, says)


def test_of_a_policy_that_takes_nothing_of_what_was_taken_nothing_is_known() -> None:
    found = estimate(scores(np.zeros(500), 1.0, values=0.5), RANGE)

    assert (found.effective, found.matched, found.trusted, found.more_events) == (0.0, 0, False, None)
    assert found.snips == found.conservative == (0.0, -1.0, 1.0)
    assert (found.ips.value, found.dr.value) == (0.0, 0.5)
    assert found.says == "Nothing can be said: the policy would have taken none of the actions that were taken."


@pytest.mark.parametrize(
    ("log", "why"),
    [
        (even(170), ", and 200 are the least"),
        (even(1), ", and 200 are the least"),
        (even(1000, heavy=40.0, every=60), ", since weights are heavy, up to 40; 200 are the least"),
        (even(2000, heavy=60.0, every=2000), ", but a few of heavy weight, up to 60, decide what is estimated"),
        (
            even(17_000, clicks=1000),
            ", but rewards that differ from the rest are rare, so that a few decide what is estimated",
        ),
    ],
    ids=["few", "one", "heavy", "few heavy", "rare"],
)
def test_too_little_is_said_in_words_with_what_it_takes(log: Scores, why: str) -> None:
    found = estimate(log, RANGE)

    assert not found.trusted and found.more_events is not None
    logged = "1 logged event is" if found.events == 1 else f"{found.events} logged events are"
    assert found.says == (
        f"The intervals cannot be trusted: {logged} worth {found.effective:.0f} of the policy's own{why}. "
        f"About {found.more_events} more events are needed."
    )


@pytest.mark.parametrize(
    "log",
    [even(17), even(60, heavy=40.0, every=60), even(2000, heavy=60.0, every=2000), even(17_000, clicks=1000)],
    ids=["few", "heavy", "few heavy", "rare"],
)
def test_so_many_more_of_the_same_are_enough_and_fewer_are_not(log: Scores) -> None:
    sums = gather(log)
    more = judge(sums, RANGE).more_events
    assert more is not None

    factor = (sums.events + more) / sums.events
    assert judge(times(sums, round(factor + 0.5)), RANGE).trusted
    assert not judge(times(sums, int(0.85 * factor)), RANGE).trusted


def test_a_rare_reward_that_met_no_heavy_weight_yet_is_foreseen() -> None:
    weights = np.tile([0.5] * 19 + [10.5], 500)
    rewards = np.tile([1.0] + [0.0] * 99, 100)
    found = estimate(scores(weights, rewards), RANGE)

    # By what was seen it would do: all hundred rewards have the same weight.
    assert found.effective > LEAST
    assert not found.trusted and "the rest are rare" in found.says
    assert estimate(scores(np.ones(10_000), rewards), RANGE).trusted


def test_rewards_that_are_hardly_ever_missed_are_as_hard_to_judge_as_rare_ones() -> None:
    rewards = np.resize([1.0] + [0.0] * 999, 10_000)
    rare, missed = (estimate(scores(np.ones(10_000), each), RANGE) for each in (rewards, 1 - rewards))

    assert (missed.trusted, missed.more_events) == (rare.trusted, rare.more_events) == (False, 15_000)
    assert missed.says == rare.says


def test_enough_is_said_too() -> None:
    found = estimate(drawn(10_000), RANGE)

    assert (found.trusted, found.more_events) == (True, 0)
    worth = f"{found.effective:.0f}"
    assert found.says == f"The intervals can be trusted: 10000 logged events are worth {worth} of the policy's own."


@pytest.mark.parametrize("weight", [0.25, 1.5])
def test_weights_that_do_not_average_1_show_that_the_log_does_not_fit(weight: float) -> None:
    chance = np.random.default_rng(6)
    found = estimate(scores(np.full(1000, weight), chance.random(1000)), RANGE)

    assert (found.trusted, found.more_events) == (False, None)
    assert found.says.startswith(f"The log cannot tell: weights average {weight:.2f} where they should average 1.")
    rounded = estimate(scores(np.full(1000, 1.005), chance.random(1000)), RANGE)
    assert rounded.trusted


def test_a_normal_interval_holds_the_truth_in_nineteen_of_twenty_cases() -> None:
    assert pytest.approx(0.05, abs=1e-5) == math.erfc(Z / math.sqrt(2))
