import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from shared.log import index, late
from shared.log.buckets import EARLY, Waits
from shared.log.index import OBSERVED, RANKED

WAITS = Waits(((0, 600.0), (1_000, 60.0)))
NAMES = st.integers(0, 5)


def table(rows: list[tuple[int, float, bytes]]) -> index.Table:
    return index.merge([np.array([(event, 0, time, kind) for event, time, kind in rows], index.ROW)])


@given(
    st.lists(st.tuples(NAMES, st.integers(0, 2000), st.sampled_from([RANKED, OBSERVED])), max_size=40),
    st.lists(st.tuples(NAMES, st.integers(0, 2500)), max_size=30),
    st.integers(0, 1000),
)
def test_the_newest_event_that_fits_is_found(
    held: list[tuple[int, int, bytes]], asked: list[tuple[int, int]], since: int
) -> None:
    digests = np.array([event for event, _ in asked], np.uint64)
    times = np.array([time for _, time in asked], float)

    found = late.newest(table([(event, float(time), kind) for event, time, kind in held]), digests, times, since)

    for (event, time), ranked in zip(asked, found, strict=True):
        fitting = [t for e, t, kind in held if (e, kind) == (event, RANKED) and since <= t < time + EARLY]
        assert (np.isnan(ranked) and not fitting) or ranked == max(fitting)


def test_what_becomes_of_an_observation_is_what_the_join_makes_of_it() -> None:
    ranked = [500.0, 500.0, 500.0, 500.0, 1_000.0, 1_000.0, np.nan, 500.0, 500.0]
    times = [400.0, 500.0, 1_099.999, 1_100.0, 1_059.0, 1_060.0, 500.0, 500.0 + 600 + 86_399.999, 500.0 + 600 + 86_400]

    found = late.fates(np.array(times), np.array(ranked), WAITS)

    named = [late.FATES[code] for code in found.code]
    assert named == ["joined", "joined", "joined", "late", "joined", "late", "unknown", "late", "unknown"]
    assert list(found.delay[:2]) == [-100.0, 0.0]
    assert np.isnan(found.delay[[6, 8]]).all() and np.isnan(found.ranked[[6, 8]]).all()
    assert found.part(3, 5).code.tolist() == [late.LATE, late.JOINED]


def test_the_wait_is_the_one_of_the_events_bucket() -> None:
    waits = Waits(((0, 10.0), (5, 100.0)))

    found = late.fates(np.array([24.0, 25.0]), np.array([4.999, 5.0]), waits)

    assert found.code.tolist() == [late.LATE, late.JOINED]


def test_waits_that_the_settings_have_forgotten_are_remembered() -> None:
    first, second, third = (0, 10.0), (100, 20.0), (200, 30.0)

    assert late.merged(None, Waits((first,))).steps == (first,)
    assert late.merged(Waits((first, second)), Waits((second, third))).steps == (first, second, third)
    assert late.merged(Waits((first, second)), Waits((first, third))).steps == (first, third), "it was taken back"
