"""Processes killed at every point that touches storage: nothing is lost, nothing twice, and the model is the log's."""

import asyncio
import os
import random
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from localhost.azurite import Azurite
from shared.storage.memory import MemoryQueues, Sent
from shared.work import QUEUE
from tests.faults.audit import audit
from tests.faults.fleet import Fleet
from tests.faults.gate import Gate, gated_queues
from tests.faults.leaps import Leaps
from tests.faults.points import DAYS, Point
from tests.faults.storm import Kind, Storm

SEED = int(os.environ.get("SOAK_SEED") or random.SystemRandom().randrange(2**32))
SOAK_KILLS = int(os.environ.get("SOAK_KILLS") or 0)
SOAK_SECONDS = float(os.environ.get("SOAK_SECONDS") or 0)
ROUND = 120
"""Kills of a round of the soak, behind which everything is looked at."""
WANDERING = 20
"""Kills at points drawn by lot that `make test` adds where there are few others, while rows grow old enough to go."""
LONGEST = 400.0
"""Seconds in which the wandering of `make test` ends, done or not."""
KINDS = {
    "alone": Kind(1),
    "rivals": Kind(3),
    "pruned": Kind(3, pruning=True),
    "alone-later": Kind(1, leaping=True),
    "rivals-later": Kind(3, leaping=True),
}


def places(kind: Kind) -> Sequence[Point]:
    """Where the matrix kills: for the soak everywhere.

    `make test` has an hour for all that there is: it kills at each place either one that is alone or one of rivals, as
    the seed has it.
    """
    points = kind.points()
    return points if SOAK_KILLS or kind.pruning else points[(SEED + (kind.rivals > 1)) % 2 :: 2]


def weather(
    kind: Kind, seed: int, folder: Path, tell: Callable[[str], None], matrix: bool, kills: int, until: float
) -> int:
    """One storm and what it has left; returns how many kills there were."""
    began = time.monotonic()
    folder.mkdir()
    with Azurite() as azurite:
        storage = azurite.connection_string
        more = {"RANKLOOP_JOURNAL_PRUNE": "true"} if kind.pruning else {}
        more |= {"RANKLOOP_LINGER_MS": "100"} if kind.leaping else {}
        with Fleet(storage, folder / "errors.txt", **more) as fleet:
            storm = (Leaps if kind.leaping else Storm)(kind, seed, folder, fleet, storage)
            for traffic in storm.traffics:
                traffic.start()
            try:
                storm.wander(kills, until)
                if matrix:
                    storm.matrix(places(kind))
                storm.settle()
                if isinstance(storm, Leaps):
                    found = f"{storm.judge()}; {storm.days(DAYS if matrix else ())}"
            except BaseException as error:
                error.add_note(f"with SOAK_SEED={seed}")
                raise
            finally:
                for traffic in storm.traffics:
                    traffic.stop()
        if not kind.leaping:
            found = str(asyncio.run(audit(storage, storm.traffics[0], kind.pruning)))
    answers = {traffic.loop or "default": dict(traffic.answers) for traffic in storm.traffics}
    tell(
        f"{kind}, seed {seed}: {storm.kills.total()} kills at {len(storm.kills)} places in "
        f"{time.monotonic() - began:.0f} s; {found}; {answers}"
    )
    assert [traffic.problems for traffic in storm.traffics if traffic.problems] == []
    return storm.kills.total()


async def test_a_message_that_is_sent_passes_a_point() -> None:
    told, queues = list[tuple[str, str]](), MemoryQueues()
    gated = gated_queues(queues, Gate([], lambda what, text: told.append((what, text))), random.random)

    await gated.send(QUEUE, b"x", delay=1.0)
    assert queues.sent == {QUEUE: [Sent(b"x", 1.0)]}
    assert told == []

    await gated.send("another", b"x")
    assert [(what, text.split(" in ")[0]) for what, text in told] == [("unnamed", "send another")]


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_a_process_killed_at_any_point_costs_nothing(kind: Kind, tmp_path: Path, tell: Callable[[str], None]) -> None:
    """`make soak` goes on from there, round by round."""
    share = 1 / len(KINDS)
    until = time.monotonic() + max(SOAK_SECONDS * share, LONGEST)
    kills = weather(kind, SEED, tmp_path / "0", tell, True, WANDERING if kind.pruning else 0, until)
    number = 0
    while kills < SOAK_KILLS * share and time.monotonic() < until:
        number += 1
        kills += weather(kind, SEED + number, tmp_path / str(number), tell, False, ROUND, until)
