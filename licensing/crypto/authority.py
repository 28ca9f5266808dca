"""PluginAuthority: the root that kits pin, and the certificates it issues, each for one purpose only.

The root is an EC P-256 certificate, CN=PluginAuthority, that signs leaves directly (path length 0). A
leaf carries its purpose as its one extended key usage, critical, so a verifier that does not know it must
refuse, and a certificate for one purpose never passes for another. Verifiers hold the root's public key
and nothing else.
"""

import enum
import secrets
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Self, TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID, SignatureAlgorithmOID

from licensing.crypto import jwk
from licensing.crypto.signatures import BINARY_KEY_BITS

AUTHORITY_NAME = "PluginAuthority"
AUTHORITY_LIFETIME = timedelta(days=3652)
PURPOSE_ARC = "1.3.6.1.4.1.32473.75.1"
KEYSET_MAX_LIFETIME = timedelta(days=90)
_RSA_EXPONENT = 65537

AnyExtension = TypeVar("AnyExtension", bound=x509.ExtensionType)
LeafPrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
LeafPublicKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey


class Purpose(enum.StrEnum):
    """What a certificate's key may sign. The order is that of the last arc of the OID, and never changes."""

    BINARY = "binary"
    MANIFEST = "manifest"
    KEYSET = "keyset"
    KEYSLOTS = "keyslots"
    POLICY = "policy"
    PROVENANCE = "provenance"

    @property
    def oid(self) -> x509.ObjectIdentifier:
        """The extended key usage that stands for this purpose."""
        return x509.ObjectIdentifier(f"{PURPOSE_ARC}.{list(Purpose).index(self) + 1}")

    @property
    def common_name(self) -> str:
        """The subject of its certificates."""
        return f"Keywright {self.value} signer"


class AuthorityError(Exception):
    """A certificate was refused.

    `reason` is one of `malformed issuer signature is_authority purpose key lifetime not_yet_valid expired`.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(f"certificate refused: {reason}")
        self.reason = reason


@dataclass(frozen=True, slots=True)
class PluginAuthority:
    """The root's certificate and private key."""

    certificate: x509.Certificate = field(repr=False)
    private_key: ec.EllipticCurvePrivateKey = field(repr=False)

    @classmethod
    def create(cls, *, now: datetime) -> Self:
        """Make a new root with a new key, valid for ten years from `now` (aware)."""
        private_key = jwk.generate_private_key()
        public_key = private_key.public_key()
        builder = _builder(AUTHORITY_NAME, public_key, public_key, now, now + AUTHORITY_LIFETIME)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        builder = builder.add_extension(_key_usage(is_authority=True), critical=True)
        return cls(certificate=builder.sign(private_key, hashes.SHA256()), private_key=private_key)

    @classmethod
    def load(cls, certificate_der: bytes, private_key_der: bytes) -> Self:
        """Load a stored root.

        Raises:
            AuthorityError: `malformed`, or `key` when the two do not belong together.
            KeyInvalid: the private key is none.
        """
        certificate = load_certificate(certificate_der)
        private_key = jwk.private_from_der(private_key_der)
        if certificate.public_key() != private_key.public_key():
            raise AuthorityError("key")
        return cls(certificate=certificate, private_key=private_key)

    @property
    def public_key(self) -> ec.EllipticCurvePublicKey:
        """What kits pin."""
        return self.private_key.public_key()

    @property
    def certificate_der(self) -> bytes:
        """The root certificate, DER."""
        return certificate_to_der(self.certificate)

    def issue(
        self, purpose: Purpose, public_key: LeafPublicKey, *, not_before: datetime, not_after: datetime
    ) -> x509.Certificate:
        """Certify a key for one purpose. Times are aware; fractions of a second are cut off.

        Raises:
            ValueError: a naive time, an empty or too long validity, one that leaves the root's own, or a
            key of the
                wrong kind for the purpose.
        """
        _require_validity(purpose, not_before, not_after)
        root = self.certificate
        if not_before < root.not_valid_before_utc or not_after > root.not_valid_after_utc:
            raise ValueError("a certificate may not outlive its authority")
        if not _is_key_for(purpose, public_key):
            raise ValueError(f"the wrong kind of key for {purpose.value}")
        builder = _builder(purpose.common_name, public_key, self.public_key, not_before, not_after)
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        builder = builder.add_extension(_key_usage(is_authority=False), critical=True)
        builder = builder.add_extension(x509.ExtendedKeyUsage([purpose.oid]), critical=True)
        return builder.sign(self.private_key, hashes.SHA256())


