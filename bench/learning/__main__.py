"""Turns the command line of `python -m bench.learning` into runs, their tables, and an exit code: 1 when short."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import replace
from itertools import groupby

from bench.learning import resumption
from bench.learning.measure import Run, bounds, measure
from bench.learning.packages import Unavailable
from bench.learning.report import Played, table
from bench.learning.scenario import Figures, Scenario
from bench.learning.scenarios import SCENARIOS

RESUMPTION = "resumption"
QUICK_EVENTS, QUICK_SEEDS = 1_500, 2

Asked = Mapping[Run, Future[Figures | str]]


def main(arguments: Sequence[str] | None = None) -> int:
    """Play, print, and return the exit code."""
    options = _parser().parse_args(arguments)
    names = options.scenario or [*SCENARIOS, RESUMPTION]
    if unknown := set(names) - {*SCENARIOS, RESUMPTION}:
        known = ", ".join([*SCENARIOS, RESUMPTION])
        print(f"no such scenario: {', '.join(sorted(unknown))}; there are {known}", file=sys.stderr)
        return 2
    started = time.monotonic()
    short: list[str] = []
    missing: list[str] = []
    with _pool(options.processes) as pool:
        asked: dict[Run, Future[Figures | str]] = {}
        scenarios = [_cut(SCENARIOS[name], options) for name in names if name != RESUMPTION]
        for scenario in scenarios:
            asked |= {run: pool.submit(measure, run) for run in _runs(scenario)}
        for scenario in scenarios:
            try:
                fine = _show(scenario, asked, pool, options.quick)
            except Unavailable as e:
                missing.append(scenario.name)
                print(f"### {scenario.name}: NOT MEASURED, its data is missing: {e}\n", flush=True)
                continue
            if not fine:
                short.append(scenario.name)
    if RESUMPTION in names:
        told, right = resumption.table()
        print(told, flush=True)
        if not right:
            short.append(RESUMPTION)
    print(f"{time.monotonic() - started:.0f} s. Short: {', '.join(short) or 'none'}."
          f" Not measured: {', '.join(missing) or 'none'}.")  # fmt: skip
    return 1 if short or (missing and not options.offline_ok) else 0


def _pool(processes: int) -> Executor:
    """Where runs are played: elsewhere, so that a core of each plays at its best; or here, if there is one only."""
    return ProcessPoolExecutor(processes) if processes > 1 else ThreadPoolExecutor(1)


def _show(scenario: Scenario, asked: Asked, pool: Executor, quick: bool) -> bool:
    """Print a scenario's table once its runs are done; whether nothing in it is short.

    Raises:
        Unavailable: its data cannot be fetched.
    """
    ours = _figures([(run, asked[run]) for run in _runs(scenario)])
    played = [Played(row, ours[n]) for n, row in enumerate(scenario.rows)]
    if not quick and scenario.plain:
        again = {
            run: pool.submit(measure, run._replace(plain=True))
            for run in _runs(scenario)
            if played[run.row].wants_plain()
        }
        plain = _figures(list(again.items()))
        played = [Played(row, ours[n], plain.get(n, ())) for n, row in enumerate(scenario.rows)]
    chance = bounds(scenario)
    print(table(scenario, played, chance, quick), flush=True)
    return not any(each.problems(chance[0] if quick else None) for each in played)


def _figures(runs: Sequence[tuple[Run, Future[Figures | str]]]) -> dict[int, list[Figures]]:
    """The figures of runs by the row they are of."""
    found: dict[int, list[Figures]] = {}
    for row, together in groupby(runs, lambda pair: pair[0].row):
        found[row] = []
        for _, future in together:
            result = future.result()
            if isinstance(result, str):
                raise Unavailable(result)
            found[row].append(result)
    return found


def _runs(scenario: Scenario) -> Iterator[Run]:
    for row in range(len(scenario.rows)):
        for seed in range(scenario.seeds):
            yield Run(scenario.name, row, seed, scenario.events)


def _cut(scenario: Scenario, options: argparse.Namespace) -> Scenario:
    """The scenario with as few seeds and events as were asked for."""
    seeds = options.seeds or (QUICK_SEEDS if options.quick else scenario.seeds)
    return replace(scenario, seeds=seeds, events=min(scenario.events, QUICK_EVENTS if options.quick else 10**9))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.learning", description="Measure what a loop learns.")
    parser.add_argument("scenario", nargs="*", help=f"of {', '.join(SCENARIOS)}, {RESUMPTION}; default: all")
    parser.add_argument("--quick", action="store_true", help="short runs, held to no more than that they beat chance")
    parser.add_argument("--seeds", type=_seeds, metavar="N", help="runs of each policy (5; more of short ones)")
    parser.add_argument("--offline-ok", action="store_true", help="data that cannot be fetched does not count as short")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1, metavar="N", help="default: %(default)s")
    return parser


def _seeds(text: str) -> int:
    if int(text) < 2:
        raise argparse.ArgumentTypeError("must be 2 at least, since one run tells nothing of chance")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
