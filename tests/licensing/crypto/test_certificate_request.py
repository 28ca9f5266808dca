"""Requests for certificates, and their answers: whoever asks holds the key, and nothing else is certified."""

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from licensing.crypto.authority import (
    AuthorityError,
    PluginAuthority,
    Purpose,
    generate_purpose_key,
    load_certificate,
    verify_authority,
    verify_certificate,
)
from licensing.crypto.certificate_request import (
    RequestRefused,
    answer_requests,
    key_from_pem,
    key_to_pem,
    make_request,
    read_certificates,
    read_request,
    read_requests,
    write_certificates,
    write_requests,
)
from licensing.crypto.jwk import KeyInvalid

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)
TEXTS = [Purpose.MANIFEST, Purpose.KEYSET, Purpose.KEYSLOTS, Purpose.POLICY, Purpose.PROVENANCE]


@pytest.fixture(scope="module")
def authority() -> PluginAuthority:
    return PluginAuthority.create(now=NOW - DAY)


@pytest.fixture(scope="module")
def keys() -> dict[Purpose, ec.EllipticCurvePrivateKey]:
    made = {purpose: generate_purpose_key(purpose) for purpose in TEXTS}
    return {purpose: key for purpose, key in made.items() if isinstance(key, ec.EllipticCurvePrivateKey)}


def odd_request(key: ec.EllipticCurvePrivateKey, name: str, *purposes: Purpose) -> bytes:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
    if purposes:
        usage = x509.ExtendedKeyUsage([purpose.oid for purpose in purposes])
        builder = builder.add_extension(usage, critical=True)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


def test_what_is_asked_for_is_issued_and_verifies(
    authority: PluginAuthority, keys: dict[Purpose, ec.EllipticCurvePrivateKey]
) -> None:
    text = write_requests(make_request(purpose, key) for purpose, key in keys.items())
    asked = read_requests(text)
    issued = answer_requests(authority, asked, now=NOW, lifetime=365 * DAY)
    assert read_certificates(write_certificates(issued)) == issued
    for (purpose, key), der in zip(keys.items(), issued, strict=True):
        certificate = verify_certificate(der, authority=authority.public_key, purpose=purpose, at=NOW)
        assert certificate.public_key() == key.public_key()
        days = (certificate.not_valid_after_utc - certificate.not_valid_before_utc).days
        assert days == (90 if purpose is Purpose.KEYSET else 365)


def test_an_rsa_key_is_asked_for_binaries_alone(authority: PluginAuthority) -> None:
    key = generate_purpose_key(Purpose.BINARY)
    (issued,) = answer_requests(authority, [read_request(make_request(Purpose.BINARY, key))], now=NOW, lifetime=DAY)
    verify_certificate(issued, authority=authority.public_key, purpose=Purpose.BINARY, at=NOW)
    asked = read_request(make_request(Purpose.MANIFEST, key))
    with pytest.raises(RequestRefused, match="wrong kind of key"):
        answer_requests(authority, [asked], now=NOW, lifetime=DAY)


def test_nothing_outlives_the_authority(
    authority: PluginAuthority, keys: dict[Purpose, ec.EllipticCurvePrivateKey]
) -> None:
    end = authority.certificate.not_valid_after_utc
    asked = [read_request(make_request(Purpose.POLICY, keys[Purpose.POLICY]))]
    (issued,) = answer_requests(authority, asked, now=end - DAY, lifetime=90 * DAY)
    assert load_certificate(issued).not_valid_after_utc == end
    with pytest.raises(RequestRefused, match="cannot be certified"):
        answer_requests(authority, asked, now=end + DAY, lifetime=90 * DAY)


def test_a_request_that_its_key_did_not_sign_is_refused(keys: dict[Purpose, ec.EllipticCurvePrivateKey]) -> None:
    der = make_request(Purpose.MANIFEST, keys[Purpose.MANIFEST])
    with pytest.raises(RequestRefused):
        read_request(der[:-1] + bytes([der[-1] ^ 1]))


@pytest.mark.parametrize(
    ("name", "purposes"),
    [
        ("Keywright manifest signer", ()),
        ("Keywright manifest signer", (Purpose.KEYSET,)),
        ("Keywright manifest signer", (Purpose.MANIFEST, Purpose.KEYSET)),
        ("PluginAuthority", (Purpose.MANIFEST,)),
    ],
)
def test_a_request_names_exactly_one_purpose(
    keys: dict[Purpose, ec.EllipticCurvePrivateKey], name: str, purposes: tuple[Purpose, ...]
) -> None:
    with pytest.raises(RequestRefused):
        read_request(odd_request(keys[Purpose.MANIFEST], name, *purposes))


def test_a_file_is_pem_of_one_kind_and_one_request_a_purpose(
    authority: PluginAuthority, keys: dict[Purpose, ec.EllipticCurvePrivateKey]
) -> None:
    request = make_request(Purpose.MANIFEST, keys[Purpose.MANIFEST])
    root = write_certificates([authority.certificate_der])
    for text in (b"", b"hello", root, write_requests([request]) + root, write_requests([request] * 2), b"x" * 300_000):
        with pytest.raises(RequestRefused):
            read_requests(text)
    with pytest.raises(RequestRefused):
        read_certificates(root.replace(b"MII", b"AAA"))


def test_the_authoritys_key_in_a_file(authority: PluginAuthority) -> None:
    for passphrase in (None, b"correct horse"):
        text = key_to_pem(authority.private_key, passphrase)
        assert key_from_pem(text, passphrase).public_key() == authority.public_key
    for wrong in (None, b"wrong"):
        with pytest.raises(KeyInvalid):
            key_from_pem(key_to_pem(authority.private_key, b"correct horse"), wrong)


def test_only_an_authoritys_own_certificate_is_an_authoritys(
    authority: PluginAuthority, keys: dict[Purpose, ec.EllipticCurvePrivateKey]
) -> None:
    assert verify_authority(authority.certificate_der, at=NOW) == authority.certificate
    leaf = authority.issue(Purpose.POLICY, keys[Purpose.POLICY].public_key(), not_before=NOW, not_after=NOW + DAY)
    der = leaf.public_bytes(serialization.Encoding.DER)
    other = authority.certificate_der
    for wrong, at, reason in [
        (der, NOW, "issuer"),
        (other[:-1] + bytes([other[-1] ^ 1]), NOW, "signature"),
        (other, NOW - 2 * DAY, "not_yet_valid"),
        (other, NOW + 4000 * DAY, "expired"),
    ]:
        with pytest.raises(AuthorityError) as refused:
            verify_authority(wrong, at=at)
        assert refused.value.reason == reason
