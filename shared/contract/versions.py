"""Turns where a call names the API version into that version: in the path, or in the query (contract 1.1)."""

from __future__ import annotations

from enum import StrEnum


class Version(StrEnum):
    """A version of Personalizer's API, as callers spell it."""

    V1_0 = "v1.0"
    V1_1_P1 = "v1.1-preview.1"
    V1_1_P2 = "v1.1-preview.2"
    V1_1_P3 = "v1.1-preview.3"
    V2022 = "2022-09-01-preview"


ALL = tuple(Version)
IN_PATH = {version.value: version for version in ALL if version is not Version.V2022}
"""The versions that stand in the path, `personalizer/<version>/...`; the last one stands in the query."""
FROM_P1 = ALL[1:]
FROM_P2 = ALL[2:]
FROM_P3 = ALL[3:]
ONLY_2022 = (Version.V2022,)
BEFORE_2022 = ALL[:4]
