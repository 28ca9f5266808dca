"""Holding a package against PluginAuthority's public key, and nothing else that one has to believe.

The order is that of the kit (docs/gokit.md, "What is verified"), and so are the words: a package that the plugin would
refuse is refused here for the same reason. Checksum file, provenance and bill of materials are read as well.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from build_farm.packaging import contents
from build_farm.packaging.instants import parse_instant
from build_farm.packaging.pem import read_chain
from build_farm.packaging.provenance import subject_digest
from licensing.crypto.authority import AuthorityError, Purpose, load_certificate, verify_certificate
from licensing.crypto.signatures import (
    IN_TOTO_PAYLOAD_TYPE,
    SignatureInvalid,
    verify_binary,
    verify_envelope,
    verify_text,
)
from licensing.crypto.strict_json import parse_object

_SIGNERS: Final = (Purpose.BINARY, Purpose.MANIFEST, Purpose.PROVENANCE)
_HEX_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_TEXT_MEMBERS: Final = ("name", "version", "target", "customer_id", "tier", "build_id", "hash")
_TARGET: Final = re.compile(r"[a-z0-9]{1,15}/[a-z0-9_]{1,15}")


class Reason(StrEnum):
    """Why a package is refused."""

    ARCHIVE_MALFORMED = "ARCHIVE_MALFORMED"
    PACKAGE_FILE_MISSING = "PACKAGE_FILE_MISSING"
    PACKAGE_FILE_CHANGED = "PACKAGE_FILE_CHANGED"
    PACKAGE_FILE_UNLISTED = "PACKAGE_FILE_UNLISTED"
    MANIFEST_SIGNATURE_INVALID = "MANIFEST_SIGNATURE_INVALID"
    MANIFEST_INVALID = "MANIFEST_INVALID"
    MANIFEST_MISMATCH = "MANIFEST_MISMATCH"
    BINARY_CHANGED = "BINARY_CHANGED"
    BINARY_SIGNATURE_INVALID = "BINARY_SIGNATURE_INVALID"
    CERTIFICATE_INVALID = "CERTIFICATE_INVALID"
    CERTIFICATE_FOREIGN = "CERTIFICATE_FOREIGN"
    CERTIFICATE_PURPOSE = "CERTIFICATE_PURPOSE"
    CERTIFICATE_LAPSED = "CERTIFICATE_LAPSED"
    CERTIFICATE_RETIRED = "CERTIFICATE_RETIRED"
    CHECKSUM_INVALID = "CHECKSUM_INVALID"
    PROVENANCE_INVALID = "PROVENANCE_INVALID"
    SBOM_INVALID = "SBOM_INVALID"


class PackageRefused(Exception):
    """A package is not what it should be; `reason` is the word, the message a sentence with the file's name."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(f"{reason.value}: {detail}")
        self.reason = reason
        self.detail = detail


@dataclass(frozen=True, slots=True)
class VerifiedPackage:
    """What a whole package says, all of it signed."""

    manifest: Mapping[str, Any]
    provenance: Mapping[str, Any] = field(repr=False)
    signature: bytes = field(repr=False)
    signed_at: datetime


@dataclass(frozen=True, slots=True)
class _Chain:
    der: Mapping[Purpose, bytes]
    certificates: Mapping[Purpose, x509.Certificate]


def verify_package(
    files: Mapping[str, bytes],
    *,
    authority: ec.EllipticCurvePublicKey,
    retired: Mapping[str, datetime] | None = None,
    expected: Mapping[str, str] | None = None,
) -> VerifiedPackage:
    """Check everything about a package's files (by name, as `read_archive` gives them).

    `retired` are certificates that were withdrawn, hex SHA-256 of their DER to the instant: nothing signed later by
    their keys counts. `expected` are manifest members (`customer_id`, `build_id`, …) that must be these.

    Raises:
        PackageRefused: with the first thing that is wrong.
    """
    for name in (contents.MANIFEST, contents.MANIFEST_SIGNATURE, contents.SIGNATURE, contents.CERTIFICATES):
        if name not in files:
            raise PackageRefused(Reason.PACKAGE_FILE_MISSING, f"{name} is not there")
    chain = _read_chain(files[contents.CERTIFICATES], authority)
    manifest = _open_manifest(files, chain)
    signed_at = _check_certificates(chain, manifest, authority, retired or {})
    for name, value in (expected or {}).items():
        if manifest.get(name) != value:
            raise PackageRefused(Reason.MANIFEST_MISMATCH, f"{name} is {manifest.get(name)!r}, not {value!r}")
    _check_binary(files, manifest, chain)
    _check_files(files, manifest)
    _check_checksum(files, manifest)
    provenance = _check_provenance(files, manifest, chain)
    _check_sbom(files, manifest)
    return VerifiedPackage(manifest, provenance, files[contents.SIGNATURE], signed_at)


