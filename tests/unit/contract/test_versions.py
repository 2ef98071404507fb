from __future__ import annotations

from shared.contract.versions import ALL, BEFORE_2022, FROM_P1, FROM_P2, FROM_P3, IN_PATH, ONLY_2022, Version


def test_the_versions_are_spelled_as_callers_do() -> None:
    assert [str(version) for version in ALL] == [
        "v1.0",
        "v1.1-preview.1",
        "v1.1-preview.2",
        "v1.1-preview.3",
        "2022-09-01-preview",
    ]


def test_all_but_the_last_stand_in_the_path() -> None:
    assert list(IN_PATH) == ["v1.0", "v1.1-preview.1", "v1.1-preview.2", "v1.1-preview.3"]
    assert set(IN_PATH.values()) | set(ONLY_2022) == set(ALL)


def test_what_came_in_a_version_is_in_the_later_ones() -> None:
    assert FROM_P1 == (Version.V1_1_P1, Version.V1_1_P2, Version.V1_1_P3, Version.V2022)
    assert (FROM_P1[1:], FROM_P1[2:]) == (FROM_P2, FROM_P3)
    assert ONLY_2022 == (Version.V2022,)
    assert (*BEFORE_2022, *ONLY_2022) == ALL
