"""Turns a model into a signed zip, and a signed zip into the model it vouches for.

The zip is the original's (contract 5.7): the model, an X.509 certificate, and an RSA signature over the model's
SHA-512. Loading cryptography takes several times what a Rank call may, so only what signs or verifies imports it.
"""

from __future__ import annotations

import hashlib
import io
import re
import zipfile
import zlib
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from shared.config import Config, ConfigError
from shared.contract.errors import ApiError

MODEL: Final = "model.vw"
CERTIFICATE: Final = "signer.der"
SIGNATURE: Final = "sha512_signature.bin"
MAX_MODEL: Final = 256 * 1024 * 1024
"""Bytes of a model at most, unpacked; one of 18 bits with all its online state takes a few MiB."""
MIN_BITS: Final = 2048
"""Of an RSA key, our own or a trusted one: what NIST SP 800-131A still lets sign."""

_LIMITS: Final = {MODEL: MAX_MODEL, CERTIFICATE: 16 * 1024, SIGNATURE: 2048}
_PEM_START: Final = "-----BEGIN PRIVATE KEY-----"
_FINGERPRINT: Final = re.compile(r"[0-9a-f]{2}(?::?[0-9a-f]{2}){31}")
_UNREADABLE: Final = 0x01 | 0x20 | 0x40  # flag bits of a zip's member: encrypted, patched, strongly encrypted
_DIRECTORY_ENTRY: Final = b"PK\x01\x02"
_MAX_ENTRIES: Final = 64  # more than the three, since a model's own bytes may look like an entry


class Signer:
    """A private key, and the certificate by which its signatures are known.

    The certificate is self-signed and depends on the key alone, so that instances that share a key need share nothing
    else: its serial number comes from the public key, its validity never ends, and PKCS#1 v1.5 signs without chance.

    Args:
        pem: an RSA key of `MIN_BITS` or more, as unencrypted PKCS#8.

    Attributes:
        certificate: X.509, as DER.
        fingerprint: SHA-256 of the certificate, in hexadecimal.

    Raises:
        ValueError: it is anything else; the text says what, and nothing of the key.
    """

    def __init__(self, pem: str) -> None:
        from cryptography import x509
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

        if not pem.lstrip().startswith(_PEM_START):
            raise ValueError(f"expected a private key as unencrypted PKCS#8 in PEM, which begins with {_PEM_START}")
        try:
            key = serialization.load_pem_private_key(pem.encode(), password=None)
        except (ValueError, UnsupportedAlgorithm):
            # Without its cause: an encoding error carries the whole text, and with it the key.
            raise ValueError("the private key is damaged, or of an unknown kind") from None
        if not isinstance(key, RSAPrivateKey) or key.key_size < MIN_BITS:
            raise ValueError(f"expected a private key of RSA with {MIN_BITS} bits or more")
        public = key.public_key()
        encoded = public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "rankloop")])
        certificate = (
            x509.CertificateBuilder(name, name, public)
            .serial_number(int.from_bytes(hashlib.sha256(encoded).digest()[:16]))
            .not_valid_before(datetime(2025, 1, 1, tzinfo=UTC))
            .not_valid_after(datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC))  # no end, as RFC 5280 4.1.2.5 writes it
            .sign(key, hashes.SHA256())
        )
        self._key = key
        self.certificate = certificate.public_bytes(serialization.Encoding.DER)
        self.fingerprint = hashlib.sha256(self.certificate).hexdigest()

    def sign(self, model: bytes) -> bytes:
        """The signature: RSASSA-PKCS1-v1_5 over SHA-512, as the original's."""
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import padding

        return self._key.sign(model, padding.PKCS1v15(), hashes.SHA512())


