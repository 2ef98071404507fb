"""Messages into pieces of work, and what becomes of those that are none or fail."""

from __future__ import annotations

import logging

import msgspec
import pytest

from shared.app import App
from shared.config import Config
from shared.counters import Counters
from shared.storage import MAX_MESSAGE, Unavailable
from shared.storage.memory import MemoryBlobs, MemoryQueues, MemoryTables, Sent
from shared.work import QUEUE, Piece, Work, WorkError


class Paint(Piece, frozen=True, tag="paint"):
    wall: str
    coats: int = 1


class Sweep(Piece, frozen=True, tag="sweep"):
    room: str


class Site:
    """An app's work, and what was done of it."""

    def __init__(self) -> None:
        self.queues = MemoryQueues()
        self.counters = Counters()
        self.work = Work(self.queues, self.counters)
        self.painted: list[Paint] = []
        self.error: Exception | None = None
        self.work.on(Paint, self._paint)

    async def _paint(self, piece: Paint) -> None:
        if self.error is not None:
            raise self.error
        self.painted.append(piece)


@pytest.fixture
def site() -> Site:
    return Site()


async def test_what_is_sent_is_done_by_the_handler_of_its_kind(site: Site) -> None:
    swept: list[Sweep] = []

    async def sweep(piece: Sweep) -> None:
        swept.append(piece)

    site.work.on(Sweep, sweep)
    await site.work.send(Paint(wall="north", coats=2))
    await site.work.send(Sweep(room="hall"), delay=30)

    assert [(msgspec.json.decode(message), delay) for message, delay in site.queues.sent[QUEUE]] == [
        ({"kind": "paint", "wall": "north", "coats": 2}, 0.0),
        ({"kind": "sweep", "room": "hall"}, 30),
    ]
    for message, _ in site.queues.sent[QUEUE]:
        await site.work.run(message)
    assert site.painted == [Paint(wall="north", coats=2)]
    assert swept == [Sweep(room="hall")]
    assert site.counters.snapshot() == {"work.done": 2}


async def test_messages_of_other_releases_are_read(site: Site) -> None:
    await site.work.run(b'{"kind":"paint","wall":"north"}')
    await site.work.run(b'{"kind":"paint","wall":"south","shine":true}')

    assert site.painted == [Paint(wall="north"), Paint(wall="south")]


@pytest.mark.parametrize(
    ("message", "problem"),
    [
        (b'{"kind":"tile","wall":"x"}', "knows no work of the kind 'tile'"),
        (b'{"kind":"' + b"t" * 1000 + b'"}', "knows no work of the kind 't{64}'$"),
        (b'{"kind":"paint","wall":7}', "wall"),
        (b'{"kind":"paint"}', "wall"),
        (b'{"wall":"north"}', "kind"),
        (b"[]", "no piece of work"),
        (b"{", "no piece of work"),
        (b"", "no piece of work"),
        (b"\xff\xfe", "no piece of work"),
    ],
)
async def test_a_message_that_names_no_piece_goes_back(
    site: Site, caplog: pytest.LogCaptureFixture, message: bytes, problem: str
) -> None:
    with pytest.raises(WorkError, match=problem):
        await site.work.run(message)

    assert site.painted == []
    assert site.counters.snapshot() == {"work.failed": 1}
    assert "(unknown) failed" in caplog.text
    assert not any(record.exc_info for record in caplog.records)


@pytest.mark.parametrize(("error", "traced"), [(Unavailable("busy"), False), (KeyError("ours"), True)])
async def test_a_failure_is_counted_told_and_goes_back(
    site: Site, caplog: pytest.LogCaptureFixture, error: Exception, traced: bool
) -> None:
    site.error = error

    with pytest.raises(type(error)):
        await site.work.run(b'{"kind":"paint","wall":"north"}')

    assert site.counters.snapshot() == {"work.failed": 1}
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert "(Paint) failed" in record.getMessage()
    assert bool(record.exc_info) is traced


def test_each_kind_has_a_tag_of_its_own(site: Site) -> None:
    class Again(Piece, frozen=True, tag="paint"):
        pass

    class Numbered(Piece, frozen=True, tag=7):
        pass

    async def handler(piece: Piece) -> None: ...

    for kind in (Again, Numbered):
        with pytest.raises(ValueError, match="tag of its own"):
            site.work.on(kind, handler)


async def test_the_app_sends_and_does_its_work() -> None:
    queues, done = MemoryQueues(), list[Piece]()
    app = App(Config("", "k"), MemoryTables(), MemoryBlobs(), queues=queues)

    async def handler(piece: Paint) -> None:
        done.append(piece)

    app.pieces.on(Paint, handler)
    await app.pieces.send(Paint(wall="north"))
    await app.work(queues.sent[QUEUE][0].message)

    assert done == [Paint(wall="north")]
    assert app.counters["work.done"] == 1


async def test_an_app_without_queues_says_so() -> None:
    app = App(Config("", "k"), MemoryTables(), MemoryBlobs())

    with pytest.raises(Unavailable, match="rankloop-work"):
        await app.pieces.send(Paint(wall="north"))


async def test_queues_in_memory_keep_what_was_sent() -> None:
    queues = MemoryQueues()
    await queues.send("a", b"x" * MAX_MESSAGE, 1.5)
    with pytest.raises(ValueError, match="too long"):
        await queues.send("a", b"x" * (MAX_MESSAGE + 1))

    assert queues.sent == {"a": [Sent(b"x" * MAX_MESSAGE, 1.5)]}
