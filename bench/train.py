"""Training on joined lines, against VW reading the same dsjson file natively.

VW's reader parses on a thread of its own, so where a second core is idle it wins by the clock; ours leaves that core to
others. Both are printed: by the clock, and by processor time.
"""

from __future__ import annotations

import random
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from vowpalwabbit import Workspace

from bench.documents import body, make_actions, rank_request
from shared.contract.requests import rank_request as decode
from shared.learning.lesson import Job, learn
from shared.learning.model import Learner
from shared.log.buckets import Waits
from shared.log.join import Rules, decode_events, join
from shared.log.records import ONLINE
from shared.loops import policy
from shared.loops.policy import DEFAULT_ARGUMENTS, Problem
from shared.loops.service import ServiceConfiguration
from shared.loops.settings import Loop
from shared.ranking.action_cache import ActionCache
from shared.ranking.decision import log_line
from shared.ranking.features import is_plain
from shared.ranking.model_cache import Held
from shared.ranking.rank import decide

ROUNDS = 7
EVENTS = 8000
POLICY = policy.read(DEFAULT_ARGUMENTS[Problem.SINGLE_SLOT])
LOOP = Loop("0" * 32, ServiceConfiguration(), POLICY, Waits(((0, 600.0),)))
JOB = Job(LOOP.id, POLICY.training, POLICY.resuming, POLICY.lineage, False, ONLINE, 0, 0, 0, 300.0)


def joined_lines(actions: int, events: int = EVENTS) -> list[bytes]:
    """Joined lines as the join writes them."""
    rng = random.Random(5)
    pool = make_actions(rng, actions)
    cache = ActionCache()
    lines = []
    for n in range(events):
        raw = body(rank_request(rng, pool), f"{rng.getrandbits(128):032x}")
        decision = decide(decode(raw), is_plain(raw), LOOP, Held(), cache)
        lines.append(log_line(decision, float(n), False))
    return join(decode_events(lines), [], [], Rules(600, 0.5, "earliest", (-1.0, 1.0))).lines


def seconds(work: Callable[[], object]) -> tuple[float, float]:
    """Seconds that some work takes, by the clock and of processor time."""
    clock, processor = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - clock, time.process_time() - processor


def ours(lines: list[bytes]) -> tuple[float, float]:
    """Seconds that our loop takes."""
    learner = Learner(POLICY.training, None)
    taken = seconds(lambda: learn(learner, lines, JOB))
    learner.close()
    return taken


def native(path: Path) -> tuple[float, float]:
    """Seconds that VW takes to read and learn the file."""
    return seconds(lambda: Workspace(f"{POLICY.training} --dsjson --quiet -d {path}").finish())


def main() -> None:
    """Print the ratios."""
    print("Training events/s / VW reading the same dsjson file natively (goal at least 0.9):")
    for actions in (10, 50):
        lines = joined_lines(actions)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "log.dsjson"
            path.write_bytes(b"\n".join(lines) + b"\n")
            pairs = [(ours(lines), native(path)) for _ in range(ROUNDS)]
        for n, by in enumerate(("by the clock     ", "by processor time")):
            mine = statistics.median(times[n] for times, _ in pairs)
            theirs = statistics.median(times[n] for _, times in pairs)
            rates = f"{EVENTS / mine:.0f} / {EVENTS / theirs:.0f} events/s"
            print(f"  {actions:3} actions, {by}: {theirs / mine:.2f}x  ({rates})")


if __name__ == "__main__":
    main()
