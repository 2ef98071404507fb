"""Erasures into what may still be seen: events, observations, marks, joined lines."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.log.erasure import NOTHING, Erased, Erasure, decode_line, load
from shared.log.join import decode_events, join
from shared.log.records import Observed, digest_of, mark, unmark
from shared.storage import StorageError
from shared.storage.memory import MemoryBlobs
from tests.journalled import T0, Obs, Rank
from tests.unit.log.test_retention import RULES as LOOP_RULES

ANN, BOB = "a" * 32, "b" * 32
RULES = LOOP_RULES.at(T0)
EVENT = Erasure("event", digest_of("e").hex(), T0 + 10.0)
SUBJECT = Erasure("subject", ANN, T0 + 20.0, found="marks")
FOUND = {"marks": mark("x", T0 + 1.0) + mark("y", T0 + 2.0)}


@pytest.mark.parametrize(
    ("event_id", "subject", "time", "hidden"),
    [
        ("e", None, 9.999, True),
        ("e", BOB, 0.0, True),
        ("e", None, 10.0, False),
        ("f", None, 0.0, False),
        ("f", ANN, 19.999, True),
        ("f", ANN, 20.0, False),
        ("f", BOB, 0.0, False),
        ("x", None, 1.0, False),  # the id of one of Ann's events, used again
    ],
)
def test_an_event_is_hidden_by_its_id_or_its_subject_until_a_time(
    event_id: str, subject: str | None, time: float, hidden: bool
) -> None:
    erased = Erased([EVENT, SUBJECT], FOUND)

    assert erased.hides(event_id, subject, T0 + time) == hidden
    ranks = [Rank(event_id, T0 + time, subject=subject), Rank("kept", T0 + 0.5)]
    events = decode_events([rank.line() for rank in ranks])
    assert {event.e for event in erased.events(events)} == ({"kept"} if hidden else {"kept", event_id})
    lines = join(events, [], [], RULES).lines
    assert len(erased.joined(lines, T0)) == 2 - hidden
    assert erased.joined(lines, T0 + 20) == lines, "nothing of a window that begins later is erased"


@pytest.mark.parametrize("spelled", ["a/b", "a%2Fb", "a%2fb"])
def test_an_id_is_hidden_however_its_slashes_are_spelled(spelled: str) -> None:
    erased = Erased([Erasure("event", digest_of("a/b").hex(), T0 + 1.0)])

    assert erased.hides(spelled, None, T0)


@pytest.mark.parametrize(
    ("event_id", "time", "hidden"),
    [("e", 9.0, True), ("e", 10.0, False), ("x", 19.0, True), ("y", 0.0, True), ("x", 20.0, False), ("z", 0.0, False)],
)
def test_an_observation_goes_with_its_event(event_id: str, time: float, hidden: bool) -> None:
    erased = Erased([EVENT, SUBJECT], FOUND)
    observed = [Observed(event_id, T0 + time, "r"), Observed("kept", T0 + 0.5, "r")]
    lines = [Obs(event_id, T0 + time).line(), b"garbage", Obs("kept", T0 + 0.5).line()]

    assert erased.observations(observed) == (observed[1:] if hidden else observed)
    assert erased.observation_lines(lines) == (lines[1:] if hidden else lines)


def test_marks_are_hidden_that_are_of_erased_events() -> None:
    erased = Erased([EVENT, SUBJECT], FOUND)
    kept = mark("e", T0 + 10.0) + mark("x", T0 + 1.5) + mark("z", T0)

    assert erased.marks(mark("e", T0) + kept[:16] + mark("x", T0 + 1.0) + kept[16:]) == kept
    assert [erased.hides_mark(*one) for one in unmark(kept)] == [False] * 3


def test_without_erasures_all_is_seen_as_it_is() -> None:
    lines = [b"{}", b"garbage"]
    for erased in (NOTHING, Erased([Erasure("subject", BOB, T0 + 5.0)])):
        assert erased.joined(lines, T0) == lines
        assert erased.observation_lines(lines) == lines
        assert erased.marks(b"0" * 16) == b"0" * 16
        assert not erased.hides("e", ANN, T0)


def test_of_two_erasures_of_the_same_the_later_one_counts() -> None:
    for order in ([EVENT, msgspec.structs.replace(EVENT, at=T0 + 5.0)], [Erasure("event", EVENT.key, T0 + 5.0), EVENT]):
        assert Erased(order).hides("e", None, T0 + 7.0)


def test_what_is_known_of_a_subject_is_known_by_when() -> None:
    assert EVENT.ready
    assert SUBJECT.ready
    assert msgspec.structs.replace(SUBJECT, found="").ready
    assert not msgspec.structs.replace(SUBJECT, found=None).ready


async def test_what_was_found_is_loaded_once_for_all() -> None:
    blobs = MemoryBlobs()
    await blobs.put("marks", FOUND["marks"])
    unfound = Erasure("subject", BOB, T0 + 9.0)

    erased = await load(blobs, [EVENT, SUBJECT, unfound, msgspec.structs.replace(unfound, found="")])

    assert sorted(erased.digests) == sorted(map(digest_of, ["e", "x", "y"]))
    assert sorted(erased.subjects) == [ANN, BOB]
    with pytest.raises(StorageError, match="other is gone"):
        await load(blobs, [msgspec.structs.replace(SUBJECT, found="other")])


@given(text=st.text(min_size=1, max_size=40), time=st.integers(0, 2**31).map(lambda n: n / 16))
def test_a_joined_line_tells_its_event_whatever_it_is_called(text: str, time: float) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        return
    (line,) = join(decode_events([Rank(text, time, subject=ANN).line()]), [], [], RULES).lines

    held = decode_line(line)

    assert (held.event_id, held.subject) == (text, ANN)
    assert held.time == pytest.approx(time, abs=1e-6)
    assert Erased([Erasure("event", digest_of(text).hex(), time + 1)]).joined([line], 0) == []