def _read_chain(text: bytes, authority: ec.EllipticCurvePublicKey) -> _Chain:
    """Everything about the certificates that does not depend on time."""
    ders = read_chain(text)
    if ders is None or len(ders) != len(_SIGNERS) + 1:
        raise PackageRefused(
            Reason.CERTIFICATE_INVALID, f"{contents.CERTIFICATES} is not {len(_SIGNERS) + 1} plain PEM certificates"
        )
    certificates = {}
    for purpose, der in zip(_SIGNERS, ders, strict=False):
        certificates[purpose] = _certificate(der, authority, purpose)
    try:
        root = load_certificate(ders[-1]).public_key()
    except AuthorityError as exc:
        raise PackageRefused(Reason.CERTIFICATE_INVALID, "the last certificate cannot be read") from exc
    if root != authority:
        raise PackageRefused(Reason.CERTIFICATE_FOREIGN, f"{contents.CERTIFICATES} ends in another authority")
    return _Chain(dict(zip(_SIGNERS, ders, strict=False)), certificates)


def _certificate(der: bytes, authority: ec.EllipticCurvePublicKey, purpose: Purpose) -> x509.Certificate:
    try:
        certificate = load_certificate(der)
        return verify_certificate(der, authority=authority, purpose=purpose, at=certificate.not_valid_before_utc)
    except AuthorityError as exc:
        reasons = {
            "issuer": Reason.CERTIFICATE_FOREIGN,
            "signature": Reason.CERTIFICATE_FOREIGN,
            "purpose": Reason.CERTIFICATE_PURPOSE,
        }
        raise PackageRefused(
            reasons.get(exc.reason, Reason.CERTIFICATE_INVALID), f"the {purpose.value} certificate: {exc.reason}"
        ) from exc


def _open_manifest(files: Mapping[str, bytes], chain: _Chain) -> dict[str, Any]:
    text = files[contents.MANIFEST]
    try:
        verify_text(_ec_key(chain, Purpose.MANIFEST), text, files[contents.MANIFEST_SIGNATURE])
    except SignatureInvalid as exc:
        raise PackageRefused(
            Reason.MANIFEST_SIGNATURE_INVALID, f"{contents.MANIFEST_SIGNATURE} does not sign {contents.MANIFEST}"
        ) from exc
    try:
        manifest = parse_object(text)
    except ValueError as exc:
        raise PackageRefused(Reason.MANIFEST_INVALID, f"{contents.MANIFEST} is not one JSON object") from exc
    _require_form(manifest)
    return manifest


def _require_form(manifest: Mapping[str, Any]) -> None:
    if manifest.get("_type") != contents.MANIFEST_TYPE:
        raise PackageRefused(Reason.MANIFEST_INVALID, f"it is no {contents.MANIFEST_TYPE}")
    if manifest.get("signature_algorithm") != contents.SIGNATURE_ALGORITHM:
        raise PackageRefused(Reason.MANIFEST_INVALID, "signature_algorithm is unknown")
    for name in _TEXT_MEMBERS:
        if not isinstance(manifest.get(name), str):
            raise PackageRefused(Reason.MANIFEST_INVALID, f"{name} is no text")
    if not _TARGET.fullmatch(manifest["target"]) or not _HEX_DIGEST.fullmatch(manifest["hash"]):
        raise PackageRefused(Reason.MANIFEST_INVALID, "target or hash is malformed")
    listed = manifest.get("files")
    if not isinstance(listed, dict) or not all(_is_listing(entry) for entry in listed.values()):
        raise PackageRefused(Reason.MANIFEST_INVALID, "files is malformed")


def _is_listing(entry: object) -> bool:
    return (
        isinstance(entry, dict)
        and entry.keys() == {"sha256", "size"}
        and isinstance(entry["sha256"], str)
        and _HEX_DIGEST.fullmatch(entry["sha256"]) is not None
        and type(entry["size"]) is int
    )


def _check_certificates(
    chain: _Chain,
    manifest: Mapping[str, Any],
    authority: ec.EllipticCurvePublicKey,
    retired: Mapping[str, datetime],
) -> datetime:
    """Every certificate was valid, and not withdrawn, at the signing time; what came later changes nothing."""
    signed_at = parse_instant(manifest.get("signed_at"))
    if signed_at is None:
        raise PackageRefused(Reason.MANIFEST_INVALID, "signed_at is not an instant such as 2026-01-31T00:00:00Z")
    for purpose, der in chain.der.items():
        try:
            verify_certificate(der, authority=authority, purpose=purpose, at=signed_at)
        except AuthorityError as exc:
            raise PackageRefused(
                Reason.CERTIFICATE_LAPSED, f"the {purpose.value} certificate was not valid at {manifest['signed_at']}"
            ) from exc
        withdrawn_at = retired.get(hashlib.sha256(der).hexdigest())
        if withdrawn_at is not None and signed_at > withdrawn_at:
            raise PackageRefused(
                Reason.CERTIFICATE_RETIRED, f"the {purpose.value} certificate was withdrawn before the signing time"
            )
    return signed_at


