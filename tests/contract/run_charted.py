"""Runs a program that draws charts, and prints what they show: `python run_charted.py PROGRAM`."""

import runpy
import sys
from typing import Any

from matplotlib import pyplot


def plot(*values: Any) -> None:
    print(f"plot({', '.join(map(repr, values))})")


def show() -> None:
    print("show")


if __name__ == "__main__":
    setattr(pyplot, "plot", plot)  # noqa: B010 - in place of the real one
    setattr(pyplot, "show", show)  # noqa: B010
    runpy.run_path(sys.argv[1], run_name="__main__")
