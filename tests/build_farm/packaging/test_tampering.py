"""Whatever is changed about a package, it is refused, and each tampering has its own reason."""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from build_farm.packaging import PackageRefused, Reason, verify_package
from build_farm.packaging.archive import ArchiveMalformed, read_archive, write_archive
from build_farm.packaging.contents import AssembledPackage
from build_farm.packaging.pem import read_chain, write_chain
from licensing.crypto.authority import (
    PluginAuthority,
    Purpose,
    certificate_to_der,
    generate_purpose_key,
    load_certificate,
)
from licensing.crypto.signatures import sign_binary, write_typed
from tests.build_farm.go_binary import go_binary

NOW = datetime(2026, 5, 1, 12, 0, 0, tzinfo=UTC)
DAY = timedelta(days=1)


def refusal(files: dict[str, bytes], authority: PluginAuthority, **options: Any) -> Reason:
    with pytest.raises(PackageRefused) as refused:
        verify_package(files, authority=authority.public_key, **options)
    assert str(refused.value).startswith(refused.value.reason.value)
    return refused.value.reason


def test_a_good_package_is_whole(files: dict[str, bytes], authority: PluginAuthority) -> None:
    verified = verify_package(files, authority=authority.public_key, expected={"customer_id": "cust_123"})
    assert verified.manifest["build_id"] == "bld_1"
    assert verified.signed_at == NOW
    assert verified.provenance["predicate"]["runDetails"]["metadata"]["invocationId"] == "bld_1"


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("plugin", {Reason.BINARY_CHANGED}),
        ("plugin.sha256", {Reason.PACKAGE_FILE_CHANGED}),
        ("plugin.sig", {Reason.BINARY_SIGNATURE_INVALID}),
        ("plugin.manifest", {Reason.MANIFEST_SIGNATURE_INVALID}),
        ("plugin.manifest.sig", {Reason.MANIFEST_SIGNATURE_INVALID}),
        ("plugin.provenance.json", {Reason.PACKAGE_FILE_CHANGED}),
        ("plugin.sbom.json", {Reason.PACKAGE_FILE_CHANGED}),
        (
            "plugin.crt",
            {
                Reason.CERTIFICATE_INVALID,
                Reason.CERTIFICATE_FOREIGN,
                Reason.CERTIFICATE_PURPOSE,
                Reason.PACKAGE_FILE_CHANGED,
                Reason.MANIFEST_SIGNATURE_INVALID,
            },
        ),
    ],
)
def test_a_flipped_byte_anywhere_is_noticed(
    files: dict[str, bytes], authority: PluginAuthority, name: str, reason: set[Reason]
) -> None:
    whole = files[name]
    # Every part of the file; every byte of it where there is time for that.
    step = 1 if "KEYWRIGHT_BENCH" in os.environ else max(1, len(whole) // 97)
    for position in {*range(0, len(whole), step), len(whole) - 1}:
        files[name] = whole[:position] + bytes([whole[position] ^ 0x01]) + whole[position + 1 :]
        assert refusal(files, authority) in reason, position


def test_manifests_swapped_between_customers_are_refused(
    files: dict[str, bytes], authority: PluginAuthority, signer: Any, make_package: Callable[..., AssembledPackage]
) -> None:
    other = make_package(signer, customer_id="enterprise_456", build_id="bld_2", binary=go_binary(filling=b"another"))
    for name in ("plugin.manifest", "plugin.manifest.sig"):
        files[name] = other.files[name]
    assert refusal(files, authority) is Reason.BINARY_CHANGED


def test_another_customers_whole_package_is_refused_where_a_customer_is_expected(
    authority: PluginAuthority, signer: Any, make_package: Callable[..., AssembledPackage]
) -> None:
    other = make_package(signer, customer_id="enterprise_456")
    expected = {"customer_id": "cust_123"}
    assert refusal(dict(other.files), authority, expected=expected) is Reason.MANIFEST_MISMATCH


def test_a_package_signed_anew_under_another_authority_is_foreign(
    authority: PluginAuthority, make_signer: Callable[..., Any], make_package: Callable[..., AssembledPackage]
) -> None:
    impostor = PluginAuthority.create(now=NOW - 400 * DAY)
    forged = make_package(make_signer(impostor, not_before=NOW - DAY, not_after=NOW + DAY))
    assert refusal(dict(forged.files), authority) is Reason.CERTIFICATE_FOREIGN


def test_another_binary_key_under_the_same_certificate_does_not_sign(
    files: dict[str, bytes], authority: PluginAuthority, signer: Any
) -> None:
    key = generate_purpose_key(Purpose.BINARY)
    assert isinstance(key, rsa.RSAPrivateKey)
    relist(files, signer, "plugin.sig", sign_binary(key, hashlib.sha256(files["plugin"]).digest()))
    assert refusal(files, authority) is Reason.BINARY_SIGNATURE_INVALID


@pytest.mark.parametrize("purpose", [Purpose.MANIFEST, Purpose.PROVENANCE])
def test_another_key_of_the_same_purpose_does_not_sign_manifests(
    files: dict[str, bytes],
    authority: PluginAuthority,
    make_signer: Callable[..., Any],
    purpose: Purpose,
) -> None:
    # Of this very authority, and not the one in plugin.crt.
    other = make_signer(authority, not_before=NOW - DAY, not_after=NOW + DAY)
    files["plugin.manifest.sig"] = other.sign_text(purpose, files["plugin.manifest"])
    assert refusal(files, authority) is Reason.MANIFEST_SIGNATURE_INVALID


def test_a_root_of_another_authority_at_the_end_of_the_chain_is_foreign(
    files: dict[str, bytes], authority: PluginAuthority
) -> None:
    chain = read_chain(files["plugin.crt"])
    assert chain is not None
    impostor = PluginAuthority.create(now=NOW - 400 * DAY)
    files["plugin.crt"] = write_chain([*chain[:-1], impostor.certificate_der])
    assert refusal(files, authority) is Reason.CERTIFICATE_FOREIGN


def test_a_certificate_for_something_else_does_not_sign_manifests(
    files: dict[str, bytes], authority: PluginAuthority, signer: Any
) -> None:
    chain = read_chain(files["plugin.crt"])
    assert chain is not None
    files["plugin.crt"] = write_chain([chain[0], signer.certificate(Purpose.KEYSLOTS), *chain[2:]])
    files["plugin.manifest.sig"] = signer.sign_text(Purpose.KEYSLOTS, files["plugin.manifest"])
    assert refusal(files, authority) is Reason.CERTIFICATE_PURPOSE


@pytest.mark.parametrize("purpose", [Purpose.BINARY, Purpose.MANIFEST, Purpose.PROVENANCE])
def test_no_certificate_of_the_chain_may_have_lapsed_at_the_signing_time(
    files: dict[str, bytes], authority: PluginAuthority, signer: Any, purpose: Purpose
) -> None:
    chain = read_chain(files["plugin.crt"])
    assert chain is not None
    place = [Purpose.BINARY, Purpose.MANIFEST, Purpose.PROVENANCE].index(purpose)
    key = load_certificate(chain[place]).public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey | rsa.RSAPublicKey)
    lapsed = authority.issue(purpose, key, not_before=NOW - 2 * DAY, not_after=NOW - timedelta(seconds=1))
    chain[place] = certificate_to_der(lapsed)
    relist(files, signer, "plugin.crt", write_chain(chain))
    assert refusal(files, authority) is Reason.CERTIFICATE_LAPSED


