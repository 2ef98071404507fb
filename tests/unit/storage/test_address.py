from __future__ import annotations

import pytest

from shared.storage.address import without_key

THREE = {"blob": "https://a.b.example/", "queue": "https://a.q.example", "table": "https://a.t.example/x"}


def joined(addresses: dict[str, str], more: str = "") -> str:
    return ";".join(f"{service.capitalize()}Endpoint={address}" for service, address in addresses.items()) + more


def test_an_accounts_name_is_one_of_the_public_cloud() -> None:
    assert without_key("name") == {
        service: f"https://name.{service}.core.windows.net" for service in ("blob", "queue", "table")
    }


@pytest.mark.parametrize(
    "setting", [joined(THREE), joined(THREE, ";"), joined(THREE).replace("Endpoint=", "endPOINT = ")]
)
def test_addresses_are_taken_as_they_are(setting: str) -> None:
    assert without_key(setting) == THREE


@pytest.mark.parametrize(
    "setting",
    [
        joined(THREE, ";AccountName=a;AccountKey=abc=="),
        joined(THREE, ";SharedAccessSignature=sv=1&sig=x"),
        "UseDevelopmentStorage=true",
        "DefaultEndpointsProtocol=https;accountname=a;ACCOUNTKEY=k;EndpointSuffix=core.windows.net",
    ],
)
def test_a_key_goes_by_itself(setting: str) -> None:
    assert without_key(setting) is None


@pytest.mark.parametrize(
    ("setting", "missing"),
    [
        (joined({"blob": "https://a"}), "QueueEndpoint=https://… and TableEndpoint=https://…"),
        (joined({**THREE, "table": "http://a.t.example"}), "TableEndpoint=https://…"),
        ("AccountName=secret-name", "BlobEndpoint=https://… and QueueEndpoint=https://… and TableEndpoint=https://…"),
    ],
)
def test_half_of_the_addresses_is_none(setting: str, missing: str) -> None:
    with pytest.raises(ValueError, match="without a key needs") as caught:
        without_key(setting)

    assert str(caught.value) == f"a connection string without a key needs {missing}"
