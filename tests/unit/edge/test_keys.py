from __future__ import annotations

import hmac

import pytest
from azure.functions import HttpRequest

from shared.contract.errors import ApiError
from shared.edge import keys
from shared.edge.keys import Keys

KEY = "correct horse"


def refusal(configured: str, headers: dict[str, str]) -> str:
    with pytest.raises(ApiError) as caught:
        Keys(configured).check(headers)
    assert (caught.value.code, caught.value.status) == ("Unauthorized", 401)
    return caught.value.message


@pytest.mark.parametrize(
    "headers",
    [
        {"ocp-apim-subscription-key": KEY},
        {"apim-subscription-id": KEY},
        {"ocp-apim-subscription-key": KEY, "apim-subscription-id": "another"},
        {"ocp-apim-subscription-key": "", "apim-subscription-id": KEY},
    ],
)
def test_the_key_opens_in_either_header(headers: dict[str, str]) -> None:
    assert Keys(KEY).check(headers) is None  # type: ignore[func-returns-value]


def test_the_header_may_be_spelled_in_any_case() -> None:
    request = HttpRequest("GET", "/", headers={"OCP-Apim-Subscription-KEY": KEY}, params={}, route_params={}, body=b"")

    assert Keys(KEY).check(request.headers) is None  # type: ignore[func-returns-value]


@pytest.mark.parametrize(
    "headers",
    [{}, {"ocp-apim-subscription-key": ""}, {"apim-subscription-id": ""}, {"authorization": KEY}, {"x-key": KEY}],
)
def test_a_call_without_a_key_is_told_where_to_send_it(headers: dict[str, str]) -> None:
    assert "Ocp-Apim-Subscription-Key" in refusal(KEY, headers)


@pytest.mark.parametrize(
    "headers",
    [
        {"ocp-apim-subscription-key": "correct hors"},
        {"ocp-apim-subscription-key": "correct horse "},
        {"ocp-apim-subscription-key": "Correct horse"},
        {"ocp-apim-subscription-key": "clé 🔑"},
        {"apim-subscription-id": "another"},
        {"ocp-apim-subscription-key": "another", "apim-subscription-id": KEY},
    ],
)
def test_another_key_is_refused_without_a_word_of_either(headers: dict[str, str]) -> None:
    message = refusal(KEY, headers)

    assert message == "The key is not one of this loop's keys."


def test_a_key_that_is_not_ascii_opens() -> None:
    assert Keys("clé 🔑").check({"ocp-apim-subscription-key": "clé 🔑"}) is None  # type: ignore[func-returns-value]


@pytest.mark.parametrize("given", ["x", " "])
def test_a_deployment_without_a_key_opens_to_nobody(given: str) -> None:
    assert "RANKLOOP_KEY" in refusal("", {"ocp-apim-subscription-key": given})
    assert "has no key" in refusal("", {"ocp-apim-subscription-key": ""})


def test_keys_are_compared_in_constant_time_over_values_of_one_length(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[bytes, bytes]] = []

    def compare(a: bytes, b: bytes) -> bool:
        compared.append((a, b))
        return hmac.compare_digest(a, b)

    class Watched:
        compare_digest = staticmethod(compare)

    monkeypatch.setattr(keys, "hmac", Watched)
    Keys(KEY).check({"ocp-apim-subscription-key": KEY})
    refusal(KEY, {"ocp-apim-subscription-key": "x"})
    refusal(KEY, {"ocp-apim-subscription-key": KEY + "x" * 1000})

    assert [(len(a), len(b)) for a, b in compared] == [(32, 32)] * 3