@pytest.mark.parametrize(
    ("not_before", "not_after", "reason"),
    [
        (NOW, NOW + DAY, None),
        (NOW - DAY, NOW, None),
        (NOW + timedelta(seconds=1), NOW + DAY, Reason.CERTIFICATE_LAPSED),
        (NOW - DAY, NOW - timedelta(seconds=1), Reason.CERTIFICATE_LAPSED),
    ],
)
def test_certificates_must_have_been_valid_at_the_signing_time(
    authority: PluginAuthority,
    make_signer: Callable[..., Any],
    make_package: Callable[..., AssembledPackage],
    not_before: datetime,
    not_after: datetime,
    reason: Reason | None,
) -> None:
    made = make_package(make_signer(authority, not_before=not_before, not_after=not_after))
    if reason is None:
        verify_package(made.files, authority=authority.public_key)
    else:
        assert refusal(dict(made.files), authority) is reason


def test_a_key_that_was_withdrawn_before_the_signing_time_signs_nothing(
    files: dict[str, bytes], authority: PluginAuthority, signer: Any
) -> None:
    digest = hashlib.sha256(signer.certificate(Purpose.BINARY)).hexdigest()
    verify_package(files, authority=authority.public_key, retired={digest: NOW})
    before = {digest: NOW - timedelta(seconds=1)}
    assert refusal(files, authority, retired=before) is Reason.CERTIFICATE_RETIRED


