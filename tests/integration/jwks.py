"""Turns a free port on loopback into an Entra tenant for tests: it publishes signing keys and issues tokens.

The tenant answers as Entra's endpoints do, on paths of its id and of its domain. Keys may be rotated, and the server
stopped and started again under the same address.
"""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Mapping
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import NamedTuple, Self

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256

TENANT = "8eaef023-2b34-4da1-9baa-8bc8c9d6a490"
DOMAIN = "contoso.example"
AUDIENCE = "api://rankloop"


@cache
def rsa(name: str) -> RSAPrivateKey:
    """A key that is the same wherever the name is, since each takes a while to make."""
    return generate_private_key(65537, 2048)


def public_pem(name: str) -> bytes:
    return (
        rsa(name).public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )


def jwk(name: str, **members: object) -> dict[str, object]:
    """The public key of this name as Entra publishes it; its id is the name."""
    public = jwt.algorithms.RSAAlgorithm.to_jwk(rsa(name).public_key(), as_dict=True)
    issuer = "https://login.microsoftonline.com/{tenantid}/v2.0"
    entry = {"kty": "RSA", "use": "sig", "kid": name, "x5t": name, "n": public["n"], "e": public["e"], "issuer": issuer}
    return {**entry, **members}


def segment(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def sign(header: Mapping[str, object], payload: bytes, key: str) -> str:
    """A token with this header and payload, whatever they say; the signature is RS256 by the key of this name."""
    signed = f"{segment(json.dumps(header).encode())}.{segment(payload)}"
    return f"{signed}.{segment(rsa(key).sign(signed.encode(), PKCS1v15(), SHA256()))}"


class Answer(NamedTuple):
    """One response."""

    status: int
    headers: dict[str, str]
    body: str = ""


class Entra:
    """A tenant; in a `with` block it is served on loopback.

    Args:
        authority: its address, where it is not to be served.

    Attributes:
        keys: what it publishes; change it to rotate them.
        asked: the paths that were asked for.
    """

    def __init__(self, authority: str = "") -> None:
        self.authority = authority
        self.keys: list[dict[str, object]] = [jwk("one")]
        self.asked: list[str] = []
        self._server: ThreadingHTTPServer | None = None
        self._thread: threading.Thread | None = None
        self._port = 0

    def documents(self) -> dict[str, object]:
        """What is published, by path."""
        metadata = {
            "issuer": f"{self.authority}/{TENANT}/v2.0",
            "jwks_uri": f"{self.authority}/{TENANT}/discovery/v2.0/keys",
        }
        found: dict[str, object] = {}
        for tenant in (TENANT, DOMAIN):
            found[f"/{tenant}/discovery/v2.0/keys"] = {"keys": self.keys}
            found[f"/{tenant}/v2.0/.well-known/openid-configuration"] = metadata
        return found

    def claims(self, *roles: str, now: float | None = None, **changed: object) -> dict[str, object]:
        """The claims of a v2 token of a daemon that holds app roles; a claim that is changed to None is left out."""
        issued = int(time.time() if now is None else now)
        claims: dict[str, object] = {
            "aud": AUDIENCE,
            "iss": f"{self.authority}/{TENANT}/v2.0",
            "iat": issued,
            "nbf": issued,
            "exp": issued + 3600,
            "azp": "6e74172b-be56-4843-9ff4-e66a39bb12e3",
            "oid": "690222be-ff1a-4d56-abd1-7e4f7d38e474",
            "sub": "690222be-ff1a-4d56-abd1-7e4f7d38e474",
            "tid": TENANT,
            "ver": "2.0",
        }
        if roles:
            claims["roles"] = list(roles)
        return {name: value for name, value in {**claims, **changed}.items() if value is not None}

    def token(
        self, *roles: str, key: str = "one", kid: str | None = None, now: float | None = None, **changed: object
    ) -> str:
        """A token with `claims`, signed by the key of one name under the id of that or another."""
        header = {"typ": "JWT", "alg": "RS256", "kid": kid or key}
        return sign(header, json.dumps(self.claims(*roles, now=now, **changed)).encode(), key)

    def answer(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """What a call gets."""
        document = self.documents().get(path) if method == "GET" else None
        return Answer(404 if document is None else 200, {"Content-Type": "application/json"}, json.dumps(document))

    def start(self) -> Self:
        """Serve, under the same address as before."""
        entra = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                entra.asked.append(self.path)
                sent = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                answer = entra.answer(self.command, self.path, dict(self.headers.items()), sent)
                body = answer.body.encode()
                self.send_response(answer.status)
                for name, value in {**answer.headers, "Content-Length": str(len(body))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            do_POST = do_GET

            def log_message(self, format: str, *args: object) -> None:
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", self._port), Handler)
        self._port = self._server.server_port
        self.authority = f"http://127.0.0.1:{self._port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()
        return self

    def stop(self) -> None:
        """Stop serving: connections are refused from now on."""
        if self._server is not None and self._thread is not None:
            self._server.shutdown()
            self._thread.join()
            self._server.server_close()
            self._server = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, e: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()
