"""Turns what was examined of a loop into findings, each in words that say what to do; no clock, no storage.

Each rule is silent until it has seen enough. What depends on chance is tested; the rest are shares far beyond what is
to be expected of an application that does as it should.
"""

from __future__ import annotations

from collections.abc import Iterator

from shared.health.catalogue import ENOUGH, SEVERITIES, Finding, finding
from shared.health.examined import DAY, HOUR, Examined, Rewards
from shared.health.feature_findings import of_features
from shared.health.significance import Moments, fewer, welch
from shared.health.tally import Tally

BY_CHANCE = 1e-5
"""Of draws: they are tested anew with each examination, in several ways, and a false alarm costs trust."""
_SOME = 0.01
"""Share of events from which on something that should not be there at all is worth a word."""


def findings(held: Examined, trained_through: int, now: float, frequency: float) -> list[Finding]:
    """What there is to know of a loop, the worst first.

    Args:
        held: what was examined of it.
        trained_through: how far learning is, whatever serves.
        now: seconds since the epoch.
        frequency: seconds between exported models.
    """
    whole = held.whole
    found = [
        *_draws(whole),
        *of_features(whole.features),
        *_actions(whole),
        *_rewards(whole),
        *_ceased(held),
        *_calls(whole),
        *_drift(held.hours, whole.lowest or 0.0),
        *_exploration(whole),
        *_model(held, trained_through, now, frequency),
    ]
    return sorted(found, key=lambda one: SEVERITIES.index(one.severity))


def _draws(whole: Tally) -> Iterator[Finding]:
    for slot, counted in enumerate(whole.draws):
        where = f" of slot {slot}" if len(whole.draws) > 1 else ""
        for kind, held in (("place in the request", counted.places), ("standing by probability", counted.standings)):
            if held.n >= ENOUGH and (p := held.p) < BY_CHANCE:
                off = max(range(len(held.drawn)), key=lambda cell: abs(held.drawn[cell] - held.expected[cell]))
                yield finding(
                    "drawsOff",
                    f"Draws{where} do not follow their logged probabilities: of {held.n}, actions number {off} by "
                    f"{kind} should have been drawn {held.expected[off]:.0f} times, and were "
                    f"{held.drawn[off]:.0f} times.",
                    draws=held.n,
                    number=off,
                    drawn=held.drawn[off],
                    expected=held.expected[off],
                    p=p,
                )
                break  # the other way to look at them would say the same


def _actions(whole: Tally) -> Iterator[Finding]:
    if whole.events >= ENOUGH and whole.alone >= 0.5 * whole.events:
        yield finding(
            "oneAction",
            f"{whole.alone} of {whole.events} events offered one action: there was nothing to choose.",
            events=whole.events,
            alone=whole.alone,
        )
    elif whole.events >= ENOUGH and whole.offers.apart > 1:
        yield finding(
            "actionsApart",
            f"The actions fall into {whole.offers.apart} groups that are never offered together.",
            events=whole.events,
            actions=len(whole.offers.groups),
            groups=whole.offers.apart,
        )


def _rewards(whole: Tally) -> Iterator[Finding]:
    events, rewarded = whole.settled, whole.rewarded
    if _missing(whole):
        yield finding(
            "rewardsMissing",
            f"{events - rewarded} of {events} events got no reward, and were learned with defaultReward.",
            events=events,
            rewarded=rewarded,
        )
    elif events >= ENOUGH and whole.lowest is not None and whole.lowest == whole.highest:
        yield finding(
            "rewardsEqual",
            f"All {events} events have the reward {whole.lowest:g}: {rewarded} were rewarded, and the others have "
            "defaultReward.",
            events=events,
            rewarded=rewarded,
            reward=whole.lowest,
        )
    if events >= ENOUGH and whole.clamped >= _SOME * events:
        yield finding(
            "rewardsClamped",
            f"{whole.clamped} of {events} rewards are outside the reward range; they reach from {whole.lowest:g} to "
            f"{whole.highest:g}.",
            events=events,
            clamped=whole.clamped,
            lowest=whole.lowest or 0.0,
            highest=whole.highest or 0.0,
        )
    came = whole.answered + whole.late + whole.unknown
    for code, count, words in (
        ("rewardsLate", whole.late, "came after their event's rewardWaitTime"),
        ("rewardsUnknown", whole.unknown, "are of no event of the day before their wait"),
    ):
        if came >= ENOUGH and count >= 0.05 * came:
            yield finding(code, f"{count} of {came} rewards {words}, and are not learned.", rewards=came, count=count)


def _missing(of: Tally) -> bool:
    return of.settled >= ENOUGH and of.rewarded < 0.001 * of.settled


