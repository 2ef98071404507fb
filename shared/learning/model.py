"""Turns examples into distributions and joined lines into better models; the only module that knows VW.

It calls VW's C++ methods below the Python wrapper, which are 2.5 to 3 times faster than `Workspace.predict`
(docs/adr/0007). They are private, so the version is pinned and a test holds both ways equal.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import pylibvw
from vowpalwabbit import Workspace, merge_models

from shared.learning.explanation import Explainer
from shared.learning.listing import LISTINGS
from shared.learning.model_file import as_file
from shared.learning.table import Table

_parse = pylibvw.vw._parse
_predict = pylibvw.vw.predict_multi
_learn = pylibvw.vw.learn_multi
_finish = pylibvw.vw._finish_example_multi_ex
of_actions: Callable[[Any], list[float]] = pylibvw.example.get_action_scores
"""Tells of each action, by its position, how probable it is, or from a model without exploration what it may cost."""
of_slots: Callable[[Any], list[list[tuple[int, float]]]] = pylibvw.example.get_decision_scores
"""Tells of each slot which actions are left to it, by index, and how probable they are; the drawn one first."""
T = TypeVar("T")

_DRIVING = re.compile(
    r"(?<= )(?:--initial_regressor \S+|--ring_size \d+|--dsjson|--quiet|--no_stdin|--preserve_performance_counters)"
    r"(?= )"
)
_RING = "--ring_size 8"  # 2 MB a model in place of 10: VW keeps so many examples ready, and we use one at a time


class ModelError(Exception):
    """VW refused a model, its arguments or an example."""


class Scores(NamedTuple):
    """What a model makes of the actions of an example, by their position in it.

    Attributes:
        distribution: the probability of each.
        order: the actions as VW lists them before it draws: best first, as far as its exploration goes by that.
    """

    distribution: list[float]
    order: list[int]


class ServingModel:
    """A model that ranks.

    Args:
        data: the model file.
        arguments: VW options that override what the model was trained with, such as `--epsilon 0.1`.

    Attributes:
        met: initials of the namespaces that `meet` has shown to VW.
        explainer: says what it makes of an action feature by feature.

    Raises:
        ModelError: VW does not take the file. (It takes some damaged ones: check the hash first.)
    """

    def __init__(self, data: bytes, arguments: str) -> None:
        self._workspace = _load(data, f"-t --json --quiet {_RING} {arguments}")
        made_with = self._workspace.get_arguments().split()
        self._listing = next((listing for name, listing in LISTINGS.items() if name in made_with), None)
        self.met: frozenset[str] = frozenset()
        self.explainer = Explainer(Table(self._workspace, data))

    def meet(self, initials: frozenset[str]) -> None:
        """Show namespaces to VW, before an example that has them is scored.

        A wildcard in an interaction stands for all namespaces that VW has ever seen, and it lists their combinations
        anew with each action that brings one that it has not. Shown together, new ones cost one list.

        Args:
            initials: of the namespaces.

        Raises:
            ModelError: the model makes no distribution.
        """
        if initials <= self.met:
            return
        context = json.dumps({f"{initial}_": [1] for initial in sorted(initials)})
        if self.multi_slot:
            slots = ',"_slots":[{"_id":"","_tag":"seed=0","sj":[]}]'
            self.score_slots(f'{{"FromUrl":[{context}],"_multi":[{{"_tag":"","j":[]}}]{slots}}}'.encode())
        else:
            self.score(f'{{"FromUrl":[{context}],"_multi":[{{"_tag":"","j":[]}}]}}'.encode())
        self.met |= initials

    def score(self, example: bytes) -> Scores:
        """What the model makes of the actions of an example.

        Args:
            example: what `features.example` built; nothing else, since VW dies of some documents.

        Raises:
            ModelError: VW refuses the example, or makes no distribution of it.
        """
        examples = self._parsed(example)
        try:
            _predict(self._workspace, examples)
            shared, *actions = examples
            distribution = of_actions(shared)
            costs = [action.get_partial_prediction() for action in actions] if self._listing is None else []
        except RuntimeError as e:
            raise ModelError(str(e)) from e
        finally:
            _finish(self._workspace, examples)
        _check(distribution)
        listed = self._listing(distribution) if self._listing else sorted(range(len(costs)), key=costs.__getitem__)
        return Scores(distribution, listed)

    def score_slots(self, example: bytes) -> list[list[tuple[int, float]]]:
        """What the model draws for each slot of a multi-slot example.

        Args:
            example: what `features.example` built with slots, each with its seed; nothing else.

        Returns:
            For each slot its actions by index, the drawn one first, with their probabilities; none where earlier
            slots took all that it allows.

        Raises:
            ModelError: VW refuses the example, or makes no distribution of it.
        """
        examples = self._parsed(example)
        try:
            _predict(self._workspace, examples)
            decisions = of_slots(examples[0])
        except RuntimeError as e:
            raise ModelError(str(e)) from e
        finally:
            _finish(self._workspace, examples)
        for decision in decisions:
            if decision:
                _check([probability for _, probability in decision])
        return decisions

    def _parsed(self, example: bytes) -> list[Any]:
        try:
            lines: list[Any] = _parse(self._workspace, example.decode())
        except RuntimeError as e:
            raise ModelError(str(e)) from e
        return lines

    @property
    def multi_slot(self) -> bool | None:
        """Whether it draws for slots; None for a model that explores neither slots nor actions."""
        kinds = {pylibvw.vw.pDECISION_SCORES: True, pylibvw.vw.pACTION_PROBS: False}
        return kinds.get(self._workspace._get_prediction_type())

    def close(self) -> None:
        """Free VW's memory."""
        self._workspace.finish()


