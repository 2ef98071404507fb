"""Plans of evaluations: how a log is cut, and what is to be done next, whatever stands."""

from __future__ import annotations

import random
from collections.abc import Sequence

import msgspec
import pytest

from shared.contract.evaluations import PolicySource
from shared.evaluation.plan import SEARCHED, Entrant, Part, Piece, Plan, State, batches, shards, sized
from shared.log.join import Rules
from shared.log.joined import Window

RULES = Rules(600.0, 0.0, "earliest", (-1.0, 1.0))


def entrants(*names: str, source: PolicySource = PolicySource.FOUND) -> list[Entrant]:
    return [Entrant(name, source, "--cb_explore_adf") for name in names]


def plan(ends: Sequence[int] = (50, 100), rounds: Sequence[int] = (), groups: int = 2, searched: int = 2) -> Plan:
    made = [entrants("online", source=PolicySource.ONLINE)]
    made += [entrants(f"custom{n}", source=PolicySource.CUSTOM) for n in range(1, searched)]
    made += [entrants(f"a{n}", f"b{n}") for n in range(searched, groups)]
    return Plan(
        job="j",
        evaluation="e",
        created=0.0,
        mode="Online",
        multi_slot=False,
        rules=RULES,
        windows=[(0, 60, 30), (60, 120, 50), (300, 360, 20)],
        ends=list(ends),
        rounds=list(rounds),
        groups=made,
        searched=searched,
    )


def test_shards_follow_each_other_and_none_is_too_large() -> None:
    ends, rounds = shards(1000, [0.25, 0.5, 1.0], most=150)

    assert ends == [150, 300, 450, 600, 733, 866, 1000]
    assert rounds == [1, 2, 4]
    assert ends[rounds[-1] - 1] == 1000 * SEARCHED
    assert shards(1000, [], most=400) == ([333, 666, 1000], [])
    assert shards(7, [], most=400) == ([7], [])


def test_a_shard_holds_windows_and_parts_of_some() -> None:
    assert plan(ends=[100]).parts(0) == [
        Part(Window(0, 60), 0, 30, 30),
        Part(Window(60, 120), 0, 50, 50),
        Part(Window(300, 360), 0, 20, 20),
    ]
    cut = plan(ends=[10, 40, 80, 100])
    assert cut.parts(0) == [Part(Window(0, 60), 0, 10, 30)]
    assert cut.parts(1) == [Part(Window(0, 60), 10, 30, 30), Part(Window(60, 120), 0, 10, 50)]
    assert cut.parts(2) == [Part(Window(60, 120), 10, 50, 50)]
    assert cut.parts(3) == [Part(Window(300, 360), 0, 20, 20)]


@pytest.mark.parametrize("seed", range(5))
def test_shards_hold_each_line_once(seed: int) -> None:
    chance = random.Random(seed)
    lines = {Window(60 * n, 60 * n + 60): chance.randint(1, 40) for n in range(20)}
    held = {window: chance.randint(1, 500) for window in lines}
    ends, rounds = shards(sum(held.values()), [0.1, 0.5, 1.0], most=700)
    made = msgspec.structs.replace(plan(ends, rounds), windows=sized(held))

    seen = [
        (window, line)
        for shard in range(len(ends))
        for window, first, last, size in made.parts(shard)
        for line in range(lines[window] * first // size, lines[window] * last // size)
    ]

    assert seen == [(window, line) for window, count in lines.items() for line in range(count)]


def test_an_empty_blob_has_a_place_all_the_same() -> None:
    assert sized({Window(0, 60): 0, Window(60, 120): 5}) == [(0, 60, 1), (60, 120, 5)]


def test_groups_are_mixed() -> None:
    assert batches(entrants(*"abcde"), 2) == [entrants("a", "d"), entrants("b", "e"), entrants("c")]
    assert batches([]) == []


def state(made: Plan, *stand: tuple[int, int], fields: Sequence[Sequence[str]] = ()) -> State:
    return State(made, {Piece(*one) for one in stand}, fields)


def test_the_first_group_goes_before() -> None:
    made = plan()

    assert state(made).due() == [Piece(0, 0)]
    assert state(made, (0, 0)).due() == [Piece(0, 1), Piece(1, 0)]
    assert state(made, (0, 0), (1, 0)).due() == [Piece(0, 1)]
    assert state(made, (0, 0), (0, 1), (1, 0)).due() == [Piece(1, 1)]
    assert state(made, (0, 0), (0, 1), (1, 0), (1, 1)).complete()
    assert not state(made, (0, 0), (0, 1), (1, 0)).complete()


SEARCH = plan(ends=[10, 60, 100], rounds=[1, 2], groups=4, searched=2)


def test_a_round_ends_when_all_of_the_search_are_there() -> None:
    begun = [(0, 0), (0, 1), (1, 0), (2, 0)]
    assert state(SEARCH, *begun).due() == [Piece(0, 2), Piece(1, 1), Piece(3, 0)]
    assert not state(SEARCH, *begun).ending()
    there = state(SEARCH, *begun, (3, 0))
    assert there.ending()
    assert [one.name for _, one in there.field()] == ["a2", "b2", "a3", "b3"]
    assert there.due() == [Piece(0, 2), Piece(1, 1)], "nobody goes on before it is decided"


def test_only_those_who_go_on_do() -> None:
    stand = [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2), (2, 0), (3, 0)]
    decided = state(SEARCH, *stand, fields=[["b3"]])

    assert decided.due() == [Piece(3, 1)]
    assert decided.entrants(Piece(3, 1)) == entrants("b3")
    assert decided.entrants(Piece(3, 0)) == entrants("a3", "b3")
    assert not decided.ending()
    assert not decided.complete()
    assert decided.done() == len(stand) + 2, "the other group is over"
    again = state(SEARCH, *stand, (3, 1), fields=[["b3"]])
    assert again.ending()
    assert again.field() == [(3, entrants("b3")[0])]
    last = state(SEARCH, *stand, (3, 1), fields=[["b3"], ["b3"]])
    assert last.due() == [Piece(3, 2)]
    whole = state(SEARCH, *stand, (3, 1), (3, 2), fields=[["b3"], ["b3"]])
    assert whole.complete()
    assert [(group, one.name) for group, one in whole.finalists()] == [(0, "online"), (1, "custom1"), (3, "b3")]
    assert whole.done() == SEARCH.pieces == 12


def test_what_was_chosen_is_judged_by_the_rest() -> None:
    assert SEARCH.judged == 2
    assert plan().judged == 0
    assert SEARCH.online == "--cb_explore_adf"


@pytest.mark.parametrize("seed", range(20))
def test_whoever_takes_what_is_sent_all_of_it_is_done(seed: int) -> None:
    """Messages in any order, each perhaps twice, as each end sends what can be begun since."""
    chance = random.Random(seed)
    stand: set[Piece] = set()
    fields: list[list[str]] = []
    messages = list(State(SEARCH, stand, fields).due())
    while messages:
        piece = messages.pop(chance.randrange(len(messages)))
        if chance.random() < 0.3:
            messages.append(piece)  # delivered again
        now = State(SEARCH, frozenset(stand), list(fields))
        if piece in now.due():
            stand.add(piece)
        if piece not in stand:
            continue
        now = State(SEARCH, frozenset(stand), list(fields))
        if now.ending():
            fields.append([one.name for _, one in now.field()][::2])
            now = State(SEARCH, frozenset(stand), list(fields))
        messages += [due for due in now.after(piece) if due not in messages]

    assert State(SEARCH, stand, fields).complete()
