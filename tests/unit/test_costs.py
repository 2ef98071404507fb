"""What a busy loop asks of storage, as docs/operations.md has it: one more request an event is a third of the bill."""

from bench.requests import measure


def test_a_rank_and_its_reward_cost_about_what_is_documented() -> None:
    found = measure(1, 0)

    events = found["write rank"]
    assert 900 < events < 1100
    assert 900 < found["write obs"] < 1100
    beside = sum(found.values()) - events - found["write obs"]
    assert beside < 1.4 * 1000, found
