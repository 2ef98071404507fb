"""Turns joined multi-slot lines into the labels that VW reads in them."""

from __future__ import annotations

from dataclasses import dataclass

import orjson
from vowpalwabbit import Workspace

_SLOT = 2
"""VW's number for an example that is a slot; 0 is the context's, 1 an action's."""


@dataclass(frozen=True)
class Label:
    """What VW is told of a slot: its cost, the drawn action first with the others, and their probabilities."""

    cost: float
    actions: list[int]
    probabilities: list[float]


class LabelReader:
    """Reads labels; it learns nothing."""

    def __init__(self) -> None:
        self._workspace = Workspace("--ccb_explore_adf --dsjson --quiet")

    def read(self, line: bytes) -> list[Label | None]:
        """The label of each slot, or None for one of which VW is told nothing."""
        examples = self._workspace.parse(line.decode())
        labels = [
            Label(
                example.get_ccb_cost(),
                [example.get_ccb_action(n) for n in range(example.get_ccb_num_probabilities())],
                [example.get_ccb_probability(n) for n in range(example.get_ccb_num_probabilities())],
            )
            if example.get_ccb_has_outcome()
            else None
            for example in examples
            if example.get_ccb_type() == _SLOT
        ]
        self._workspace.finish_example(examples)
        return labels

    def close(self) -> None:
        """Free VW's memory."""
        self._workspace.finish()


def written(line: bytes) -> list[Label | None]:
    """The labels that the join wrote into a line."""
    return [
        Label(outcome["_label_cost"], outcome["_a"], outcome["_p"]) if "_label_cost" in outcome else None
        for outcome in orjson.loads(line)["_outcomes"]
    ]
