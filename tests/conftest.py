"""Turns the Azurite of the project's own set-up into fixtures, and what tests measure into a part of the report."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from localhost.azurite import Azurite

_UNIT = Path(__file__).parent / "unit"
_TOLD = "told"
"""The property of a report that holds what its test has told."""


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


@pytest.fixture
def tell(capsys: pytest.CaptureFixture[str], record_property: Callable[[str, object], None]) -> Callable[[str], None]:
    """Say what was measured: at once, or behind a run of several processes, which keep their output to themselves."""

    def say(text: str) -> None:
        if "PYTEST_XDIST_WORKER" in os.environ:
            record_property(_TOLD, text)
        else:
            with capsys.disabled():
                print(f"\n{text}")

    return say


class Failures:
    """Says at once what has failed: a run that is cut off comes to no summary."""

    def __init__(self, reporter: pytest.TerminalReporter) -> None:
        self._reporter = reporter

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Print the whole failure of one step of a test."""
        if report.failed:
            self._reporter.write_line(f"\n{report.nodeid} failed ({report.when}):\n{report.longreprtext}")


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    """Tell of failures where there is a terminal; where there is none, a process of several counts coverage once."""
    plugins = config.pluginmanager
    if not hasattr(config, "workerinput"):
        if reporter := plugins.get_plugin("terminalreporter"):
            plugins.register(Failures(reporter))
    elif (cov := plugins.get_plugin("_cov")) and cov.cov_controller:
        # pytest-cov begins twice in such a process. The first count is thrown away, but would go on under `no_cover`.
        cov.cov_controller.cov.stop()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what tests of other processes have told."""
    reports = [report for found in terminalreporter.stats.values() for report in found]
    told = [
        (report.nodeid, text)
        for report in reports
        if getattr(report, "when", None) == "call"
        for name, text in report.user_properties
        if name == _TOLD
    ]
    if told:
        terminalreporter.section("measured")
    for nodeid, text in told:
        terminalreporter.write_line(f"{nodeid}\n{text}")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give each test an id of its own: of several with the same, only one would run where there are two processes.

    Coverage is that of the unit tests, but for the longest of them (no_cover): counting doubles what a test takes.
    """
    for item in items:
        if not item.path.is_relative_to(_UNIT):
            item.add_marker("no_cover")
        label = getattr(item, "operation_label", None)  # of a test that is made of an OpenAPI description
        if label and not item.nodeid.endswith(item.name):
            item._id = item.id.with_params(label)
    assert len({item.nodeid for item in items}) == len(items)
