"""Calls on model versions: what there is of them, which one serves, and what is pinned."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec
import pytest

from shared.contract.models import ToldOption, ToldWeights
from shared.edge import versions
from shared.edge.differences import apart, changed
from shared.learning import pointer, registry
from shared.learning.pointer import Pointer
from shared.learning.registry import Version
from shared.learning.weights import weights
from shared.loops.loops import DEFAULT
from shared.storage import Blobs
from tests.unit.edge.inmemory import InMemory, error, refusal
from tests.unit.ranking.trained import SINGLE, SLOTS, trained_model

V1 = "rankloop/v1"
RANK = {
    "contextFeatures": [{"time": "t1", "hour": 1}],
    "actions": [{"id": f"a{n}", "features": [{"topic": f"t{n}"}]} for n in range(4)],
}


class Made:
    """A loop's versions, made one after the other and published as the trainer does."""

    def __init__(self, served: InMemory) -> None:
        self.served = served
        self.versions: list[Version] = []

    async def make(self, model: bytes, held: str | None = None, **members: Any) -> Version:
        loop_id = (await self.served.app.loops.named(DEFAULT)).id
        n = len(self.versions)
        parent = self.versions[-1].version if self.versions else None
        version = Version(
            registry.version_name(60 * n + 60, model), hashlib.sha256(model).hexdigest(), SINGLE,
            60 * n + 60, 10 * n, 0.5, 1_700_000_000.0 + n, 1_700_000_000.0, parent=parent, base=parent,
            learned_from=60 * n, learned=10, held=held,
        )  # fmt: skip
        version = msgspec.structs.replace(version, **members)
        self.versions.append(version)
        await registry.store(self.served.blobs, loop_id, version, model)
        before, etag = await pointer.read(self.served.blobs, loop_id)
        after = Pointer(version) if before is None else before.trained(version, 0.0)
        if before is not None and held:
            after = before.held_back(version, version)
        await pointer.move(self.served.blobs, loop_id, after, etag)
        await self.served.app.models.renew(loop_id)
        return version


@pytest.fixture
def made(served: InMemory) -> Made:
    return Made(served)


async def test_versions_are_listed_the_newest_first_page_by_page(served: InMemory, made: Made) -> None:
    assert await served.json("GET", f"{V1}/versions") == {"value": []}
    for n in range(3):
        await made.make(b"%d" % n)
    names = [version.version for version in made.versions[::-1]]

    whole = await served.json("GET", f"{V1}/versions")
    first = await served.json("GET", f"{V1}/versions?maxpagesize=2")

    assert [told["version"] for told in whole["value"]] == names
    assert whole["value"][0] == {
        "version": names[0],
        "created": "2023-11-14T22:13:22Z",
        "parent": names[1],
        "base": names[1],
        "policy": SINGLE,
        "mode": "Online",
        "events": 20,
        "learned": 10,
        "skipped": 0,
        "refused": 0,
        "reward": 0.5,
        "learnedFrom": "1970-01-01T00:02:00Z",
        "trainedThrough": "1970-01-01T00:03:00Z",
        "imported": False,
        "blank": False,
        "stored": True,
        "serves": True,
        "pinned": False,
        "learns": True,
        "heldBack": None,
    }
    assert [told["version"] for told in first["value"]] == names[:2]
    link = first["nextLink"].removeprefix("https://localhost/")
    assert [told["version"] for told in (await served.json("GET", link))["value"]] == names[2:]
    assert await served.json("GET", f"{V1}/versions/{names[1]}") == whole["value"][1]
    assert await refusal(served("GET", f"{V1}/versions?top=x")) == (400, "BadRequest")


