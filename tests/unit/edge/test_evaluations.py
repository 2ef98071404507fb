"""Evaluation and feature importance calls as the Functions worker hands them over; storage is in memory."""

from __future__ import annotations

import asyncio
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlsplit

import azure.functions as func
import msgspec
import orjson
import pytest

from shared import app as running
from shared import jobs
from shared.app import App
from shared.config import Config
from shared.contract.configurations import PolicyContract
from shared.contract.evaluations import EvaluationType, Status
from shared.contract.versions import ALL, BEFORE_2022, FROM_P1, Version
from shared.edge import web
from shared.evaluation import field, resources
from shared.evaluation.importance import Importance as Weight
from shared.evaluation.importance import Weighed
from shared.evaluation.resources import Evaluation, FeatureImportance, Job
from shared.log import activity, joined
from shared.log import checkpoint as checkpoints
from shared.log.checkpoint import Checkpoint
from shared.log.joined import Window
from shared.loops.loops import DEFAULT
from shared.storage.memory import MemoryBlobs, MemoryTables

KEY = "k"
HOUR = 1_700_002_800
"""2023-11-14T23:00:00Z."""
DAY = {"startTime": "2023-11-14", "endTime": "2023-11-15"}
ASKED: dict[str, Any] = {"name": "day", **DAY, "policies": []}
FLAT = {
    "id": "e1",
    "name": "day",
    "startTime": "2023-11-14T00:00:00Z",
    "endTime": "2023-11-15T00:00:00Z",
    "jobId": "job",
    "status": "completed",
    "policyResults": [],
    "featureImportance": [],
}
DETAILS = {
    "id": "e1",
    "name": "day",
    "startTime": "2023-11-14T00:00:00Z",
    "endTime": "2023-11-15T00:00:00Z",
    "creationTime": "2023-11-15T01:00:00.500000Z",
    "status": "Succeeded",
}


class Told(NamedTuple):
    """An answer."""

    status: int
    json: Any
    headers: dict[str, str]

    @property
    def refusal(self) -> tuple[int, str, str | None]:
        """Its status, code and target."""
        error = self.json["error"]
        assert self.headers["x-ms-error-code"] == error["code"]
        assert error["message"]
        return self.status, error["code"], error.get("target")


class Served:
    """An app over storage in memory, and the calls to it."""

    def __init__(self) -> None:
        self.blobs = MemoryBlobs()
        self.app = App(Config("", KEY), MemoryTables(), self.blobs)

    async def __call__(
        self,
        method: str,
        path: str,
        body: object = None,
        version: Version = Version.V2022,
        query: dict[str, str] | None = None,
        loop: str = DEFAULT,
        area: str = "personalizer",
    ) -> Told:
        prefix = area if version is Version.V2022 else f"{area}/{version.value}"
        full = f"{prefix}/{path}" if loop == DEFAULT else f"loops/{loop}/{prefix}/{path}"
        request = func.HttpRequest(
            method,
            f"https://host/{full}?ignored",
            headers={"ocp-apim-subscription-key": KEY},
            params={**({"api-version": version.value} if version is Version.V2022 else {}), **(query or {})},
            route_params={},
            body=b"" if body is None else orjson.dumps(body),
        )
        response = await web.serve(request, full)
        text = response.get_body()
        return Told(response.status_code, orjson.loads(text) if text else None, dict(response.headers))

    async def loop_id(self) -> str:
        return (await self.app.loops.named(DEFAULT)).id

    async def hold(self, *held: Job) -> None:
        for job in held:
            await resources.put(self.blobs, await self.loop_id(), job)

    async def job(self) -> jobs.Record:
        """The latest job."""
        loop_id = await self.loop_id()
        held = await jobs.get(self.blobs, loop_id, (await jobs.newest(self.blobs, loop_id))[0])
        assert held is not None
        return held

    async def log(self, *windows: Window, since: int = 0) -> None:
        """Give the loop these windows of joined log, and a start of what counts."""
        loop_id = await self.loop_id()
        for window in windows:
            assert await joined.write(self.blobs, loop_id, window, "dsjson", [b"{}"])
        await checkpoints.save(self.blobs, loop_id, Checkpoint(since=since), None)


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Served:
    made = Served()
    monkeypatch.setattr(running, "current", lambda: made.app)
    return made


