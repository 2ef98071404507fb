import json
from pathlib import Path

import pytest

from localhost.config import Config, QueueOptions, StartError, is_disabled, is_true, load_config, resolve_settings


def write(directory: Path, name: str, content: object) -> None:
    (directory / name).write_text(content if isinstance(content, str) else json.dumps(content), "utf-8")


def test_without_files(tmp_path: Path) -> None:
    config = load_config(tmp_path, {})

    assert config == Config(
        app_dir=tmp_path, data_dir=tmp_path / ".rankloop", route_prefix="api", body_limit=104_857_600
    )


def test_everything_set(tmp_path: Path) -> None:
    http = {"routePrefix": "/x/", "customHeaders": {"X-Content-Type-Options": "nosniff"}}
    write(tmp_path, "host.json", "\ufeff" + json.dumps({"extensions": {"http": http}}))
    write(tmp_path, "local.settings.json", {"Host": {"CORS": "http://a/, http://b", "CORSCredentials": True}})
    environ = {
        "RANKLOOP_DATA": "/data",
        "FUNCTIONS_REQUEST_BODY_SIZE_LIMIT": "10",
        "PYTHON_THREADPOOL_THREAD_COUNT": "3",
        "AzureWebJobsDisableHomepage": "True",
        "RANKLOOP_DECODE_SLASH": "0",
    }

    config = load_config(tmp_path, environ)

    assert config == Config(
        app_dir=tmp_path,
        data_dir=Path("/data"),
        route_prefix="x",
        headers=((b"x-content-type-options", b"nosniff"),),
        body_limit=10,
        threads=3,
        cors_origins=frozenset({"http://a", "http://b"}),
        cors_credentials=True,
        homepage=False,
        decode_slash=False,
    )


def test_the_environment_beats_the_file(tmp_path: Path) -> None:
    write(tmp_path, "local.settings.json", {"Values": {"A": "file", "B": "file", "C": True, "D": 5}})
    environ = {"A": "environment"}

    load_config(tmp_path, environ)

    assert environ == {"A": "environment", "B": "file", "C": "true", "D": "5"}


@pytest.mark.parametrize(
    ("file", "content", "reason"),
    [
        ("host.json", "{", "host.json: Expecting"),
        ("host.json", [], "host.json: the file must hold a JSON object"),
        ("host.json", {"extensions": 1}, "extensions must be a JSON object"),
        ("host.json", {"extensions": {"http": {"routePrefix": 1}}}, "routePrefix must be a string"),
        (
            "host.json",
            {"extensions": {"http": {"customHeaders": {"X": 1}}}},
            "customHeaders must be an object of strings",
        ),
        ("host.json", {"extensions": {"http": {"customHeaders": {"X": "ä"}}}}, "customHeaders must be an object of"),
        ("local.settings.json", {"Values": []}, "Values must be a JSON object"),
        ("local.settings.json", {"Host": {"CORS": "*", "CORSCredentials": True}}, "cannot be combined"),
    ],
)
def test_refused_files(tmp_path: Path, file: str, content: object, reason: str) -> None:
    write(tmp_path, file, content)

    with pytest.raises(StartError, match=reason):
        load_config(tmp_path, {})


@pytest.mark.parametrize("value", ["many", "0"])
def test_refused_numbers(tmp_path: Path, value: str) -> None:
    with pytest.raises(StartError, match="PYTHON_THREADPOOL_THREAD_COUNT must be"):
        load_config(tmp_path, {"PYTHON_THREADPOOL_THREAD_COUNT": value})


def test_resolve_settings() -> None:
    assert resolve_settings("%A% x %B%", {"A": "1", "B": "2"}) == "1 x 2"
    assert resolve_settings("100% sure", {}) == "100% sure"
    with pytest.raises(StartError, match="'%A%' does not resolve to a value"):
        resolve_settings("%A%", {})


def test_is_disabled() -> None:
    assert is_disabled("f", {"AzureWebJobs.f.Disabled": "true"})
    assert is_disabled("f", {"AzureWebJobs_f_Disabled": "1"})
    assert not is_disabled("f", {"AzureWebJobs.f.Disabled": "false", "AzureWebJobs.g.Disabled": "true"})


def test_is_true() -> None:
    assert [text for text in ("1", "true", " TRUE ", "on", "yes", "0", "", "no", None) if is_true(text)] == [
        "1", "true", " TRUE ", "on", "yes"
    ]  # fmt: skip


def queues(directory: Path, given: object) -> QueueOptions:
    write(directory, "host.json", {"extensions": {"queues": given}})
    return load_config(directory, {}).queues


def test_queue_options(tmp_path: Path) -> None:
    given = {
        "batchSize": 1,
        "newBatchThreshold": 0,
        "maxDequeueCount": 3,
        "visibilityTimeout": "00:01:30",
        "maxPollingInterval": "00:00:05",
        "messageEncoding": "none",
    }

    assert queues(tmp_path, given) == QueueOptions(1, 0, 3, 90, 5.0, False)
    assert queues(tmp_path, {}) == QueueOptions(16, 8, 5, 0, 2.0, True)
    assert queues(tmp_path, {"batchSize": 5}).new_batch_threshold == 2
    settings = {"AzureFunctionsJobHost__extensions__queues__newBatchThreshold": "3", "HOME": "x"}
    assert load_config(tmp_path, settings).queues.new_batch_threshold == 3, "an app setting stands above the file"
    assert queues(tmp_path, {"maxPollingInterval": "00:00:00"}).max_polling_interval == 0.1


@pytest.mark.parametrize(
    ("name", "value"),
    [("batchSize", 0), ("batchSize", 33), ("batchSize", True), ("batchSize", "1"), ("newBatchThreshold", -1),
     ("maxDequeueCount", 0), ("visibilityTimeout", 30), ("visibilityTimeout", "soon"), ("maxPollingInterval", "1:2"),
     ("messageEncoding", "utf8")],
)  # fmt: skip
def test_queue_options_that_cannot_be(tmp_path: Path, name: str, value: object) -> None:
    with pytest.raises(StartError, match=f"host.json: extensions.queues.{name} must be"):
        queues(tmp_path, {name: value})
