"""PluginAuthority: the certificates it issues, and those that do not pass for them."""

import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from licensing.crypto import jwk
from licensing.crypto.authority import (
    AuthorityError,
    PluginAuthority,
    Purpose,
    certificate_to_der,
    generate_purpose_key,
    load_certificate,
    verify_certificate,
)

START = datetime(2024, 1, 1, tzinfo=UTC)
END = START + timedelta(days=90)
DURING = START + timedelta(days=30)
SECOND = timedelta(seconds=1)


@pytest.fixture(scope="module")
def authority() -> PluginAuthority:
    return PluginAuthority.create(now=START)


@pytest.fixture(scope="module")
def leaf_key() -> ec.EllipticCurvePrivateKey:
    return jwk.generate_private_key()


def issue(authority: PluginAuthority, purpose: Purpose, public_key: Any) -> bytes:
    return certificate_to_der(authority.issue(purpose, public_key, not_before=START, not_after=END))


def refusal(der: bytes, authority: PluginAuthority, purpose: Purpose, at: datetime = DURING) -> str:
    with pytest.raises(AuthorityError) as caught:
        verify_certificate(der, authority=authority.public_key, purpose=purpose, at=at)
    return caught.value.reason


class TestRoot:
    def test_its_profile(self, authority: PluginAuthority) -> None:
        root = authority.certificate
        assert root.subject.rfc4514_string() == root.issuer.rfc4514_string() == "CN=PluginAuthority"
        root.verify_directly_issued_by(root)
        constraints = root.extensions.get_extension_for_class(x509.BasicConstraints)
        assert (constraints.critical, constraints.value.ca, constraints.value.path_length) == (True, True, 0)
        usage = root.extensions.get_extension_for_class(x509.KeyUsage)
        assert (usage.critical, usage.value.key_cert_sign, usage.value.digital_signature) == (True, True, False)
        assert root.not_valid_before_utc == START
        assert root.not_valid_after_utc == datetime(2034, 1, 1, tzinfo=UTC) - timedelta(days=1)
        assert isinstance(authority.public_key.curve, ec.SECP256R1)

    def test_it_survives_storage(self, authority: PluginAuthority) -> None:
        loaded = PluginAuthority.load(authority.certificate_der, jwk.private_to_der(authority.private_key))
        assert loaded.certificate == authority.certificate
        assert loaded.public_key == authority.public_key

    def test_a_key_that_is_not_its_own(self, authority: PluginAuthority) -> None:
        with pytest.raises(AuthorityError, match="key"):
            PluginAuthority.load(authority.certificate_der, jwk.private_to_der(jwk.generate_private_key()))

    def test_no_repr_shows_the_key(self, authority: PluginAuthority) -> None:
        assert repr(authority) == "PluginAuthority()"


