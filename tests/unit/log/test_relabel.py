"""Lines that are labelled anew are what the join would have written by the other rules, byte for byte."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.log import joined
from shared.log.join import Rules, decode_events, join
from shared.log.joined import Window
from shared.log.records import APPRENTICE, MODES, Observed
from shared.log.relabel import relabel
from shared.log.reward import AGGREGATIONS
from shared.storage.memory import MemoryBlobs
from tests.journalled import LOOP, T0, Rank, Slot, SlotRank

RULES = Rules(600.0, 0.25, "sum", (-1.0, 1.0))
VALUES = st.floats(-3, 3, width=32)
OTHERS = st.builds(
    Rules,
    wait=st.just(600.0),
    default_reward=st.floats(-1, 1, width=32),
    aggregation=st.sampled_from(sorted(AGGREGATIONS)),
    reward_range=st.sampled_from([(-1.0, 1.0), (0.0, 1.0), (-2.0, 0.5)]),
)
OBSERVED = st.lists(
    st.one_of(
        st.builds(lambda v, at: Observed("e", T0 + at, "r", v), VALUES, st.integers(1, 50)),
        st.builds(lambda at: Observed("e", T0 + at, "a"), st.integers(1, 50)),
        st.builds(
            lambda top, side, at: Observed("e", T0 + at, "r", 0.0, [("top", top), ("side", side)]),
            VALUES,
            VALUES,
            st.integers(1, 50),
        ),
    ),
    max_size=5,
)
TRICKY = '],"Timestamp":"_outcomes":[{"_ba":[7]}]'


def joined_by(rules: Rules, rank: Rank, observed: Sequence[Observed]) -> bytes:
    (line,) = join(decode_events([rank.line()]), observed, [], rules).lines
    return line


@given(
    mode=st.sampled_from(MODES),
    deferred=st.booleans(),
    chosen=st.integers(0, 2),
    observed=OBSERVED,
    one=OTHERS,
    two=OTHERS,
)
def test_an_event_is_labelled_as_the_join_would_have(
    mode: str, deferred: bool, chosen: int, observed: list[Observed], one: Rules, two: Rules
) -> None:
    rank = Rank("e", T0, deferred, chosen, mode=mode)

    assert relabel(joined_by(one, rank, observed), two) == joined_by(two, rank, observed)


@given(
    mode=st.sampled_from(MODES),
    deferred=st.booleans(),
    baseline=st.integers(0, 3),
    observed=OBSERVED,
    one=OTHERS,
    two=OTHERS,
)
def test_so_are_slots(
    mode: str, deferred: bool, baseline: int, observed: list[Observed], one: Rules, two: Rules
) -> None:
    slots = (Slot("top", (1, 0, 2, 3), baseline), Slot("side", (2, 0, 3), 2), Slot("none", (), 1))
    rank = SlotRank("e", T0, deferred, mode=mode, slots=slots)

    assert relabel(joined_by(one, rank, observed), two) == joined_by(two, rank, observed)


@pytest.mark.parametrize("kind", [Rank, SlotRank])
@pytest.mark.parametrize("mode", MODES)
def test_no_text_of_a_caller_stands_for_a_part_of_the_line(kind: type[Rank], mode: str) -> None:
    rank = kind(f"e{TRICKY}", T0, mode=mode, subject=None)
    observed = [
        Observed(rank.id, T0 + 1, "r", 0.5),
        Observed(rank.id, T0 + 3, "r", -0.25),
        Observed(rank.id, T0 + 2, "r", 0.0, [("top", 0.75)]),
    ]
    other = replace(RULES, aggregation="max", default_reward=-0.5)

    def with_feature(rules: Rules) -> bytes:
        line = joined_by(rules, rank, observed)
        return line.replace(b'"hour":', b'"x":[1],"Timestamp":"]","hour":')

    assert with_feature(RULES) != with_feature(other) or mode == APPRENTICE
    assert relabel(with_feature(RULES), other) == with_feature(other)


@pytest.mark.parametrize(
    "line", [b"", b"{", b'{"_label_cost":0.0,"o":[]}', b'{"EventId":"e"}', b"no line", b'{"mode":"Apprentice"}']
)
def test_what_is_no_joined_line_stays_what_it_is(line: bytes) -> None:
    assert relabel(line, RULES) == line


def test_rules_that_label_alike_say_so() -> None:
    assert RULES.labels == replace(RULES, wait=5.0).labels == "sum 0.25 -1.0 1.0"
    others = [
        replace(RULES, aggregation="max"),
        replace(RULES, default_reward=0.5),
        replace(RULES, reward_range=(0, 1)),
    ]
    assert len({RULES.labels, *(other.labels for other in others)}) == 4


async def test_a_window_tells_by_what_its_lines_are_labelled() -> None:
    blobs, window, older = MemoryBlobs(), Window(T0, T0 + 60), Window(T0 + 60, T0 + 120)
    await joined.write(blobs, LOOP, window, "dsjson", [b"{}"], RULES.labels)
    await joined.write(blobs, LOOP, older, "dsjson", [b"{}"])

    assert await joined.read_labelled(blobs, LOOP, window, "dsjson") == ([b"{}"], RULES.labels)
    assert await joined.read_labelled(blobs, LOOP, older, "dsjson") == ([b"{}"], "")
