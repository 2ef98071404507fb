"""Turns the Azurite of the project's own set-up into fixtures: one for the session, fresh ones for faults."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from localhost.azurite import Azurite


@pytest.fixture(scope="session")
def azurite() -> Iterator[Azurite]:
    """One Azurite in memory for the whole session. Name tables, containers and queues uniquely; never stop it."""
    with Azurite() as running:
        yield running


@pytest.fixture
def storage(azurite: Azurite) -> str:
    """The connection string of the session's Azurite."""
    return azurite.connection_string


@pytest.fixture
def azurite_on_disk(tmp_path: Path) -> Iterator[Azurite]:
    """A fresh Azurite with its data on disk, to be paused, stopped, killed and started again."""
    with Azurite(tmp_path / "azurite") as running:
        yield running


@pytest.fixture
def make_azurite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], Azurite]]:
    """More fresh ones on disk, for tests of several; each is ended with the test."""
    made: list[Azurite] = []

    def make() -> Azurite:
        made.append(Azurite(tmp_path_factory.mktemp("azurite")).start())
        return made[-1]

    yield make
    for one in made:
        one.stop()
