"""What is counted of joined lines, in one run or in several."""

from __future__ import annotations

import random

import msgspec
import pytest

from shared.health import draws, offers, tally
from shared.health.draws import CELLS, Row
from shared.health.offers import Offers
from shared.health.tally import Tally
from shared.log.records import APPRENTICE, LOGGING_ONLY
from tests.unit.health import planted
from tests.unit.health.planted import Line


def test_a_tally_tells_what_there_was() -> None:
    def change(line: Line, rng: random.Random, n: int) -> None:
        line["_original_label_cost"] = line["_label_cost"] = -1.0 if n % 2 else 0.0
        line["o"] = [{"v": 1.0}] if n % 2 else [{"EventId": "an activation"}]
        if n % 10 == 0:
            line |= {"DeferredAction": True, "_skipLearn": True}
        if n % 10 == 1:
            line |= {"DeferredAction": True, "_original_label_cost": -3.0}
        if n % 4 == 0:
            line["VWState"] = {"m": "N/A"}
        if n % 5 == 0:
            line["c"]["_multi"] = line["c"]["_multi"][:1]

    counted = tally.of_lines(planted.lines(100, change=change), 100, 10, 20)

    assert (counted.start, counted.end, counted.lines, counted.events) == (10, 20, 100, 100)
    assert (counted.deferred, counted.inactive, counted.settled) == (20, 10, 90)
    assert (counted.rewarded, counted.clamped, counted.modelless, counted.alone) == (50, 10, 25, 20)
    assert (counted.reward, counted.squares) == (40 + 10 * 3, 40 + 10 * 9)
    assert (counted.lowest, counted.highest) == (0.0, 3.0)
    assert counted.modelled == 75
    assert counted.asked / counted.modelled == pytest.approx(0.15, abs=1e-9)
    assert counted.explored == pytest.approx(counted.asked)


def test_runs_add_up_to_the_whole() -> None:
    lines = planted.lines(300, change=lambda line, rng, n: planted.slots(line, rng, n) if n > 150 else None)

    parts = [tally.of_lines(lines[n : n + 100], 100, n, n + 100) for n in (0, 100, 200)]
    merged = tally.merge(tally.merge(parts[0], parts[1]), parts[2])
    whole = tally.of_lines(lines, 300, 0, 300)

    assert msgspec.json.decode(msgspec.json.encode(merged), type=Tally) == merged
    assert merged.features == tally.merge(whole, Tally()).features
    assert [slot.places.n for slot in merged.draws] == [300, 149]
    for a, b in zip(merged.draws, whole.draws, strict=True):
        assert a.places.p == pytest.approx(b.places.p)
        assert a.standings.squares == [pytest.approx(row) for row in b.standings.squares]
    plain = {
        name: getattr(merged, name) for name in ("start", "end", "events", "rewarded", "lowest", "highest", "alone")
    }
    assert plain == {name: getattr(whole, name) for name in plain}


@pytest.mark.parametrize("flag", [{"mode": APPRENTICE}, {"mode": LOGGING_ONLY}, {"holdback": True}])
def test_only_draws_that_were_made_and_shown_count(flag: Line) -> None:
    counted = tally.of_lines(planted.lines(20, change=lambda line, rng, n: line.update(flag)), 20, 0, 1)

    assert counted.events == 20
    assert counted.draws == []


def test_what_apprentice_mode_learns_is_no_clamped_reward() -> None:
    changed = {"mode": APPRENTICE, "_label_cost": -1.0, "_original_label_cost": 0.0}

    assert tally.of_lines(planted.lines(20, change=lambda line, rng, n: line.update(changed)), 20, 0, 1).clamped == 0


def test_an_empty_slot_is_no_draw() -> None:
    def change(line: Line, rng: random.Random, n: int) -> None:
        planted.slots(line, rng, n)
        line["_outcomes"][1] = {"_id": "y", "_a": [], "_p": [], "_o": []}

    counted = tally.of_lines(planted.lines(20, change=change), 20, 0, 1)

    assert [slot.places.n for slot in counted.draws] == [20]
    assert counted.rewarded + counted.settled - 20 == counted.rewarded > 0


def test_further_slots_share_a_count() -> None:
    def change(line: Line, rng: random.Random, n: int) -> None:
        planted.slots(line, rng, n)
        line["_outcomes"] = line["_outcomes"][:1] * 9

    counted = tally.of_lines(planted.lines(10, change=change), 20, 0, 1)

    assert [slot.places.n for slot in counted.draws] == [10, 10, 10, 60]


def test_draws_with_little_probability_are_counted() -> None:
    def change(line: Line, rng: random.Random, n: int) -> None:
        line["p"] = [0.001, 0.5, 0.499] if n < 3 else line["p"]
        line["a"] = [1, 2, 3] if n < 3 else line["a"]

    assert tally.of_lines(planted.lines(10, change=change), 20, 0, 1).improbable == 3


def test_a_line_that_cannot_be_read_is_not_examined() -> None:
    counted = tally.of_lines([*planted.lines(5), b"no line", b"\xff"], 7, 0, 1)

    assert (counted.lines, counted.events) == (7, 5)


def test_of_a_large_window_a_sample_is_examined() -> None:
    line = planted.lines(1)[0]
    counted = tally.of_lines([line] * 2500, 9000, 0, 1)
    assert (counted.lines, counted.events) == (9000, 834)


@pytest.mark.parametrize(("lines", "examined"), [(250, 250), (499, 499), (500, 250), (1200, 300), (5000, 1000)])
def test_who_is_sparing_examines_a_part_but_never_few(lines: int, examined: int) -> None:
    line = planted.lines(1)[0]

    assert tally.of_lines([line] * lines, lines, 0, 1, 4).events == examined


def test_a_draw_is_known_by_place_and_by_standing() -> None:
    row = Row()
    row.add([9, 0, 1], [0.2, 0.6, 0.2])
    counted = row.counted()

    assert counted.places.drawn == [0.0] * (CELLS - 1) + [1.0]
    assert counted.places.expected == pytest.approx([0.6, 0.2, *[0.0] * (CELLS - 3), 0.2])
    assert counted.standings.drawn == [0.0, 0.0, 1.0, *[0.0] * (CELLS - 3)]  # behind its equal, which stands before it
    assert counted.standings.expected == pytest.approx([0.6, 0.2, 0.2, *[0.0] * (CELLS - 3)])


def test_standings_beyond_the_last_share_its_cell() -> None:
    row = Row()
    row.add(list(range(20)), [0.05] * 20)
    row.add([19, *range(19)], [0.05] * 20)

    assert row.counted().standings.expected[-1] == pytest.approx(2 * 13 / 20)
    assert row.counted().standings.drawn[-1] == 1.0
    assert Row().counted() == draws.SlotDraws()


def test_actions_fall_into_groups() -> None:
    held = offers.of([(1, 2), (3, 4), (2, 5), (6,)])

    assert held.apart == 3
    assert offers.merge(held, offers.of([(4, 6), (5, 3)])).apart == 1
    assert offers.of([]).apart == 0


def test_of_very_many_actions_no_groups_are_told() -> None:
    many = offers.of([(n, n + 1) for n in range(0, 1000, 2)])

    assert many == Offers(many=True)
    assert offers.merge(many, offers.of([(1, 2)])).apart == 0
    parts = [offers.of([(n,) for n in range(start, start + 200)]) for start in (0, 200)]
    assert offers.merge(*parts).many
