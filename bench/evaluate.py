"""Replaying the log to score policies: against plain VW learning the same file, many at once, and how much it holds.

And whether many policies stand in the order of what they are worth, on the coffee of the tutorial, where that is known.
"""

from __future__ import annotations

import asyncio
import os
import random
import resource
import statistics
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
import orjson
import pylibvw
from numpy.typing import NDArray
from vowpalwabbit import Workspace

from bench.held import measured
from bench.learning.course import STEP, Course
from bench.learning.policies import DEFAULT
from bench.learning.tutorials import tutorial
from bench.train import POLICY, joined_lines, seconds
from demo.coffee import COFFEE
from shared.child import compute
from shared.contract.evaluations import PolicySource
from shared.evaluation import decisions, namespaces, plan, search
from shared.evaluation.estimators import estimate
from shared.evaluation.piecework import in_child
from shared.evaluation.plan import Entrant
from shared.evaluation.scores import unpack
from shared.evaluation.scoring import Candidate, Scored, Task, score
from shared.learning.excerpt import Excerpt, Stretch
from shared.learning.model import Learner
from shared.log import joined
from shared.log.joined import Held
from shared.log.records import ONLINE

CORES = os.cpu_count() or 1
ROUNDS = 7
SHARD = 100_000
SHARDS = 10
COFFEES = 10_000
WINDOW = 10_000
RANGE = (-1.0, 1.0)
Numbers = NDArray[np.float64]


def excerpt(lines: Sequence[bytes]) -> Excerpt:
    """Lines as an evaluation gets them: in windows of 10,000."""
    packed = [joined.pack(lines[n : n + WINDOW]) for n in range(0, len(lines), WINDOW)]
    held = [Held("", one.data, one.metadata["sha256"], "") for one in packed]
    return Excerpt(False, ONLINE, None, (), [Stretch(0, one) for one in held])


def message(
    given: Excerpt,
    *candidates: Candidate,
    judged: bool = True,
    judge: bytes | None = None,
    expected: bytes | None = None,
) -> bytes:
    """A piece of an evaluation."""
    return msgspec.msgpack.encode(Task(given, candidates, RANGE, judged, judge, expected))


def scored(answer: bytes) -> Scored:
    """What came of it."""
    return msgspec.msgpack.decode(answer, type=Scored)


def bare(path: Path) -> None:
    """Plain VW, below its Python wrapper, learns a file of lines."""
    workspace = Workspace(f"{POLICY.training} --dsjson --quiet --ring_size 8")
    with path.open("rb") as file:
        for line in file:
            examples = pylibvw.vw._parse(workspace, line.decode())
            pylibvw.vw.learn_multi(workspace, examples)
            pylibvw.vw._finish_example_multi_ex(workspace, examples)
    workspace.finish()


def one_policy() -> None:
    """Print what a policy takes, against plain VW."""
    lines = joined_lines(10, SHARD)
    given = excerpt(lines)
    online, custom = Candidate("online", PolicySource.ONLINE), Candidate("", PolicySource.CUSTOM, POLICY.training)
    expected = scored(score(message(given, online))).expected
    ways = {
        "one policy": message(given, custom, expected=expected),
        "one policy in a search": message(given, custom, judged=False),
        "the model of rewards, and what decided": message(given, online),
    }
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in ["plain VW", *ways]}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "log.dsjson"
        path.write_bytes(b"\n".join(lines))
        for _ in range(ROUNDS):
            taken["plain VW"].append(seconds(lambda: bare(path)))
            for name, piece in ways.items():
                taken[name].append(seconds(lambda piece=piece: score(piece)))  # type: ignore[misc]
    print(f"Scoring {SHARD:,} events of 10 actions / plain VW learning the same file (goal at most 1.3):")
    plain = taken.pop("plain VW")
    for name, times in taken.items():
        by_clock, by_processor = (
            statistics.median(mine[n] / theirs[n] for mine, theirs in zip(times, plain, strict=True)) for n in (0, 1)
        )
        rate = SHARD / statistics.median(clock for clock, _ in times)
        print(f"  {name}: {by_clock:.2f}x by the clock, {by_processor:.2f}x by processor time ({rate:,.0f} events/s)")


