"""Evaluations and feature importances of a served loop: every page of them, by the official SDK, and every refusal.

Nothing in this release makes any, so the tests put them into the deployment's storage themselves.
"""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, NamedTuple
from urllib.parse import parse_qs, quote, urlencode, urlsplit

import msgspec
import pytest
from azure.ai import personalizer
from azure.ai.personalizer import aio
from azure.core.credentials import AzureKeyCredential
from azure.core.rest import HttpRequest

from shared.contract.configurations import PolicyContract
from shared.contract.evaluations import EvaluationType, Status
from shared.contract.versions import Version
from shared.evaluation import resources
from shared.evaluation.resources import Evaluation, FeatureImportance, Job
from shared.log import joined
from shared.log.joined import Window
from shared.storage.azure import AzureStorage
from tests.contract.conftest import Deployment
from tests.contract.loops import Loop, make_loop
from tests.contract.swagger import Sent

COUNT = 330
"""Of evaluations: the last of four pages is not full."""
IMPORTANCES = 200
"""Two full pages."""
T0 = 1_700_000_000.0
HOUR = 1_700_002_800
"""2023-11-14T23:00:00Z."""
DAY = {"startTime": "2023-11-14", "endTime": "2023-11-15"}
MANUAL, AUTO = "metadata=evaluationType eq 'Manual'", "metadata=evaluationType eq 'Auto'"


def evaluation(n: int, **changed: Any) -> Evaluation:
    """One whose id says when it was made; the order of their blobs is that of a hash."""
    held = Evaluation(
        id=f"evaluation/{n:03d} é",
        name=f"number {n}",
        start=T0,
        end=T0 + 3600,
        created=T0 + n,
        status=list(Status)[n % len(Status)],
        api_version=Version.V2022,
        job_id=f"job-{n}",
        evaluation_type=EvaluationType.AUTO if n % 5 == 0 else EvaluationType.MANUAL,
        policies=[PolicyContract("mine", "--cb_explore_adf")],
    )
    return msgspec.structs.replace(held, **changed)


def importance(n: int) -> FeatureImportance:
    return FeatureImportance(
        id=f"importance {n:03d}",
        name=f"number {n}",
        start=T0,
        end=T0 + 3600,
        created=T0 + n,
        status=Status.SUCCEEDED,
        api_version=Version.V2022,
    )


EVALUATIONS = [evaluation(n).id for n in reversed(range(COUNT))]
OF_TYPE = {
    filtered: [job.id for job in map(evaluation, reversed(range(COUNT))) if job.evaluation_type is kind]
    for filtered, kind in ((MANUAL, EvaluationType.MANUAL), (AUTO, EvaluationType.AUTO))
}
FEATURES = [importance(n).id for n in reversed(range(IMPORTANCES))]


def loop_id(loop: Loop) -> str:
    name: str = loop.call("GET", "configurations/policy")["name"]
    return name


def hold(served: Deployment, loop: Loop, *jobs: Job, window: Window | None = None) -> None:
    """Put jobs, and a window of joined log, where a later release would."""

    async def write() -> None:
        async with AzureStorage(served.storage) as storage:
            at = loop_id(loop)
            for n in range(0, len(jobs), 16):
                await asyncio.gather(*(resources.put(storage.blobs, at, job) for job in jobs[n : n + 16]))
            if window is not None:
                assert await joined.write(storage.blobs, at, window, "dsjson", [b"{}"])

    asyncio.run(write())


@pytest.fixture(scope="module")
def loop(served: Deployment) -> Loop:
    """One with some hundreds of each."""
    made = make_loop(served)
    hold(served, made, *map(evaluation, range(COUNT)), *map(importance, range(IMPORTANCES)))
    return made


class Pages(NamedTuple):
    """A list as a client got it: the items of each page, and the address of each."""

    items: list[list[Any]]
    urls: list[str]

    @property
    def ids(self) -> list[str]:
        return [item["id"] for page in self.items for item in page]

    @property
    def sizes(self) -> list[int]:
        return [len(page) for page in self.items]


