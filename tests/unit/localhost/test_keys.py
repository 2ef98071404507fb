"""The host's own keys, and whether its log may hold them."""

from __future__ import annotations

import pytest

from localhost.keys import Keys


@pytest.mark.parametrize("environ", [{"HOST_FUNCTION_KEY": "f"}, {"HOST_MASTER_KEY": "m"}])
def test_keys_are_not_logged_where_one_was_given(environ: dict[str, str]) -> None:
    keys = Keys.from_environment(environ, enforced=True)

    assert keys.function and keys.master
    assert not keys.to_be_logged(replicas=False)


@pytest.mark.parametrize(
    ("enforced", "replicas", "logged"), [(True, False, True), (True, True, False), (False, False, False)]
)
def test_keys_that_were_made_up_are_logged_where_one_process_asks_for_them(
    enforced: bool, replicas: bool, logged: bool
) -> None:
    assert Keys.from_environment({}, enforced=enforced).to_be_logged(replicas=replicas) is logged
