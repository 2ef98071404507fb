from __future__ import annotations

import pytest

from shared.config import Config, ConfigError, read, work_connection

STORAGE = {"RANKLOOP_STORAGE": "account"}
ADDRESSES = "BlobEndpoint=https://b.example/;QueueEndpoint=https://q.example/;TableEndpoint=https://t.example/"


def test_storage_alone_is_required() -> None:
    assert read(STORAGE) == Config(
        storage="account",
        key="",
        strict_rank=False,
        log_deadline=0.5,
        linger=0.0,
        max_body=4_194_304,
        shards=4,
        prune_journal=False,
        mirror_hosts=(".blob.core.windows.net",),
        signing_key="",
        trusted_signers="",
        entra_tenant="",
        entra_audiences=frozenset(),
    )


@pytest.mark.parametrize(
    ("environment", "storage"),
    [
        ({"AzureWebJobsStorage": "jobs"}, "jobs"),
        ({"AzureWebJobsStorage": "jobs", "RANKLOOP_STORAGE": "account"}, "account"),
        ({"AzureWebJobsStorage": "jobs", "RANKLOOP_STORAGE": ""}, "jobs"),
    ],
)
def test_the_hosts_own_storage_stands_in(environment: dict[str, str], storage: str) -> None:
    assert read(environment).storage == storage


@pytest.mark.parametrize("environment", [{}, {"RANKLOOP_STORAGE": "", "AzureWebJobsStorage": ""}])
def test_without_storage_there_is_no_deployment(environment: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match="RANKLOOP_STORAGE is not set"):
        read(environment)


def test_addresses_without_a_key_must_be_whole() -> None:
    assert read({"RANKLOOP_STORAGE": ADDRESSES}).storage == ADDRESSES
    with pytest.raises(ConfigError, match=r"RANKLOOP_STORAGE cannot be used: .* needs QueueEndpoint=https") as caught:
        read({"RANKLOOP_STORAGE": ADDRESSES.replace("https://q", "http://q")})
    assert "example" not in str(caught.value)


@pytest.mark.parametrize("name", ["RANKLOOP_KEY", "RANKLOOP_SIGNING_KEY"])
def test_a_secret_that_azure_could_not_fetch_opens_nothing(name: str) -> None:
    reference = "@Microsoft.KeyVault(SecretUri=https://kv.vault.azure.net/secrets/deployment-key)"

    with pytest.raises(ConfigError, match=f"{name} is a Key Vault reference that was not resolved"):
        read({**STORAGE, name: reference})


