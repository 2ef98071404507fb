from __future__ import annotations

import pytest

from shared.contract.errors import ApiError
from shared.edge import operations
from shared.edge.operations import PERSONALIZER, RANKLOOP, find


@pytest.mark.parametrize(
    ("method", "path", "operation"),
    [
        ("POST", "personalizer/v1.0/rank", operations.rank),
        ("GET", "personalizer/v1.0/configurations/service", operations.get_service_configuration),
        ("PUT", "personalizer/v1.0/configurations/service", operations.put_service_configuration),
        ("GET", "personalizer/v1.0/configurations/policy", operations.get_policy),
        ("GET", "personalizer/v1.0/model/properties", operations.get_model_properties),
        ("GET", "rankloop/v1/health", operations.get_health),
    ],
)
def test_paths_lead_to_their_operation(method: str, path: str, operation: operations.Operation) -> None:
    for spelled in (path, path + "/", path.upper(), path.title()):
        assert find(method, spelled) == (operation, "")


def test_every_operation_of_the_tables_is_found_under_its_path() -> None:
    for root, table in (("personalizer/v1.0", PERSONALIZER), ("rankloop/v1", RANKLOOP)):
        for (method, path), operation in table.items():
            assert find(method, f"{root}/{path.replace('{eventId}', 'e1')}")[0] is operation


@pytest.mark.parametrize(
    ("segment", "event_id"),
    [
        ("e1", "e1"),
        ("a/b", "a/b"),
        ("a%2Fb", "a/b"),
        ("a%2fb", "a/b"),
        ("a//b", "a//b"),
        ("/a", "/a"),
        ("a/", "a/"),
        ("", ""),
        ("/", "/"),
        ("reward", "reward"),
        ("a/reward", "a/reward"),
        ("a/activate", "a/activate"),
        ("events/a", "events/a"),
        ("été 🎉", "été 🎉"),
        ("a\nb", "a\nb"),
        ("A%20b", "A%20b"),
        ("E1-ABC", "E1-ABC"),
        ("{eventId}", "{eventId}"),
        ("x" * 300, "x" * 300),
    ],
)
@pytest.mark.parametrize(
    ("last", "operation"),
    [
        ("reward", operations.reward),
        ("activate", operations.activate),
        ("Reward", operations.reward),
        ("reward/", operations.reward),
    ],
)
def test_an_event_id_is_all_between_the_first_and_the_last_segment(
    segment: str, event_id: str, last: str, operation: operations.Operation
) -> None:
    assert find("POST", f"personalizer/v1.0/events/{segment}/{last}") == (operation, event_id)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "personalizer/v1.0/rank"),
        ("PUT", "personalizer/v1.0/rank"),
        ("post", "personalizer/v1.0/rank"),
        ("GET", "personalizer/v1.0/events/e1/reward"),
        ("DELETE", "personalizer/v1.0/configurations/service"),
        ("POST", "rankloop/v1/health"),
        ("POST", "personalizer/v2.0/rank"),
        ("POST", "personalizer/rank"),
        ("POST", "rankloop/v1.0/rank"),
        ("POST", "rank"),
        ("POST", ""),
        ("POST", "/"),
        ("POST", "/personalizer/v1.0/rank"),
        ("POST", "personalizer/v1.0/"),
        ("POST", "personalizer/v1.0/rank/x"),
        ("POST", "personalizer/v1.0/events/reward"),
        ("POST", "personalizer/v1.0/events/e1"),
        ("POST", "personalizer/v1.0/events/e1/rewards"),
        ("POST", "personalizer/v1.0/xevents/e1/reward"),
        ("GET", "personalizer/v1.0/events/{eventid}/reward"),
        ("GET", "rankloop/v1/events/e1/reward"),
    ],
)
def test_anything_else_is_not_found(method: str, path: str) -> None:
    with pytest.raises(ApiError) as caught:
        find(method, path)

    assert (caught.value.code, caught.value.status) == ("ResourceNotFound", 404)
    assert caught.value.message == f"There is no operation {method} {path}."


def test_the_answer_does_not_repeat_a_path_without_end() -> None:
    with pytest.raises(ApiError) as caught:
        find("GET", "x" * 10_000)

    assert len(caught.value.message) < 300
