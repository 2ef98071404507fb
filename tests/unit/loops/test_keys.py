from __future__ import annotations

import hashlib

from hypothesis import given
from hypothesis import strategies as st

from shared.loops import keys


def test_a_key_is_32_random_bytes_in_hex() -> None:
    made = {keys.new() for _ in range(100)}

    assert len(made) == 100
    assert all(len(bytes.fromhex(key)) == 32 for key in made)


def test_what_is_kept_of_a_key_is_its_sha_256() -> None:
    key = keys.new()

    assert keys.digest(key) == hashlib.sha256(key.encode()).digest()
    assert keys.digest("clé 🔑") == hashlib.sha256("clé 🔑".encode()).digest()
    assert keys.NAMES == ("key1", "key2")


@given(st.text(st.characters(exclude_categories=())))
def test_any_text_has_a_digest_of_one_length(text: str) -> None:
    assert len(keys.digest(text)) == 32