@pytest.mark.parametrize("size", [1, 2, 3, 4, 100])
async def test_of_versions_trained_as_far_the_newest_is_first_on_whatever_page(
    served: InMemory, made: Made, size: int
) -> None:
    for n in range(12):
        name = registry.version_name(60 * (n // 5) + 60, b"%d" % n)
        await made.make(b"%d" % n, version=name, trained_through=60 * (n // 5) + 60)
    names = [version.version for version in made.versions[::-1]]
    assert names != sorted(names, reverse=True), "their names tell no order"
    loop_id = (await served.app.loops.named(DEFAULT)).id
    await served.blobs.delete(registry.record_path(loop_id, names[7]))

    told: list[str] = []
    link = f"{V1}/versions?maxpagesize={size}"
    while link:
        page = await served.json("GET", link)
        assert len(page["value"]) <= size
        told += [version["version"] for version in page["value"]]
        link = page.get("nextLink", "").removeprefix("https://localhost/")

    assert told == [name for name in names if name != names[7]]
    skipped = await served.json("GET", f"{V1}/versions?skip=20")
    assert skipped == {"value": []}


async def test_a_page_reads_no_more_than_it_may(served: InMemory, made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(versions, "_MOST", 3)
    for n in range(4):
        await made.make(b"%d" % n, version=registry.version_name(60, b"%d" % n), trained_through=60)
    read: list[str] = []

    async def counted(blobs: Blobs, loop_id: str, version: str) -> Version | None:
        read.append(version)
        return await recorded(blobs, loop_id, version)

    recorded = registry.recorded
    monkeypatch.setattr(registry, "recorded", counted)
    page = await served.json("GET", f"{V1}/versions?maxpagesize=2")

    assert len(page["value"]) == len(read) == 2
    created = [version["created"] for version in page["value"]]
    assert created == sorted(created, reverse=True)


async def test_a_version_without_a_record_is_told_while_it_serves(served: InMemory, made: Made) -> None:
    version = await made.make(b"old")
    loop_id = (await served.app.loops.named(DEFAULT)).id
    await served.blobs.delete(registry.record_path(loop_id, version.version))

    assert [told["version"] for told in (await served.json("GET", f"{V1}/versions"))["value"]] == [version.version]
    assert (await served.json("GET", f"{V1}/versions/{version.version}"))["serves"]
    await made.make(b"new")
    assert len((await served.json("GET", f"{V1}/versions"))["value"]) == 1


@pytest.mark.parametrize("name", ["x", "../0000000060-0123456789abcdef", "0000000060-0123456789abcdef", "%00", "a/b"])
@pytest.mark.parametrize(("method", "path"), [("GET", ""), ("GET", "/diff"), ("GET", "/model"), ("POST", "/rollback")])
async def test_what_is_no_version_is_not_found(served: InMemory, made: Made, name: str, method: str, path: str) -> None:
    await made.make(b"1")

    assert await refusal(served(method, f"{V1}/versions/{name}{path}")) == (404, "ResourceNotFound")


async def test_a_rollback_serves_at_once_and_stays(served: InMemory, made: Made) -> None:
    old = await made.make(trained_model(300))
    new = await made.make(trained_model(299))

    told = await served.json("POST", f"{V1}/versions/{old.version}/rollback")

    assert (told["version"], told["serves"], told["pinned"], told["learns"]) == (old.version, True, True, False)
    health = await served.json("GET", f"{V1}/health")
    assert (health["modelVersion"], health["modelPinned"]) == (old.version, True)
    assert (health["trainedThrough"], health["learnedThrough"]) == (60, 120)
    later = await made.make(trained_model(298))
    assert (await served.json("GET", f"{V1}/health"))["modelVersion"] == old.version
    listed = (await served.json("GET", f"{V1}/versions"))["value"]
    assert [(one["version"], one["serves"], one["learns"]) for one in listed] == [
        (later.version, False, True),
        (new.version, False, False),
        (old.version, True, False),
    ]
    assert (await served("DELETE", f"{V1}/pin")).status_code == 204
    health = await served.json("GET", f"{V1}/health")
    assert (health["modelVersion"], health["modelPinned"]) == (later.version, False)
    assert {name: served.app.counters[name] for name in ("model.rolled_back", "model.pinned", "model.unpinned")} == {
        "model.rolled_back": 1,
        "model.pinned": 0,
        "model.unpinned": 1,
    }


async def test_a_pin_keeps_what_serves(served: InMemory, made: Made) -> None:
    assert await refusal(served("PUT", f"{V1}/pin")) == (404, "ResourceNotFound")
    version = await made.make(trained_model(300))

    told = await served.json("PUT", f"{V1}/pin")
    await made.make(trained_model(299))

    assert (told["version"], told["pinned"]) == (version.version, True)
    assert (await served.json("GET", f"{V1}/health"))["modelVersion"] == version.version
    assert await refusal(served("DELETE", f"{V1}/pin?learn=x")) == (400, "BadRequest")
    assert (await served("DELETE", f"{V1}/pin?learn=pinned")).status_code == 204
    assert (await served.json("GET", f"{V1}/versions/{version.version}"))["learns"]
    assert (await served.json("GET", f"{V1}/health"))["modelVersion"] == version.version


async def test_what_is_not_pinned_can_be_unpinned(served: InMemory, made: Made) -> None:
    assert (await served("DELETE", f"{V1}/pin")).status_code == 204
    version = await made.make(trained_model(300))
    for query in ("", "?learn=newest", "?learn=pinned"):
        assert (await served("DELETE", f"{V1}/pin{query}")).status_code == 204
    assert (await served.json("GET", f"{V1}/health"))["modelVersion"] == version.version


async def test_a_held_back_version_is_told_with_its_reason_and_can_serve(served: InMemory, made: Made) -> None:
    good = await made.make(trained_model(300))
    bad = await made.make(trained_model(299), "It is bad.")

    health = await served.json("GET", f"{V1}/health")
    assert (health["modelVersion"], health["heldBackVersion"], health["heldBackReason"]) == (
        good.version,
        bad.version,
        "It is bad.",
    )
    told = await served.json("GET", f"{V1}/versions/{bad.version}")
    assert (told["heldBack"], told["serves"], told["learns"]) == ("It is bad.", False, True)
    assert (await served.json("POST", f"{V1}/versions/{bad.version}/rollback"))["serves"]


async def test_a_deleted_model_ends_the_pin_and_can_be_rolled_back_from(served: InMemory, made: Made) -> None:
    version = await made.make(trained_model(300))
    await served.json("PUT", f"{V1}/pin")

    await served("DELETE", "personalizer/v1.0/model")

    health = await served.json("GET", f"{V1}/health")
    assert (health["modelVersion"], health["modelPinned"]) == (None, False)
    assert await refusal(served("PUT", f"{V1}/pin")) == (404, "ResourceNotFound")
    (blank,) = [one for one in (await served.json("GET", f"{V1}/versions"))["value"] if one["blank"]]
    for method, path in (("GET", "model"), ("POST", "rollback")):
        assert await refusal(served(method, f"{V1}/versions/{blank['version']}/{path}")) == (404, "ResourceNotFound")
    assert (await served.json("POST", f"{V1}/versions/{version.version}/rollback"))["pinned"]
    assert (await served.json("POST", "personalizer/v1.0/rank", RANK))["ranking"][0]["probability"] != 0.25


@pytest.mark.parametrize(
    ("members", "says"),
    [
        ({"arguments": SLOTS}, "it is for --ccb_explore_adf"),
        ({"arguments": "--cb_explore_adf --of_a_later_release"}, "not allowed"),
        ({}, "cannot serve"),
    ],
)
async def test_a_version_that_cannot_serve_is_refused(
    served: InMemory, made: Made, members: dict[str, Any], says: str
) -> None:
    bad = await made.make(trained_model(300) if members else b"no model", **members)
    good = await made.make(trained_model(299))

    response = await served("POST", f"{V1}/versions/{bad.version}/rollback")

    assert (response.status_code, error(response)["code"]) == (400, "BadRequest")
    assert says in error(response)["message"]
    assert (await served.json("GET", f"{V1}/health"))["modelVersion"] == good.version


async def test_a_version_that_cannot_be_had_any_more_is_refused_with_the_reason(served: InMemory, made: Made) -> None:
    old = await made.make(trained_model(300), learned_from=None)
    await made.make(trained_model(299))
    loop_id = (await served.app.loops.named(DEFAULT)).id
    await served.blobs.delete(registry.model_path(loop_id, old.version))

    for method, path in (("GET", "model"), ("POST", "rollback")):
        response = await served(method, f"{V1}/versions/{old.version}/{path}")
        assert (response.status_code, error(response)["code"]) == (404, "ResourceNotFound")
        assert "not stored any more" in error(response)["message"]
    assert not (await served.json("GET", f"{V1}/versions/{old.version}"))["stored"]


async def test_a_versions_file_is_its_bytes(served: InMemory, made: Made) -> None:
    old = await made.make(b"\x00old\xff")
    await made.make(b"new")

    response = await served("GET", f"{V1}/versions/{old.version}/model")

    assert (response.status_code, response.get_body()) == (200, b"\x00old\xff")
    assert response.headers["Content-Disposition"] == "attachment; filename=model.vw"
    assert response.headers["Last-Modified"] == "Tue, 14 Nov 2023 22:13:20 GMT"


async def test_two_versions_are_compared(served: InMemory, made: Made) -> None:
    models = [trained_model(100), trained_model(300)]
    first = await made.make(models[0])
    second = await made.make(models[1], arguments=f"{SINGLE} --cubic abc", mode="Apprentice", reward=0.75)

    told = await served.json("GET", f"{V1}/versions/{second.version}/diff")

    apart_ = told.pop("weights")
    assert told == {
        "version": second.version,
        "other": first.version,
        "policy": [{"name": "cubic", "change": "added", "values": ["abc"]}],
        "mode": ["Apprentice", "Online"],
        "events": 10,
        "reward": 0.25,
    }
    tables = [weights(model) for model in models]
    assert (apart_["nonzero"], apart_["otherNonzero"]) == (len(tables[1]), len(tables[0]))
    assert apart_["distance"] > apart_["largestChange"] > 0
    back = await served.json("GET", f"{V1}/versions/{first.version}/diff?with={second.version}")
    assert (back["events"], back["reward"], back["weights"]["distance"]) == (-10, -0.25, apart_["distance"])
    response = await served("GET", f"{V1}/versions/{first.version}/diff")
    assert (response.status_code, error(response)["target"]) == (400, "with")
    assert await refusal(served("GET", f"{V1}/versions/{first.version}/diff?with=x")) == (404, "ResourceNotFound")


@pytest.mark.parametrize("change", ["gone", "no model", "large", "another table", "of slots", "not finite"])
async def test_weights_that_cannot_be_had_cheaply_are_left_out(
    served: InMemory, made: Made, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    first = await made.make(b"no model" if change == "no model" else trained_model(100))
    more: dict[str, Any] = {"arguments": f"{SINGLE} --bit_precision 20"} if change == "another table" else {}
    more |= {"reward": None} if change == "of slots" else {}
    second = await made.make(trained_model(300), **more)
    if change == "gone":
        loop_id = (await served.app.loops.named(DEFAULT)).id
        await served.blobs.delete(registry.model_path(loop_id, first.version))
    if change == "large":
        monkeypatch.setattr("shared.edge.versions._LARGE", 100)
    if change == "not finite":
        monkeypatch.setattr("shared.edge.versions.weights", lambda data: {1: float("nan"), len(data): 1.0})

    told = await served.json("GET", f"{V1}/versions/{second.version}/diff")

    assert (told["weights"] is None) is (change != "of slots")
    assert (told["reward"] is None) is (change == "of slots")


def test_options_are_compared_whatever_their_order_and_spelling() -> None:
    other = "--quadratic cd --learning_rate 0.1 -q ab --cb_explore_adf"
    assert changed("--cb_explore_adf -q ab -q cd -l 0.1", other) == []
    assert changed("--cb_explore_adf --epsilon 0.2 --cover 3", "--cb_explore_adf --epsilon 0.1 --l1 0.5") == [
        ToldOption("cover", "added", ["3"]),
        ToldOption("epsilon", "changed", ["0.2"], ["0.1"]),
        ToldOption("l1", "removed", other=["0.5"]),
    ]
    assert changed("--later", "--cb_explore_adf") == [
        ToldOption("", "added", ["--later"]),
        ToldOption("cb_explore_adf", "removed", other=[""]),
    ]


def test_tables_of_weights_are_compared_place_by_place() -> None:
    assert apart({1: 3.0, 2: 1.0}, {2: 1.0, 3: 4.0}) == ToldWeights(2, 2, 2, 4.0, 5.0)
    assert apart({}, {}) == ToldWeights(0, 0, 0, 0.0, 0.0)