def listed_sync(loop: Loop, method: str, **asked: Any) -> Pages:
    urls: list[str] = []

    def note(response: Any) -> None:
        urls.append(response.http_request.url)

    with personalizer.PersonalizerAdministrationClient(loop.endpoint, AzureKeyCredential(loop.key)) as client:
        found = getattr(client, method)(raw_response_hook=note, **asked)
        return Pages([list(page) for page in found.by_page()], urls)


def listed_async(loop: Loop, method: str, **asked: Any) -> Pages:
    urls: list[str] = []

    def note(response: Any) -> None:
        urls.append(response.http_request.url)

    async def read(pages: AsyncIterator[Any]) -> list[list[Any]]:
        return [[item async for item in page] async for page in pages]

    async def run() -> list[list[Any]]:
        async with aio.PersonalizerAdministrationClient(loop.endpoint, AzureKeyCredential(loop.key)) as client:
            return await read(getattr(client, method)(raw_response_hook=note, **asked).by_page())

    return Pages(asyncio.run(run()), urls)


Lists = Callable[..., Pages]


@pytest.fixture(params=[listed_sync, listed_async], ids=["sync", "async"])
def listed(request: pytest.FixtureRequest) -> Lists:
    function: Lists = request.param
    return function


def test_the_sdk_reads_every_evaluation_once_and_the_newest_first(loop: Loop, listed: Lists) -> None:
    pages = listed(loop, "list_evaluations")

    assert pages.ids == EVALUATIONS
    assert pages.sizes == [100, 100, 100, 30]
    assert all(url.startswith(f"{loop.endpoint}/personalizer/evaluations?") for url in pages.urls)
    tops = [parse_qs(urlsplit(url).query).get("top") for url in pages.urls]
    assert tops == [None, *([str(2**31 - 1 - n)] for n in (100, 200, 300))]


@pytest.mark.parametrize(
    ("asked", "wanted", "sizes"),
    [
        ({"top": 250}, EVALUATIONS[:250], [100, 100, 50]),
        ({"top": 200}, EVALUATIONS[:200], [100, 100]),
        ({"top": 1}, EVALUATIONS[:1], [1]),
        ({"skip": 130}, EVALUATIONS[130:], [100, 100]),
        ({"skip": 30, "top": 150}, EVALUATIONS[30:180], [100, 50]),
        ({"skip": COUNT}, [], [0]),
        ({"filter_expression": MANUAL}, OF_TYPE[MANUAL], [100, 100, 64]),
        ({"filter_expression": AUTO}, OF_TYPE[AUTO], [66]),
        ({"filter_expression": MANUAL, "skip": 4, "top": 240}, OF_TYPE[MANUAL][4:244], [100, 100, 40]),
    ],
)
def test_the_sdk_reads_a_part_of_the_evaluations(
    loop: Loop, listed: Lists, asked: dict[str, Any], wanted: list[str], sizes: list[int]
) -> None:
    pages = listed(loop, "list_evaluations", **asked)

    assert pages.ids == wanted
    assert pages.sizes == sizes


@pytest.mark.parametrize(
    ("asked", "wanted", "sizes"),
    [
        ({}, FEATURES, [100, 100]),
        ({"top": 120, "skip": 10}, FEATURES[10:130], [100, 20]),
        ({"skip": 199}, FEATURES[199:], [1]),
    ],
)
def test_the_sdk_reads_feature_importances(
    loop: Loop, listed: Lists, asked: dict[str, Any], wanted: list[str], sizes: list[int]
) -> None:
    pages = listed(loop, "list_feature_importances", **asked)

    assert pages.ids == wanted
    assert pages.sizes == sizes


