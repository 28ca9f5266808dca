"""Certificate requests: what PluginAuthority is asked to certify where its private key is on another machine.

A request is a PKCS #10 one (RFC 2986), so a tool of the vendor's own can answer it as well: the subject and the one
critical extended key usage of its purpose, signed by the key that is to be certified. A file of requests, and a file of
certificates, is PEM (RFC 7468), one block after the other.
"""

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from licensing.crypto.authority import (
    KEYSET_MAX_LIFETIME,
    LeafPrivateKey,
    LeafPublicKey,
    PluginAuthority,
    Purpose,
    certificate_to_der,
)
from licensing.crypto.jwk import KeyInvalid

MAX_FILE_BYTES = 256 * 1024
CLOCK_MARGIN = timedelta(minutes=5)
"""How far the other machine may be ahead: what it certifies must not be of the future elsewhere."""
_BLOCK = re.compile(rb"-----BEGIN ([A-Z ]+)-----[^-]+-----END \1-----")


class RequestRefused(Exception):
    """A file of requests or certificates is not what it should be. The message is a sentence for an operator."""


@dataclass(frozen=True, slots=True)
class CertificateAsked:
    """One request whose signature was checked: for which purpose, and for which key."""

    purpose: Purpose
    public_key: LeafPublicKey = field(repr=False)


def make_request(purpose: Purpose, private_key: LeafPrivateKey) -> bytes:
    """A request for one purpose's key, DER."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(_subject(purpose))
    builder = builder.add_extension(x509.ExtendedKeyUsage([purpose.oid]), critical=True)
    request = builder.sign(private_key, hashes.SHA256())
    return request.public_bytes(serialization.Encoding.DER)


def read_request(der: bytes) -> CertificateAsked:
    """Read a request, and see that whoever made it holds the key.

    Raises:
        RequestRefused: it cannot be read, is not signed by its own key, or names no purpose, or more than one.
    """
    try:
        request = x509.load_der_x509_csr(der)
        subject, public_key, is_signed = request.subject, request.public_key(), request.is_signature_valid
        usage = request.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except (ValueError, TypeError, UnsupportedAlgorithm, x509.ExtensionNotFound, x509.DuplicateExtension) as exc:
        raise RequestRefused("A request cannot be read.") from exc
    if not is_signed:
        raise RequestRefused("A request is not signed by the key that it is for.")
    purpose = next((each for each in Purpose if _subject(each) == subject and [each.oid] == list(usage)), None)
    if purpose is None or not isinstance(public_key, ec.EllipticCurvePublicKey | rsa.RSAPublicKey):
        raise RequestRefused("A request names none of the purposes.")
    return CertificateAsked(purpose, public_key)


def read_requests(text: bytes) -> list[CertificateAsked]:
    """Read a file of requests, at most one a purpose. Raises `RequestRefused`."""
    asked = [read_request(der) for der in _blocks(text, "CERTIFICATE REQUEST")]
    if len({each.purpose for each in asked}) != len(asked):
        raise RequestRefused("The file has two requests for one purpose.")
    return asked


def read_certificates(text: bytes) -> list[bytes]:
    """The certificates of a PEM file, DER, unverified. Raises `RequestRefused`."""
    return _blocks(text, "CERTIFICATE")


def write_requests(requests: Iterable[bytes]) -> bytes:
    """A file of requests (DER each)."""
    return b"".join(x509.load_der_x509_csr(der).public_bytes(serialization.Encoding.PEM) for der in requests)


def write_certificates(certificates: Iterable[bytes]) -> bytes:
    """A file of certificates (DER each)."""
    return b"".join(
        x509.load_der_x509_certificate(der).public_bytes(serialization.Encoding.PEM) for der in certificates
    )


def answer_requests(
    authority: PluginAuthority, asked: Sequence[CertificateAsked], *, now: datetime, lifetime: timedelta
) -> list[bytes]:
    """Certify what was asked for, DER each, from a little before `now` (aware) on.

    A key-set certificate gets ninety days at most, and none outlives the authority.

    Raises:
        RequestRefused: a key is of the wrong kind for its purpose, or nothing is left of the authority's own time.
    """
    not_before = (now - CLOCK_MARGIN).replace(microsecond=0)
    issued = []
    for each in asked:
        allowed = min(lifetime, KEYSET_MAX_LIFETIME) if each.purpose is Purpose.KEYSET else lifetime
        not_after = min(not_before + allowed, authority.certificate.not_valid_after_utc)
        try:
            certificate = authority.issue(each.purpose, each.public_key, not_before=not_before, not_after=not_after)
        except ValueError as exc:
            raise RequestRefused(f"The {each.purpose.value} key cannot be certified: {exc}.") from exc
        issued.append(certificate_to_der(certificate))
    return issued


def key_to_pem(private_key: ec.EllipticCurvePrivateKey, passphrase: bytes | None) -> bytes:
    """The authority's private key for a file: PKCS #8 PEM, encrypted if there is a passphrase."""
    encryption = serialization.BestAvailableEncryption(passphrase) if passphrase else serialization.NoEncryption()
    return private_key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)


def key_from_pem(text: bytes, passphrase: bytes | None) -> ec.EllipticCurvePrivateKey:
    """Load a P-256 private key from PEM. Raises `KeyInvalid`: it is none, or the passphrase is wrong or missing."""
    try:
        key = serialization.load_pem_private_key(text, password=passphrase)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise KeyInvalid("not a private key in PEM that this passphrase opens") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise KeyInvalid("not a P-256 private key")
    return key


def fingerprint(public_key: LeafPublicKey) -> str:
    """Hex SHA-256 of a public key (SubjectPublicKeyInfo), to be compared by eye on both machines."""
    encoded = public_key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(encoded).hexdigest()


def _blocks(text: bytes, label: str) -> list[bytes]:
    if len(text) > MAX_FILE_BYTES:
        raise RequestRefused("The file is too large.")
    found = list(_BLOCK.finditer(text))
    if not found or any(match[1] != label.encode() for match in found):
        raise RequestRefused(f"The file is not made of {label} blocks in PEM alone.")
    load = x509.load_pem_x509_csr if label.endswith("REQUEST") else x509.load_pem_x509_certificate
    try:
        return [load(match[0] + b"\n").public_bytes(serialization.Encoding.DER) for match in found]
    except ValueError as exc:
        raise RequestRefused(f"A {label} block cannot be read.") from exc


def _subject(purpose: Purpose) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, purpose.common_name)])
