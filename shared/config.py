"""Turns environment variables (app settings in Azure) into the settings of the deployment.

docs/operations.md lists them for operators; a test holds both lists equal.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from shared.storage import address

MAX_DEADLINE = 3500
"""Milliseconds; less than the shortest grace, so that what is acknowledged is in its bucket for certain (ADR 0003)."""
MAX_LINGER = 100
"""Milliseconds; each adds to the time of every answer."""

MIRROR_HOSTS = ".blob.core.windows.net"
_CLIENT = re.compile(r"[A-Za-z0-9-]{1,64}")
_MIRROR_HOST = re.compile(r"\.?[a-z0-9-]+(\.[a-z0-9-]+)*|http://[a-z0-9.-]+(:\d{1,5})?")


class ConfigError(Exception):
    """A setting of the deployment is missing or cannot be read."""


@dataclass(frozen=True, slots=True)
class Config:
    """Settings of the deployment.

    Attributes:
        storage: a connection string, or the account that the app's own identity may use; see `address.without_key`.
        key: the deployment key, or several separated by commas; without one only loop keys and tokens open anything.
        strict_rank: answer 503 when a rank event is not durable in time, in place of 201 and "pending".
        log_deadline: seconds that Rank waits for the log before it answers.
        reward_deadline: seconds that Reward and Activate wait for it before they ask the caller to repeat the call.
        linger: seconds that a row of the journal waits for company before it is written.
        max_body: bytes of a request body at most.
        shards: over how many partitions the writers of a loop spread.
        prune_journal: delete journal rows as soon as they are joined; for Azurite.
        mirror_hosts: where callers may have their logs copied to; see `shared.log.mirror.check_uri`.
        signing_key: the RSA key, as PEM, that signs exported models; without one none is signed.
        trusted_signers: SHA-256 fingerprints of the certificates whose models may be imported besides our own.
        entra_tenant: the Microsoft Entra tenant whose bearer tokens count; without one none does.
        entra_audiences: whom such tokens must be made for.
        entra_authority: the address of the Entra cloud.
        entra_client: the id of the registration by which people sign in to the page; without one they cannot.
        entra_scope: what the page asks for then.
    """

    storage: str
    key: str
    strict_rank: bool = False
    log_deadline: float = 0.5
    reward_deadline: float = 0.5
    linger: float = 0.0
    max_body: int = 4 * 1024 * 1024
    shards: int = 4
    prune_journal: bool = False
    mirror_hosts: tuple[str, ...] = (MIRROR_HOSTS,)
    signing_key: str = ""
    trusted_signers: str = ""
    entra_tenant: str = ""
    entra_audiences: frozenset[str] = frozenset()
    entra_authority: str = "https://login.microsoftonline.com"
    entra_client: str = ""
    entra_scope: str = ""


def read(environment: Mapping[str, str]) -> Config:
    """The settings that an environment holds.

    Raises:
        ConfigError: one is missing, or is not what it should be.
    """
    return Config(
        storage=_storage(environment),
        key=_secret(environment, "RANKLOOP_KEY"),
        strict_rank=_flag(environment, "RANKLOOP_STRICT_RANK"),
        log_deadline=_number(environment, "RANKLOOP_LOG_DEADLINE_MS", 500, 1, MAX_DEADLINE) / 1000,
        reward_deadline=_number(environment, "RANKLOOP_REWARD_DEADLINE_MS", 500, 1, MAX_DEADLINE) / 1000,
        linger=_number(environment, "RANKLOOP_LINGER_MS", 0, 0, MAX_LINGER) / 1000,
        max_body=_number(environment, "RANKLOOP_MAX_BODY_BYTES", 4 * 1024 * 1024, 1024, 100 * 1024 * 1024),
        shards=_number(environment, "RANKLOOP_SHARDS", 4, 1, 100),
        prune_journal=_flag(environment, "RANKLOOP_JOURNAL_PRUNE"),
        mirror_hosts=_hosts(environment, "RANKLOOP_MIRROR_HOSTS", MIRROR_HOSTS),
        signing_key=_secret(environment, "RANKLOOP_SIGNING_KEY"),
        trusted_signers=environment.get("RANKLOOP_TRUSTED_SIGNERS", ""),
        **_entra(environment),
    )


def work_connection(environment: Mapping[str, str]) -> str:
    """The name of the setting by which the Functions host reaches the queue that the app sends its work to.

    The host takes a connection string with a key from where the app has it. An account's name, or its addresses, are no
    such thing: the host has settings of its own for identities, those of AzureWebJobsStorage unless
    RANKLOOP_WORK_CONNECTION names others.
    """
    if named := environment.get("RANKLOOP_WORK_CONNECTION"):
        return named
    return "RANKLOOP_STORAGE" if _has_key(environment.get("RANKLOOP_STORAGE", "")) else "AzureWebJobsStorage"


def _has_key(storage: str) -> bool:
    try:
        return address.without_key(storage) is None
    except ValueError:  # `read` says so, to whoever calls; this is asked while the app is loaded
        return False


def _storage(environment: Mapping[str, str]) -> str:
    storage = environment.get("RANKLOOP_STORAGE") or environment.get("AzureWebJobsStorage")
    if not storage:
        raise ConfigError("RANKLOOP_STORAGE is not set: a connection string, or the name of a storage account")
    try:
        address.without_key(storage)
    except ValueError as error:
        raise ConfigError(f"RANKLOOP_STORAGE cannot be used: {error}") from None
    return storage


def _secret(environment: Mapping[str, str], name: str) -> str:
    """A secret. One that Azure could not fetch is a reference still, which anybody can guess: it must open nothing."""
    text = environment.get(name, "")
    if text.startswith("@Microsoft.KeyVault("):
        raise ConfigError(f"{name} is a Key Vault reference that was not resolved: see docs/deploy.md")
    return text


def _entra(environment: Mapping[str, str]) -> dict[str, Any]:
    tenant = environment.get("RANKLOOP_ENTRA_TENANT", "")
    audiences = _list(environment, "RANKLOOP_ENTRA_AUDIENCES")
    client = environment.get("RANKLOOP_ENTRA_CLIENT", "")
    if tenant and not audiences:
        raise ConfigError("RANKLOOP_ENTRA_AUDIENCES is not set: tokens of a tenant count for somebody only")
    found: dict[str, Any] = {"entra_tenant": tenant, "entra_audiences": frozenset(audiences)}
    if authority := environment.get("RANKLOOP_ENTRA_AUTHORITY"):
        found["entra_authority"] = authority
    if client:
        if not tenant:
            raise ConfigError("RANKLOOP_ENTRA_TENANT is not set: RANKLOOP_ENTRA_CLIENT is a registration of a tenant")
        if not _CLIENT.fullmatch(client):
            raise ConfigError(f"RANKLOOP_ENTRA_CLIENT must be the id of a registration; it is {client[:64]!r}")
        found |= {"entra_client": client, "entra_scope": f"{audiences[0]}/.default"}
    return found


def _list(environment: Mapping[str, str], name: str) -> list[str]:
    return [part for part in map(str.strip, environment.get(name, "").split(",")) if part]


def _hosts(environment: Mapping[str, str], name: str, default: str) -> tuple[str, ...]:
    hosts = tuple(_list({name: default, **environment}, name))
    for host in hosts:
        if not _MIRROR_HOST.fullmatch(host):
            form = "host names in lower case, suffixes that begin with a dot, or http://host:port"
            raise ConfigError(f"{name} must be a list of {form}; it has {host[:64]!r}")
    return hosts


def _flag(environment: Mapping[str, str], name: str) -> bool:
    value = environment.get(name, "false").lower()
    if value not in ("true", "false", "1", "0"):
        raise ConfigError(f"{name} must be true or false; it is {value[:64]!r}")
    return value in ("true", "1")


def _number(environment: Mapping[str, str], name: str, default: int, low: int, high: int) -> int:
    text = environment.get(name, str(default))
    try:
        value = int(text)
    except ValueError:
        value = low - 1
    if not low <= value <= high:
        raise ConfigError(f"{name} must be a whole number from {low} to {high}; it is {text[:64]!r}")
    return value