def _check_binary(files: Mapping[str, bytes], manifest: Mapping[str, Any], chain: _Chain) -> None:
    name = contents.binary_name(manifest["target"])
    if name not in files:
        raise PackageRefused(Reason.PACKAGE_FILE_MISSING, f"{name} is not there")
    digest = hashlib.sha256(files[name])
    if digest.hexdigest() != manifest["hash"]:
        raise PackageRefused(Reason.BINARY_CHANGED, f"{name} is not the one in the manifest")
    if manifest["files"].get(name) != {"sha256": manifest["hash"], "size": len(files[name])}:
        raise PackageRefused(Reason.MANIFEST_INVALID, "files does not list the binary as hash does")
    key = chain.certificates[Purpose.BINARY].public_key()
    if not isinstance(key, rsa.RSAPublicKey):
        raise PackageRefused(Reason.CERTIFICATE_INVALID, "the binary signer's key is not RSA")
    try:
        verify_binary(key, digest.digest(), files[contents.SIGNATURE])
    except SignatureInvalid as exc:
        raise PackageRefused(Reason.BINARY_SIGNATURE_INVALID, f"{contents.SIGNATURE} does not sign {name}") from exc


def _check_files(files: Mapping[str, bytes], manifest: Mapping[str, Any]) -> None:
    """None missing, none changed, none slipped in."""
    listed: Mapping[str, Any] = manifest["files"]
    for name in sorted(listed.keys() - files.keys()):
        raise PackageRefused(Reason.PACKAGE_FILE_MISSING, f"{name} is not there")
    for name in sorted(files.keys() - listed.keys() - {contents.MANIFEST, contents.MANIFEST_SIGNATURE}):
        raise PackageRefused(Reason.PACKAGE_FILE_UNLISTED, f"{name} is not in the manifest")
    for name, entry in listed.items():
        found = files[name]
        if entry != {"sha256": hashlib.sha256(found).hexdigest(), "size": len(found)}:
            raise PackageRefused(Reason.PACKAGE_FILE_CHANGED, f"{name} is not the one in the manifest")


def _check_checksum(files: Mapping[str, bytes], manifest: Mapping[str, Any]) -> None:
    expected = f"{manifest['hash']}  {contents.binary_name(manifest['target'])}\n".encode()
    if files.get(contents.CHECKSUM) != expected:
        raise PackageRefused(Reason.CHECKSUM_INVALID, f"{contents.CHECKSUM} does not name the binary's digest")


def _check_provenance(files: Mapping[str, bytes], manifest: Mapping[str, Any], chain: _Chain) -> dict[str, Any]:
    envelope = files.get(contents.PROVENANCE, b"")
    try:
        key = _ec_key(chain, Purpose.PROVENANCE)
        statement = parse_object(verify_envelope(envelope, key, payload_type=IN_TOTO_PAYLOAD_TYPE))
    except (SignatureInvalid, ValueError) as exc:
        raise PackageRefused(
            Reason.PROVENANCE_INVALID, f"{contents.PROVENANCE} is no statement signed for this package"
        ) from exc
    if subject_digest(statement) != manifest["hash"]:
        raise PackageRefused(Reason.PROVENANCE_INVALID, f"{contents.PROVENANCE} speaks of another binary")
    return statement


def _check_sbom(files: Mapping[str, bytes], manifest: Mapping[str, Any]) -> None:
    try:
        document = parse_object(files.get(contents.SBOM, b""))
        hashes = document["metadata"]["component"]["hashes"]
        is_ours = document["bomFormat"] == "CycloneDX" and {"alg": "SHA-256", "content": manifest["hash"]} in hashes
    except (ValueError, KeyError, TypeError) as exc:
        raise PackageRefused(Reason.SBOM_INVALID, f"{contents.SBOM} is no CycloneDX document") from exc
    if not is_ours:
        raise PackageRefused(Reason.SBOM_INVALID, f"{contents.SBOM} speaks of another binary")


def _ec_key(chain: _Chain, purpose: Purpose) -> ec.EllipticCurvePublicKey:
    key = chain.certificates[purpose].public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise PackageRefused(Reason.CERTIFICATE_INVALID, f"the {purpose.value} signer's key is not EC")
    return key
