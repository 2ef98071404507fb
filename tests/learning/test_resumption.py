"""Which policies go on from a saved model bit for bit, on the events of a tutorial."""

import pytest

from bench.learning.resumption import POLICIES, Resumed, resumed


@pytest.mark.parametrize("name", POLICIES)
def test_a_saved_model_goes_on_as_the_product_promises(name: str) -> None:
    found = resumed(POLICIES[name])

    assert found.right
    if found.told:
        assert found == Resumed(file=True, apart=0.0, told=True)


@pytest.mark.parametrize("name", ["cb_type dr", "bag 5", "cover 3"])
def test_not_every_policy_can(name: str) -> None:
    assert not resumed(POLICIES[name]).file


def test_a_promise_that_is_not_kept_is_wrong() -> None:
    assert not Resumed(file=False, apart=0.1, told=True).right
    assert Resumed(file=False, apart=0.1, told=False).right
