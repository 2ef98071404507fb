"""Turns the tenant of the tests into one that people sign in to, as Entra's v2.0 endpoints do: code, PKCE, refresh.

It refuses whatever Entra would refuse of a single-page application: a page that leaves out a step gets no token.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Final
from urllib.parse import parse_qs, urlencode, urlsplit

from tests.integration.jwks import AUDIENCE, TENANT, Answer, Entra, segment, sign

CLIENT: Final = "2f1d9c1e-6a0b-4a53-9a9f-0d5ac8d0f6aa"
SCOPE: Final = f"openid profile offline_access {AUDIENCE}/.default"
WHO: Final = "ada@contoso.example"
_TENANT: Final = f"/{TENANT}/oauth2/v2.0"


class Authority(Entra):
    """A tenant with one person, whose roles and fortunes a test may change.

    Attributes:
        roles: the app roles of the person.
        changed: claims of access tokens that differ.
        nonce: what identities are given in place of the nonce that was asked for.
        consents: whether the person consents.
        renews: whether refresh tokens are good for anything.
        lasts: seconds that an access token is said to be good for.
        given: how many tokens were given for a code, and how many for a refresh token.
        returns: where people may be sent back to.
    """

    def __init__(self) -> None:
        super().__init__()
        self._waiting: dict[str, dict[str, str]] = {}
        self.returns = ""
        self.begin()

    def begin(self, *roles: str) -> None:
        """Be what a test begins with: somebody of these roles, with whom all goes well."""
        self.roles = roles
        self.changed: dict[str, object] = {}
        self.nonce = ""
        self.consents = self.renews = True
        self.lasts = 3600
        self.asked.clear()
        self.given = {"authorization_code": 0, "refresh_token": 0}
        self._refresh = ""

    def answer(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """As Entra answers."""
        split = urlsplit(path)
        if (method, split.path) == ("GET", f"{_TENANT}/authorize"):
            return self._authorize(_single(split.query))
        if (method, split.path) == ("POST", f"{_TENANT}/token"):
            status, told = self._token(_single(body.decode()), headers.get("Origin", ""))
            allowed = {"Access-Control-Allow-Origin": headers.get("Origin", ""), "Content-Type": "application/json"}
            return Answer(status, allowed, json.dumps(told))
        return super().answer(method, path, headers, body)

    def _authorize(self, asked: Mapping[str, str]) -> Answer:
        wanted = {
            "client_id": CLIENT,
            "response_type": "code",
            "response_mode": "fragment",
            "redirect_uri": self.returns,
            "scope": SCOPE,
            "code_challenge_method": "S256",
        }
        if any(asked.get(name) != value for name, value in wanted.items()):
            return Answer(400, {}, f"AADSTS: {dict(asked)} is not {wanted}")
        if not self.consents:
            refused = {"error": "access_denied", "error_description": "AADSTS65004: User declined to consent."}
            return self._back({**refused, "state": asked["state"]})
        code = f"code-{len(self.asked)}"
        self._waiting[code] = dict(asked)
        return self._back({"code": code, "state": asked["state"], "session_state": "s"})

    def _back(self, told: dict[str, str]) -> Answer:
        return Answer(302, {"Location": f"{self.returns}#{urlencode(told)}"})

    def _token(self, asked: Mapping[str, str], origin: str) -> tuple[int, dict[str, object]]:
        kind = asked.get("grant_type", "")
        if asked.get("client_id") != CLIENT or f"{origin}/" != self.returns:
            return 400, {"error": "invalid_request", "error_description": "AADSTS9002327: not this application."}
        nonce = ""
        if kind == "authorization_code":
            begun = self._waiting.pop(asked.get("code", ""), {})
            proof = segment(hashlib.sha256(asked.get("code_verifier", "").encode()).digest())
            if begun.get("code_challenge") != proof or asked.get("redirect_uri") != self.returns:
                return 400, {"error": "invalid_grant", "error_description": "AADSTS501481: the code is not yours."}
            nonce = self.nonce or begun["nonce"]
        elif not self.renews or asked.get("refresh_token") != self._refresh:
            return 400, {"error": "invalid_grant", "error_description": "AADSTS700084: it has expired."}
        self.given[kind] += 1
        self._refresh = f"refresh-{sum(self.given.values())}"
        identity = {"aud": CLIENT, "nonce": nonce, "preferred_username": WHO}
        return 200, {
            "token_type": "Bearer",
            "access_token": _signed({**self.claims(*self.roles), "jti": self._refresh, **self.changed}),
            "id_token": _signed({**self.claims(), **identity}),
            "refresh_token": self._refresh,
            "expires_in": self.lasts,
        }


def _signed(claims: Mapping[str, object]) -> str:
    return sign({"typ": "JWT", "alg": "RS256", "kid": "one"}, json.dumps(claims).encode(), "one")


def _single(query: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(query).items()}
