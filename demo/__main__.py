"""Turns the command line of `python -m demo` into tutorials played, their curves and their pictures."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from pathlib import Path
from types import FrameType

from demo.coffee import COFFEE
from demo.curve import Curve, sparkline
from demo.grocery import GROCERY
from demo.loop import Loop, Problem
from demo.picture import draw
from demo.play import FASTEST, play
from demo.scenario import Scenario
from demo.waits import until_learned, until_quick
from localhost.data_folder import Problem as SettingsProblem
from localhost.up import Settings

# Coffee first: what a model has learned of the grocery it would have to unlearn. The other way round it does no harm.
_SCENARIOS = {scenario.name: scenario for scenario in (COFFEE, GROCERY)}
_COMPARED = 1_000


def main(arguments: list[str] | None = None) -> int:
    """Play, and return the exit code: 1 after one line that says what is wrong, 130 after Ctrl-C."""
    signal.signal(signal.SIGTERM, _interrupt)  # so that the loop's settings return then, too
    try:
        served = Settings.read(os.environ)
        options = _parser(served).parse_args(arguments)
        loop = Loop(options.endpoint, options.key or _kept_key(served.data))
        names = list(_SCENARIOS) if options.scenario == "all" else [options.scenario]
        with loop.quick() as settings:
            until_quick(loop)
            for name in names:
                scenario = _SCENARIOS[name]
                _show(
                    scenario,
                    loop,
                    events=options.events or scenario.events,
                    rate=options.rate or scenario.rate,
                    exploration=float(settings["explorationPercentage"]),
                    picture=Path(options.output) / f"{name}.png",
                )
            health = until_learned(loop)  # with nothing pending, the loop's own settings hold again at once
            print(f"The model has learned {health['modelEvents']:,} events.")
    except (Problem, SettingsProblem) as problem:
        print(problem, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Stopped; the loop has its own settings again.", file=sys.stderr)
        return 130
    return 0


def _show(scenario: Scenario, loop: Loop, *, events: int, rate: float, exploration: float, picture: Path) -> None:
    """Play one scenario; what was played is shown even if the run is cut off."""
    print(f"{scenario.name}: {events:,} events at {rate:g} a second against {loop.endpoint}", flush=True)
    curve = Curve()
    try:
        play(scenario, loop, curve, events, rate)
    finally:
        if len(curve.rewards) > 1:
            _report(scenario, curve, exploration)
            draw(picture, scenario, curve, exploration)
            print(f"  picture: {picture}", flush=True)


def _report(scenario: Scenario, curve: Curve, exploration: float) -> None:
    compared = min(_COMPARED, len(curve.rewards) // 2)
    uniform, ceiling = scenario.uniform, scenario.ceiling(exploration)
    first = sum(curve.rewards[:compared]) / compared
    print(f"  {sparkline(curve.rewards, uniform / 2, ceiling)}")
    print(f"  mean reward of the first {compared:,} events {first:.3f}, of the last {compared:,} "
          f"{curve.latest(compared):.3f}")  # fmt: skip
    print(f"  a uniform choice earns {uniform:.3f}, full knowledge with {exploration:.0%} exploration {ceiling:.3f}")
    if scenario.note:
        print(f"  {scenario.note}")


def _kept_key(data: Path) -> str:
    try:
        return (data / "key").read_text().strip()
    except OSError:
        return ""  # the loop says what is missing, if one is served at all


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _parser(served: Settings) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m demo", description="Watch a loop learn a published tutorial.")
    parser.add_argument("scenario", nargs="?", choices=[*_SCENARIOS, "all"], default="all", help="default: %(default)s")
    parser.add_argument(
        "--endpoint", default=f"http://127.0.0.1:{served.port}/", metavar="URL", help="default: %(default)s"
    )
    parser.add_argument("--key", default=served.key, help="default: RANKLOOP_KEY, else the key that `make run` keeps")
    parser.add_argument("--events", type=_positive_int, metavar="N", help="default: as many as the tutorial plays")
    parser.add_argument(
        "--rate",
        type=_positive,
        metavar="N",
        help=f"events a second at most; over {FASTEST:.0f} the run ends before the loop has learned "
        "(default: so that a tutorial takes about ten minutes)",
    )
    parser.add_argument(
        "--output", default=str(served.data / "demo"), metavar="DIR", help="for the pictures (default: %(default)s)"
    )
    return parser


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError("must be a positive number")
    return value


def _positive_int(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return value


if __name__ == "__main__":
    sys.exit(main())