class TestIssue:
    @pytest.mark.parametrize("purpose", [purpose for purpose in Purpose if purpose is not Purpose.BINARY])
    def test_each_purpose(
        self, authority: PluginAuthority, leaf_key: ec.EllipticCurvePrivateKey, purpose: Purpose
    ) -> None:
        der = issue(authority, purpose, leaf_key.public_key())
        verified = verify_certificate(der, authority=authority.public_key, purpose=purpose, at=DURING)
        assert verified.public_key() == leaf_key.public_key()
        assert verified.subject.rfc4514_string() == f"CN=Keywright {purpose.value} signer"
        for other in Purpose:
            if other is not purpose:
                assert refusal(der, authority, other) == "purpose"

    def test_a_binary_certificate_is_rsa(self, authority: PluginAuthority, binary_key: rsa.RSAPrivateKey) -> None:
        assert binary_key.key_size == 3072
        der = issue(authority, Purpose.BINARY, binary_key.public_key())
        verified = verify_certificate(der, authority=authority.public_key, purpose=Purpose.BINARY, at=DURING)
        assert verified.public_key() == binary_key.public_key()

    def test_the_purposes_have_the_frozen_identifiers(self) -> None:
        assert {purpose.value: purpose.oid.dotted_string for purpose in Purpose} == {
            "binary": "1.3.6.1.4.1.32473.75.1.1",
            "manifest": "1.3.6.1.4.1.32473.75.1.2",
            "keyset": "1.3.6.1.4.1.32473.75.1.3",
            "keyslots": "1.3.6.1.4.1.32473.75.1.4",
            "policy": "1.3.6.1.4.1.32473.75.1.5",
            "provenance": "1.3.6.1.4.1.32473.75.1.6",
        }

    def test_the_profile_of_a_leaf(self, authority: PluginAuthority, leaf_key: ec.EllipticCurvePrivateKey) -> None:
        leaf = load_certificate(issue(authority, Purpose.KEYSET, leaf_key.public_key()))
        critical = {extension.oid for extension in leaf.extensions if extension.critical}
        assert critical == {x509.BasicConstraints.oid, x509.KeyUsage.oid, x509.ExtendedKeyUsage.oid}
        root_identifier = authority.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
        named = leaf.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
        assert named.key_identifier == root_identifier.value.digest
        leaf.verify_directly_issued_by(authority.certificate)

    def test_serials_are_random_and_of_128_bits(
        self, authority: PluginAuthority, leaf_key: ec.EllipticCurvePrivateKey
    ) -> None:
        serials = {
            load_certificate(issue(authority, Purpose.POLICY, leaf_key.public_key())).serial_number for _ in range(40)
        }
        assert len(serials) == 40
        assert all(0 < serial < 2**128 for serial in serials)
        assert max(serials) >= 2**120

    def test_key_sets_get_ninety_days_at_most(
        self, authority: PluginAuthority, leaf_key: ec.EllipticCurvePrivateKey
    ) -> None:
        with pytest.raises(ValueError, match="90 days"):
            authority.issue(Purpose.KEYSET, leaf_key.public_key(), not_before=START, not_after=END + SECOND)
        assert authority.issue(Purpose.MANIFEST, leaf_key.public_key(), not_before=START, not_after=END + SECOND)

    @pytest.mark.parametrize(
        ("not_before", "not_after", "message"),
        [
            (START - SECOND, END, "outlive"),
            (START, START + timedelta(days=4000), "outlive"),
            (START, START, "ends after"),
            (START.replace(tzinfo=None), END, "aware"),
        ],
    )
    def test_validities_that_cannot_be(
        self,
        authority: PluginAuthority,
        leaf_key: ec.EllipticCurvePrivateKey,
        not_before: datetime,
        not_after: datetime,
        message: str,
    ) -> None:
        with pytest.raises(ValueError, match=message):
            authority.issue(Purpose.MANIFEST, leaf_key.public_key(), not_before=not_before, not_after=not_after)

    def test_keys_of_the_wrong_kind(
        self,
        authority: PluginAuthority,
        leaf_key: ec.EllipticCurvePrivateKey,
        binary_key: rsa.RSAPrivateKey,
    ) -> None:
        small = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        p384 = ec.generate_private_key(ec.SECP384R1())
        for purpose, key in (
            (Purpose.BINARY, leaf_key),
            (Purpose.BINARY, small),
            (Purpose.KEYSET, binary_key),
            (Purpose.KEYSET, p384),
        ):
            with pytest.raises(ValueError, match="wrong kind of key"):
                issue(authority, purpose, key.public_key())

    def test_generated_keys_fit_their_purpose(self) -> None:
        for purpose in Purpose:
            if purpose is not Purpose.BINARY:
                assert isinstance(generate_purpose_key(purpose), ec.EllipticCurvePrivateKey)


