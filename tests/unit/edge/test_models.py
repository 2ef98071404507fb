"""Model calls: the file that serves, signed and not, its import, its end, and when it was made."""

from __future__ import annotations

import hashlib
import io
import zipfile

import pytest

from shared.learning import pointer, registry
from shared.learning.pointer import Pointer
from shared.learning.registry import Version
from shared.learning.signed import Signer, pack
from shared.loops.loops import DEFAULT
from shared.loops.policy import DEFAULT_ARGUMENTS, Problem
from tests.unit.edge.inmemory import InMemory, error, refusal
from tests.unit.learning.test_signed import known_key, pem_of, signer
from tests.unit.ranking.trained import trained_model

V10, P3 = "personalizer/v1.0", "personalizer/v1.1-preview.3"
CREATED = 1_700_000_060.5
NEVER = dict.fromkeys(("creationTime", "lastModifiedTime"), "0001-01-01T00:00:00+00:00")
RANK = {
    "contextFeatures": [{"time": "t1", "hour": 1}],
    "actions": [{"id": f"a{n}", "features": [{"topic": f"t{n}"}]} for n in range(4)],
}


async def publish(served: InMemory, model: bytes = b"model", loop: str = DEFAULT, created: float = CREATED) -> None:
    """Make a model serve, as the trainer does."""
    loop_id = (await served.app.loops.named(loop)).id
    name, digest = registry.version_name(5, model), hashlib.sha256(model).hexdigest()
    version = Version(name, digest, "", 5, 1, 0.0, created, 1_700_000_000.0)
    await registry.store(served.blobs, loop_id, version, model)
    await pointer.move(served.blobs, loop_id, Pointer(version), None)


@pytest.fixture
def signing(monkeypatch: pytest.MonkeyPatch) -> InMemory:
    """A deployment that signs models."""
    return InMemory(monkeypatch, signing_key=pem_of(known_key()))


@pytest.mark.parametrize("path", [f"{V10}/model", f"{P3}/model", "personalizer/model?api-version=2022-09-01-preview"])
async def test_the_file_that_serves_is_told_as_it_is(served: InMemory, path: str) -> None:
    await publish(served, b"\x00model\xff")

    response = await served("GET", path)
    head = await served("HEAD", path)

    assert (response.status_code, response.get_body()) == (200, b"\x00model\xff")
    assert response.headers["Content-Type"] == "application/octet-stream"
    assert response.headers["Content-Disposition"] == "attachment; filename=model.vw"
    assert response.headers["Last-Modified"] == "Tue, 14 Nov 2023 22:14:20 GMT"
    assert (head.status_code, dict(head.headers)) == (200, dict(response.headers))


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_a_loop_without_a_model_says_so(served: InMemory, method: str) -> None:
    assert await refusal(served(method, f"{V10}/model")) == (404, "ResourceNotFound")
    assert await served.json("GET", f"{V10}/model/properties") == NEVER
    await publish(served)
    assert (await served("DELETE", f"{V10}/model")).status_code == 204
    assert await refusal(served(method, f"{V10}/model")) == (404, "ResourceNotFound")
    assert await served.json("GET", f"{V10}/model/properties") == NEVER


async def test_model_properties_tell_when_it_was_made(served: InMemory) -> None:
    await publish(served)

    assert await served.json("GET", f"{V10}/model/properties") == {
        "creationTime": "2023-11-14T22:13:20+00:00",
        "lastModifiedTime": "2023-11-14T22:14:20.500000+00:00",
    }


@pytest.mark.parametrize("wanted", ["true", "True", "TRUE"])
async def test_a_model_is_signed_where_that_is_asked_for(signing: InMemory, wanted: str) -> None:
    await publish(signing)

    response = await signing("GET", f"{P3}/model?signed={wanted}")

    assert response.headers["Content-Disposition"] == "attachment; filename=model.vw.zip"
    assert response.headers["Content-Type"] == "application/octet-stream"
    with zipfile.ZipFile(io.BytesIO(response.get_body())) as archive:
        assert set(archive.namelist()) == {"model.vw", "signer.der", "sha512_signature.bin"}
        assert archive.read("model.vw") == b"model"
    for plain in ("", "?signed=false", "?signed=False"):
        assert (await signing("GET", f"{P3}/model{plain}")).get_body() == b"model"


@pytest.mark.parametrize("wanted", ["1", "yes", "truee", "x" * 1000])
async def test_signed_is_true_or_false(served: InMemory, wanted: str) -> None:
    await publish(served)

    response = await served("GET", f"{P3}/model?signed={wanted}")

    assert (response.status_code, error(response)["code"], error(response)["target"]) == (400, "BadRequest", "signed")
    assert len(error(response)["message"]) < 200


