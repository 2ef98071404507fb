import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.log import inbox
from shared.log.inbox import Inbox, matching, order
from shared.log.join import Rules, decode_events, join
from shared.log.records import Observed, decode_observed
from tests.journalled import T0, Obs, Rank

RULES = Rules(100.0, 0.0, "sum", (-1.0, 1.0))


def observed(*given_: Obs) -> list[Observed]:
    return [decode_observed(o.line()) for o in given_]


def test_of_more_than_a_thousand_rewards_the_earliest_count() -> None:
    rewards = observed(*(Obs("e", T0 + n / 100, n / 10_000) for n in range(1500)))

    found = matching(rewards, T0, 100.0)

    assert found.observations == rewards[:1000]
    assert (found.duplicates, found.surplus) == (0, 500)


def test_an_activation_counts_however_many_rewards_came_before_it() -> None:
    rewards = observed(*(Obs("e", T0 + n / 100) for n in range(1500)), Obs("e", T0 + 50, kind="a"))

    assert matching(rewards, T0, 100.0).observations[-1].k == "a"


def test_a_repeated_request_takes_no_place_of_another() -> None:
    rewards = observed(*(Obs("e", T0 + n / 100, request="q") for n in range(1500)), Obs("e", T0 + 50, request="p"))

    found = matching(rewards, T0, 100.0)

    assert [o.q for o in found.observations] == ["q", "p"]
    assert (found.duplicates, found.surplus) == (1499, 0)


@pytest.mark.parametrize("times", [(T0,), (T0, T0 + 130.0), (T0, T0 + 60.0, T0 + 300.0)])
@given(st.integers(0, 2**32))
def test_what_an_inbox_leaves_out_would_not_have_counted(times: tuple[float, ...], seed: int) -> None:
    chance = random.Random(seed)
    ranks = [Rank("e", time) for time in times] + [Rank("other", T0 + 7)]
    events = decode_events([rank.line() for rank in ranks])
    flood = observed(
        *(
            Obs(
                chance.choice(["e", "e", "e", "other", "unknown"]),
                T0 + chance.uniform(-130, 450),
                chance.choice([0.25, 1.0]),
                chance.choice(["r", "r", "r", "a"]),
                chance.choice([None, None, "q", str(chance.randrange(50))]),
            )
            for _ in range(400)
        )
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inbox, "MOST", 5)
        box = Inbox(events, RULES.wait, T0 - 1e6)
        for n in range(0, len(flood), 13):
            box.add(flood[n : n + 13])

        assert join(events, box.observed(), [], RULES).lines == join(events, flood, [], RULES).lines
        assert box.left_out > 0
        assert len(box.observed()) <= 4 * 5 * (len(times) + 1)
        assert len(box.observed()) + box.left_out <= len(flood)


def test_what_was_deleted_is_no_reward_of_what_comes_later() -> None:
    events = decode_events([Rank("e", T0 + 10).line()])
    box = Inbox(events, RULES.wait, T0)

    box.add(observed(Obs("e", T0 - 1), Obs("e", T0), Obs("e", T0 + 110)))

    assert [o.t for o in box.observed()] == [T0]


def test_the_order_of_a_moment_is_that_of_what_was_said() -> None:
    said = observed(Obs("e", T0, 1.0), Obs("e", T0, 0.5), Obs("e", T0, request="b"), Obs("e", T0, request="a"))

    assert sorted(said, key=order) == sorted(reversed(said), key=order)