def test_items_are_what_was_stored(loop: Loop) -> None:
    first = listed_sync(loop, "list_evaluations", top=1).items[0][0]
    feature = listed_sync(loop, "list_feature_importances", top=1).items[0][0]

    assert first == {
        "id": "evaluation/329 é",
        "name": "number 329",
        "startTime": "2023-11-14T22:13:20Z",
        "endTime": "2023-11-14T23:13:20Z",
        "creationTime": "2023-11-14T22:18:49Z",
        "status": "Running",
        "evaluationType": "Manual",
    }
    assert feature["id"] == "importance 199"
    assert set(feature) == set(first) - {"evaluationType"}


def test_pages_may_be_shorter_by_request(loop: Loop) -> None:
    """The Python client never sends maxpagesize, but follows the links of one that did."""
    with personalizer.PersonalizerAdministrationClient(loop.endpoint, AzureKeyCredential(loop.key)) as client:
        query = {"maxpagesize": "64", "filter": AUTO, "skip": "1"}
        found, link = [], f"{loop.endpoint}/personalizer/evaluations?{urlencode(query)}"
        while link:
            response = client.send_request(HttpRequest("GET", link, params={"api-version": "2022-09-01-preview"}))
            page = response.json()
            found.append([item["id"] for item in page["value"]])
            link = page.get("nextLink")

    assert found == [OF_TYPE[AUTO][1:65], OF_TYPE[AUTO][65:]]


def test_before_2022_the_list_is_one_array(loop: Loop) -> None:
    found = loop.call("GET", "evaluations")

    assert [one["id"] for one in found] == EVALUATIONS
    assert found[0] == {
        "id": "evaluation/329 é",
        "name": "number 329",
        "startTime": "2023-11-14T22:13:20Z",
        "endTime": "2023-11-14T23:13:20Z",
        "jobId": "job-329",
        "status": "pending",
        "policyResults": [],
        "featureImportance": [],
        "evaluationType": "Manual",
        "optimalPolicy": "",
        "creationTime": "2023-11-14T22:18:49Z",
    }


def test_both_ways_of_a_slash_lead_to_the_same_evaluation(served: Deployment, loop: Loop) -> None:
    """One instance is handed `%2F` as it came, the other one a slash."""
    path = f"/loops/{loop.name}/personalizer/v1.1-preview.3/evaluations/"
    for instance in (served.kept, served.decoded):
        for spelled in (quote("evaluation/007 é", safe=""), quote("evaluation/007 é")):
            got = instance.call("GET", path + spelled, headers={"Ocp-Apim-Subscription-Key": loop.key})
            assert (got.status, got.json["id"]) == (200, "evaluation/007 é")


ASKED: dict[str, Any] = {"name": "day", **DAY, "policies": []}
MINE = {"name": "mine", "arguments": "--cb_explore_adf"}
OLD, NEW = "v1.1-preview.3", "2022-09-01-preview"


class Asked(NamedTuple):
    """A call that is refused, and with which status and code."""

    status: int
    code: str
    method: str
    path: str
    body: Any = None
    version: str = NEW
    query: Mapping[str, str] = MappingProxyType({})


