import numpy as np

from shared.log import index
from shared.log.index import OBSERVED, RANKED
from shared.log.records import Observed, Ranked, digest_of
from shared.storage.memory import MemoryBlobs

EVENT = Ranked("e", 1_700_000_000.25, False, b"{}", u="ab" * 16)  # type: ignore[arg-type]


async def test_what_was_stored_is_what_is_read() -> None:
    blobs = MemoryBlobs()
    table = index.of([EVENT], [Observed("e", 1_700_000_001.5, "r")])
    await blobs.put("t", table.tobytes())

    wanted = [
        (int.from_bytes(digest_of("e")), 0xABABABABABABABAB, 1_700_000_000.25, RANKED),
        (int.from_bytes(digest_of("e")), 0, 1_700_000_001.5, OBSERVED),
    ]
    for read in (index.decode(table.tobytes()), await index.find(blobs, "t", table.nbytes, digest_of("e"))):
        assert [tuple(row) for row in read.tolist()] == wanted


def test_merging_keeps_how_rows_are_stored() -> None:
    one = index.of([EVENT], [])

    for table in (index.merge([one]), index.merge([one, one]), index.merge([])):
        assert table.dtype == index.ROW
    assert np.array_equal(index.merge([one, one]), np.concatenate([one, one], dtype=index.ROW))
