"""Turns a curve into a picture on disk."""

from __future__ import annotations

from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import StrMethodFormatter

from demo.curve import Curve
from demo.scenario import Scenario

_NARROW = 100
_WIDE = 500


def draw(path: Path, scenario: Scenario, curve: Curve, exploration: float) -> None:
    """Write the picture as PNG.

    Args:
        path: where to.
        scenario: what was played.
        curve: what it earned.
        exploration: the share of decisions that the loop gave to chance.
    """
    figure = Figure(figsize=(8, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for n, change in enumerate(curve.changes):
        axes.axvline(change, ymax=0.03, color="0.45", linewidth=0.8, label=None if n else "a new model serves")
    ceiling, uniform = scenario.ceiling(exploration), scenario.uniform
    axes.axhline(ceiling, color="tab:green", linestyle="--", linewidth=1,
                 label=f"all known, {exploration:.0%} explored ({ceiling:.2f})")  # fmt: skip
    axes.axhline(uniform, color="tab:red", linestyle=":", linewidth=1, label=f"uniform choice ({uniform:.2f})")
    axes.plot(*curve.rolling(_NARROW), color="tab:blue", linewidth=0.6, alpha=0.45, label=f"mean of {_NARROW} events")
    axes.plot(*curve.rolling(_WIDE), color="tab:blue", linewidth=2, label=f"mean of {_WIDE} events")
    axes.set(xlim=(0, max(1, len(curve.rewards))), ylim=(0, 1), xlabel="events", ylabel="mean reward")
    axes.set_title(f"What a loop earns as it learns: {scenario.name}", loc="left")
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axes.legend(loc="lower right", ncols=2, fontsize="small", frameon=False, bbox_to_anchor=(1, 0.03))
    axes.spines[["top", "right"]].set_visible(False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=100)
