import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from azure.core.exceptions import AzureError
from azure.data.tables import TableServiceClient

from localhost import azurite as module
from localhost.azurite import HOST, Azurite, AzuriteError, Ports


def _tables(azurite: Azurite, **options: int) -> TableServiceClient:
    return TableServiceClient.from_connection_string(azurite.connection_string, **options)


def test_free_ports_differ() -> None:
    assert len(set(Ports.free())) == 3


def test_data_and_ports_outlive_a_restart(azurite_on_disk: Azurite) -> None:
    ports = azurite_on_disk.ports
    with _tables(azurite_on_disk) as tables:
        tables.create_table("kept").create_entity({"PartitionKey": "p", "RowKey": "r"})

        azurite_on_disk.stop()
        assert not azurite_on_disk.running
        assert azurite_on_disk.table_bytes > 0
        azurite_on_disk.start()

        assert azurite_on_disk.ports == ports
        assert [row["RowKey"] for row in tables.get_table_client("kept").list_entities()] == ["r"]


def test_a_paused_one_answers_nothing_until_resumed(azurite_on_disk: Azurite) -> None:
    with _tables(azurite_on_disk, retry_total=0, read_timeout=1) as tables:
        azurite_on_disk.pause()
        with pytest.raises(AzureError):
            tables.create_table("later")
        assert azurite_on_disk.running

        azurite_on_disk.resume()

        tables.create_table_if_not_exists("later")


def test_a_paused_one_can_be_stopped(azurite_on_disk: Azurite) -> None:
    azurite_on_disk.pause()

    azurite_on_disk.stop()

    assert azurite_on_disk.pid is None


def test_killed_and_started_again(azurite_on_disk: Azurite) -> None:
    before = azurite_on_disk.pid

    azurite_on_disk.kill()
    azurite_on_disk.kill()
    azurite_on_disk.start()

    assert azurite_on_disk.pid not in (None, before)


def test_it_is_not_started_twice(azurite_on_disk: Azurite) -> None:
    with pytest.raises(AzuriteError, match="runs already"):
        azurite_on_disk.start()


def test_in_memory_leaves_no_file(azurite: Azurite) -> None:
    assert azurite.location is None
    assert azurite.table_bytes == 0


def test_a_taken_port_is_told(tmp_path: Path) -> None:
    with socket.create_server((HOST, 0)) as other:
        ports = Ports.free()._replace(table=other.getsockname()[1])

        with pytest.raises(AzuriteError, match="EADDRINUSE"):
            Azurite(tmp_path, ports).start()


def test_missing_azurite_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(module, "ENTRY", tmp_path / "nothing.js")

    with pytest.raises(AzuriteError, match="make setup"):
        Azurite().start()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child that its parent died")
def test_it_dies_with_a_killed_parent(tmp_path: Path) -> None:
    # The parent names its Azurite and goes without a chance to stop it.
    parent = "import os, sys; from localhost.azurite import Azurite; from pathlib import Path\n"
    parent += "print(Azurite(Path(sys.argv[1])).start().pid, flush=True); os._exit(9)"
    told = subprocess.run(
        [sys.executable, "-c", parent, str(tmp_path)], cwd=module.ROOT, check=False, capture_output=True, text=True
    )
    assert told.returncode == 9, told.stderr
    status = Path("/proc") / str(int(told.stdout)) / "stat"

    deadline = time.monotonic() + 60.0
    while status.exists() and status.read_text().split()[2] != "Z":
        assert time.monotonic() < deadline, "it lives on"
        time.sleep(0.05)
