"""Bearer tokens of a tenant of our own making open what their app roles say, over HTTP and through the newest SDK."""

from collections.abc import Iterator
from typing import Any

import pytest
from azure.ai.personalizer import PersonalizerAdministrationClient, PersonalizerClient
from azure.core.credentials import AccessToken

from localhost.azurite import Azurite
from tests.contract.conftest import Answer, Instance
from tests.integration.jwks import AUDIENCE, TENANT, Entra

RANK = {"actions": [{"id": "a", "features": [{"x": 1}]}]}
CALLS = {
    "Rankloop.Call": ("POST", "/personalizer/v1.0/rank", RANK, 201),
    "Rankloop.Read": ("GET", "/personalizer/v1.0/configurations/service", None, 200),
    "Rankloop.Manage": ("DELETE", "/personalizer/v1.0/configurations/policy", None, 200),
    "Rankloop.Owner": ("GET", "/rankloop/v1/loops", None, 200),
}
"""For each app role a call that needs it."""


@pytest.fixture(scope="module")
def entra() -> Iterator[Entra]:
    with Entra() as running:
        yield running


@pytest.fixture(scope="module")
def instance(entra: Entra, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    settings = {
        "RANKLOOP_ENTRA_TENANT": TENANT,
        "RANKLOOP_ENTRA_AUDIENCES": AUDIENCE,
        "RANKLOOP_ENTRA_AUTHORITY": entra.authority,
    }
    with Azurite() as azurite:
        made = Instance(azurite.connection_string, tmp_path_factory.mktemp("entra") / "app", settings=settings)
        yield made
        assert made.stop() == 0


def call(instance: Instance, name: str, token: str) -> Answer:
    method, path, body, _ = CALLS[name]
    return instance.call(method, path, body, {"Authorization": f"Bearer {token}"})


def code(answer: Answer) -> tuple[int, str | None]:
    return answer.status, answer.headers["x-ms-error-code"]


@pytest.mark.parametrize("held", CALLS)
@pytest.mark.parametrize("needed", CALLS)
def test_a_token_opens_what_its_app_role_says(instance: Instance, entra: Entra, held: str, needed: str) -> None:
    answer = call(instance, needed, entra.token(held))

    if held in (needed, "Rankloop.Owner"):
        assert answer.status == CALLS[needed][3], answer.body
    else:
        assert code(answer) == (403, "Forbidden")
        assert needed in answer.json["error"]["message"]


def test_a_valid_token_without_an_app_role_is_forbidden(instance: Instance, entra: Entra) -> None:
    for name in CALLS:
        answer = call(instance, name, entra.token())
        assert code(answer) == (403, "Forbidden")
        assert set(answer.json) == {"error"}
        assert set(answer.json["error"]) == {"code", "message"}


def test_the_audience_that_sdks_ask_for_counts_only_where_it_is_configured(instance: Instance, entra: Entra) -> None:
    answer = call(instance, "Rankloop.Read", entra.token("Rankloop.Read", aud="https://cognitiveservices.azure.com"))

    assert code(answer) == (401, "Unauthorized")
    assert "(aud)" in answer.json["error"]["message"]


def test_a_forged_token_opens_nothing(instance: Instance, entra: Entra) -> None:
    head, claims, signature = entra.token("Rankloop.Owner").split(".")
    answer = call(instance, "Rankloop.Owner", f"{head}.{claims}.{signature[::-1]}")

    assert code(answer) == (401, "Unauthorized")


class Credential:
    """A credential of the SDK's kind that gets its tokens from the tenant of the test."""

    def __init__(self, entra: Entra, *roles: str) -> None:
        self.entra, self.roles, self.scopes = entra, roles, set[str]()

    def get_token(self, *scopes: str, **options: object) -> AccessToken:
        self.scopes |= set(scopes)
        return AccessToken(self.entra.token(*self.roles), 2**31 - 1)


def test_the_sdk_gets_through_with_a_credential(instance: Instance, entra: Entra) -> None:
    credential: Any = Credential(entra, "Rankloop.Call", "Rankloop.Read")
    scopes = [f"{AUDIENCE}/.default"]

    # On this machine's own loop there is no TLS, which the SDK would insist on.
    client: Any = PersonalizerClient(instance.endpoint, credential, credential_scopes=scopes)
    assert client.rank(RANK, enforce_https=False)["rewardActionId"] == "a"
    administration: Any = PersonalizerAdministrationClient(instance.endpoint, credential, credential_scopes=scopes)
    assert administration.get_service_configuration(enforce_https=False)["rewardWaitTime"] == "PT10M"

    assert credential.scopes == {f"{AUDIENCE}/.default"}
    client.close()
    administration.close()