async def test_a_deployment_without_a_key_signs_nothing(served: InMemory) -> None:
    await publish(served)

    response = await served("GET", f"{P3}/model?signed=true")

    assert (response.status_code, error(response)["code"]) == (403, "InvalidApiAccess")
    assert "RANKLOOP_SIGNING_KEY" in error(response)["message"]


async def test_a_signed_model_serves_another_loop(signing: InMemory) -> None:
    await signing.make_loop("news")
    model = trained_model(300, DEFAULT_ARGUMENTS[Problem.SINGLE_SLOT])
    await publish(signing, model)
    exported = (await signing("GET", f"{P3}/model?signed=true")).get_body()

    response = await signing("PUT", f"loops/news/{P3}/model", exported)

    assert (response.status_code, response.get_body()) == (204, b"")
    assert (await signing("GET", f"loops/news/{P3}/model")).get_body() == model
    assert signing.app.counters["model.imported"] == 1
    ranking = (await signing.json("POST", f"loops/news/{P3}/rank", RANK))["ranking"]
    assert sorted(entry["probability"] for entry in ranking)[-1] == pytest.approx(0.85)
    health = await signing.json("GET", "loops/news/rankloop/v1/health")
    assert health["modelVersion"] == registry.version_name(0, model)
    version, _ = await registry.current(signing.blobs, (await signing.app.loops.named("news")).id)
    assert version is not None
    assert version.left_out == (), "later imports are learned on top of it"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "InvalidModelImportFormat"),
        (b"no zip", "InvalidModelImportFormat"),
        (b"PK\x03\x04", "InvalidModelImportFormat"),
        ({"json": 1}, "InvalidModelImportFormat"),
    ],
)
async def test_what_is_no_signed_model_is_refused(signing: InMemory, body: object, code: str) -> None:
    assert await refusal(signing("PUT", f"{P3}/model", body)) == (400, code)
    assert await served_nothing(signing)


async def served_nothing(served: InMemory) -> bool:
    told: dict[str, str] = await served.json("GET", f"{P3}/model/properties")
    return told == NEVER


async def test_a_model_that_vw_cannot_load_is_refused(signing: InMemory) -> None:
    response = await signing("PUT", f"{P3}/model", pack(b"no model at all", signer()))

    assert (response.status_code, error(response)["code"]) == (400, "InvalidModelImportFormat")
    assert len(error(response)["message"]) <= 500
    assert await served_nothing(signing)


async def test_a_model_of_the_other_problem_is_refused(signing: InMemory) -> None:
    await signing.use_slots()
    model = pack(trained_model(10, DEFAULT_ARGUMENTS[Problem.SINGLE_SLOT]), signer())

    assert await refusal(signing("PUT", f"{P3}/model", model)) == (400, "InvalidModelImportFormat")
    assert await served_nothing(signing)


async def test_a_model_of_a_stranger_is_refused_until_he_is_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    model = pack(trained_model(10, DEFAULT_ARGUMENTS[Problem.SINGLE_SLOT]), signer())
    served = InMemory(monkeypatch)

    assert await refusal(served("PUT", f"{P3}/model", model)) == (400, "InvalidModelImportSignature")


async def test_the_signer_is_made_once_of_the_deployments_key(signing: InMemory) -> None:
    first = await signing.app.signer()

    assert isinstance(first, Signer)
    assert await signing.app.signer() is first


async def test_a_deleted_model_leaves_a_loop_that_explores(served: InMemory) -> None:
    await publish(served, trained_model(300, DEFAULT_ARGUMENTS[Problem.SINGLE_SLOT]))

    response = await served("DELETE", f"{V10}/model")

    assert (response.status_code, response.get_body()) == (204, b"")
    assert served.app.counters["model.deleted"] == 1
    ranking = (await served.json("POST", f"{V10}/rank", RANK))["ranking"]
    assert [entry["probability"] for entry in ranking] == [0.25] * 4


async def test_a_loops_model_is_its_own(served: InMemory) -> None:
    await served.make_loop("news")
    await publish(served, b"default's")
    await publish(served, b"news's", "news")

    await served("DELETE", f"loops/news/{V10}/model")

    assert (await served("GET", f"{V10}/model")).get_body() == b"default's"
    assert await refusal(served("GET", f"loops/news/{V10}/model")) == (404, "ResourceNotFound")


async def test_a_damaged_model_is_not_told(served: InMemory) -> None:
    await publish(served)
    loop = await served.app.loops.named(DEFAULT)
    (path,) = [path for path in await served.blobs.names(f"loops/{loop.id}/models/") if path.endswith("model.vw")]
    await served.blobs.delete(path)

    assert await refusal(served("GET", f"{V10}/model")) == (503, "OperationNotAllowed")
    await served.blobs.put(path, b"mod")
    assert await refusal(served("GET", f"{V10}/model")) == (503, "OperationNotAllowed")
