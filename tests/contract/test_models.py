"""Models leave a loop and enter another one: signed zips of our own, and the model that Personalizer exported."""

import email.utils
import io
import zipfile

import pytest

from demo.grocery import APPLICATIONS, LOCATIONS, PRODUCTS, SHOPPERS, TIMES
from tests.contract.conftest import SEEDS, Deployment, wait_until
from tests.contract.loops import Loop, make_loop, signed_model
from tests.contract.swagger import Got, Sent

EXPORTED = SEEDS / "data" / "Personalizer_QuickStart_Model.zip"
UNSET = "0001-01-01T00:00:00+00:00"
ROOT = "/personalizer/v1.1-preview.3"


def get(loop: Loop, path: str, method: str = "GET", headers: dict[str, str] | None = None) -> Got:
    return loop.send(Sent(method, f"{ROOT}/{path}", None, headers or {}))


def put(loop: Loop, body: bytes) -> Got:
    return loop.send(Sent("PUT", f"{ROOT}/model", body, {"Content-Type": "application/octet-stream"}))


def error(got: Got) -> tuple[int, str]:
    return got.status, got.headers["x-ms-error-code"]


def rank(loop: Loop, event_id: str) -> dict[str, float]:
    """The probability of each product for one shopper."""
    answer = loop.call(
        "POST",
        "rank",
        {
            "contextFeatures": [SHOPPERS["Bill"], {"location": LOCATIONS[0]}, {"time_of_day": TIMES[0]},
                                {"application_type": APPLICATIONS[0]}],
            "actions": [{"id": name, "features": [features]} for name, features in PRODUCTS.items()],
            "eventId": event_id,
        },
    )  # fmt: skip
    return {entry["id"]: entry["probability"] for entry in answer["ranking"]}


def test_a_loop_without_a_model_says_so(served: Deployment) -> None:
    loop = make_loop(served)

    for method in ("GET", "HEAD"):
        assert error(get(loop, "model", method)) == (404, "ResourceNotFound")
    assert loop.call("GET", "model/properties") == {"creationTime": UNSET, "lastModifiedTime": UNSET}
    assert get(loop, "model", "DELETE").status == 204


def test_a_model_moves_to_another_loop_and_back_to_nothing(served: Deployment) -> None:
    loop, model = make_loop(served), signed_model(served)

    assert put(loop, model).status == 204

    got = get(loop, "model")
    assert (got.status, got.headers["content-type"]) == (200, "application/octet-stream")
    assert got.headers["content-disposition"] == "attachment; filename=model.vw"
    with zipfile.ZipFile(io.BytesIO(model)) as archive:
        assert sorted(archive.namelist()) == ["model.vw", "sha512_signature.bin", "signer.der"]
        assert got.body == archive.read("model.vw")
    properties = loop.call("GET", "model/properties")
    assert properties["creationTime"] == properties["lastModifiedTime"] != UNSET
    modified = email.utils.parsedate_to_datetime(got.headers["last-modified"])
    assert modified.isoformat()[:19] == properties["lastModifiedTime"][:19]
    signed = get(loop, "model?signed=true")
    assert signed.headers["content-disposition"] == "attachment; filename=model.vw.zip"
    assert signed.body == model  # deterministic: the same key over the same bytes

    head = get(loop, "model", "HEAD")
    assert (head.status, head.body, head.headers["last-modified"]) == (200, b"", got.headers["last-modified"])

    assert get(loop, "model", "DELETE").status == 204
    assert get(loop, "model").status == 404
    assert loop.call("GET", "model/properties")["creationTime"] == UNSET


@pytest.mark.parametrize(
    ("damage", "code"),
    [
        (lambda data: data[: len(data) // 2], "InvalidModelImportFormat"),
        (lambda data: b"", "InvalidModelImportFormat"),
        (lambda data: b"vw 9.11.9", "InvalidModelImportFormat"),
        (lambda data: _with(data, "model.vw", lambda model: model[: len(model) // 2]), "InvalidModelImportSignature"),
        (lambda data: _with(data, "model.vw", lambda model: model + b"\0"), "InvalidModelImportSignature"),
        (lambda data: _with(data, "signer.der", lambda der: der[:-1] + b"\0"), "InvalidModelImportSignature"),
    ],
)
def test_a_damaged_model_is_refused_and_the_old_one_stays(served: Deployment, damage: object, code: str) -> None:
    loop, model = make_loop(served), signed_model(served)
    assert put(loop, model).status == 204

    assert callable(damage)
    assert error(put(loop, damage(model))) == (400, code)

    assert get(loop, "model?signed=true").body == model


def _with(data: bytes, name: str, change: object) -> bytes:
    assert callable(change)
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as given, zipfile.ZipFile(out, "w") as made:
        for member in given.namelist():
            made.writestr(member, change(given.read(member)) if member == name else given.read(member))
    return out.getvalue()


def test_a_single_slot_model_is_not_for_slots(served: Deployment) -> None:
    loop = make_loop(served)
    loop.use_slots()

    assert error(put(loop, signed_model(served))) == (400, "InvalidModelImportFormat")


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE", "PUT"])
def test_only_the_loops_own_key_reaches_its_model(served: Deployment, method: str) -> None:
    loop, other = make_loop(served), make_loop(served)

    got = loop.send(Sent(method, f"{ROOT}/model", b"" if method == "PUT" else None, {}), key=other.key)

    assert error(got) == (401, "Unauthorized")


@pytest.mark.skipif(not EXPORTED.exists(), reason=f"no published model ({EXPORTED.name}) in {SEEDS.name}/data")
def test_the_model_that_personalizer_exported_serves_at_once_and_learns_on(served: Deployment) -> None:
    loop = make_loop(served)
    loop.configure(rewardWaitTime="PT5S", modelExportFrequency="PT5S")
    untrained = rank(loop, "before")
    assert set(untrained.values()) == {0.2}

    assert put(loop, EXPORTED.read_bytes()).status == 204

    # It likes pasta best for everybody, and its own exploration is the loop's: 0.2 over five products.
    learned = rank(loop, "after")
    assert max(learned, key=learned.__getitem__) == "pasta"
    assert learned["pasta"] == pytest.approx(0.84)
    with zipfile.ZipFile(EXPORTED) as archive:
        exported = archive.read("model.vw")
    assert get(loop, "model").body == exported
    imported = loop.call("GET", "model/properties")["lastModifiedTime"]
    for n in range(20):
        rank(loop, f"e{n}")
        loop.call("POST", f"events/e{n}/reward", {"value": 1.0})
    wait_until(lambda: bool(loop.call("GET", "model/properties")["lastModifiedTime"] != imported))
    grown = get(loop, "model").body
    assert len(grown) >= len(exported)  # nothing that it knew is gone
    # And the loop's own export of it is one that we signed.
    again = make_loop(served)
    assert put(again, loop.call("GET", "model?signed=true")).status == 204
    assert rank(again, "x") == rank(loop, "x")