def generate_purpose_key(purpose: Purpose) -> LeafPrivateKey:
    """A new private key of the kind its purpose asks for: RSA-3072 for binaries, EC P-256 for the rest."""
    if purpose is Purpose.BINARY:
        return rsa.generate_private_key(public_exponent=_RSA_EXPONENT, key_size=BINARY_KEY_BITS)
    return jwk.generate_private_key()


def load_purpose_key(purpose: Purpose, der: bytes) -> LeafPrivateKey:
    """Load a purpose's private key from PKCS#8 DER. Raises `AuthorityError` (`key`) for any other kind of key."""
    try:
        private_key = serialization.load_der_private_key(der, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise AuthorityError("key") from None
    if isinstance(private_key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) and _is_key_for(
        purpose, private_key.public_key()
    ):
        return private_key
    raise AuthorityError("key")


def load_certificate(der: bytes) -> x509.Certificate:
    """Parse a DER certificate, unverified. Raises `AuthorityError` (`malformed`)."""
    try:
        certificate = x509.load_der_x509_certificate(der)
        # cryptography parses lazily: make it say now whether the parts that are read later can be read.
        for part in ("version", "issuer", "subject", "extensions", "not_valid_before_utc", "not_valid_after_utc"):
            getattr(certificate, part)
        certificate.public_key()
    except Exception:  # noqa: BLE001  (its parser raises a dozen kinds for hostile DER)
        raise AuthorityError("malformed") from None
    # The signature is a BIT STRING of whole bytes. Where its last bits are zero, a count of unused bits other than
    # zero parses as well: a second spelling of one certificate.
    if not der.endswith(b"\0" + certificate.signature):
        raise AuthorityError("malformed")
    return certificate


def certificate_to_der(certificate: x509.Certificate) -> bytes:
    """The certificate in DER."""
    return certificate.public_bytes(serialization.Encoding.DER)


def verify_certificate(
    certificate_der: bytes, *, authority: ec.EllipticCurvePublicKey, purpose: Purpose, at: datetime
) -> x509.Certificate:
    """Hold a certificate against the authority's public key, a purpose and an instant (aware).

    Checked: issued by this authority (name and key identifier) and signed by it with ECDSA and SHA-256;
    not itself an authority; exactly this one purpose, critical; the right kind of key; no longer valid
    than its purpose allows; and valid at `at`, both ends included (RFC 5280 §4.1.2.5).

    Raises:
        AuthorityError: with its reason.
    """
    certificate = load_certificate(certificate_der)
    _require_issued_by(certificate, authority)
    _require_leaf_for(certificate, purpose)
    not_before, not_after = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if purpose is Purpose.KEYSET and not_after - not_before > KEYSET_MAX_LIFETIME:
        raise AuthorityError("lifetime")
    if at < not_before:
        raise AuthorityError("not_yet_valid")
    if at > not_after:
        raise AuthorityError("expired")
    return certificate


def verify_authority(certificate_der: bytes, *, at: datetime) -> x509.Certificate:
    """Hold a certificate against what PluginAuthority's own is: named so, an authority for leaves, signed by itself.

    Raises:
        AuthorityError: with its reason.
    """
    certificate = load_certificate(certificate_der)
    public_key = certificate.public_key()
    if not isinstance(public_key, ec.EllipticCurvePublicKey) or not isinstance(public_key.curve, ec.SECP256R1):
        raise AuthorityError("key")
    if certificate.subject != _name(AUTHORITY_NAME):
        raise AuthorityError("issuer")
    _require_issued_by(certificate, public_key)
    constraints, usage = _extension(certificate, x509.BasicConstraints), _extension(certificate, x509.KeyUsage)
    if constraints is None or not constraints.critical or not constraints.value.ca:
        raise AuthorityError("is_authority")
    if usage is None or not usage.value.key_cert_sign:
        raise AuthorityError("purpose")
    if at < certificate.not_valid_before_utc:
        raise AuthorityError("not_yet_valid")
    if at > certificate.not_valid_after_utc:
        raise AuthorityError("expired")
    return certificate


def _require_issued_by(certificate: x509.Certificate, authority: ec.EllipticCurvePublicKey) -> None:
    expected = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority)
    if certificate.issuer != _name(AUTHORITY_NAME):
        raise AuthorityError("issuer")
    named = _extension(certificate, x509.AuthorityKeyIdentifier)
    if named is None or named.value != expected:
        raise AuthorityError("issuer")
    if certificate.signature_algorithm_oid != SignatureAlgorithmOID.ECDSA_WITH_SHA256:
        raise AuthorityError("signature")
    try:
        authority.verify(certificate.signature, certificate.tbs_certificate_bytes, ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        raise AuthorityError("signature") from None


def _require_leaf_for(certificate: x509.Certificate, purpose: Purpose) -> None:
    constraints = _extension(certificate, x509.BasicConstraints)
    usage = _extension(certificate, x509.KeyUsage)
    if constraints is None or not constraints.critical or constraints.value.ca:
        raise AuthorityError("is_authority")
    if usage is None or not usage.critical or usage.value != _key_usage(is_authority=False):
        raise AuthorityError("purpose")
    extended = _extension(certificate, x509.ExtendedKeyUsage)
    if extended is None or not extended.critical or list(extended.value) != [purpose.oid]:
        raise AuthorityError("purpose")
    known = (x509.BasicConstraints.oid, x509.KeyUsage.oid, x509.ExtendedKeyUsage.oid)
    if any(extension.critical and extension.oid not in known for extension in certificate.extensions):
        raise AuthorityError("purpose")
    if not _is_key_for(purpose, certificate.public_key()):
        raise AuthorityError("key")


def _builder(
    name: str,
    public_key: LeafPublicKey,
    issuer_key: ec.EllipticCurvePublicKey,
    not_before: datetime,
    not_after: datetime,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(_name(name))
        .issuer_name(_name(AUTHORITY_NAME))
        .public_key(public_key)
        .serial_number(secrets.randbits(128) or 1)
        .not_valid_before(not_before)
        .not_valid_after(not_after)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key), critical=False)
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _key_usage(*, is_authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not is_authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=is_authority,
        crl_sign=is_authority,
        encipher_only=False,
        decipher_only=False,
    )


def _extension(certificate: x509.Certificate, kind: type[AnyExtension]) -> x509.Extension[AnyExtension] | None:
    try:
        return certificate.extensions.get_extension_for_class(kind)
    except x509.ExtensionNotFound:
        return None


def _is_key_for(purpose: Purpose, public_key: object) -> bool:
    if purpose is Purpose.BINARY:
        return isinstance(public_key, rsa.RSAPublicKey) and public_key.key_size == BINARY_KEY_BITS
    return isinstance(public_key, ec.EllipticCurvePublicKey) and isinstance(public_key.curve, ec.SECP256R1)


def _require_validity(purpose: Purpose, not_before: datetime, not_after: datetime) -> None:
    if not_before.tzinfo is None or not_after.tzinfo is None:
        raise ValueError("certificate times are aware")
    if not_after <= not_before:
        raise ValueError("a certificate ends after it begins")
    if purpose is Purpose.KEYSET and not_after - not_before > KEYSET_MAX_LIFETIME:
        raise ValueError(f"a key-set certificate lives {KEYSET_MAX_LIFETIME.days} days at most")