def generate_key() -> str:
    """A new private key such as `Signer` takes."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(public_exponent=65537, key_size=MIN_BITS)
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


def pack(model: bytes, signer: Signer) -> bytes:
    """The signed zip of a model: the same bytes for the same model, key and zlib."""
    packed = io.BytesIO()
    members = {MODEL: model, CERTIFICATE: signer.certificate, SIGNATURE: signer.sign(model)}
    with zipfile.ZipFile(packed, "w") as archive:
        for name, content in members.items():
            info = zipfile.ZipInfo(name)  # of 1980, not of now
            info.create_system = 3  # on Windows, too
            info.external_attr = 0o644 << 16  # or unzip on Unix makes files that nobody may read
            archive.writestr(info, content, zipfile.ZIP_DEFLATED)
    return packed.getvalue()


def unpack(data: bytes, own: Signer | None, trusted: frozenset[str]) -> bytes:
    """The model of a signed zip.

    What vouches for a model is the exact certificate in the zip, told by its fingerprint: a subject can be claimed by
    anybody. Its dates and its chain are not looked at. The operator has named this very certificate, which says more
    than a chain would, and the original's are of use only so: those that signed Personalizer's exports ended in 2023.

    Args:
        data: the zip.
        own: whose zips are taken, beside the trusted ones: this deployment's.
        trusted: fingerprints of further certificates, as `parse_fingerprints` gives them.

    Raises:
        ApiError: InvalidModelImportFormat when it is not such a zip, is damaged, or is too large unpacked;
            InvalidModelImportSignature when nobody trusted vouches for the model.
    """

    def trust(certificate: bytes) -> None:
        # Before anything parses it or inflates the model, which is left to signers whom the operator has chosen.
        fingerprint = hashlib.sha256(certificate).hexdigest()
        if fingerprint not in trusted and (own is None or fingerprint != own.fingerprint):
            raise _signature(
                f"The certificate in {CERTIFICATE} is not trusted here. If you trust it, add its SHA-256 fingerprint "
                f"{fingerprint} to the setting RANKLOOP_TRUSTED_SIGNERS"
            )

    members = _members(data, trust)
    _verify(members[MODEL], members[CERTIFICATE], members[SIGNATURE])
    return members[MODEL]


def parse_fingerprints(text: str) -> frozenset[str]:
    """The fingerprints in a setting.

    Args:
        text: SHA-256 fingerprints of certificates, comma separated: hexadecimal in any case, with colons or without.
            Blank for none.

    Raises:
        ValueError: one of them is something else.
    """
    found = set()
    for item in text.split(",") if text.strip() else ():
        if not _FINGERPRINT.fullmatch(item.strip().lower()):
            raise ValueError(
                "expected SHA-256 fingerprints, comma separated, each of 64 hexadecimal digits with or without colons "
                f"between the bytes; one is {item.strip()[:100]!r}"
            )
        found.add(item.strip().lower().replace(":", ""))
    return frozenset(found)


def trusted(settings: Config) -> frozenset[str]:
    """The fingerprints of the signers whose models a deployment imports.

    Raises:
        ConfigError: the setting holds something else.
    """
    try:
        return parse_fingerprints(settings.trusted_signers)
    except ValueError as e:
        raise ConfigError(f"RANKLOOP_TRUSTED_SIGNERS: {e}") from e


def _members(data: bytes, trust: Callable[[bytes], None]) -> dict[str, bytes]:
    """The contents of the zip by name: of exactly the three, none larger than its limit, once the signer is trusted."""
    # zipfile reads the whole directory into objects many times its size before it can be asked how long it is.
    if data.count(_DIRECTORY_ENTRY) > _MAX_ENTRIES:
        raise _format("it has far more members")
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            # The names as they stand there: zipfile cuts the others at a null byte.
            if sorted(info.orig_filename for info in archive.infolist()) != sorted(_LIMITS):
                raise _format("it has other members")
            infos = {info.orig_filename: info for info in archive.infolist()}
            certificate = _content(archive, infos.pop(CERTIFICATE))
            trust(certificate)
            return {CERTIFICATE: certificate, **{name: _content(archive, info) for name, info in infos.items()}}
    except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, OverflowError, NotImplementedError) as e:
        raise _format("it is no zip, or a damaged one") from e


def _content(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    """A member's content, inflated no further than it takes to see that it is as long as declared."""
    if info.flag_bits & _UNREADABLE or info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise _format(f"{info.orig_filename} is encrypted or compressed in another way than by deflate")
    declared = info.file_size
    if declared > _LIMITS[info.orig_filename]:
        raise _format(f"{info.orig_filename} is larger than {_LIMITS[info.orig_filename]} bytes unpacked")
    info.file_size += 1  # else zipfile cuts what is longer than declared and does not say so
    with archive.open(info) as member:
        content = member.read(declared + 1)
    if len(content) != declared:
        raise _format(f"{info.orig_filename} has not the length it declares")
    return content


def _verify(model: bytes, certificate: bytes, signature: bytes) -> None:
    """Raise unless the holder of the certificate has signed the model."""
    from cryptography import x509
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import padding
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

    try:
        key = x509.load_der_x509_certificate(certificate).public_key()
    except (ValueError, UnsupportedAlgorithm) as e:
        raise _signature(f"{CERTIFICATE} cannot be read as an X.509 certificate in DER") from e
    if not isinstance(key, RSAPublicKey) or key.key_size < MIN_BITS:
        raise _signature(f"The key of {CERTIFICATE} is not one of RSA with {MIN_BITS} bits or more")
    try:
        key.verify(signature, model, padding.PKCS1v15(), hashes.SHA512())
    except InvalidSignature as e:
        raise _signature(
            f"{SIGNATURE} is not what the holder of {CERTIFICATE} signs {MODEL} with (RSA PKCS#1 v1.5 over SHA-512)"
        ) from e


def _format(fault: str) -> ApiError:
    expected = f"a zip of exactly {MODEL}, {CERTIFICATE} and {SIGNATURE}, as the signed export returns it"
    return ApiError("InvalidModelImportFormat", f"Expected {expected}; {fault}.")


def _signature(fault: str) -> ApiError:
    return ApiError("InvalidModelImportSignature", f"{fault}.")
