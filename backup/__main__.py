"""Turns two storage accounts that the environment names into one copied into the other: `python -m backup`.

FROM and TO are what RANKLOOP_STORAGE takes: a connection string, or an account that whoever runs this may use.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Mapping

from backup.copying import Account, Copied, Copy, NotCopied
from shared.storage import StorageError, address
from shared.storage.azure import AzureStorage


async def copy(environment: Mapping[str, str]) -> Copied:
    """Copy what FROM names to what TO names.

    Raises:
        NotCopied: one is missing or no such name, or see `Copy.run`.
        StorageError: a storage does not answer.
    """
    source, target = (_setting(environment, name) for name in ("FROM", "TO"))
    async with AzureStorage(source) as held, AzureStorage(target) as empty:
        accounts = Account(held.tables, held.blobs), Account(empty.tables, empty.blobs)
        return await Copy(*accounts, tell=lambda line: print(line, flush=True)).run()


def _setting(environment: Mapping[str, str], name: str) -> str:
    setting = environment.get(name, "")
    if not setting:
        raise NotCopied(f"{name} is not set: a connection string, or the name of a storage account")
    try:
        address.without_key(setting)
    except ValueError as error:
        raise NotCopied(f"{name} cannot be used: {error}") from None
    return setting


def main(environment: Mapping[str, str] = os.environ) -> int:
    """Copy, and say in the last line what was copied, or why it was not: 0 or 1."""
    try:
        done = asyncio.run(copy(environment))
    except (NotCopied, StorageError) as error:
        print(f"Not copied: {error}", file=sys.stderr)
        return 1
    print(f"Copied: {done.loops} loops, {done.rows} rows, {done.blobs} blobs of {done.bytes / 1e6:,.1f} MB.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
