"""The app in Azure's place: a storage that takes tokens alone, over https, and the platform's source of tokens."""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jwt
import pytest
from azure.storage.blob import BlobServiceClient
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from localhost.azurite import ACCOUNT, ACCOUNT_KEY, HOST, Azurite
from tests.integration.served import ROOT, Served, environment, wait_until

CLIENT = "11111111-2222-3333-4444-555555555555"
COPY = "rankloopcopy"
"""Another account of the same storage."""
HEADER = "a secret of the platform's"
KEY = {"Ocp-Apim-Subscription-Key": "k", "Content-Type": "application/json"}


class Identities:
    """What App Service and Functions offer to an app with an identity: tokens, on loopback."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []
        self.faults: list[str] = []
        self.known = True
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                query = parse_qs(urlsplit(self.path).query)
                outer.asked.append((query["resource"][0], query.get("client_id", [""])[0]))
                if self.headers["X-IDENTITY-HEADER"] != HEADER:
                    outer.faults.append(str(self.headers))
                refused = {"statusCode": 400, "message": "No User Assigned or Delegated Managed Identity found"}
                body = json.dumps(token(query["resource"][0]) if outer.known else refused).encode()
                self.send_response(200 if outer.known else 400)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer((HOST, 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    @property
    def address(self) -> str:
        return f"http://{HOST}:{self._server.server_port}/msi/token"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def token(resource: str) -> dict[str, str]:
    """An answer of the platform's. Azurite looks at what the token says and not at who signed it."""
    now = datetime.now(UTC)
    claims = {
        "aud": resource,
        "iss": "https://sts.windows.net/ab1f708d-50f6-404c-a006-d71b2ac7a606/",
        "iat": now,
        "nbf": now - timedelta(minutes=1),
        "exp": now + timedelta(hours=8),
    }
    until = str(int((now + timedelta(hours=8)).timestamp()))
    made = jwt.encode(claims, "0" * 32, algorithm="HS256")
    return {"access_token": made, "expires_on": until, "resource": resource, "token_type": "Bearer"}


@pytest.fixture
def identities() -> Iterator[Identities]:
    running = Identities()
    yield running
    running.close()


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate of this machine's loopback address, its own authority; its key lies beside it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, HOST)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address(HOST))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path / "certificate.pem"
    path.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    unlocked = serialization.NoEncryption()
    secret = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, unlocked)
    path.with_name("key.pem").write_bytes(secret)
    return path


@pytest.fixture
def closed(certificate: Path) -> Iterator[Azurite]:
    """An Azurite behind https that asks for tokens."""
    options = ("--oauth", "basic", "--cert", str(certificate), "--key", str(certificate.with_name("key.pem")))
    with Azurite(options=options, accounts={ACCOUNT: [ACCOUNT_KEY], COPY: [ACCOUNT_KEY]}) as running:
        yield running


SEND = """
import asyncio, os
from shared.storage.azure import AzureStorage

async def send():
    async with AzureStorage(os.environ["RANKLOOP_STORAGE"]) as storage:
        await storage.queues.send("rankloop-work", b"from the app")

asyncio.run(send())
"""


@pytest.fixture
def settings(closed: Azurite, certificate: Path, identities: Identities) -> dict[str, str]:
    """What infra/ sets, with this machine in Azure's place."""
    blob, queue, table = (f"https://{HOST}:{port}/{ACCOUNT}" for port in closed.ports)
    return {
        "RANKLOOP_STORAGE": f"BlobEndpoint={blob};QueueEndpoint={queue};TableEndpoint={table}",
        "RANKLOOP_KEY": "k",
        # A busy machine is no reason for a 503.
        **dict.fromkeys(("RANKLOOP_LOG_DEADLINE_MS", "RANKLOOP_REWARD_DEADLINE_MS"), "3500"),
        "RANKLOOP_JOIN_SCHEDULE": "* * * * * *",
        "RANKLOOP_TRAIN_SCHEDULE": "0 0 0 29 2 *",
        "AzureWebJobsStorage__clientId": CLIENT,
        "AzureWebJobsStorage__blobServiceUri": blob,
        "AzureWebJobsStorage__queueServiceUri": queue,
        "AZURE_CLIENT_ID": CLIENT,
        "AZURE_TOKEN_CREDENTIALS": "ManagedIdentityCredential",
        "IDENTITY_ENDPOINT": identities.address,
        "IDENTITY_HEADER": HEADER,
        "SSL_CERT_FILE": str(certificate),
    }


def test_the_app_works_with_nothing_but_its_identity(
    settings: dict[str, str], identities: Identities, certificate: Path
) -> None:
    event = json.dumps({"actions": [{"id": "a", "features": [{"x": 1}]}], "eventId": "e"}).encode()

    with Served(ROOT, "--replicas", env=settings) as app:
        ranked = app.post("/personalizer/v1.0/rank", event, KEY)
        assert (ranked.status, ranked.headers["x-rankloop-log"]) == (201, None), ranked.text + app.errors
        assert app.post("/personalizer/v1.0/events/e/reward", b'{"value": 1}', KEY).status == 204
        story = app.get("/rankloop/v1/events/e", KEY)
        assert (story.status, json.loads(story.text)["eventId"]) == (200, "e")
        held = app.get("/personalizer/v1.0/configurations/service", KEY).body
        assert app.request("PUT", "/personalizer/v1.0/configurations/service", held, KEY).status == 200
        sent = subprocess.run(
            [sys.executable, "-c", SEND], env=environment(settings), cwd=ROOT, capture_output=True, check=False
        )
        assert sent.returncode == 0, sent.stderr.decode()
        # The host has taken it from the queue, by its own settings, and the app has said what it is not.
        wait_until(lambda: "the message is no piece of work" in app.errors, "nobody took the message")
        address = settings["AzureWebJobsStorage__blobServiceUri"]
        with BlobServiceClient(address, ACCOUNT_KEY, connection_verify=str(certificate)) as blobs:
            leased = blobs.get_blob_client("rankloop-host", "timers/join_timer")
            wait_until(leased.exists, f"nobody leased the timer: {app.errors}")
            assert leased.get_blob_properties().lease.state == "leased"
        accounts = {"FROM": settings["RANKLOOP_STORAGE"], "TO": settings["RANKLOOP_STORAGE"].replace(ACCOUNT, COPY)}
        backup = [sys.executable, "-m", "backup"]
        copied = subprocess.run(
            backup, env=environment({**settings, **accounts}), cwd=ROOT, capture_output=True, check=False
        )
        assert copied.stdout.decode().splitlines()[-1:] == [
            line for line in copied.stdout.decode().splitlines() if line.startswith("Copied: 1 loops, 2 rows, ")
        ], copied.stderr.decode()

    assert not identities.faults
    assert set(identities.asked) == {("https://storage.azure.com", CLIENT)}


def test_without_its_identity_the_storage_stays_closed(settings: dict[str, str], identities: Identities) -> None:
    identities.known = False

    with Served(ROOT, env=settings) as app:
        refused = app.get("/personalizer/v1.0/configurations/service", KEY)
        assert refused.status == 503, refused.text + app.errors

    assert identities.asked
