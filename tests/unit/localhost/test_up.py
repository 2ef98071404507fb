import os
import socket
import stat
from pathlib import Path

import pytest

from localhost import up
from localhost.azurite import HOST, ROOT
from localhost.data_folder import DataFolder, Problem, data_folder
from localhost.up import Run, Settings, Stop, app_environment


class NeverStop(Stop):
    """Leaves the signals of the test process alone."""

    def __init__(self) -> None:
        self.count = 0


def test_defaults() -> None:
    settings = Settings.read({})

    assert settings == Settings(7071, None, ROOT / ".rankloop")


def test_empty_means_unset() -> None:
    assert Settings.read({"RANKLOOP_PORT": "", "RANKLOOP_KEY": "", "RANKLOOP_DATA": ""}) == Settings.read({})


def test_settings_from_the_environment(tmp_path: Path) -> None:
    given = {"RANKLOOP_PORT": "8080", "RANKLOOP_KEY": "k", "RANKLOOP_DATA": str(tmp_path)}

    assert Settings.read(given) == Settings(8080, "k", tmp_path)


@pytest.mark.parametrize("port", ["0", "65536", "-1", "http", "7071x", "٣"])
def test_a_port_that_is_none_is_told(port: str) -> None:
    with pytest.raises(Problem, match="RANKLOOP_PORT"):
        Settings.read({"RANKLOOP_PORT": port})


def test_the_app_gets_storage_key_and_fast_timers(tmp_path: Path) -> None:
    inherited = {"RANKLOOP_TRAIN_SCHEDULE": "0 0 * * * *", "RANKLOOP_STORAGE": "somebody else's", "HOME": "/home/me"}

    given = app_environment(inherited, "connection", "key", tmp_path, 4)

    assert given == {
        "HOME": "/home/me",
        "RANKLOOP_STORAGE": "connection",
        "AzureWebJobsStorage": "connection",
        "RANKLOOP_KEY": "key",
        "RANKLOOP_DATA": str(tmp_path),
        "RANKLOOP_JOIN_SCHEDULE": "*/5 * * * * *",
        "RANKLOOP_TRAIN_SCHEDULE": "0 0 * * * *",
        "RANKLOOP_JOURNAL_PRUNE": "true",
        "RANKLOOP_REWARD_DEADLINE_MS": "3000",
        "RANKLOOP_LOG_LEVEL": "warning",
        "AzureFunctionsJobHost__extensions__queues__newBatchThreshold": "3",
        "AzureWebJobsDisableHomepage": "true",
        "FUNCTIONS_WORKER_RUNTIME": "python",
        "PYTHONUNBUFFERED": "1",
    }


def test_the_key_is_made_once_and_for_its_owner_alone(tmp_path: Path) -> None:
    with data_folder(tmp_path / "new" / "data") as folder:
        key = folder.key()
        assert stat.S_IMODE((folder.path / "key").stat().st_mode) == 0o600
    with data_folder(tmp_path / "new" / "data") as folder:
        assert folder.key() == key
        assert len(key) == 32


def test_an_empty_key_file_is_no_key(tmp_path: Path) -> None:
    (tmp_path / "key").touch()

    with data_folder(tmp_path) as folder:
        assert folder.key()


def test_a_folder_in_use_names_who_uses_it(tmp_path: Path) -> None:
    with data_folder(tmp_path) as folder:
        folder.note_processes(12345, None, 12346)

        with pytest.raises(Problem, match=r"process 12345 12346.*RANKLOOP_DATA"), data_folder(tmp_path):
            pass


def test_a_pid_file_left_behind_locks_nobody_out(tmp_path: Path) -> None:
    (tmp_path / "pid").write_text("1")

    with data_folder(tmp_path) as folder:
        assert folder.path == tmp_path


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(Problem, match="RANKLOOP_DATA"), data_folder(tmp_path / "file" / "data"):
        pass


def test_a_port_in_use_is_told_with_a_way_out() -> None:
    with socket.create_server((HOST, 0)) as other:
        port = other.getsockname()[1]

        with pytest.raises(Problem, match=f"Port {port} is in use.*RANKLOOP_PORT={port % 65535 + 1}"):
            up._check_port(port)
    up._check_port(port)


def test_grown_tables_are_told_once_a_doubling(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with data_folder(tmp_path) as opened:
        folder = DataFolder(opened.path, opened.lock)
        folder.azurite.mkdir()
        run = Run(Settings.read({}), folder, NeverStop(), [])
        tables = folder.azurite / "__azurite_db_table__.json"
        told = []
        for megabytes in (0, 255, 256, 300, 511, 513, 600, 2000):
            with tables.open("ab") as file:
                os.ftruncate(file.fileno(), megabytes << 20)  # a hole: it takes no space
            run._watch_size()
            told.append((megabytes, "MB" in capsys.readouterr().err))

    assert [size for size, said in told if said] == [256, 513, 2000]
