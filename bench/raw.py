"""VW alone on ready made examples: what our decisions are measured against."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from typing import Any

import pylibvw
from vowpalwabbit import Workspace


def raw_vw(model: bytes, result: Callable[[Any], object]) -> Callable[[bytes], object]:
    """VW alone: parse an example, predict, take the result of it.

    Args:
        model: the model file.
        result: what is read from the first of an example's parts, once VW has predicted.
    """
    with tempfile.NamedTemporaryFile() as file:
        file.write(model)
        file.flush()
        workspace = Workspace(f"-i {file.name} -t --json --quiet --ring_size 8 --epsilon 0.2")

    def predict(example: bytes) -> object:
        examples = pylibvw.vw._parse(workspace, example.decode())
        pylibvw.vw.predict_multi(workspace, examples)
        predicted = result(examples[0])
        pylibvw.vw._finish_example_multi_ex(workspace, examples)
        return predicted

    return predict


def microseconds(call: Callable[[bytes], object], inputs: Sequence[bytes]) -> float:
    """Processor time that a call takes, the mean over the inputs."""
    started = time.thread_time()
    for given in inputs:
        call(given)
    return (time.thread_time() - started) / len(inputs) * 1e6