def _ceased(held: Examined) -> Iterator[Finding]:
    """Rewards that have come to an end: the day before would hide that for another day."""
    before, latest = held.before, held.latest
    if _missing(held.whole) or not _missing(latest) or latest.end - latest.start < DAY / 2:  # nights differ
        return
    if before.settled and fewer(latest.rewarded, latest.settled, before.rewarded, before.settled) < BY_CHANCE:
        yield finding(
            "rewardsMissing",
            f"{latest.settled - latest.rewarded} of the last {latest.settled} events got no reward, and were learned "
            f"with defaultReward; of {before.settled} before them {before.rewarded} were rewarded.",
            events=latest.settled,
            rewarded=latest.rewarded,
            eventsBefore=before.settled,
            rewardedBefore=before.rewarded,
        )


def _calls(whole: Tally) -> Iterator[Finding]:
    if whole.deferred >= ENOUGH and whole.inactive >= 0.5 * whole.deferred:
        yield finding(
            "activationsMissing",
            f"{whole.inactive} of {whole.deferred} events that waited for activation were never activated.",
            deferred=whole.deferred,
            inactive=whole.inactive,
        )
    ranked = whole.joined + whole.repeated
    if ranked >= ENOUGH and whole.repeated >= 0.05 * ranked:
        yield finding(
            "ranksRepeated",
            f"{whole.repeated} of {ranked} Rank calls repeated an eventId within two minutes.",
            ranks=ranked,
            repeated=whole.repeated,
        )


def _drift(hours: dict[int, Rewards], lowest: float) -> Iterator[Finding]:
    """The last day against the same hours of the day before: times of the day differ.

    Args:
        hours: the rewards.
        lowest: of all of them.
    """
    last, before = Rewards(), Rewards()
    for hour, rewards in hours.items():
        earlier = hours.get(hour - DAY)
        if hour > max(hours) - DAY and earlier is not None:
            last, before = last.plus(rewards), before.plus(earlier)
    if min(last.n, before.n) < ENOUGH:
        return
    now, then = _moments(last), _moments(before)
    # Cohen's least effect is a fifth of the deviation; of rare rewards, clicks say, that is more than they earn in all,
    # so that there a fifth of what was earned is much.
    size = 0.2 * min(((now.variance + then.variance) / 2) ** 0.5, abs(then.mean - lowest))
    if welch(now, then) < 0.001 and abs(now.mean - then.mean) > size:
        yield finding(
            "rewardFell" if now.mean < then.mean else "rewardRose",
            f"The mean reward of the last day is {now.mean:.4g}; in the same hours of the day before it was "
            f"{then.mean:.4g}.",
            events=now.n,
            mean=now.mean,
            eventsBefore=then.n,
            meanBefore=then.mean,
        )


def _moments(rewards: Rewards) -> Moments:
    mean = rewards.total / rewards.n
    return Moments(rewards.n, mean, max(0.0, rewards.squares / rewards.n - mean**2))


def _exploration(whole: Tally) -> Iterator[Finding]:
    draws = sum(slot.places.n for slot in whole.draws)
    if draws >= ENOUGH and whole.improbable >= _SOME * draws:
        yield finding(
            "probabilitiesClamped",
            f"{whole.improbable} of {draws} draws had a probability of 0.001 or less.",
            draws=draws,
            clamped=whole.improbable,
        )
    if (
        whole.modelled >= ENOUGH
        and not 0.5 * whole.asked <= whole.explored <= 2.0 * whole.asked + _SOME * whole.modelled
    ):
        got, asked = whole.explored / whole.modelled, whole.asked / whole.modelled
        yield finding(
            "explorationOff",
            f"Another action than the likeliest is drawn with probability {got:.3f} on average; explorationPercentage "
            f"asks for {asked:.3f}.",
            draws=whole.modelled,
            explored=got,
            asked=asked,
        )


def _model(held: Examined, trained_through: int, now: float, frequency: float) -> Iterator[Finding]:
    latest = held.latest if held.latest.events >= ENOUGH else held.whole
    # A loop begins without a model; what is said here is of one that has had a day.
    if held.before.events and latest.events >= ENOUGH and latest.modelless >= 0.1 * latest.events:
        yield finding(
            "modelMissing",
            f"{latest.modelless} of {latest.events} events were decided without a model, at random.",
            events=latest.events,
            modelless=latest.modelless,
        )
    stands = now - held.standing.since if held.standing and held.standing.trained_through == trained_through else 0.0
    if stands > 3 * frequency + HOUR / 6:
        yield finding(
            "modelStale",
            f"Events are joined, and for {stands / 60:.0f} minutes no model was made of them.",
            seconds=stands,
            frequency=frequency,
        )
