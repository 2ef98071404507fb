"""Policies that replay a log whose truth is known: in which order they stand, and what a search finds among them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec
import pytest

from bench.evaluate import Log, coffee, estimated, excerpt, field, message, spearman, worth
from shared.contract.evaluations import PolicySource
from shared.evaluation import search
from shared.evaluation.scores import Scores, join, unpack
from shared.evaluation.scoring import Candidate, Scored, score

EVENTS = 3_000


@pytest.fixture(scope="module")
def log() -> Log:
    return coffee(EVENTS)


def test_policies_stand_in_the_order_of_what_they_are_worth(log: Log) -> None:
    names = dict(list(field(log).items())[::4])
    candidates = [Candidate(name, PolicySource.FOUND, arguments) for name, arguments in names.items()]
    found = estimated([score(message(excerpt(log.lines), *candidates, judged=False))])

    truth = {name: worth(arguments, log) for name, arguments in names.items()}
    assert len(names) == 30
    assert spearman(found, truth) > 0.95
    assert max(truth.values()) - min(truth.values()) > 0.4  # so that there is something to tell apart
    best = max(found, key=found.__getitem__)
    assert truth[best] > max(truth.values()) - 0.02


@dataclass(frozen=True)
class Estimate:
    value: float


@dataclass(frozen=True)
class Standing:
    snips: Estimate


def snips(scores: Scores) -> float:
    weights = scores.targets / scores.logged
    return float(weights @ scores.rewards / weights.sum())


def replayed(lines: Sequence[bytes], policies: Mapping[str, str], models: dict[str, bytes]) -> dict[str, Scores]:
    """The scores of policies on what follows; their models go on."""
    given = [Candidate(name, PolicySource.FOUND, of, "", models.get(name)) for name, of in policies.items()]
    found = msgspec.msgpack.decode(score(message(excerpt(lines), *given, judged=False)), type=Scored)
    models.clear()
    models.update(found.models)
    return {name: unpack(data) for name, data in found.scores.items()}


def test_a_search_finds_what_context_features_do_together_and_is_right_about_it(log: Log) -> None:
    policies, models, through = field(log), dict[str, bytes](), 0
    so_far: dict[str, list[Scores]] = {name: [] for name in policies}
    cut = EVENTS * 6 // 10
    for number, share in enumerate(search.SHARES):
        for name, scores in replayed(log.lines[through : round(cut * share)], policies, models).items():
            so_far[name].append(scores)
        through = round(cut * share)
        standing = {name: Standing(Estimate(snips(join(so_far[name])))) for name in policies}
        policies = {name: policies[name] for name in search.survivors(number, standing)}
        models = {name: models[name] for name in policies}

    assert len(policies) == search.FOUND
    rest = {name: snips(scores) for name, scores in replayed(log.lines[cut:], policies, models).items()}
    best = max(rest, key=rest.__getitem__)
    assert "--cubic" in policies[best]
    assert rest[best] > 0.75  # what decided has earned 0.4, and could never earn more than 0.61