def _check(distribution: list[float]) -> None:
    """Refuse what is no distribution: some explorations make one of NaN, or of ones, of very large features."""
    if not 0.999 < sum(distribution) < 1.001 or min(distribution) < 0.0:
        raise ModelError("the model makes no distribution of these features")


class Learner:
    """A model that learns, bit for bit as if it had read all events in one run.

    Args:
        arguments: VW's arguments for a new model; those of an existing one are in its file.
        data: the model to go on from, or None for a new one.
        resuming: the few arguments that are not in the file.

    Raises:
        ModelError: VW does not take the file or the arguments.
    """

    def __init__(self, arguments: str, data: bytes | None, resuming: str = "") -> None:
        options = f"--dsjson --quiet --preserve_performance_counters {_RING}"
        self._workspace = _open(f"{arguments} {options}") if data is None else _load(data, f"{options} {resuming}")

    def learn(self, line: bytes) -> None:
        """Learn one joined line.

        Args:
            line: dsjson of an event that is to be learned. One marked `_skipLearn` must not come here: for such a
                line VW hands out an example that it has handed out before, label and all.

        Raises:
            ModelError: VW refuses the line, or passes over it.
        """
        if refused := next(self.replay([line], lambda _: None)):
            raise refused

    def replay(self, lines: Iterable[bytes], tell: Callable[[Any], T]) -> Iterator[T | ModelError]:
        """Learn lines, and tell by `of_actions` or `of_slots` what the model made of each the moment before.

        VW leaves that on the examples that it learns. A line is learned when its answer is taken, so take all. See
        `learn` for what a line must be; what that would raise is the line's answer, and the others are learned.
        The loop is in here, with names of its own, since an evaluation comes by for each policy and event.
        """
        workspace, parse, learn, finish = self._workspace, _parse, _learn, _finish
        for line in lines:
            told: T | ModelError
            try:
                examples = parse(workspace, line.decode())
                if len(examples) < 2:  # VW passes over what it cannot read; the one example is not ours to give back
                    raise ModelError("VW reads no event in the line")
                try:
                    learn(workspace, examples)
                    told = tell(examples[0])
                finally:
                    finish(workspace, examples)
            except (ModelError, RuntimeError, UnicodeDecodeError) as e:
                told = ModelError(str(e))
            yield told

    @property
    def arguments(self) -> str:
        """VW's own account of the model's arguments: all that it implies, too, but not how we drive it."""
        given = f" {self._workspace.get_arguments()} "
        return " ".join(_DRIVING.sub(" ", given).split())

    @property
    def loss(self) -> float:
        """The sum of progressive losses: what the model of the moment before would have cost, by IPS."""
        return float(self._workspace.get_sum_loss())

    def save(self) -> bytes:
        """The model file, its online state included."""
        return _saved(self._workspace)

    def close(self) -> None:
        """Free VW's memory."""
        self._workspace.finish()


def merge(models: Sequence[bytes]) -> bytes:
    """One model of several that were new with the same arguments and have learned apart.

    Args:
        models: two or more; of arguments that VW merges, see `Policy.merges`.

    Raises:
        ModelError: VW does not take one of them, or they are too different.
    """
    opened: list[Workspace] = []
    try:
        for data in models:
            opened.append(_load(data, f"--dsjson --quiet --preserve_performance_counters {_RING}"))
        opened.append(merged := merge_models(None, opened))
        return _saved(merged)
    except RuntimeError as e:
        raise ModelError(str(e)) from e
    finally:
        for workspace in opened:
            workspace.finish()


def _saved(workspace: Workspace) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.vw")
        workspace.save(str(path))
        return path.read_bytes()


def readable(data: bytes) -> Iterator[str]:
    """VW's account of a model in words, line by line; nothing else runs in this process while it writes it.

    Args:
        data: the model file.

    Raises:
        ModelError: VW does not take it.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.txt")
        _load(data, f"-t --quiet {_RING} --readable_model {path}").finish()
        with path.open(encoding="utf-8", errors="replace") as file:
            yield from file


def _open(arguments: str) -> Workspace:
    try:
        return Workspace(arguments)
    except RuntimeError as e:
        raise ModelError(str(e)) from e


def _load(data: bytes, options: str) -> Workspace:
    with as_file(data) as path:
        return _open(f"-i {path} {options}")