@pytest.mark.parametrize("name", ["plugin.manifest", "plugin.sig", "plugin.crt", "plugin", "plugin.sbom.json"])
def test_a_missing_file_is_named(files: dict[str, bytes], authority: PluginAuthority, name: str) -> None:
    del files[name]
    assert refusal(files, authority) is Reason.PACKAGE_FILE_MISSING


def test_a_file_that_slipped_in_is_named(files: dict[str, bytes], authority: PluginAuthority) -> None:
    files["plugin.keyslots"] = b"anything"
    assert refusal(files, authority) is Reason.PACKAGE_FILE_UNLISTED


def resigned(files: dict[str, bytes], signer: Any, change: Callable[[dict[str, Any]], None]) -> None:
    """What a vendor's own broken tool could make: properly signed, and wrong."""
    manifest = json.loads(files["plugin.manifest"])
    change(manifest)
    files["plugin.manifest"] = write_typed(manifest)
    files["plugin.manifest.sig"] = signer.sign_text(Purpose.MANIFEST, files["plugin.manifest"])


def relist(files: dict[str, bytes], signer: Any, name: str, content: bytes) -> None:
    files[name] = content
    entry = {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}
    resigned(files, signer, lambda manifest: manifest["files"].update({name: entry}))


@pytest.mark.parametrize(
    ("member", "value"),
    [("_type", "keywright-policy/v1"), ("signature_algorithm", "none"), ("signed_at", "yesterday"), ("files", []),
     ("hash", "sha256:abc"), ("target", 7)],
)  # fmt: skip
def test_a_signed_manifest_of_another_form_is_refused(
    files: dict[str, bytes], authority: PluginAuthority, signer: Any, member: str, value: object
) -> None:
    resigned(files, signer, lambda manifest: manifest.update({member: value}))
    assert refusal(files, authority) is Reason.MANIFEST_INVALID


def test_each_listed_file_is_also_read(files: dict[str, bytes], authority: PluginAuthority, signer: Any) -> None:
    for name, content, reason in [
        ("plugin.sha256", b"00  plugin\n", Reason.CHECKSUM_INVALID),
        ("plugin.provenance.json", b"{}", Reason.PROVENANCE_INVALID),
        ("plugin.sbom.json", b'{"bomFormat":"CycloneDX"}', Reason.SBOM_INVALID),
    ]:
        tampered = dict(files)
        relist(tampered, signer, name, content)
        assert refusal(tampered, authority) is reason


def test_provenance_of_another_binary_is_refused(
    files: dict[str, bytes], authority: PluginAuthority, signer: Any, make_package: Callable[..., AssembledPackage]
) -> None:
    other = make_package(signer, binary=go_binary(filling=b"another"))
    relist(files, signer, "plugin.provenance.json", other.files["plugin.provenance.json"])
    assert refusal(files, authority) is Reason.PROVENANCE_INVALID


def packed(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    write_archive(buffer, files)
    return buffer.getvalue()


def test_the_same_files_give_the_same_bytes_and_come_back(files: dict[str, bytes]) -> None:
    assert packed(files) == packed(dict(files))
    assert read_archive(io.BytesIO(packed(files))) == files


@pytest.mark.parametrize("damage", ["cut", "appended", "garbage", "checksum"])
def test_an_archive_that_is_not_whole_is_malformed(files: dict[str, bytes], damage: str) -> None:
    whole = packed(files)
    damaged = {
        "cut": whole[:-20],
        "appended": whole + b"\x1f\x8b",
        "garbage": b"not a tar.gz",
        "checksum": whole[:-6] + bytes([whole[-6] ^ 1]) + whole[-5:],
    }[damage]
    with pytest.raises(ArchiveMalformed):
        read_archive(io.BytesIO(damaged))


@pytest.mark.parametrize("name", ["../plugin", "a/plugin", "/etc/passwd", ".."])
def test_an_archive_with_paths_is_malformed(name: str) -> None:
    with pytest.raises(ArchiveMalformed, match="no ordinary file"):
        read_archive(io.BytesIO(packed({name: b"x"})))
