"""Turns environment variables (app settings in Azure) into the settings of the deployment.

docs/operations.md lists them for operators; a test holds both lists equal.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

MAX_DEADLINE = 3500
"""Milliseconds; less than the shortest grace, so that what is acknowledged is in its bucket for certain (ADR 0003)."""


class ConfigError(Exception):
    """A setting of the deployment is missing or cannot be read."""


@dataclass(frozen=True, slots=True)
class Config:
    """Settings of the deployment.

    Attributes:
        storage: a connection string, or the name of an account that the app's own identity may use.
        key: the deployment key; without one every call is refused.
        strict_rank: answer 503 when a rank event is not durable in time, in place of 201 and "pending".
        log_deadline: seconds that Rank waits for the log before it answers.
        reward_deadline: seconds that Reward and Activate wait for it before they ask the caller to repeat the call.
        max_body: bytes of a request body at most.
        shards: over how many partitions the writers of a loop spread.
        prune_journal: delete journal rows as soon as they are joined; for Azurite.
    """

    storage: str
    key: str
    strict_rank: bool = False
    log_deadline: float = 0.5
    reward_deadline: float = 0.5
    max_body: int = 4 * 1024 * 1024
    shards: int = 4
    prune_journal: bool = False


def read(environment: Mapping[str, str]) -> Config:
    """The settings that an environment holds.

    Raises:
        ConfigError: one is missing, or is not what it should be.
    """
    storage = environment.get("RANKLOOP_STORAGE") or environment.get("AzureWebJobsStorage")
    if not storage:
        raise ConfigError("RANKLOOP_STORAGE is not set: a connection string, or the name of a storage account")
    return Config(
        storage=storage,
        key=environment.get("RANKLOOP_KEY", ""),
        strict_rank=_flag(environment, "RANKLOOP_STRICT_RANK"),
        log_deadline=_number(environment, "RANKLOOP_LOG_DEADLINE_MS", 500, 1, MAX_DEADLINE) / 1000,
        reward_deadline=_number(environment, "RANKLOOP_REWARD_DEADLINE_MS", 500, 1, MAX_DEADLINE) / 1000,
        max_body=_number(environment, "RANKLOOP_MAX_BODY_BYTES", 4 * 1024 * 1024, 1024, 100 * 1024 * 1024),
        shards=_number(environment, "RANKLOOP_SHARDS", 4, 1, 100),
        prune_journal=_flag(environment, "RANKLOOP_JOURNAL_PRUNE"),
    )


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