def evaluation(**changed: Any) -> Evaluation:
    held = Evaluation(
        id="e1",
        name="day",
        start=HOUR - 82_800,
        end=HOUR + 3600,
        created=HOUR + 7200.5,
        status=Status.SUCCEEDED,
        api_version=Version.V2022,
        job_id="job",
    )
    return msgspec.structs.replace(held, **changed)


def importance(**changed: Any) -> FeatureImportance:
    held = FeatureImportance(
        id="e1",
        name="day",
        start=HOUR - 82_800,
        end=HOUR + 3600,
        created=HOUR + 7200.5,
        status=Status.SUCCEEDED,
        api_version=Version.V2022,
    )
    return msgspec.structs.replace(held, **changed)


async def create(served: Served, body: object, version: Version = Version.V2022, job: str = "e1") -> Told:
    """Ask for an evaluation, in the way of the version."""
    if version is Version.V2022:
        return await served("PUT", f"evaluations/{job}", body)
    return await served("POST", "evaluations", body, version)


MINE = {"name": "mine", "arguments": "--cb_explore_adf --epsilon 0.2 --dsjson --cb_type ips -l 0.5 --l1 1E-07"}


@pytest.mark.parametrize("version", BEFORE_2022)
async def test_before_2022_an_evaluation_is_made_and_shown(served: Served, version: Version) -> None:
    await served.log(Window(HOUR, HOUR + 60))

    told = await create(served, {**ASKED, "enableOfflineExperimentation": True, "policies": [MINE]}, version)

    assert told.status == 201
    made = told.json
    assert made == (await served("GET", f"evaluations/{made['id']}", version=version)).json
    assert made["jobId"] == (await served.job()).id
    wanted = {**FLAT, "id": made["id"], "jobId": made["jobId"], "status": "pending"}
    own = {} if version is Version.V1_0 else {**V1_1, "creationTime": made["creationTime"]}
    assert made == {**wanted, **own}
    read = version.value if version is Version.V1_0 else "v1.1-preview.1"
    assert told.headers["Location"] == f"/personalizer/{read}/evaluations/{made['id']}"
    held = await resources.get(served.blobs, await served.loop_id(), Evaluation, made["id"])
    assert held is not None
    assert (held.optimize, held.api_version) == (True, version)
    assert [(one.name, one.arguments) for one in held.policies] == [tuple(MINE.values())]
    other = await create(served, ASKED, version)
    assert other.json["id"] != made["id"]


async def test_in_2022_an_evaluation_is_made_and_nothing_shown(served: Served) -> None:
    await served.log(Window(HOUR, HOUR + 60))

    told = await create(served, ASKED, job="a%2Fb")

    assert told[:2] == (200, None)
    (listed,) = (await served("GET", "evaluations")).json["value"]
    assert (listed["id"], listed["status"], listed["evaluationType"]) == ("a/b", "Running", "Manual")
    assert (await served.job()).cause == "evaluation a/b"
    assert (await create(served, ASKED, job="a/b")).refusal == (400, "EvaluationAlreadyExists", "evaluationId")


async def test_the_place_of_an_evaluation_is_in_its_loop(served: Served) -> None:
    await served.app.loops.create("other")
    loop_id = (await served.app.loops.named("other")).id
    await joined.write(served.blobs, loop_id, Window(HOUR, HOUR + 60), "dsjson", [b"{}"])

    told = await served("POST", "evaluations", ASKED, Version.V1_1_P3, loop="other")

    assert told.headers["Location"] == f"/loops/other/personalizer/v1.1-preview.1/evaluations/{told.json['id']}"


@pytest.mark.parametrize(
    ("one", "code", "target"),
    [
        ({"name": "online", "arguments": "--cb_explore_adf"}, "DuplicateCustomPolicyNames", "policies[1].name"),
        ({"name": "BaselineRand", "arguments": "--cb_explore_adf"}, "DuplicateCustomPolicyNames", "policies[1].name"),
        ({"name": "a", "arguments": "--ccb_explore_adf"}, "InvalidPolicyConfiguration", "policies[1].arguments"),
        (
            {"name": "a", "arguments": "--cb_explore_adf --cb_type mtr --first 2 --bag 3"},
            "InvalidPolicyConfiguration",
            "policies[1].arguments",
        ),
    ],
)
async def test_a_policy_must_be_one_that_can_be_compared(
    served: Served, one: dict[str, str], code: str, target: str
) -> None:
    await served.log(Window(HOUR, HOUR + 60))

    told = await create(served, {**ASKED, "policies": [MINE, one]})

    assert told.refusal == (400, code, target)
    assert (await served("GET", "evaluations")).json == {"value": []}


