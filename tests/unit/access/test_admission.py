from __future__ import annotations

import random

import pytest

from shared.access.admission import BUSY, LATE, LEAST, MOST, OTHERS, PERIOD, Admission, Places


def fill(places: Places, loop: str, size: int = 0) -> int:
    """Take all that a loop may have; how many those are."""
    taken = 0
    while places.take(loop, size):
        taken += 1
    return taken


# -- places -----------------------------------------------------------------------------------------------------------


def test_a_loop_may_hold_as_many_places_as_are_left_free() -> None:
    places = Places(100, 1000)

    assert [fill(places, loop) for loop in ("a", "b", "c")] == [50, 50, 33]
    assert places.taken == 133, "an equal part is never denied"
    assert [fill(places, loop) for loop in ("a", "b", "c")] == [0, 0, 0]


def test_loops_that_could_use_more_end_with_equal_parts() -> None:
    places, chance, loops = Places(100, 1000), random.Random(0), ("a", "b", "c")
    held = dict.fromkeys(loops, 0)
    for _ in range(5000):
        loop = chance.choice(loops)
        if held[loop] and chance.random() < 0.4:
            places.free(loop, 0)
            held[loop] -= 1
        elif places.take(loop, 0):
            held[loop] += 1
    for loop in loops:
        held[loop] += fill(places, loop)

    assert all(31 <= count <= 35 for count in held.values()), held


def test_a_place_that_was_given_back_can_be_taken_again() -> None:
    places = Places(10, 1000)
    assert fill(places, "a") == 5

    places.free("a", 0)

    assert places.taken == 4
    assert fill(places, "a") == 1
    for _ in range(5):
        places.free("a", 0)
    assert (places.taken, places.done, places._held) == (0, 6, {})


def test_a_new_loop_finds_a_place_though_the_limit_has_just_come_down() -> None:
    places = Places(400, 1000)
    assert fill(places, "hog") == 200
    places.limit = 100

    assert fill(places, "hog") == 0
    assert fill(places, "new") == 50, "an equal part"
    assert fill(places, "newer") == 33


def test_many_new_loops_cannot_go_past_the_limit() -> None:
    places = Places(40, 1000)

    assert sum(places.take(f"{n}", 0) for n in range(1000)) == 40


def test_many_new_loops_cannot_go_far_past_a_limit_that_has_come_down() -> None:
    places = Places(400, 1000)
    assert fill(places, "hog") == 200
    places.limit = 100

    assert sum(fill(places, f"{n}") for n in range(1000)) < 450


def test_bodies_share_bytes_by_the_same_rule() -> None:
    places = Places(1000, 1000)

    assert fill(places, "a", 100) == 5
    assert fill(places, "b", 100) == 3
    places.free("a", 100)
    assert fill(places, "b", 100) == 0
    places.free("a", 100)
    assert fill(places, "b", 100) == 1


def test_a_call_without_a_body_asks_for_none_of_the_bytes() -> None:
    places = Places(1000, 1000)

    assert places.take("a", 1000)
    assert not places.take("b", 1)
    assert places.take("a", 0)
    assert places.take("b", 0)

    places.free("a", 1000)
    assert places.take("b", 1)


# -- adapting ---------------------------------------------------------------------------------------------------------


def run(
    admission: Admission, seconds: float, capacity: float, late: float, offered: float = 1e9, busy: float = 0.0
) -> None:
    """Have a machine do so many calls a second, of those that one loop offers, by an event loop so late and so busy."""
    step, credit, queued = 0.001, 0.0, 0.0
    due = PERIOD + late
    for n in range(int(seconds / step)):
        queued = min(queued + offered * step, 10_000)
        while queued >= 1 and admission.events.take("loop", 0):
            queued -= 1
        credit = min(credit + capacity * step, max(1, capacity * step))
        while credit >= 1 and admission.events.taken:
            admission.events.free("loop", 0)
            credit -= 1
        if n * step >= due:
            admission.adapt(late, busy)
            due = n * step + PERIOD + late


@pytest.mark.parametrize("capacity", [300, 1000, 2000])
@pytest.mark.parametrize(("late", "busy"), [(0.02, 0.5), (0.1, 0.5), (0.3, 0.5), (0.0, 0.95), (0.05, 1.0)])
def test_where_the_processor_is_short_calls_are_done_in_part_of_their_deadline(
    capacity: float, late: float, busy: float
) -> None:
    admission = Admission(0.5)

    run(admission, 5.0, capacity, late, busy=busy)

    waits = admission.events.limit / 2 / capacity
    assert 0.08 < waits < 0.12


def test_a_longer_deadline_lets_more_calls_wait() -> None:
    short, long = Admission(0.5), Admission(1.0)
    for admission in (short, long):
        run(admission, 5.0, 500, 0.05)

    assert long.events.limit == pytest.approx(2 * short.events.limit, rel=0.2)


def test_where_storage_is_slow_and_the_processor_is_not_nobody_is_turned_away() -> None:
    admission = Admission(0.5)

    run(admission, 5.0, 20, LATE, busy=BUSY)

    assert admission.events.limit == MOST


def test_however_slow_the_machine_some_calls_are_let_in() -> None:
    admission = Admission(0.5)

    run(admission, 10.0, 1, 0.2)

    assert admission.events.limit == LEAST


def test_lateness_that_calls_cannot_have_caused_turns_nobody_away() -> None:
    admission = Admission(0.5)

    run(admission, 5.0, 20, 0.1, offered=10, busy=1.0)

    assert admission.events.limit == MOST


def test_once_late_is_no_reason_to_turn_many_away() -> None:
    admission = Admission(0.5)
    run(admission, 1.0, 1000, 0.0)

    admission.adapt(1.0, 1.0)

    assert admission.events.limit == 0.8 * MOST


def test_it_recovers_within_two_seconds() -> None:
    admission = Admission(0.5)
    run(admission, 10.0, 1, 0.2)

    run(admission, 2.0, 1000, 0.0)

    assert admission.events.limit == MOST


def test_other_calls_have_places_of_their_own() -> None:
    admission = Admission(0.5)
    assert admission.idle
    fill(admission.events, "loop")
    run(admission, 10.0, 1, 0.2)

    assert fill(admission.others, "loop") == OTHERS // 2
    assert not admission.idle
