"""Names every metric that leaves this process, with its unit, and what it is for; docs/operations.md lists them."""

from __future__ import annotations

from typing import Final, NamedTuple


class Instrument(NamedTuple):
    """A metric: its unit in UCUM's spelling, what it tells, and for a distribution the bounds of its buckets."""

    unit: str
    about: str
    bounds: tuple[float, ...] = ()


PREFIX = "rankloop."
"""Of the name of each metric."""
COUNT = "count"
"""The metric of all counters: its attribute `name` says which."""
_QUICK = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
_SHORT = (0.00005, 0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05)
_LONG = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 60.0, 120.0, 300.0, 600.0)
_LINES = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0)

DISTRIBUTIONS: Final[dict[str, Instrument]] = {
    "call.duration": Instrument("s", "How long a call took, by operation", _QUICK),
    "rank.scoring": Instrument("s", "How long the model and the draw took of a rank", _SHORT),
    "journal.write": Instrument("s", "How long storage took to take a row of the journal", _QUICK),
    "journal.batch": Instrument("{line}", "How many lines a row of the journal holds", _LINES),
    "task.duration": Instrument("s", "How long a timer's task took, by task", _LONG),
}
"""What is measured each time; `Counters.measure` takes these names."""
GAUGES: Final[dict[str, Instrument]] = {
    "journal.waiting": Instrument("By", "Bytes that wait for storage in this process"),
    "calls.under_way": Instrument("{call}", "Calls under way in this process"),
    "join.lag": Instrument("s", "For how long the oldest events are waiting that the join could have taken"),
    "model.late": Instrument("s", "For how long a loop's next model is due, of the loop where that is longest"),
    "model.age": Instrument("s", "Age of the newest model of loops that have news, of the oldest one"),
    "health.findings": Instrument("{finding}", "Errors and warnings that health tells of the loop that has most"),
}
"""What is looked at from time to time; `Counters.worst` takes those that are not always there."""
