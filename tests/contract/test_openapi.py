"""Requests made from the OpenAPI description, good ones and bad ones: every answer is one that it promises.

Each operation of each version is called with its own example and random bodies, those of the newest version also with
values at all edges of their schemas; the same in every run. What the checks hold an answer to: its status, type,
headers with the code of a refusal, and schema.
"""

import asyncio
from collections import Counter
from collections.abc import Iterator
from typing import Any

import hypothesis
import pytest
import requests
import schemathesis
from schemathesis.specs.openapi import checks

from shared.edge import openapi
from shared.edge.routes import MAX_UPLOAD
from shared.learning import pointer
from shared.learning.model import Learner
from shared.loops.policy import DEFAULT_ARGUMENTS, Problem
from shared.storage.azure import AzureStorage
from tests.contract.conftest import KEY, Deployment, deployment
from tests.contract.loops import make_loop

DOCUMENT = openapi.document()
CHECKS = [
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
]
OLD = "/personalizer/v1"
NO_SUCCESS = {
    "create_evaluation": "no random time holds a log; test_evaluation.py has them, as all on evaluations",
    "put_evaluation": "the same",
    "put_feature_importance": "the same",
    "get_evaluation": "no random id is an evaluation's",
    "delete_evaluation": "the same",
    "apply_from_evaluation": "the same",
    "get_report": "the same",
    "get_feature_importance": "no random id is a feature importance's",
    "delete_feature_importance": "the same",
    "get_importance_report": "the same",
    "get_erasure": "no random id is an erasure's; test_erasures.py has them",
    "get_job": "no random id is a job's; test_jobs.py has them",
    "cancel_job": "no random id is a job's; test_jobs.py has them",
    "get_event": "no random id is of an event; test_stories.py has them",
    "get_explanation": "the same",
    "create_import": "no random body is a file of decisions; test_warm_start.py has them, as the next two",
    "get_import": "the same",
    "delete_import": "the same",
    "get_version": "no random name is a version's; test_versions.py has them, as the next two",
    "get_difference": "the same",
    "roll_back": "the same",
    "put_model": "no random body is a signed zip; test_models.py has them",
}
"""Why an operation may answer none of its successes here."""


def described(examples: int, edges: bool) -> schemathesis.BaseSchema:
    """The description, of whose operations so many random requests are made, and those at the edges of its schemas."""
    generation = {"with-security-parameters": False, "deterministic": True, "max-examples": examples}
    # No request is made of an earlier answer: it would be another one in each run, and delete loops of this test.
    alone = {"extra-data-sources": {"responses": False}}
    phases = {
        "coverage": {"enabled": edges, "unexpected-methods": [], **alone},
        "fuzzing": {"error-feedback": {"enabled": False}, **alone},
        "stateful": {"enabled": False},
    }
    config = schemathesis.Config.from_dict({"seed": 1, "generation": generation, "phases": phases})
    return schemathesis.openapi.from_dict(DOCUMENT, config=config)


older = described(examples=3, edges=False).include(path_regex=f"^{OLD}")
newest = described(examples=4, edges=True).exclude(path_regex=f"^{OLD}")
answered: dict[str, Counter[int]] = {}
"""How often each operation gave each status, by the operation's id."""


class Endpoints:
    """Where operations are called: each at a loop that it can succeed at, and in a deployment that nobody else uses."""

    def __init__(self, served: Deployment) -> None:
        self._default = served.kept.endpoint
        slots, learned, apprentice = make_loop(served), make_loop(served), make_loop(served)
        slots.use_slots()
        apprentice.configure(learningMode="Apprentice")
        asyncio.run(_install_model(served.storage, learned.call("GET", "configurations/policy")["name"]))
        self._slots, self._learned, self._apprentice = slots.endpoint, learned.endpoint, apprentice.endpoint

    def of(self, method: str, path: str) -> str:
        if "/multislot/" in path:
            return self._slots
        if path.endswith("/apprentice"):
            return self._apprentice
        modelled = path.endswith("/pin") or (path.endswith("/model") and method in ("GET", "HEAD"))
        return self._learned if modelled else self._default


