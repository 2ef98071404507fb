"""How long policies take for an event, by the features that there are."""

from __future__ import annotations

import pytest

from shared.evaluation.namespaces import Namespaces
from shared.evaluation.work import interacted, seconds

SEEN = Namespaces({"F": 4}, {"i": 2, "j": 10})


@pytest.mark.parametrize(
    ("crossed", "made"),
    [("Fj", 40), ("FF", 10), ("FFj", 100), ("FFFi", 40), ("::", 136), ("F:", 64), ("Fz", 0)],
)
def test_each_set_of_features_is_made_once(crossed: str, made: int) -> None:
    assert interacted(crossed, SEEN) == made
    assert interacted(crossed[::-1], SEEN) == made


def test_policies_take_their_time_one_after_the_other() -> None:
    plain, pairs, triples = (f"--cb_explore_adf {more}" for more in ("", "-q Fj", "-q Fj --cubic FFj"))

    assert seconds([], SEEN) == 0
    assert seconds([plain] * 3, SEEN) == pytest.approx(3 * seconds([plain], SEEN))
    more, most = (seconds([each], SEEN) - seconds([plain], SEEN) for each in (pairs, triples))
    assert most == pytest.approx(more * 140 / 40)
    assert more > 0
