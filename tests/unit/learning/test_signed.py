"""Signed zips, against each way in which one can be wrong; the keys are made here, or known to everybody."""

from __future__ import annotations

import hashlib
import io
import struct
import subprocess
import sys
import tracemalloc
import zipfile
import zlib
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import PrivateFormat

from localhost.azurite import ROOT
from shared.contract.errors import ApiError
from shared.learning import signed
from shared.learning.signed import Signer, generate_key, pack, parse_fingerprints, unpack
from tests.contract.conftest import SEEDS

MODEL = b"a model " * 20 + bytes(range(64))
NOBODY: frozenset[str] = frozenset()
FORMAT, SIGNATURE = "InvalidModelImportFormat", "InvalidModelImportSignature"
NAMES = ("model.vw", "signer.der", "sha512_signature.bin")

P, Q = 2**1024 - 105, 2**1024 - 179
"""The two largest primes of 1024 bits: a key that is no secret, for what a key's certificate must always be."""

EXPORT = SEEDS / "data" / "Personalizer_QuickStart_Model.zip"
EXPORT_FINGERPRINT = "f29c84894cad644319945f2d14584bfa37c1f06e0a5767ec5932b2059b7ba4d2"
needs_export = pytest.mark.skipif(not EXPORT.exists(), reason=f"no published export in {SEEDS.name}/data")


def pem_of(key: Any, form: PrivateFormat = PrivateFormat.PKCS8, secret: bytes | None = None) -> str:
    encryption = serialization.BestAvailableEncryption(secret) if secret else serialization.NoEncryption()
    encoded: bytes = key.private_bytes(serialization.Encoding.PEM, form, encryption)
    return encoded.decode()


@cache
def known_key() -> rsa.RSAPrivateKey:
    e, d = 65537, pow(65537, -1, (P - 1) * (Q - 1))
    public = rsa.RSAPublicNumbers(e, P * Q)
    return rsa.RSAPrivateNumbers(P, Q, d, d % (P - 1), d % (Q - 1), pow(Q, -1, P), public).private_key()


@cache
def signer() -> Signer:
    return Signer(pem_of(known_key()))


def certificate(key: Any, subject: str = "rankloop") -> bytes:
    """Another certificate of a key, in today's usual way."""
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, subject)])
    builder = (
        x509.CertificateBuilder(name, name, key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime(2022, 10, 22, tzinfo=UTC))
        .not_valid_after(datetime(2023, 10, 17, tzinfo=UTC))
    )
    algorithm = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return builder.sign(key, algorithm).public_bytes(serialization.Encoding.DER)


def fingerprint(der: bytes) -> str:
    return hashlib.sha256(der).hexdigest()


def members(**changes: bytes | None) -> dict[str, bytes]:
    """The members of a good zip; model, signer and signature replace one, or take it away."""
    made: dict[str, bytes | None] = {"model": MODEL, "signer": signer().certificate, "signature": signer().sign(MODEL)}
    return {
        name: content for name, content in zip(NAMES, (made | changes).values(), strict=True) if content is not None
    }


def zipped(contents: Mapping[str, bytes] | list[tuple[str, bytes]], method: int = zipfile.ZIP_STORED) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", method) as archive:
        for name, content in contents.items() if isinstance(contents, Mapping) else contents:
            archive.writestr(zipfile.ZipInfo(name), content, method)
    return packed.getvalue()


def pack_of(**changes: bytes | None) -> bytes:
    """A zip of `members`."""
    return zipped(members(**changes), zipfile.ZIP_DEFLATED)


def patched(data: bytes, member: int, **values: int) -> bytes:
    """The zip with fields of one directory entry, counted from 0, set to other values."""
    fields = {
        "flags": ("<H", 8),
        "method": ("<H", 10),
        "crc": ("<L", 16),
        "packed": ("<L", 20),
        "size": ("<L", 24),
        "offset": ("<L", 42),
    }
    changed = bytearray(data)
    at = -1
    for _ in range(member + 1):
        at = changed.index(b"PK\x01\x02", at + 1)
    for name, value in values.items():
        kind, offset = fields[name]
        struct.pack_into(kind, changed, at + offset, value)
    return bytes(changed)


