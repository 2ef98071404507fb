"""Policies that replay a log whose truth is known: in which order they stand, and what a search finds among them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from bench.evaluate import RANGE, Log, coffee, estimated, excerpt, field, message, scored, spearman, worth
from shared.contract.evaluations import PolicySource
from shared.evaluation import search
from shared.evaluation.estimators import estimate
from shared.evaluation.scores import Scores, join, unpack
from shared.evaluation.scoring import Candidate, score

EVENTS = 3_000


@pytest.fixture(scope="module")
def log() -> Log:
    return coffee(EVENTS)


def test_policies_stand_in_the_order_of_what_they_are_worth(log: Log) -> None:
    names, short = dict(list(field(log).items())[::5]), log.first(2_000)
    candidates = [Candidate(name, PolicySource.FOUND, arguments) for name, arguments in names.items()]
    found = estimated([score(message(excerpt(short.lines), *candidates, judged=False))])

    truth = {name: worth(arguments, short) for name, arguments in names.items()}
    assert len(names) == 24
    assert spearman(found, truth) > 0.95
    assert max(truth.values()) - min(truth.values()) > 0.4  # so that there is something to tell apart
    best = max(found, key=found.__getitem__)
    assert truth[best] > max(truth.values()) - 0.02


def replayed(lines: Sequence[bytes], policies: Mapping[str, str], models: dict[str, bytes]) -> dict[str, Scores]:
    """The scores of policies on what follows; their models go on."""
    given = [Candidate(name, PolicySource.FOUND, of, "", models.get(name)) for name, of in policies.items()]
    found = scored(score(message(excerpt(lines), *given, judged=False)))
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
        standing = {name: estimate(join(so_far[name]), RANGE) for name in policies}
        policies = {name: policies[name] for name in search.survivors(number, standing)}
        models = {name: models[name] for name in policies}

    assert len(policies) == search.FOUND
    on_rest = replayed(log.lines[cut:], policies, models)
    rest = {name: estimate(scores, RANGE).snips.value for name, scores in on_rest.items()}
    best = max(rest, key=rest.__getitem__)
    assert "--cubic" in policies[best]
    assert rest[best] > 0.75  # what decided has earned 0.4, and could never earn more than 0.61