@pytest.mark.parametrize(
    ("name", "text", "field", "value"),
    [
        ("RANKLOOP_KEY", "k", "key", "k"),
        ("RANKLOOP_STRICT_RANK", "true", "strict_rank", True),
        ("RANKLOOP_STRICT_RANK", "True", "strict_rank", True),
        ("RANKLOOP_STRICT_RANK", "1", "strict_rank", True),
        ("RANKLOOP_STRICT_RANK", "FALSE", "strict_rank", False),
        ("RANKLOOP_STRICT_RANK", "0", "strict_rank", False),
        ("RANKLOOP_JOURNAL_PRUNE", "true", "prune_journal", True),
        ("RANKLOOP_LOG_DEADLINE_MS", "1", "log_deadline", 0.001),
        ("RANKLOOP_LOG_DEADLINE_MS", "3500", "log_deadline", 3.5),
        ("RANKLOOP_REWARD_DEADLINE_MS", "2000", "reward_deadline", 2.0),
        ("RANKLOOP_MAX_BODY_BYTES", "1024", "max_body", 1024),
        ("RANKLOOP_MAX_BODY_BYTES", "104857600", "max_body", 104_857_600),
        ("RANKLOOP_LINGER_MS", "0", "linger", 0.0),
        ("RANKLOOP_LINGER_MS", "100", "linger", 0.1),
        ("RANKLOOP_SHARDS", "1", "shards", 1),
        ("RANKLOOP_SHARDS", "100", "shards", 100),
        ("RANKLOOP_SIGNING_KEY", "-----BEGIN PRIVATE KEY-----", "signing_key", "-----BEGIN PRIVATE KEY-----"),
        ("RANKLOOP_TRUSTED_SIGNERS", "00,11", "trusted_signers", "00,11"),
        ("RANKLOOP_ENTRA_AUDIENCES", "api://a, api://b,", "entra_audiences", {"api://a", "api://b"}),
        ("RANKLOOP_MIRROR_HOSTS", "", "mirror_hosts", ()),
        (
            "RANKLOOP_MIRROR_HOSTS",
            ".blob.core.windows.net, a.example.org,",
            "mirror_hosts",
            (".blob.core.windows.net", "a.example.org"),
        ),
        (
            "RANKLOOP_MIRROR_HOSTS",
            "http://127.0.0.1:10000,http://azurite",
            "mirror_hosts",
            ("http://127.0.0.1:10000", "http://azurite"),
        ),
    ],
)
def test_a_setting_is_read(name: str, text: str, field: str, value: object) -> None:
    assert getattr(read({**STORAGE, name: text}), field) == value


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("RANKLOOP_STRICT_RANK", "yes", "true or false"),
        ("RANKLOOP_STRICT_RANK", "", "true or false"),
        ("RANKLOOP_JOURNAL_PRUNE", "on", "true or false"),
        ("RANKLOOP_LOG_DEADLINE_MS", "0", "from 1 to 3500"),
        ("RANKLOOP_LOG_DEADLINE_MS", "3501", "from 1 to 3500"),
        ("RANKLOOP_LOG_DEADLINE_MS", "0.5", "from 1 to 3500"),
        ("RANKLOOP_LOG_DEADLINE_MS", "", "from 1 to 3500"),
        ("RANKLOOP_REWARD_DEADLINE_MS", "never", "from 1 to 3500"),
        ("RANKLOOP_MAX_BODY_BYTES", "1023", "from 1024 to 104857600"),
        ("RANKLOOP_MAX_BODY_BYTES", "4MB", "from 1024 to 104857600"),
        ("RANKLOOP_MIRROR_HOSTS", "https://a.example.org", "a list of host names"),
        ("RANKLOOP_MIRROR_HOSTS", "a.example.org/container", "a list of host names"),
        ("RANKLOOP_MIRROR_HOSTS", "a.example.org:443", "a list of host names"),
        ("RANKLOOP_MIRROR_HOSTS", "A.example.org", "a list of host names"),
        ("RANKLOOP_MIRROR_HOSTS", ".", "a list of host names"),
        ("RANKLOOP_MIRROR_HOSTS", "*.example.org", "a list of host names"),
        ("RANKLOOP_MIRROR_HOSTS", "http://x@127.0.0.1:10000", "a list of host names"),
        ("RANKLOOP_SHARDS", "0", "from 1 to 100"),
        ("RANKLOOP_SHARDS", "101", "from 1 to 100"),
        ("RANKLOOP_SHARDS", "-1", "from 1 to 100"),
        ("RANKLOOP_SHARDS", "9" * 5000, "from 1 to 100"),
    ],
)
def test_a_setting_that_cannot_be_read_is_named(name: str, text: str, expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read({**STORAGE, name: text})

    message = str(caught.value)
    assert message.startswith(f"{name} must be ")
    assert expected in message
    assert repr(text[:64]) in message
    assert len(message) < 200


def test_tokens_of_a_tenant_need_an_audience() -> None:
    tenant = {**STORAGE, "RANKLOOP_ENTRA_TENANT": "t"}

    for audiences in ({}, {"RANKLOOP_ENTRA_AUDIENCES": ""}, {"RANKLOOP_ENTRA_AUDIENCES": " , "}):
        with pytest.raises(ConfigError, match="RANKLOOP_ENTRA_AUDIENCES is not set"):
            read({**tenant, **audiences})
    config = read({**tenant, "RANKLOOP_ENTRA_AUDIENCES": "api://a"})
    assert (config.entra_tenant, config.entra_audiences) == ("t", frozenset({"api://a"}))


def test_the_page_asks_for_the_first_audience() -> None:
    audiences = {"RANKLOOP_ENTRA_AUDIENCES": "api://z, https://cognitiveservices.azure.com,api://a"}
    tenant = {**STORAGE, "RANKLOOP_ENTRA_TENANT": "t", **audiences}

    config = read({**tenant, "RANKLOOP_ENTRA_CLIENT": "0a-F"})
    assert (config.entra_client, config.entra_scope) == ("0a-F", "api://z/.default")
    config = read({**tenant, "RANKLOOP_ENTRA_CLIENT": ""})
    assert (config.entra_client, config.entra_scope) == ("", "")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"RANKLOOP_ENTRA_TENANT": "", "RANKLOOP_ENTRA_CLIENT": "c"}, "RANKLOOP_ENTRA_TENANT is not set"),
        ({"RANKLOOP_ENTRA_CLIENT": 'c" onload="'}, "RANKLOOP_ENTRA_CLIENT must be the id of a registration"),
        ({"RANKLOOP_ENTRA_CLIENT": "c" * 65}, "RANKLOOP_ENTRA_CLIENT must be the id of a registration"),
    ],
)
def test_the_page_signs_in_by_a_registration_of_the_tenant(given: dict[str, str], said: str) -> None:
    tenant = {**STORAGE, "RANKLOOP_ENTRA_TENANT": "t", "RANKLOOP_ENTRA_AUDIENCES": "api://a"}

    with pytest.raises(ConfigError, match=said):
        read({**tenant, **given})


def test_an_authority_of_ones_own_is_read() -> None:
    default = read(STORAGE).entra_authority

    assert default.startswith("https://login.microsoftonline.com")
    assert read({**STORAGE, "RANKLOOP_ENTRA_AUTHORITY": ""}).entra_authority == default
    assert read({**STORAGE, "RANKLOOP_ENTRA_AUTHORITY": "https://x"}).entra_authority == "https://x"


@pytest.mark.parametrize(
    ("environment", "connection"),
    [
        ({}, "AzureWebJobsStorage"),
        ({"RANKLOOP_STORAGE": "account"}, "AzureWebJobsStorage"),
        ({"RANKLOOP_STORAGE": "UseDevelopmentStorage=true"}, "RANKLOOP_STORAGE"),
        ({"RANKLOOP_STORAGE": "a=b", "RANKLOOP_WORK_CONNECTION": "Other"}, "Other"),
        ({"RANKLOOP_STORAGE": "account", "RANKLOOP_WORK_CONNECTION": ""}, "AzureWebJobsStorage"),
        ({"RANKLOOP_STORAGE": ADDRESSES}, "AzureWebJobsStorage"),
        ({"RANKLOOP_STORAGE": f"{ADDRESSES};AccountKey=a=="}, "RANKLOOP_STORAGE"),
        ({"RANKLOOP_STORAGE": "BlobEndpoint=https://a"}, "AzureWebJobsStorage"),
    ],
)
def test_where_the_host_finds_the_queue(environment: dict[str, str], connection: str) -> None:
    assert work_connection(environment) == connection