def refused(data: bytes, own: Signer | None = None, trusted: frozenset[str] = NOBODY) -> tuple[str, str]:
    """The code and the message a zip is refused with."""
    with pytest.raises(ApiError) as caught:
        unpack(data, own, trusted)
    return caught.value.code, caught.value.message


def test_a_model_comes_back_as_it_was() -> None:
    own = Signer(generate_key())

    for model in (MODEL, b"", bytes(100_000)):
        assert unpack(pack(model, own), own, NOBODY) == model
        assert unpack(pack(model, own), None, frozenset({own.fingerprint})) == model


def test_the_zip_is_the_originals() -> None:
    data = pack(MODEL, signer())

    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.namelist() == list(NAMES)
        model, der, signature = map(archive.read, NAMES)
        assert [info.external_attr >> 16 for info in archive.infolist()] == [0o644] * 3
    assert model == MODEL
    read = x509.load_der_x509_certificate(der)
    key = read.public_key()
    assert isinstance(key, rsa.RSAPublicKey)
    key.verify(signature, model, padding.PKCS1v15(), hashes.SHA512())
    assert len(signature) == 256
    assert read.subject.rfc4514_string() == read.issuer.rfc4514_string() == "CN=rankloop"
    read.verify_directly_issued_by(read)
    assert read.not_valid_before_utc < datetime.now(UTC) < read.not_valid_after_utc


def test_zips_are_the_same_bytes_whoever_packs() -> None:
    assert pack(MODEL, Signer(pem_of(known_key()))) == pack(MODEL, signer())
    assert pack(MODEL, Signer(generate_key())) != pack(MODEL, signer())


def test_a_key_has_one_certificate_for_ever() -> None:
    # A release that changed it would refuse the zips of the one before.
    assert signer().fingerprint == "b52296f227ce0e8b3ba451eb82ba698ce2886d68a9b67d0e02f02c7ad8fbc95c"
    assert signer().fingerprint == fingerprint(signer().certificate)


def test_whoever_ranks_does_not_load_cryptography() -> None:
    program = "import sys, shared.learning.signed; sys.exit('cryptography' in sys.modules)"

    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True)


def test_a_key_may_be_of_more_bits_and_lose_its_line_ends() -> None:
    own = Signer(pem_of(rsa.generate_private_key(65537, 3072)).replace("\n", " "))

    assert unpack(pack(MODEL, own), own, NOBODY) == MODEL