async def test_there_is_a_log_that_is_too_large(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    await served.log(Window(HOUR, HOUR + 60))
    monkeypatch.setattr(field, "MOST_BYTES", 5)

    assert (await create(served, ASKED)).refusal == (400, "LogsSizeExceedAllowedLimit", "startTime")


async def test_only_policies_wait_for_their_trial_and_not_for_long(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    await served.log(Window(HOUR, HOUR + 60))
    monkeypatch.setattr("shared.edge.turn.PATIENCE", 0.0)
    async with served.app.trying:
        told = await create(served, {**ASKED, "policies": [MINE]})
        assert (told.status, told.headers["Retry-After"]) == (503, "20")
        assert (await served("GET", "evaluations")).json == {"value": []}
        assert (await create(served, ASKED)).status == 200


async def test_of_two_who_ask_at_once_one_is_told(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    await served.log(Window(HOUR, HOUR + 60))

    first, second = await asyncio.gather(create(served, ASKED), create(served, ASKED))

    assert sorted([first.status, second.status]) == [200, 400]


@pytest.mark.parametrize("version", [Version.V1_0, Version.V1_1_P3, Version.V2022])
@pytest.mark.parametrize(
    ("changed", "code", "target"),
    [
        ({"name": None}, "InvalidEvaluationContract", "name"),
        ({"startTime": "then"}, "InvalidEvaluationContract", "startTime"),
        ({"endTime": "2023-11-14"}, "InvalidDateTimesInEvaluationContract", "startTime"),
        (
            {"policies": [{"name": str(n % 10), "arguments": "--cb_explore_adf"} for n in range(11)]},
            "MaximumEvaluationCustomPoliciesExceeded",
            "policies",
        ),
        ({"policies": [{"name": "a", "arguments": ""}] * 2}, "DuplicateCustomPolicyNames", "policies[1].name"),
        ({"policies": [{"name": "a", "arguments": ""}]}, "InvalidPolicyConfiguration", "policies[0].arguments"),
        (
            {"policies": [{"name": "a", "arguments": "--cb_explore_adf"}, {"name": "b", "arguments": "-f /etc/motd"}]},
            "InvalidPolicyConfiguration",
            "policies[1].arguments",
        ),
        ({"startTime": "2023-11-13", "endTime": "2023-11-14"}, "NoLogsExistInDateRange", "startTime"),
    ],
)
async def test_an_evaluation_that_could_not_be_made_is_refused_for_its_fault(
    served: Served, version: Version, changed: dict[str, Any], code: str, target: str
) -> None:
    await served.log(Window(HOUR, HOUR + 60))

    told = await create(served, {**ASKED, **changed}, version)

    assert told.refusal == (400, code, target)
    assert target.partition(".")[0] in told.json["error"]["message"]


async def test_a_body_that_is_no_json_is_a_bad_request(served: Served) -> None:
    assert (await create(served, None)).refusal == (400, "BadRequest", None)


FINE = ""


@pytest.mark.parametrize(
    ("start", "end", "since", "code"),
    [
        ("22:59:59", "23:00:00", 0, "NoLogsExistInDateRange"),
        ("22:59:59", "23:00:01", 0, FINE),
        ("23:00:59.5", "23:20:00", 0, FINE),  # the window began before
        ("23:01:00", "23:20:00", 0, "NoLogsExistInDateRange"),
        ("23:01:00", "23:20:01", 0, FINE),
        ("23:00:00", "23:20:00", HOUR + 1, "NoLogsExistInDateRange"),  # what was is deleted
        ("00:00:00", "23:59:59", HOUR + 1, FINE),
        ("23:00:00", "23:59:00", HOUR + 7200, "NoLogsExistInDateRange"),
    ],
)
async def test_an_evaluation_needs_some_log(served: Served, start: str, end: str, since: int, code: str) -> None:
    await served.log(Window(HOUR, HOUR + 60), Window(HOUR + 1200, HOUR + 1260), since=since)

    told = await create(served, {**ASKED, "startTime": f"2023-11-14T{start}Z", "endTime": f"2023-11-14T{end}Z"})

    assert (told.json["error"]["code"] if told.json else FINE) == code


@pytest.mark.parametrize("dates", [("0001-01-01", "9999-12-31T23:59:59.9"), ("9999-12-31", "9999-12-31T23:59:59.9")])
async def test_dates_may_be_as_far_away_as_dates_go(served: Served, dates: tuple[str, str]) -> None:
    told = await create(served, {**ASKED, "startTime": dates[0], "endTime": dates[1]})

    assert told.json["error"]["code"] == "NoLogsExistInDateRange"


async def test_an_id_is_in_use_once(served: Served) -> None:
    await served.hold(evaluation(id="a/b"), importance(id="a/b"))

    for path in ("a/b", "a%2Fb", "a%2fb"):
        told = await create(served, ASKED, job=path)
        assert told.refusal == (400, "EvaluationAlreadyExists", "evaluationId")
        told = await served("PUT", f"featureImportances/{path}", {"name": "day", **DAY})
        assert told.refusal == (400, "FeatureImportanceAlreadyExists", "featureImportanceId")


@pytest.mark.parametrize("job", ["", "x" * 257])
async def test_an_id_has_1_to_256_characters(served: Served, job: str) -> None:
    told = await create(served, ASKED, job=job)
    assert told.refusal == (400, "InvalidEvaluationContract", "evaluationId")
    told = await served("PUT", f"featureImportances/{job}", {"name": "day", **DAY})
    assert told.refusal == (400, "InvalidContract", "featureImportanceId")


async def test_the_longest_id_is_taken(served: Served) -> None:
    await served.log(Window(HOUR, HOUR + 60))

    assert (await create(served, ASKED, job="x" * 256)).status == 200
    assert (await served("PUT", f"featureImportances/{'x' * 256}", {"name": "day", **DAY})).status == 200


async def test_feature_importances_are_checked(served: Served) -> None:
    told = await served("PUT", "featureImportances/e1", {"name": "day", **DAY, "endTime": "2023-11-14"})
    assert told.refusal == (400, "InvalidContract", "startTime")
    told = await served("PUT", "featureImportances/e1", {"name": "day", **DAY})
    assert told.refusal == (400, "NoLogsExistInDateRange", "startTime")
    assert await served.blobs.names(f"loops/{await served.loop_id()}/importances/") == []


async def test_a_feature_importance_is_computed_and_told(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    await served.log(Window(HOUR, HOUR + 60))

    made = await served("PUT", "featureImportances/a%2Fb", {"name": "day", **DAY})

    assert (made.status, made.json) == (200, None)
    assert (await served("GET", "featureImportances/a/b")).json["status"] == "Running"
    told = await served("PUT", "featureImportances/a/b", {"name": "day", **DAY})
    assert told.refusal == (400, "FeatureImportanceAlreadyExists", "featureImportanceId")
    (job,) = (await served("GET", "jobs", area="rankloop/v1")).json["value"]
    assert (job["kind"], job["status"], job["pieces"], job["piecesDone"]) == ("importance", "Running", 1, 0)
    assert [note.loop_id for note in await activity.untrained(served.app.tables)] == [await served.loop_id()]
    features = [Weight("FromUrl", "weather", 1.0, 0.5, 0.01), Weight("j", "x", 0.0, -0.1, 0.2)]
    weighed = Weighed(features, 0.8, 5, 6, 4.5, 2)

    async def computed(task: bytes) -> bytes:
        return msgspec.msgpack.encode(weighed)

    monkeypatch.setattr(served.app.importances, "_apart", computed)
    await served.app.train_due()  # there is no queue, so that the timer does it

    told = await served("GET", "featureImportances/a/b")
    assert told.json["status"] == "Succeeded"
    assert told.json["featureScores"] == [
        {"namespace": "FromUrl", "featureName": "weather", "score": 1.0},
        {"namespace": "j", "featureName": "x", "score": 0.0},
    ]
    report = (await served("GET", "featureImportances/a/b", area="rankloop/v1")).json
    assert report["features"][0] == {
        "namespace": "FromUrl",
        "featureName": "weather",
        "score": 1.0,
        "loss": 0.5,
        "error": 0.01,
    }
    assert (report["id"], report["status"], report["effective"]) == ("a/b", "Succeeded", 4.5)
    assert (report["learned"], report["events"], report["featuresFound"], report["value"]) == (5, 6, 2, 0.8)
    assert "too little to go by" in report["description"] == told.json["description"]


async def test_a_feature_importance_ends_with_its_job(served: Served) -> None:
    await served.log(Window(HOUR, HOUR + 60))
    for name in ("i1", "i2"):
        await served("PUT", f"featureImportances/{name}", {"name": "day", **DAY})
    begun = (await served("GET", "jobs", area="rankloop/v1")).json["value"]
    (first,) = (job["id"] for job in begun if job["cause"] == "feature importance i1")

    assert (await served("DELETE", f"jobs/{first}", area="rankloop/v1")).json["status"] == "Canceled"
    assert (await served("DELETE", "featureImportances/i2")).status == 204

    told = (await served("GET", "featureImportances/i1")).json
    assert (told["status"], told["featureScores"], told["description"]) == (
        "Canceled",
        [],
        "It was canceled by a call.",
    )
    statuses = {job["cause"]: job["status"] for job in (await served("GET", "jobs", area="rankloop/v1")).json["value"]}
    assert statuses == {"feature importance i1": "Canceled", "feature importance i2": "Canceled"}
    await served.app.train_due()
    assert [one["id"] for one in (await served("GET", "featureImportances")).json["value"]] == ["i1"]


V1_1 = {"evaluationType": "Manual", "optimalPolicy": "", "creationTime": DETAILS["creationTime"]}


@pytest.mark.parametrize("version", BEFORE_2022)
async def test_before_2022_an_evaluation_is_flat(served: Served, version: Version) -> None:
    await served.hold(evaluation())
    wanted = FLAT if version is Version.V1_0 else {**FLAT, **V1_1}

    assert (await served("GET", "evaluations/e1", version=version)).json == wanted
    assert (await served("GET", "evaluations", version=version)).json == [wanted]


async def test_statuses_are_in_the_versions_words(served: Served) -> None:
    await served.hold(evaluation(status=Status.TIMEOUT, optimal_policy="mine", evaluation_type=EvaluationType.AUTO))

    first = (await served("GET", "evaluations/e1", version=Version.V1_0)).json
    second = (await served("GET", "evaluations/e1", version=Version.V1_1_P1)).json
    last = (await served("GET", "evaluations", version=Version.V2022)).json

    assert (first["status"], second["status"], last["value"][0]["status"]) == ("failed", "timeout", "Timeout")
    assert (second["optimalPolicy"], second["evaluationType"]) == ("mine", "Auto")


async def test_in_2022_an_evaluation_has_content(served: Served) -> None:
    await served.hold(evaluation(optimal_policy="mine", description="done"), evaluation(id="e2"))
    query = {"startTime": "2023-11-14T01:00:00.000Z", "endTime": "2023-11-14T02:00:00.000Z"}

    told = await served("GET", "evaluations/e1", query={**query, "intervalInMinutes": "60", "window": "Rolling"})
    other = await served("GET", "evaluations/e2", query=query)

    content = {"startTime": "2023-11-14T01:00:00Z", "endTime": "2023-11-14T02:00:00Z", "value": []}
    assert told.json == {
        **DETAILS,
        "evaluationType": "Manual",
        "optimalPolicy": "mine",
        "content": {**content, "intervalInMinutes": 60},
        "description": "done",
    }
    assert other.json == {
        **DETAILS,
        "id": "e2",
        "evaluationType": "Manual",
        "content": {**content, "intervalInMinutes": 5},
    }


async def test_an_unfinished_evaluation_has_the_content_that_was_recorded(served: Served) -> None:
    await served.hold(evaluation(status=Status.RUNNING))

    told = await served("GET", "evaluations/e1", query=DAY)

    assert told.json["content"] == {
        "startTime": "0001-01-01T00:00:00",
        "endTime": "0001-01-01T00:00:00",
        "intervalInMinutes": 0,
        "value": [],
    }


@pytest.mark.parametrize(
    ("query", "code", "target"),
    [
        ({"endTime": "2023-11-15"}, "BadRequest", "startTime"),
        ({"startTime": "2023-11-14"}, "BadRequest", "endTime"),
        ({**DAY, "endTime": "later"}, "BadRequest", "endTime"),
        ({**DAY, "intervalInMinutes": "7"}, "InvalidRequest", "intervalInMinutes"),
        ({**DAY, "intervalInMinutes": "60"}, "InvalidRequest", "window"),
    ],
)
async def test_what_is_wanted_of_an_evaluation_is_checked(
    served: Served, query: dict[str, str], code: str, target: str
) -> None:
    await served.hold(evaluation())

    assert (await served("GET", "evaluations/e1", query=query)).refusal == (400, code, target)


@pytest.mark.parametrize("made", ALL)
@pytest.mark.parametrize("read", ALL)
async def test_a_newer_version_than_made_an_evaluation_cannot_read_it(
    served: Served, made: Version, read: Version
) -> None:
    await served.hold(evaluation(api_version=made))

    told = await served("GET", "evaluations/e1", version=read, query=DAY)

    if ALL.index(read) > ALL.index(made):
        assert told.refusal == (405, "IncompatibleEvaluationVersion", None)
        assert made.value in told.json["error"]["message"]
    else:
        assert told.json["id"] == "e1"
    assert (await served("GET", "evaluations", version=read)).status == 200, "lists hold it all the same"


async def test_a_feature_importance_is_read(served: Served) -> None:
    await served.hold(importance(), importance(id="e2", description="done", status=Status.CANCELED))

    assert (await served("GET", "featureImportances/e1")).json == {**DETAILS, "featureScores": []}
    told = await served("GET", "featureImportances/e2")
    assert told.json == {**DETAILS, "id": "e2", "status": "Canceled", "featureScores": [], "description": "done"}


@pytest.mark.parametrize("version", ALL)
async def test_an_evaluation_is_deleted_once(served: Served, version: Version) -> None:
    await served.hold(evaluation(id="a/b", api_version=Version.V1_0), importance(id="a/b"))

    assert (await served("DELETE", "evaluations/a%2Fb", version=version))[:2] == (204, None)
    told = await served("DELETE", "evaluations/a/b", version=version)
    assert told.refusal == (404, "EvaluationNotFound", "evaluationId")
    assert (await served("GET", "featureImportances/a/b")).status == 200


async def test_a_feature_importance_is_deleted_once(served: Served) -> None:
    await served.hold(importance(), evaluation())

    assert (await served("DELETE", "featureImportances/e1"))[:2] == (204, None)
    told = await served("DELETE", "featureImportances/e1")
    assert told.refusal == (404, "FeatureImportanceNotFound", "featureImportanceId")
    assert (await served("GET", "evaluations/e1", query=DAY)).status == 200


@pytest.mark.parametrize("job", ["nowhere", "x" * 300, "../e1", ""])
async def test_an_unknown_id_is_404(served: Served, job: str) -> None:
    await served.hold(evaluation(), importance())

    if job:  # without an id it is the list
        for version in ALL:
            told = await served("GET", f"evaluations/{job}", version=version, query=DAY)
            assert told.refusal == (404, "EvaluationNotFound", "evaluationId")
        told = await served("GET", f"featureImportances/{job}")
        assert told.refusal == (404, "FeatureImportanceNotFound", "featureImportanceId")
    assert (await served("DELETE", f"evaluations/{job}")).status == 404
    assert (await served("DELETE", f"featureImportances/{job}")).status == 404


async def test_a_loop_has_its_own(served: Served) -> None:
    await served.app.loops.create("other")
    await served.hold(evaluation(), importance())

    for path in ("evaluations", "featureImportances"):
        assert (await served("GET", path, loop="other")).json == {"value": []}
        assert (await served("GET", f"{path}/e1", query=DAY, loop="other")).status == 404


@pytest.mark.parametrize("version", FROM_P1)
async def test_a_policy_of_an_evaluation_becomes_the_loops(served: Served, version: Version) -> None:
    mine = PolicyContract("mine", "--cb_explore_adf --epsilon 0.1 -l 0.5")
    await served.hold(evaluation(id="a/b", policies=[mine]))

    async def apply(evaluation_id: str, name: str) -> Told:
        body = {"evaluationId": evaluation_id, "policyName": name}
        return await served("POST", "configurations/applyFromEvaluation", body, version)

    assert (await apply("a%2Fb", "mine"))[:2] == (204, None)
    loop = await served.app.loops.named(DEFAULT)
    assert loop.policy.arguments == mine.arguments
    assert loop.configuration.exploration_percentage == pytest.approx(0.1), "as by a PUT of the policy"
    assert loop.edited is not None
    assert (await apply("a/b", "Mine")).refusal == (404, "LearningSettingsNotFound", "policyName")
    assert (await apply("a", "mine")).refusal == (404, "EvaluationNotFound", "evaluationId")
    assert (await apply("x" * 257, "mine")).refusal == (400, "BadRequest", "evaluationId")


@pytest.mark.parametrize("version", BEFORE_2022)
async def test_before_2022_a_list_is_whole_and_the_newest_come_first(served: Served, version: Version) -> None:
    await served.hold(*(evaluation(id=f"{n:03d}", created=float(n)) for n in range(120)))

    told = await served("GET", "evaluations", version=version, query={"top": "5", "filter": "x"})

    assert [one["id"] for one in told.json] == [f"{n:03d}" for n in reversed(range(120))]


async def pages(served: Served, path: str, query: dict[str, str]) -> list[list[str]]:
    """The ids of each page, by following the links."""
    found = []
    while True:
        told = (await served("GET", path, query=query)).json
        found.append([one["id"] for one in told["value"]])
        if "nextLink" not in told:
            return found
        link = urlsplit(told["nextLink"])
        assert (link.scheme, link.netloc, link.path) == ("https", "host", f"/personalizer/{path}")
        query = dict(parse_qsl(link.query, strict_parsing=True))
        assert query["api-version"] == Version.V2022.value


async def test_in_2022_lists_come_in_pages(served: Served) -> None:
    for n in range(7):
        kind = EvaluationType.AUTO if n % 2 else EvaluationType.MANUAL
        await served.hold(evaluation(id=str(n), created=float(n), evaluation_type=kind))
        await served.hold(importance(id=str(n), created=float(n)))
    auto = {"filter": "metadata=evaluationType eq 'Auto'"}

    assert await pages(served, "evaluations", {}) == [list("6543210")]
    assert await pages(served, "evaluations", {"maxpagesize": "3"}) == [list("654"), list("321"), ["0"]]
    assert await pages(served, "evaluations", {**auto, "maxpagesize": "2"}) == [list("53"), ["1"]]
    assert await pages(served, "evaluations", {**auto, "top": "1"}) == [["5"]]
    limits = {"top": "4", "skip": "2", "maxpagesize": "3"}
    assert await pages(served, "featureImportances", limits) == [list("432"), ["1"]]
    assert await pages(served, "featureImportances", {"top": "0"}) == [[]]


async def test_list_items_are_the_details(served: Served) -> None:
    await served.hold(evaluation(optimal_policy="mine", description="done"), importance(description="done"))

    assert (await served("GET", "evaluations")).json == {"value": [{**DETAILS, "evaluationType": "Manual"}]}
    assert (await served("GET", "featureImportances")).json == {"value": [DETAILS]}


@pytest.mark.parametrize(
    ("name", "text"),
    [("top", "many"), ("skip", "-1"), ("maxpagesize", "0")],
)
async def test_the_page_that_is_wanted_is_checked(served: Served, name: str, text: str) -> None:
    for path in ("evaluations", "featureImportances"):
        assert (await served("GET", path, query={name: text})).refusal == (400, "BadRequest", name)


async def test_a_filter_is_for_evaluations_alone(served: Served) -> None:
    query = {"filter": "status eq 'Running'"}

    assert (await served("GET", "evaluations", query=query)).refusal == (400, "InvalidRequest", "filter")
    assert (await served("GET", "featureImportances", query=query)).json == {"value": []}
