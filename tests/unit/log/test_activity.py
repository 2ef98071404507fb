import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.log import activity
from shared.log.activity import Span, span_of
from shared.log.buckets import BUCKET, Waits, grace, least_window
from shared.storage.memory import MemoryTables
from tests.journalled import LOOP, T0


@pytest.fixture
def tables() -> MemoryTables:
    return MemoryTables()


@given(st.integers(0, 20_000).map(lambda n: T0 + 5 * n), st.sampled_from([5.0, 600.0, 3599.0, 3600.0, 7200.0]))
def test_a_span_holds_its_bucket_and_is_due_when_its_first_can_be_joined(bucket: int, wait: float) -> None:
    span = span_of(LOOP, 1, bucket, Waits(((0, wait),)))

    assert span.start <= bucket < span.end
    assert span.end - span.start == (60 if wait < 3600 else 3600)
    assert span.start % (span.end - span.start) == 0
    # An event of the first bucket may be rewarded until start + 5 + wait, in a bucket that ends 5 s later at most.
    assert span.due == span.start + BUCKET + wait + BUCKET + grace(wait)


@pytest.mark.parametrize(
    ("wait", "length", "routed"),
    [(7201, 3600, 600), (86_400, 3600, 3600), (172_800, 3600, 3600), (5_184_000, 86_400, 86_400)],
)
async def test_a_span_with_a_long_wait_is_due_when_it_can_be_routed_and_then_when_it_can_be_joined(
    tables: MemoryTables, wait: float, length: int, routed: int
) -> None:
    span = span_of(LOOP, 1, T0, Waits(((0, wait),)))
    await activity.note_rows(tables, span)

    assert span.end - span.start == length
    assert span.due == span.start + routed + BUCKET + 90

    later = await activity.routed(tables, span, wait)

    assert later.due == span.start + BUCKET + wait + BUCKET + 90
    assert (await activity.noted(tables))[LOOP] == [later]
    assert await activity.routed(tables, later, wait) == later
    assert later.row_key == span.row_key


async def test_notes_come_back_by_loop_in_order_of_time(tables: MemoryTables) -> None:
    spans = [Span(T0 + 60, T0 + 120, 3, LOOP, 9.5), Span(T0, T0 + 3600, 0, LOOP, 8.5), Span(T0, T0 + 60, 2, LOOP, 7.5)]
    other = Span(T0, T0 + 60, 99, "f" * 32, 1.0)
    for span in (*spans, other, spans[0]):
        await activity.note_rows(tables, span)

    assert await activity.noted(tables) == {LOOP: [spans[2], spans[1], spans[0]], "f" * 32: [other]}
    await activity.forget(tables, spans[1])
    await activity.forget(tables, spans[1])
    assert (await activity.noted(tables))[LOOP] == [spans[2], spans[0]]


async def test_a_note_for_the_trainer_stands_until_it_has_trained(tables: MemoryTables) -> None:
    await activity.note_joined(tables, LOOP)
    assert await activity.noted(tables) == {}
    (note,) = await activity.untrained(tables)
    assert (note.loop_id, note.after) == (LOOP, 0.0)

    await activity.put_off(tables, note, 12.5)
    (note,) = await activity.untrained(tables)
    assert note.after == 12.5

    await activity.trained(tables, note)
    assert await activity.untrained(tables) == []


async def test_what_was_joined_while_training_is_not_forgotten(tables: MemoryTables) -> None:
    await activity.note_joined(tables, LOOP)
    (note,) = await activity.untrained(tables)
    await activity.note_joined(tables, LOOP)

    await activity.trained(tables, note)

    assert [n.loop_id for n in await activity.untrained(tables)] == [LOOP]


async def test_a_note_of_erasures_stands_until_none_is_in_force(tables: MemoryTables) -> None:
    await activity.note_joined(tables, LOOP)
    await activity.put_off_sweep(tables, 7.0)
    await activity.note_rows(tables, Span(T0, T0 + 60, 0, LOOP, 1.0))
    await activity.note_erasure(tables, LOOP)
    notes = await activity.for_train_timer(tables)
    assert [(note.loop_id, note.after) for note in notes.erasing] == [(LOOP, 0.0)]
    assert (len(notes.untrained), notes.sweep) == (1, 7.0)

    await activity.erased(tables, notes.erasing[0], 99.0)
    (note,) = (await activity.for_train_timer(tables)).erasing
    assert note.after == 99.0
    await activity.erased(tables, notes.erasing[0], None)
    assert len((await activity.for_train_timer(tables)).erasing) == 1, "another erasure was asked for meanwhile"
    await activity.erased(tables, note, None)
    assert (await activity.for_train_timer(tables)).erasing == []


async def test_of_a_loop_that_is_gone_no_note_is_left(tables: MemoryTables) -> None:
    for loop_id in (LOOP, "f" * 32):
        await activity.note_joined(tables, loop_id)
        await activity.note_erasure(tables, loop_id)
    await activity.note_rows(tables, Span(T0, T0 + 60, 0, LOOP, 1.0))

    assert await activity.forget_loop(tables, LOOP) == 3
    notes = await activity.for_train_timer(tables)
    assert [note.loop_id for note in (*notes.untrained, *notes.erasing)] == ["f" * 32] * 2
    assert await activity.forget_loop(tables, LOOP) == 0


@pytest.mark.parametrize(
    ("watermark", "now", "late"),
    [
        (0, T0 + 700 + 70, 0.0),  # wait, grace, and a window's least length
        (0, T0 + 700 + 70 + 30, 30.0),
        (T0 + 30, T0 + 700 + 70 + 30, 0.0),  # half of it is joined
        (T0 + 60, T0 + 10_000, 10_000 - 60 - 770),  # the first span is
        (T0 + 3600, T0 + 10_000, 0.0),
    ],
)
def test_the_join_is_late_by_what_it_could_have_taken(watermark: int, now: float, late: float) -> None:
    spans = [Span(T0 + 60, T0 + 120, 0, LOOP, 0.0), Span(T0, T0 + 60, 1, LOOP, 0.0)]

    assert activity.overdue(spans, Waits(((0, 600.0),)), watermark, now) == late


def test_a_loop_that_waits_for_days_is_late_no_sooner_than_its_windows_are_long() -> None:
    wait = 172_800.0
    spans = [Span(T0, T0 + 3600, 0, LOOP, 0.0)]
    due = activity.joins(T0, wait) + least_window(wait)

    assert activity.overdue(spans, Waits(((0, wait),)), 0, due) == 0.0
    assert activity.overdue(spans, Waits(((0, wait),)), 0, due + 1) == 1.0
    assert activity.overdue([], Waits(((0, wait),)), 0, due) == 0.0
