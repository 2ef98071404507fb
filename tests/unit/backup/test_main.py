"""What `python -m backup` says of settings that name no storage."""

import pytest

from backup.__main__ import main

ADDRESSES = "BlobEndpoint=https://a;QueueEndpoint=https://b;TableEndpoint=https://c"


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({}, "FROM is not set"),
        ({"TO": "account"}, "FROM is not set"),
        ({"FROM": "account", "TO": ""}, "TO is not set"),
        ({"FROM": ADDRESSES, "TO": "BlobEndpoint=http://secret"}, "TO cannot be used"),
    ],
)
def test_a_setting_that_is_missing_or_no_storage_is_named(
    environment: dict[str, str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(environment) == 1

    told = capsys.readouterr()
    assert told.err.startswith(f"Not copied: {said}")
    assert (told.out, "secret" in told.err) == ("", False)