async def _install_model(storage: str, loop_id: str) -> None:
    arguments = DEFAULT_ARGUMENTS[Problem.SINGLE_SLOT]
    learner = Learner(arguments, None)
    async with AzureStorage(storage) as opened:
        await pointer.install(opened.blobs, loop_id, learner.save(), arguments, "", 0, 1_800_000_000.0)
    learner.close()


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    with deployment(tmp_path_factory.mktemp("described")) as running:
        yield running


@pytest.fixture(scope="module")
def endpoints(own: Deployment) -> Endpoints:
    return Endpoints(own)


@pytest.fixture(scope="module")
def session() -> Iterator[requests.Session]:
    with requests.Session() as opened:
        opened.headers["Ocp-Apim-Subscription-Key"] = KEY
        yield opened


def check(case: schemathesis.Case[Any], endpoints: Endpoints, session: requests.Session) -> None:
    operation = case.operation
    response = case.call(base_url=endpoints.of(operation.method.upper(), operation.path), session=session)
    if response.status_code == 413:  # a thousand actions with long texts: more than any host takes, who says so himself
        body = response.request.body
        assert isinstance(body, bytes | str) and len(body) > MAX_UPLOAD
        return
    name = operation.definition.raw["operationId"]
    answered.setdefault(name, Counter())[response.status_code] += 1

    case.validate_response(response, checks=CHECKS)
    assert response.status_code < 500, "all is done that is asked for"
    if response.status_code >= 400 and case.method != "HEAD":
        assert [response.json()["error"]["code"]] == response.headers["x-ms-error-code"]


# What Hypothesis says of a case at an edge, whose body is large, is no fault of what is tested.
reproducible = hypothesis.settings(
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=list(hypothesis.HealthCheck),
    phases=(hypothesis.Phase.explicit, hypothesis.Phase.generate),
)


@newest.parametrize()
@reproducible
def test_the_newest_version_answers_as_described(
    case: schemathesis.Case[Any], endpoints: Endpoints, session: requests.Session
) -> None:
    check(case, endpoints, session)


@older.parametrize()
@reproducible
def test_older_versions_answer_as_described(
    case: schemathesis.Case[Any], endpoints: Endpoints, session: requests.Session
) -> None:
    check(case, endpoints, session)


def test_every_operation_was_called_and_has_succeeded(request: pytest.FixtureRequest) -> None:
    operations = {
        operation["operationId"]: operation for methods in DOCUMENT["paths"].values() for operation in methods.values()
    }
    ran = sum(item.path == request.path for item in request.session.items)
    if ran < len(operations):
        pytest.skip(f"only {ran} tests of this file were selected")

    assert {name for name, statuses in answered.items() if statuses} == set(operations)
    succeeded = {name for name, statuses in answered.items() if min(statuses) < 300}
    expected = {name for name, operation in operations.items() if int(min(operation["responses"])) < 300}
    assert {name for name in expected - succeeded if not name.startswith(tuple(NO_SUCCESS))} == set()
    assert {name for name in expected & succeeded if name.startswith(tuple(NO_SUCCESS))} == set()
    newest_calls = sum(statuses.total() for name, statuses in answered.items() if "_v1_" not in name)
    assert newest_calls > 1000, "the cases at the edges were not made"


def test_the_description_is_served_without_a_key_and_once(own: Deployment) -> None:
    for instance in (own.kept, own.decoded):
        got = instance.call("GET", "/openapi.json", headers={})
        assert (got.status, got.headers["Content-Type"]) == (200, "application/json; charset=utf-8")
        assert got.json == DOCUMENT
        again = instance.call("GET", "/openapi.json", headers={"If-None-Match": got.headers["ETag"]})
        assert (again.status, again.body) == (304, b"")
        head = instance.call("HEAD", "/openapi.json", headers={})
        assert (head.status, head.body, head.headers["ETag"]) == (200, b"", got.headers["ETag"])
    other = own.kept.call("POST", "/openapi.json", headers={})
    assert (other.status, other.headers["x-ms-error-code"]) == (404, "ResourceNotFound")
