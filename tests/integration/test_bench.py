"""The benchmark that calls the app as the host does, once, so that it keeps up with how the host does it."""

import asyncio

from bench import cold
from localhost.azurite import Azurite


def test_a_fresh_process_answers_a_rank_by_the_model_in_storage(azurite: Azurite) -> None:
    size, request = asyncio.run(cold.prepare(azurite.connection_string))
    environment = cold.settings(azurite.connection_string)

    for taken in (cold.seconds(kind, request, environment) for kind in cold.KINDS):
        assert len(taken) == 2
        assert min(taken) > 0
    assert 0.5e6 < size < 2e6
