import pytest

from shared.log import load
from shared.log.load import Load
from shared.log.rows import partition_key
from shared.storage import Row


def row(bucket: int, count: int, size: int = 1) -> Row:
    return {"PartitionKey": partition_key(0, bucket), "n": count, "s": size}


@pytest.mark.parametrize(("stream", "count", "size"), [("rank", 4, 0), ("rank", 0, 40), ("obs", 40, 0), ("obs", 0, 40)])
def test_a_window_is_full_by_events_observations_or_bytes(
    monkeypatch: pytest.MonkeyPatch, stream: str, count: int, size: int
) -> None:
    monkeypatch.setattr(load, "MAX_OBSERVED", 100)
    held = Load(10, 100)
    for bucket in (20, 0, 10, 5):
        held.add(stream, row(bucket, count, size))

    assert held.fills(0, 100) == 15
    assert held.fills(0, 10) is None
    assert held.fills(10, 100) is None


def test_rows_of_a_bucket_add_up_and_streams_do_not() -> None:
    held = Load(10, 100)
    for _ in range(3):
        held.add("rank", row(5, 3))
        held.add("obs", row(5, 3))
    assert held.fills(0, 100) is None
    held.add("rank", row(5, 3))
    assert held.fills(0, 100) == 10


def test_a_stretch_begins_with_its_first_row() -> None:
    held = Load(10, 100)
    held.add("obs", row(50, 0))

    assert held.begins(0, 100) == 50
    assert held.begins(55, 100) == 100
    assert held.begins(0, 50) == 50