def million() -> None:
    """Print what a log of a million events makes a process hold, a shard at a time."""
    given = excerpt(joined_lines(10, SHARD))
    custom = Candidate("mine", PolicySource.CUSTOM, POLICY.training)
    judge: bytes | None = None
    size, peak = 0, 0.0

    async def shards() -> None:
        nonlocal custom, judge, size, peak
        for _ in range(SHARDS):
            online = Candidate("online", PolicySource.ONLINE)
            answer = await compute(measured, message(given, online, custom, judge=judge), 3600.0)
            held, data = msgspec.msgpack.decode(answer, type=tuple[float, bytes])
            found, peak = scored(data), max(peak, held)
            custom, judge = msgspec.structs.replace(custom, model=found.models["mine"]), found.judge
            size += sum(map(len, found.scores.values()))

    asyncio.run(shards())
    print(
        f"{SHARDS * SHARD:,} events in shards of {SHARD:,}: a process holds {peak:.0f} MiB at most (goal below 1024);"
    )
    print(f"  the scores of two policies take {size / 2**20:.1f} MiB")


class Log(NamedTuple):
    """A log of the coffee.

    Attributes:
        lines: of it.
        worth: what each action of each event was worth, in the order of the decisions' columns.
    """

    lines: list[bytes]
    worth: Numbers

    def first(self, events: int) -> Log:
        """So many events of it."""
        return Log(self.lines[:events], self.worth[: events * len(COFFEE.actions)])


def coffee(events: int, seed: int = 1) -> Log:
    """What the default policy has decided."""
    course, world = Course(DEFAULT, f"coffee-{seed}"), tutorial(COFFEE)(random.Random(seed))
    lines, worth = list[bytes](), list[float]()
    for _ in range(events // STEP):
        situations = list(islice(world, STEP))
        course.play(situations)
        lines += course.learned
        worth += [one.rewards[action["id"]] for one in situations for action in orjson.loads(one.actions)]
    course.close()
    return Log(lines, np.array(worth))


def field(log: Log) -> dict[str, str]:
    """The policies that a search compares, and the loop's own, by name."""
    found = search.first(DEFAULT, namespaces.of_lines(log.lines[: namespaces.ENOUGH]))
    return {"own": DEFAULT, **{one.name: one.arguments for one in found}}


def worth(arguments: str, log: Log) -> float:
    """What a policy that replays the log is worth: the mean over its events, whatever was drawn."""
    logged, learner = decisions.read(log.lines), Learner(arguments, None)
    shares, _ = logged.replay(learner)
    learner.close()
    return float(np.asarray(shares) @ log.worth) / len(log.lines)


def estimated(answers: Iterable[bytes]) -> dict[str, float]:
    """What the policies of some pieces are worth, by SNIPS."""
    found = [item for answer in answers for item in scored(answer).scores.items()]
    return {name: estimate(unpack(data), RANGE).snips.value for name, data in found}


async def done(pieces: Sequence[bytes]) -> list[bytes]:
    """What comes of pieces, done as they are in production, in so many processes at a time as there are cores."""
    free = asyncio.Semaphore(CORES)

    async def one(piece: bytes) -> bytes:
        async with free:
            return await in_child(piece)

    return await asyncio.gather(*map(one, pieces))


def cores_taken() -> float:
    """Seconds of a core that processes of ours which have ended have had."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def spearman(one: Mapping[str, float], other: Mapping[str, float]) -> float:
    """How alike two orders of the same names are."""
    ranks = [np.argsort(np.argsort([values[name] for name in one])) for values in (one, other)]
    return statistics.correlation(*(of.tolist() for of in ranks))


def many() -> None:
    """Print what many policies take, and how well they are ordered."""
    log = coffee(COFFEES)
    names, given = field(log), excerpt(log.lines)
    entrants = [Entrant(name, PolicySource.FOUND, arguments) for name, arguments in names.items()]
    pieces = [
        message(given, *(Candidate(one.name, one.source, one.arguments or "") for one in batch), judged=False)
        for batch in plan.batches(entrants)
    ]
    begun, cores = time.perf_counter(), cores_taken()
    answers = asyncio.run(done(pieces))
    taken, cores = time.perf_counter() - begun, cores_taken() - cores
    with ProcessPoolExecutor(CORES) as pool:
        truth = dict(zip(names, pool.map(worth, names.values(), [log] * len(names)), strict=True))
    found = estimated(answers)
    best = max(found, key=found.__getitem__)
    print(
        f"{len(names)} policies on {COFFEES:,} coffees, {CORES} processes: {taken:.1f} s (goal at most 30 on 2 cores),"
    )
    print(f"  {cores:.1f} s of a core, so {cores / CORES:.1f} s where {CORES} are free")
    print(f"  Spearman's rank correlation of SNIPS with the truth: {spearman(found, truth):.4f} (goal at least .98)")
    print(f"  the best is {best}: {found[best]:.3f}, in truth {truth[best]:.3f}, and the own {truth['own']:.3f}")
    print(f"    {names[best]}")


def main() -> None:
    """Print all of it."""
    one_policy()
    many()
    million()


if __name__ == "__main__":
    main()
