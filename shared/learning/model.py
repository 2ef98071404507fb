"""Turns examples into distributions and joined lines into better models; the only module that knows VW.

It calls VW's C++ methods below the Python wrapper, which are 2.5 to 3 times faster than `Workspace.predict`
(docs/adr/0007). They are private, so the version is pinned and a test holds both ways equal.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import pylibvw
from vowpalwabbit import Workspace

_parse = pylibvw.vw._parse
_predict = pylibvw.vw.predict_multi
_learn = pylibvw.vw.learn_multi
_finish = pylibvw.vw._finish_example_multi_ex

_RING = "--ring_size 8"  # 2 MB a model in place of 10: VW keeps so many examples ready, and we use one at a time


class ModelError(Exception):
    """VW refused a model, its arguments or an example."""


class Scores(NamedTuple):
    """What a model makes of the actions of an example, by their position in it.

    Attributes:
        distribution: the probability of each.
        costs: what each is expected to cost. VW lists equally probable actions in this order, the cheapest first.
    """

    distribution: list[float]
    costs: list[float]


class ServingModel:
    """A model that ranks.

    Args:
        data: the model file.
        arguments: VW options that override what the model was trained with, such as `--epsilon 0.1`.

    Raises:
        ModelError: VW does not take the file. (It takes some damaged ones: check the hash first.)
    """

    def __init__(self, data: bytes, arguments: str) -> None:
        self._workspace = _load(data, f"-t --json --quiet {_RING} {arguments}")

    def score(self, example: bytes) -> Scores:
        """What the model makes of the actions of an example.

        Args:
            example: what `features.example` built; nothing else, since VW dies of some documents.

        Raises:
            ModelError: VW refuses the example.
        """
        try:
            examples = _parse(self._workspace, example.decode())
            _predict(self._workspace, examples)
            shared, *actions = examples
            scores = Scores(shared.get_action_scores(), [action.get_partial_prediction() for action in actions])
            _finish(self._workspace, examples)
        except RuntimeError as e:
            raise ModelError(str(e)) from e
        return scores

    def close(self) -> None:
        """Free VW's memory."""
        self._workspace.finish()


class Learner:
    """A model that learns, bit for bit as if it had read all events in one run.

    Args:
        arguments: VW's arguments for a new model; those of an existing one are in its file.
        data: the model to go on from, or None for a new one.

    Raises:
        ModelError: VW does not take the file or the arguments.
    """

    def __init__(self, arguments: str, data: bytes | None) -> None:
        options = f"--dsjson --quiet --preserve_performance_counters {_RING}"
        self._workspace = _load(data, options) if data is not None else _open(f"{arguments} {options}")

    def learn(self, line: bytes) -> None:
        """Learn one joined line.

        Args:
            line: dsjson of an event that is to be learned. One marked `_skipLearn` must not come here: for such a
                line VW hands out an example that it has handed out before, label and all.

        Raises:
            ModelError: VW refuses the line, or passes over it.
        """
        try:
            examples = _parse(self._workspace, line.decode())
            if len(examples) < 2:  # VW passes over what it cannot read; the one example is not ours to give back
                raise ModelError("VW reads no event in the line")
            _learn(self._workspace, examples)
            _finish(self._workspace, examples)
        except (RuntimeError, UnicodeDecodeError) as e:
            raise ModelError(str(e)) from e

    @property
    def loss(self) -> float:
        """The sum of progressive losses: what the model of the moment before would have cost, by IPS."""
        return float(self._workspace.get_sum_loss())

    def save(self) -> bytes:
        """The model file, its online state included."""
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "model.vw")
            self._workspace.save(path)
            with open(path, "rb") as file:
                return file.read()

    def close(self) -> None:
        """Free VW's memory."""
        self._workspace.finish()


def _open(arguments: str) -> Workspace:
    try:
        return Workspace(arguments)
    except RuntimeError as e:
        raise ModelError(str(e)) from e


def _load(data: bytes, options: str) -> Workspace:
    with _as_file(data) as path:
        return _open(f"-i {path} {options}")


@contextmanager
def _as_file(data: bytes) -> Iterator[str]:
    """A path under which VW can read the bytes; in memory where the system can."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("model")
        try:
            os.write(descriptor, data)
            yield f"/proc/self/fd/{descriptor}"
        finally:
            os.close(descriptor)
    else:
        with tempfile.NamedTemporaryFile() as file:
            file.write(data)
            file.flush()
            yield file.name
