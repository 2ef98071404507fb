"""Records of other releases and damaged ones are told apart."""

import msgspec
import pytest

from shared.storage import StorageError
from shared.storage.documents import decode


class Record(msgspec.Struct):
    name: str
    format: int = 1


@pytest.mark.parametrize("data", [b'{"name":"n"}', b'{"name":"n","format":1}', b'{"name":"n","later":[1]}'])
def test_a_record_is_read_with_or_without_members_of_a_neighbour(data: bytes) -> None:
    assert decode(data, Record, "it") == Record("n")


@pytest.mark.parametrize("data", [b'{"name":"n","format":2}', b'{"names":["n"],"format":2}', b'{"name":1,"format":2}'])
def test_a_later_release_is_named_whatever_else_it_changed(data: bytes) -> None:
    with pytest.raises(StorageError, match="it is of format 2; this release reads 1"):
        decode(data, Record, "it")


@pytest.mark.parametrize(
    "data", [b"", b"{", b"[]", b"{}", b'{"name":1}', b'{"name":"\xff"}', b'{"name":"n","format":"1"}']
)
def test_a_damaged_record_is_named(data: bytes) -> None:
    with pytest.raises(StorageError, match="it is damaged"):
        decode(data, Record, "it")
