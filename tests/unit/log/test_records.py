import msgspec
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.log.records import (
    MARK_BYTES,
    MODES,
    ONLINE,
    Observed,
    RankedSlot,
    decode_observed,
    decode_ranked,
    encode_observed,
    event_key,
    mark,
    ranked_line,
    unmark,
)

TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)
TIME = st.integers(0, 4_000_000_000_000_000).map(lambda micros: round(micros / 1e6, 6))


SLOTS = st.lists(
    st.builds(
        RankedSlot,
        TEXT,
        st.lists(st.integers(0, 49), max_size=4),
        st.lists(st.floats(0, 1), max_size=4),
        st.integers(0, 49),
    ),
    max_size=3,
)
REWARDS = st.lists(st.tuples(TEXT, st.floats(-1e9, 1e9)), max_size=3)


@given(TEXT, TIME, st.booleans(), st.integers(0, 49), st.floats(1e-30, 1), st.sampled_from(MODES))
def test_a_rank_line_comes_back(event_id: str, time: float, deferred: bool, chosen: int, p: float, mode: str) -> None:
    line = ranked_line(orjson.dumps(event_id), time, deferred, b'"a":%d,"p":%.9g' % (chosen, p), mode, b'{"a":[1,2]}')
    event = decode_ranked(line)

    assert (event.e, event.t, event.d, event.a, event.m) == (event_id, time, deferred, chosen, mode)
    assert (event.s, bytes(event.r)) == (None, b'{"a":[1,2]}')
    assert event.p == pytest.approx(p, rel=1e-8)
    assert b"\n" not in line


@given(TEXT, TIME, SLOTS, st.sampled_from(MODES))
def test_a_multi_slot_rank_line_comes_back(event_id: str, time: float, slots: list[RankedSlot], mode: str) -> None:
    choice = b'"s":' + msgspec.json.encode(slots)
    line = ranked_line(orjson.dumps(event_id), time, False, choice, mode, b'{"c":{}}')
    event = decode_ranked(line)

    assert (event.e, event.t, event.s, event.m, bytes(event.r)) == (event_id, time, slots, mode, b'{"c":{}}')
    assert b"\n" not in line


def test_a_rank_line_without_a_mode_is_of_a_single_slot_loop_online() -> None:
    """Rolling updates mix releases: lines of before there were modes and slots."""
    event = decode_ranked(b'{"e":"e1","t":1700000040.500000,"d":false,"a":2,"p":0.25,"r":{"EventId":"e1"}}')

    assert (event.a, event.p, event.s, event.m) == (2, 0.25, None, ONLINE)


@given(TEXT, TIME, st.sampled_from(["r", "a"]), st.floats(-1e9, 1e9), st.none() | REWARDS, st.none() | TEXT)
def test_an_observation_comes_back(
    event_id: str, time: float, kind: str, value: float, slots: list[tuple[str, float]] | None, request: str | None
) -> None:
    observed = Observed(event_id, time, kind, value, slots, request)  # type: ignore[arg-type]
    line = encode_observed(observed)

    assert decode_observed(line) == observed
    assert b"\n" not in line


def test_an_observation_of_no_known_kind_is_refused() -> None:
    with pytest.raises(msgspec.ValidationError):
        decode_observed(b'{"e":"e","t":1.0,"k":"x"}')


@pytest.mark.parametrize(
    ("event_id", "key"), [("e", "e"), ("a/b", "a/b"), ("a%2Fb", "a/b"), ("a%2fb%2F", "a/b/"), ("a%2Gb", "a%2Gb")]
)
def test_a_slash_is_one_key_however_it_came(event_id: str, key: str) -> None:
    assert event_key(event_id) == key


@given(st.lists(st.tuples(TEXT, TIME)))
def test_marks_tell_events_and_times_apart(events: list[tuple[str, float]]) -> None:
    marks = b"".join(mark(event_id, time) for event_id, time in events)
    found = unmark(marks)

    assert len(marks) == MARK_BYTES * len(events)
    assert [time for _, time in found] == [time for _, time in events]
    assert len({digest for digest, _ in found}) == len({event_id for event_id, _ in events})