@pytest.mark.parametrize(
    ("pem", "said"),
    [
        ("", "unencrypted PKCS#8"),
        ("a key", "unencrypted PKCS#8"),
        (pem_of(known_key(), PrivateFormat.TraditionalOpenSSL), "unencrypted PKCS#8"),
        (pem_of(known_key(), secret=b"secret"), "unencrypted PKCS#8"),
        (pem_of(known_key())[:-200], "damaged"),
        (pem_of(known_key()).replace("M", "\udc80"), "damaged"),
        ("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "damaged"),
        (pem_of(rsa.generate_private_key(65537, 1024)), "RSA with 2048 bits"),
        (pem_of(ec.generate_private_key(ec.SECP256R1())), "RSA with 2048 bits"),
        (pem_of(ed25519.Ed25519PrivateKey.generate()), "RSA with 2048 bits"),
    ],
    ids=["nothing", "text", "pkcs1", "encrypted", "cut", "not text", "not a key", "short", "ec", "ed25519"],
)
def test_a_signer_takes_no_other_key(pem: str, said: str) -> None:
    with pytest.raises(ValueError, match=said) as caught:
        Signer(pem)
    assert not pem[40:] or pem[40:60] not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("cut", [0, 1, 21, 22, 100])
def test_what_is_no_zip_is_refused(cut: int) -> None:
    assert refused(b"\0" * cut, signer())[0] == FORMAT
    assert refused(pack(MODEL, signer())[:-cut] if cut else b"PK\x05\x06", signer())[0] == FORMAT


@pytest.mark.parametrize(
    "contents",
    [
        [],
        members(model=None),
        members(signer=None),
        members(signature=None),
        members() | {"readme.txt": b""},
        members() | {"model.vw/": b""},
        [*members().items(), ("signer.der", signer().certificate)],
        members(model=None) | {"../model.vw": MODEL},
        members(model=None) | {"/model.vw": MODEL},
        members(model=None) | {"./model.vw": MODEL},
        members(model=None) | {"export\\model.vw": MODEL},
        members(model=None) | {"Model.vw": MODEL},
        members(model=None) | {"модель.vw": MODEL},
    ],
    ids=lambda contents: " ".join(dict(contents)) or "nothing",
)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_other_members_are_refused(contents: dict[str, bytes] | list[tuple[str, bytes]]) -> None:
    code, message = refused(zipped(contents), signer())

    assert (code, "other members" in message) == (FORMAT, True)
    assert all(name in message for name in NAMES)


def test_a_name_does_not_end_at_a_null_byte() -> None:
    data = zipped(members(model=None) | {"model.vw+": MODEL}).replace(b"model.vw+", b"model.vw\0")

    assert refused(data, signer())[0] == FORMAT


def test_a_name_in_a_member_is_that_in_the_directory() -> None:
    data = zipped(members()).replace(b"model.vw", b"MODEL.VW", 1)

    assert refused(data, signer())[0] == FORMAT


def test_stored_members_do_as_well() -> None:
    assert unpack(zipped(members()), signer(), NOBODY) == MODEL


@pytest.mark.parametrize("member", range(3))
@pytest.mark.parametrize("flags", [0x01, 0x20, 0x40, 0x41])
def test_an_encrypted_member_is_refused(member: int, flags: int) -> None:
    code, message = refused(patched(pack(MODEL, signer()), member, flags=flags), signer())

    assert (code, f"{NAMES[member]} is encrypted" in message) == (FORMAT, True)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_only_what_can_be_inflated_step_by_step_is_read(method: int) -> None:
    assert refused(zipped(members(), method), signer())[0] == FORMAT


@pytest.mark.parametrize("member", range(3))
@pytest.mark.parametrize("values", [{"crc": 1}, {"offset": 7}, {"offset": 2**32 - 2}, {"method": 99}], ids=str)
def test_a_damaged_member_is_refused(member: int, values: dict[str, int]) -> None:
    assert refused(patched(pack(MODEL, signer()), member, **values), signer())[0] == FORMAT


def test_a_member_that_ends_early_is_refused() -> None:
    # The directory says more is to come, and the model is the last in the file.
    data = zipped(list(members().items())[::-1])

    assert refused(patched(data, 2, packed=2 * len(data), size=2 * len(data)), signer())[0] == FORMAT


def test_an_offset_beyond_all_files_is_refused() -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, content in members().items():
            info = zipfile.ZipInfo(name)
            info.extra = struct.pack("<HHQ", 1, 8, 2**64 - 1)  # zip64: what stands in for an offset of 2**32 - 1
            archive.writestr(info, content)

    assert refused(patched(packed.getvalue(), 0, offset=2**32 - 1), signer())[0] == FORMAT


@pytest.mark.parametrize("stored", [True, False])
@pytest.mark.parametrize("member", range(3))
@pytest.mark.parametrize("more", [-1, 1])
def test_a_member_has_the_length_it_declares(member: int, more: int, stored: bool) -> None:
    data = zipped(members(), zipfile.ZIP_STORED if stored else zipfile.ZIP_DEFLATED)
    content = list(members().values())[member]
    # With the CRC of what zipfile would make of it, the length is all that is wrong.
    crc = {1: content, -1: content[:-1]}[more]

    for value in (zlib.crc32(content), zlib.crc32(crc)):
        changed = patched(data, member, size=len(content) + more, crc=value)
        assert refused(changed, signer())[0] == FORMAT


def test_a_model_larger_than_the_bound_is_not_inflated(monkeypatch: pytest.MonkeyPatch) -> None:
    data = patched(pack(MODEL, signer()), 0, size=signed.MAX_MODEL + 1)
    opened: list[str] = []
    read = zipfile.ZipFile.open

    def noted(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> object:
        opened.append(member.orig_filename)
        return read(archive, member)

    monkeypatch.setattr(zipfile.ZipFile, "open", noted)

    code, message = refused(data, signer())

    assert opened == ["signer.der"]
    assert (code, "model.vw is larger than 268435456 bytes" in message) == (FORMAT, True)


def test_the_model_of_an_unknown_signer_is_not_inflated(monkeypatch: pytest.MonkeyPatch) -> None:
    data, opened, read = pack(MODEL, signer()), [], zipfile.ZipFile.open

    def noted(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> object:
        opened.append(member.orig_filename)
        return read(archive, member)

    monkeypatch.setattr(zipfile.ZipFile, "open", noted)

    assert refused(data, None)[0] == SIGNATURE
    assert opened == ["signer.der"]


def test_the_bound_itself_is_no_fault() -> None:
    data = patched(pack(MODEL, signer()), 0, size=signed.MAX_MODEL)

    assert "not the length" in refused(data, signer())[1]


@pytest.mark.parametrize(("name", "limit"), [("signer", 16 * 1024), ("signature", 2048)])
def test_certificate_and_signature_are_small(name: str, limit: int) -> None:
    at, over = bytes(limit), bytes(limit + 1)

    assert "larger than" in refused(pack_of(**{name: over}), signer())[1]
    assert refused(pack_of(**{name: at}), signer())[0] == SIGNATURE


def test_a_zip_bomb_is_inflated_no_further_than_it_declares() -> None:
    bomb = patched(pack_of(model=bytes(64 * 1024 * 1024)), 0, size=1000)
    assert len(bomb) < 100_000

    tracemalloc.start()
    try:
        code, _ = refused(bomb, signer())
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert code == FORMAT
    assert peak < 2 * 1024 * 1024


def test_a_directory_of_many_members_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    data = zipped([(str(n), b"") for n in range(100)])
    monkeypatch.setattr(zipfile, "ZipFile", lambda *_: pytest.fail("it was read"))

    code, message = refused(data, signer())

    assert (code, "far more members" in message) == (FORMAT, True)


def test_a_model_may_hold_what_looks_like_a_directory() -> None:
    model = zipped(members())

    assert unpack(zipped(members(model=model, signature=signer().sign(model))), signer(), NOBODY) == model


def test_an_unknown_certificate_is_refused_with_the_way_to_admit_it() -> None:
    data = pack(MODEL, Signer(generate_key()))
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        theirs = fingerprint(archive.read("signer.der"))

    for own in (signer(), None):
        code, message = refused(data, own, frozenset({"0" * 64}))
        assert code == SIGNATURE
        assert theirs in message
        assert "RANKLOOP_TRUSTED_SIGNERS" in message
    assert unpack(data, signer(), frozenset({theirs})) == MODEL


def test_it_is_the_certificate_that_is_trusted_and_not_its_key() -> None:
    second = certificate(known_key())
    data = pack_of(signer=second)

    assert refused(data, signer())[0] == SIGNATURE
    assert unpack(data, signer(), frozenset({fingerprint(second)})) == MODEL
    assert refused(pack(MODEL, signer()), None, frozenset({fingerprint(second)}))[0] == SIGNATURE


def test_a_trusted_certificate_may_have_ended() -> None:
    ended = certificate(known_key())
    assert x509.load_der_x509_certificate(ended).not_valid_after_utc < datetime.now(UTC)

    assert unpack(pack_of(signer=ended), None, frozenset({fingerprint(ended)})) == MODEL


@pytest.mark.parametrize(
    "der",
    [b"", b"no certificate", signer().certificate[:-1], signer().certificate + b"\0"],
    ids=["empty", "text", "cut", "longer"],
)
def test_a_trusted_certificate_that_cannot_be_read_vouches_for_nothing(der: bytes) -> None:
    code, message = refused(pack_of(signer=der), signer(), frozenset({fingerprint(der)}))

    assert (code, "signer.der cannot be read" in message) == (SIGNATURE, True)


def test_a_trusted_certificate_must_be_of_a_long_key_of_rsa() -> None:
    curve, edwards = ec.generate_private_key(ec.SECP256R1()), ed25519.Ed25519PrivateKey.generate()
    short = rsa.generate_private_key(65537, 1024)
    signatures = {
        certificate(curve): curve.sign(MODEL, ec.ECDSA(hashes.SHA512())),
        certificate(edwards): edwards.sign(MODEL),
        certificate(short): short.sign(MODEL, padding.PKCS1v15(), hashes.SHA512()),
    }

    for der, signature in signatures.items():
        code, message = refused(pack_of(signer=der, signature=signature), signer(), frozenset({fingerprint(der)}))
        assert (code, "RSA with 2048 bits" in message) == (SIGNATURE, True)


def test_an_untrusted_certificate_is_not_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(x509, "load_der_x509_certificate", lambda _: pytest.fail("it was parsed"))

    assert refused(pack_of(signer=b"no certificate"), signer())[0] == SIGNATURE


def test_only_the_signers_own_signature_counts() -> None:
    key, digest = known_key(), hashes.SHA512()
    others = {
        "none": b"",
        "zeros": bytes(256),
        "cut": signer().sign(MODEL)[:-1],
        "longer": signer().sign(MODEL) + b"\0",
        "of another model": signer().sign(MODEL + b"\0"),
        "by another key": Signer(generate_key()).sign(MODEL),
        "by sha256": key.sign(MODEL, padding.PKCS1v15(), hashes.SHA256()),
        "by pss": key.sign(MODEL, padding.PSS(padding.MGF1(digest), padding.PSS.MAX_LENGTH), digest),
    }

    for kind, signature in others.items():
        code, message = refused(pack_of(signature=signature), signer())
        assert (code, "sha512_signature.bin" in message) == (SIGNATURE, True), kind


@pytest.mark.parametrize(("member", "name"), [*zip(("model", "signer", "signature"), NAMES, strict=True)])
def test_no_byte_of_a_member_can_be_changed(member: str, name: str) -> None:
    content = members()[name]

    for at in range(len(content)):
        flipped = bytearray(content)
        flipped[at] ^= 1 << at % 8

        assert refused(zipped(members(**{member: bytes(flipped)})), signer())[0] == SIGNATURE


def test_no_change_to_a_zip_gives_another_model_or_a_fault_of_ours() -> None:
    data = pack(MODEL, signer())
    outcomes = set()

    for at in range(8 * len(data)):
        changed = bytearray(data)
        changed[at // 8] ^= 1 << at % 8
        try:
            assert unpack(bytes(changed), signer(), NOBODY) == MODEL
            outcomes.add("the model")  # a time, an attribute: what nobody reads
        except ApiError as error:
            outcomes.add(error.code)

    assert outcomes == {FORMAT, "the model"}


def test_a_zip_that_was_cut_is_refused() -> None:
    data = pack(MODEL, signer())

    assert {refused(data[:end], signer())[0] for end in range(len(data))} == {FORMAT}


def test_fingerprints_are_read_in_each_usual_spelling() -> None:
    plain = signer().fingerprint
    colons = ":".join(plain[at : at + 2] for at in range(0, 64, 2)).upper()
    other = "ab" * 32

    assert parse_fingerprints(plain) == parse_fingerprints(colons) == {plain}
    assert parse_fingerprints(f" {colons} ,\n{other.upper()},{other}") == {plain, other}
    assert parse_fingerprints("") == parse_fingerprints(" \n") == frozenset()


@pytest.mark.parametrize(
    "text",
    [
        ",",
        "ab" * 31,
        "ab" * 33,
        "ab" * 20,
        "xy" * 32,
        "ab" * 32 + ",",
        "ab:" * 32,
        "a:b" * 32,
        "ab" * 32 + " " + "ab" * 32,
    ],
)
def test_what_is_no_fingerprint_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="64 hexadecimal digits"):
        parse_fingerprints(text)


@needs_export
def test_an_export_of_the_original_is_taken_when_its_certificate_is_trusted() -> None:
    data = EXPORT.read_bytes()

    model = unpack(data, signer(), parse_fingerprints(EXPORT_FINGERPRINT))

    with zipfile.ZipFile(EXPORT) as archive:
        assert model == archive.read("model.vw")
    assert len(model) == 12828


@needs_export
def test_an_export_of_the_original_is_refused_when_it_is_not() -> None:
    code, message = refused(EXPORT.read_bytes(), signer())

    assert (code, EXPORT_FINGERPRINT in message) == (SIGNATURE, True)


@needs_export
@pytest.mark.parametrize("at", [0, 6414, 12827])
def test_an_export_of_the_original_is_refused_with_another_byte_in_it(at: int) -> None:
    with zipfile.ZipFile(EXPORT) as archive:
        contents = {name: archive.read(name) for name in NAMES}
    model = bytearray(contents["model.vw"])
    model[at] ^= 1

    code, _ = refused(zipped(contents | {"model.vw": bytes(model)}), signer(), frozenset({EXPORT_FINGERPRINT}))

    assert code == SIGNATURE
