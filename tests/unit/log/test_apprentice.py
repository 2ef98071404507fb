"""What is counted of Apprentice mode, from journal lines on: sums, the latest thousand, and where one begins."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest

from shared.log import apprentice
from shared.log.apprentice import Apprenticeship, Totals
from shared.log.join import Earned, Joined, Rules, decode_events, join, observations_of
from shared.log.records import APPRENTICE, LOGGING_ONLY, ONLINE, event_key
from tests.journalled import T0, Obs, Rank, Record, Slot, SlotRank

RULES = Rules(wait=10.0, default_reward=0.0, aggregation="sum", reward_range=(-1.0, 1.0))


def joined(records: Sequence[Record]) -> Joined:
    events = decode_events([r.line() for r in records if isinstance(r, Rank)])
    observed = observations_of({event_key(e.e) for e in events}, [r.line() for r in records if isinstance(r, Obs)])
    return join(events, observed, [], RULES)


def counted(*records: Record, held: Apprenticeship | None = None) -> Apprenticeship:
    found = apprentice.add(held, joined(records).earned)
    assert found is not None
    return found


def test_a_reward_is_imitated_where_the_draw_was_the_baseline_and_is_not_bounded() -> None:
    found = counted(
        Rank("a", T0, chosen=0, mode=APPRENTICE, began=T0 - 9), Obs("a", T0 + 1, 3.0), Obs("a", T0 + 2, 0.5),
        Rank("b", T0 + 1, chosen=2, mode=APPRENTICE, began=T0 - 9), Obs("b", T0 + 2, -0.25),
        Rank("c", T0 + 4, chosen=0, mode=APPRENTICE, began=T0 - 9),
    )  # fmt: skip

    assert (found.start, found.last) == (T0 - 9, T0 + 4)
    assert found.totals == found.batch() == Totals(3, 2, 3.25, 3.5)


def test_slots_are_imitated_each_by_itself() -> None:
    slots = (Slot("top", (1, 0), 1), Slot("side", (2, 0), 0), Slot("none", ()))
    found = counted(
        SlotRank("e", T0, mode=APPRENTICE, slots=slots),
        Obs("e", T0 + 1, slots=(("top", 0.5), ("side", 0.25), ("none", 9.0))),
        SlotRank("f", T0 + 1, mode=APPRENTICE, slots=slots[::2]),
        Obs("f", T0 + 2, slots=(("top", 1.0),)),
    )

    assert found.totals == Totals(2, 1, 1.75, 1.5)


def test_what_nobody_saw_and_other_modes_do_not_count() -> None:
    found = joined([
        Rank("deferred", T0, True, mode=APPRENTICE), Obs("deferred", T0 + 1, 1.0),
        Rank("online", T0 + 2), Rank("logging", T0 + 3, mode=LOGGING_ONLY),
        Rank("again", T0 + 4, mode=ONLINE), Rank("again", T0 + 5, mode=APPRENTICE),
    ])  # fmt: skip

    assert apprentice.add(None, found.earned) is None
    activated = counted(Rank("e", T0, True, mode=APPRENTICE), Obs("e", T0 + 1, kind="a"), Obs("e", T0 + 2, 1.0))
    assert activated.totals == Totals(1, 1, 1.0, 1.0)


def test_the_latest_thousand_are_kept_and_no_more() -> None:
    chance, records, rewards = random.Random(3), list[Record](), list[tuple[float, bool]]()
    for n in range(apprentice.BATCH + 234):
        reward, chosen = chance.choice([-0.5, 0.1, 1.0, 7.7]), chance.randrange(3)
        records += [Rank(f"e{n}", T0 + n, chosen=chosen, mode=APPRENTICE), Obs(f"e{n}", T0 + n + 1, reward)]
        rewards.append((reward, chosen == 0))

    found = counted(*records)

    latest = rewards[-apprentice.BATCH :]
    batch = found.batch()
    assert (batch.events, batch.imitated) == (apprentice.BATCH, sum(imitated for _, imitated in latest))
    assert batch.rewards == pytest.approx(sum(reward for reward, _ in latest))
    assert batch.imitated_rewards == pytest.approx(sum(reward for reward, imitated in latest if imitated))
    assert found.totals.events == len(rewards)
    assert len(found.latest) == 17 * apprentice.BATCH


def test_it_makes_no_difference_how_the_log_was_cut() -> None:
    chance = random.Random(4)
    earned = joined([
        record
        for n in range(1200)
        for record in (
            Rank(f"e{n}", T0 + n, chosen=n % 3, mode=APPRENTICE, began=T0 + n // 500),
            Obs(f"e{n}", T0 + n, chance.random()),
        )
    ]).earned  # fmt: skip
    whole = apprentice.add(None, earned)

    held: Apprenticeship | None = None
    while earned:
        cut = chance.randrange(1, 400)
        held, earned = apprentice.add(held, earned[:cut]), earned[cut:]

    assert held == whole
    assert held is not None and held.totals.events == 200


def test_a_newer_one_begins_anew_and_what_comes_of_an_older_one_is_left_out() -> None:
    first = counted(Rank("a", T0, mode=APPRENTICE, began=T0 - 5), Obs("a", T0, 1.0))
    # Turned off and on again; an instance that had not seen it yet still ranked for the older one.
    second = counted(
        Rank("b", T0 + 9, mode=APPRENTICE, began=T0 + 8),
        Rank("c", T0 + 10, mode=APPRENTICE, began=T0 - 5),
        held=first,
    )

    assert (second.start, second.last, second.totals) == (T0 + 8, T0 + 9, Totals(1, 1, 0.0, 0.0))
    assert first.totals == Totals(1, 1, 1.0, 1.0), "the one before is left as it is"


def test_events_of_a_release_that_did_not_say_when_belong_to_the_one_there_is() -> None:
    found = counted(Rank("a", T0, mode=APPRENTICE), Rank("b", T0 + 1, mode=APPRENTICE))
    assert (found.start, found.totals.events) == (T0, 2)

    begun = counted(Rank("c", T0 + 3, mode=APPRENTICE, began=T0 + 2), Rank("d", T0 + 4, mode=APPRENTICE), held=found)
    assert (begun.start, begun.totals.events) == (T0 + 2, 2)


def test_nothing_to_count_is_nothing_changed() -> None:
    held = Apprenticeship(1.0, 2.0, Totals(1, 1, 1.0, 1.0), b"")
    none: list[Earned] = []
    assert apprentice.add(held, none) is held