APPLY = "configurations/applyFromEvaluation"
REFUSED = [
    Asked(400, "BadRequest", "GET", "evaluations", query={"top": "x"}),
    Asked(400, "BadRequest", "GET", "evaluations/known", query={"endTime": "2023-11-15"}),
    Asked(400, "InvalidRequest", "GET", "evaluations", query={"filter": "name eq 'day'"}),
    Asked(400, "InvalidRequest", "GET", "evaluations/known", query={**DAY, "intervalInMinutes": "7"}),
    Asked(400, "InvalidEvaluationContract", "PUT", "evaluations/new", {**ASKED, "name": None}),
    Asked(400, "InvalidEvaluationContract", "POST", "evaluations", {**ASKED, "startTime": "then"}, OLD),
    Asked(400, "InvalidEvaluationContract", "PUT", f"evaluations/{'x' * 257}", ASKED),
    Asked(400, "InvalidDateTimesInEvaluationContract", "PUT", "evaluations/new", {**ASKED, "endTime": "2023-01-01"}),
    Asked(400, "DuplicateCustomPolicyNames", "POST", "evaluations", {**ASKED, "policies": [MINE, MINE]}, OLD),
    Asked(
        400,
        "MaximumEvaluationCustomPoliciesExceeded",
        "PUT",
        "evaluations/new",
        {**ASKED, "policies": [{**MINE, "name": str(n)} for n in range(11)]},
    ),
    Asked(
        400,
        "InvalidPolicyConfiguration",
        "PUT",
        "evaluations/new",
        {**ASKED, "policies": [{**MINE, "arguments": "--cb_explore_adf -f model.vw"}]},
    ),
    Asked(400, "NoLogsExistInDateRange", "POST", "evaluations", {**ASKED, "endTime": "2023-11-14T22:00Z"}, OLD),
    Asked(400, "EvaluationAlreadyExists", "PUT", "evaluations/known", ASKED),
    Asked(400, "InvalidContract", "PUT", "featureImportances/new", {"name": "day", "startTime": "2023-11-14"}),
    Asked(400, "FeatureImportanceAlreadyExists", "PUT", "featureImportances/known", {"name": "day", **DAY}),
    Asked(404, "EvaluationNotFound", "GET", "evaluations/unknown", version=OLD),
    Asked(404, "EvaluationNotFound", "DELETE", "evaluations/unknown"),
    Asked(404, "FeatureImportanceNotFound", "GET", "featureImportances/unknown"),
    Asked(404, "FeatureImportanceNotFound", "DELETE", "featureImportances/unknown"),
    Asked(404, "EvaluationNotFound", "POST", APPLY, {"evaluationId": "unknown", "policyName": "mine"}),
    Asked(404, "LearningSettingsNotFound", "POST", APPLY, {"evaluationId": "known", "policyName": "online"}),
    Asked(405, "IncompatibleEvaluationVersion", "GET", "evaluations/known", query=DAY),
    Asked(
        400,
        "NoLogsExistInDateRange",
        "PUT",
        "featureImportances/new",
        {"name": "day", **DAY, "endTime": "2023-11-14T22:00Z"},
    ),
]


@pytest.fixture(scope="module")
def small(served: Deployment) -> Loop:
    """One with an evaluation, a feature importance and a minute of log."""
    made = make_loop(served)
    known = evaluation(1, id="known", api_version=Version.V1_1_P3)
    hold(served, made, known, msgspec.structs.replace(importance(1), id="known"), window=Window(HOUR, HOUR + 60))
    return made


@pytest.mark.parametrize("asked", REFUSED, ids=lambda asked: f"{asked.code}-{asked.method}")
def test_what_is_refused_has_the_contracts_code(small: Loop, asked: Asked) -> None:
    in_path = "" if asked.version == NEW else f"{asked.version}/"
    query = {"api-version": NEW, **asked.query} if asked.version == NEW else asked.query
    body = None if asked.body is None else json.dumps(asked.body).encode()

    got = small.send(Sent(asked.method, f"/personalizer/{in_path}{asked.path}?{urlencode(query)}", body, {}))

    assert (got.status, json.loads(got.body)["error"]["code"]) == (asked.status, asked.code), got.body
    assert got.headers["x-ms-error-code"] == asked.code
    assert "Retry-After" not in got.headers


def test_what_was_read_can_be_deleted(served: Deployment) -> None:
    made = make_loop(served)
    name = uuid.uuid4().hex
    hold(served, made, evaluation(1, id=name), msgspec.structs.replace(importance(1), id=name))

    with personalizer.PersonalizerAdministrationClient(made.endpoint, AzureKeyCredential(made.key)) as client:
        first, last = datetime(2023, 11, 14, tzinfo=UTC), datetime(2023, 11, 15, tzinfo=UTC)
        got = client.get_evaluation(name, start_time=first, end_time=last, interval_in_minutes=60, window="Rolling")
        assert client.get_feature_importance(name)["featureScores"] == []
        client.delete_evaluation(name)
        client.delete_feature_importance(name)
        left = [*client.list_evaluations(), *client.list_feature_importances()]

    assert got["id"] == name
    assert got["content"]["value"] == []
    assert left == []