class TestVerify:
    def test_both_ends_belong_to_the_validity(
        self, authority: PluginAuthority, leaf_key: ec.EllipticCurvePrivateKey
    ) -> None:
        der = issue(authority, Purpose.KEYSET, leaf_key.public_key())
        for at in (START, END):
            assert verify_certificate(der, authority=authority.public_key, purpose=Purpose.KEYSET, at=at)
        assert refusal(der, authority, Purpose.KEYSET, START - SECOND) == "not_yet_valid"
        assert refusal(der, authority, Purpose.KEYSET, END + SECOND) == "expired"

    def test_another_authority_of_the_same_name(
        self, authority: PluginAuthority, leaf_key: ec.EllipticCurvePrivateKey
    ) -> None:
        impostor = PluginAuthority.create(now=START)
        der = issue(impostor, Purpose.KEYSET, leaf_key.public_key())
        assert refusal(der, authority, Purpose.KEYSET) == "issuer"

    def test_the_root_itself_is_no_leaf(self, authority: PluginAuthority) -> None:
        assert refusal(authority.certificate_der, authority, Purpose.KEYSET) == "is_authority"

    def test_every_flipped_bit_is_noticed(
        self, authority: PluginAuthority, leaf_key: ec.EllipticCurvePrivateKey
    ) -> None:
        der = issue(authority, Purpose.KEYSET, leaf_key.public_key())
        for bit in range(len(der) * 8):
            broken = bytearray(der)
            broken[bit // 8] ^= 1 << bit % 8
            assert refusal(bytes(broken), authority, Purpose.KEYSET) in {"malformed", "issuer", "signature"}

    def test_bytes_that_are_no_certificate(
        self, authority: PluginAuthority, leaf_key: ec.EllipticCurvePrivateKey
    ) -> None:
        der = issue(authority, Purpose.KEYSET, leaf_key.public_key())
        for junk in (b"", b"junk", der[:-1], der + b"\0", der + der, b"\x30\x80" * 50):
            assert refusal(junk, authority, Purpose.KEYSET) == "malformed"


class Forge:
    """Builds certificates that `issue` would not, signed by the real authority or by another key."""

    def __init__(self, authority: PluginAuthority, leaf_key: ec.EllipticCurvePrivateKey) -> None:
        self.authority = authority
        self.leaf_key = leaf_key

    def make(
        self,
        *,
        issuer: str = "PluginAuthority",
        signer: ec.EllipticCurvePrivateKey | None = None,
        algorithm: hashes.SHA256 | hashes.SHA384 | None = None,
        days: int = 90,
        without: tuple[type[x509.ExtensionType], ...] = (),
        extra: tuple[tuple[x509.ExtensionType, bool], ...] = (),
        public_key: Any = None,
    ) -> bytes:
        genuine = self.authority.issue(Purpose.KEYSET, self.leaf_key.public_key(), not_before=START, not_after=END)
        builder = (
            x509.CertificateBuilder()
            .subject_name(genuine.subject)
            .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
            .public_key(public_key or self.leaf_key.public_key())
            .serial_number(1)
            .not_valid_before(START)
            .not_valid_after(START + timedelta(days=days))
        )
        for extension in genuine.extensions:
            if not isinstance(extension.value, without):
                builder = builder.add_extension(extension.value, critical=extension.critical)
        for value, critical in extra:
            builder = builder.add_extension(value, critical=critical)
        signed = builder.sign(signer or self.authority.private_key, algorithm or hashes.SHA256())
        return signed.public_bytes(serialization.Encoding.DER)


class TestForged:
    @pytest.fixture
    def forge(self, authority: PluginAuthority, leaf_key: ec.EllipticCurvePrivateKey) -> Forge:
        return Forge(authority, leaf_key)

    def test_an_unchanged_one_passes(self, forge: Forge, authority: PluginAuthority) -> None:
        assert verify_certificate(forge.make(), authority=authority.public_key, purpose=Purpose.KEYSET, at=DURING)

    def test_names_and_signatures(self, forge: Forge, authority: PluginAuthority) -> None:
        cases: list[tuple[dict[str, Any], str]] = [
            ({"issuer": "OtherAuthority"}, "issuer"),
            ({"without": (x509.AuthorityKeyIdentifier,)}, "issuer"),
            ({"signer": jwk.generate_private_key()}, "signature"),
            ({"algorithm": hashes.SHA384()}, "signature"),
            ({"days": 91}, "lifetime"),
            ({"public_key": ec.generate_private_key(ec.SECP384R1()).public_key()}, "key"),
        ]
        for change, reason in cases:
            assert refusal(forge.make(**change), authority, Purpose.KEYSET) == reason, change

    def test_purposes(self, forge: Forge, authority: PluginAuthority) -> None:
        usage = x509.ExtendedKeyUsage
        keyset, binary = Purpose.KEYSET.oid, Purpose.BINARY.oid
        any_purpose = x509.ObjectIdentifier("2.5.29.37.0")
        for extra in (
            (),
            ((usage([keyset]), False),),
            ((usage([keyset, binary]), True),),
            ((usage([binary, keyset]), True),),
            ((usage([keyset, keyset]), True),),
            ((usage([any_purpose]), True),),
        ):
            der = forge.make(without=(usage,), extra=extra)
            assert refusal(der, authority, Purpose.KEYSET) == "purpose"

    def test_authorities_in_disguise(self, forge: Forge, authority: PluginAuthority) -> None:
        constraints = x509.BasicConstraints
        for extra in (
            (),
            ((constraints(ca=True, path_length=None), True),),
            ((constraints(ca=False, path_length=None), False),),
        ):
            der = forge.make(without=(constraints,), extra=extra)
            assert refusal(der, authority, Purpose.KEYSET) == "is_authority"

    def test_key_usages_and_unknown_critical_extensions(self, forge: Forge, authority: PluginAuthority) -> None:
        root_usage = authority.certificate.extensions.get_extension_for_class(x509.KeyUsage).value
        unknown = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00")
        for change in (
            {"without": (x509.KeyUsage,)},
            {"without": (x509.KeyUsage,), "extra": ((root_usage, True),)},
            {"extra": ((unknown, True),)},
        ):
            assert refusal(forge.make(**change), authority, Purpose.KEYSET) == "purpose"
        harmless = forge.make(extra=((unknown, False),))
        assert verify_certificate(harmless, authority=authority.public_key, purpose=Purpose.KEYSET, at=DURING)


def test_openssl_accepts_the_chain(
    authority: PluginAuthority, leaf_key: ec.EllipticCurvePrivateKey, tmp_path: Path
) -> None:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is not installed")
    leaf = load_certificate(issue(authority, Purpose.MANIFEST, leaf_key.public_key()))
    root_file, leaf_file = tmp_path / "root.pem", tmp_path / "leaf.pem"
    root_file.write_bytes(authority.certificate.public_bytes(serialization.Encoding.PEM))
    leaf_file.write_bytes(leaf.public_bytes(serialization.Encoding.PEM))
    at = str(int(DURING.timestamp()))
    command = [openssl, "verify", "-x509_strict", "-attime", at, "-CAfile", str(root_file), str(leaf_file)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, f"{leaf_file}: OK"), done.stderr
