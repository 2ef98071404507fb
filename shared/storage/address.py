"""Turns the setting that names a storage account into the addresses of its services, where it brings no key."""

from __future__ import annotations

from typing import Final

SERVICES: Final = ("blob", "queue", "table")
_KEYS: Final = {"accountkey", "sharedaccesssignature", "usedevelopmentstorage"}


def without_key(setting: str) -> dict[str, str] | None:
    """Where the services are that the app shows its own identity to; None of a connection string with a key.

    Args:
        setting: a connection string; or an account's name, in Azure's public cloud; or the addresses of the services,
            `BlobEndpoint=https://…;QueueEndpoint=https://…;TableEndpoint=https://…`, wherever they are.

    Raises:
        ValueError: it has neither a key nor all three addresses; the text says what is missing, and nothing else of it.
    """
    if "=" not in setting:
        return {service: f"https://{setting}.{service}.core.windows.net" for service in SERVICES}
    parts = [part.partition("=") for part in setting.split(";") if part.strip()]
    told = {name.strip().lower(): value.strip() for name, _, value in parts}
    if told.keys() & _KEYS:
        return None
    found = {service: told.get(f"{service}endpoint", "") for service in SERVICES}
    if missing := [service for service, address in found.items() if not address.lower().startswith("https://")]:
        wanted = " and ".join(f"{service.capitalize()}Endpoint=https://…" for service in missing)
        raise ValueError(f"a connection string without a key needs {wanted}")
    return found
