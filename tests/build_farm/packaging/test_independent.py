"""What others make of a package: openssl, sha256sum, securesystemslib, and the published schema's own library."""

from __future__ import annotations

import hashlib
import json
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from cryptography.x509 import load_der_x509_certificate
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer import SSlibKey

from build_farm.packaging.build_info import BuildInfoInvalid, read_build_info
from build_farm.packaging.contents import AssembledPackage
from build_farm.packaging.pem import read_chain
from licensing.crypto.authority import PluginAuthority
from tests.build_farm.go_binary import go_binary


@pytest.fixture
def unpacked(package: AssembledPackage, authority: PluginAuthority, tmp_path: Path) -> Path:
    for name, content in package.files.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "authority.pem").write_bytes(authority.certificate.public_bytes(serialization.Encoding.PEM))
    return tmp_path


def run(folder: Path, script: str) -> str:
    done = subprocess.run(["bash", "-e", "-c", script], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_openssl_and_sha256sum_accept_binary_and_manifest(unpacked: Path) -> None:
    said = run(
        unpacked,
        """
        sha256sum -c plugin.sha256
        openssl x509 -in plugin.crt -noout -pubkey > binary.pem
        openssl dgst -sha256 -verify binary.pem -signature plugin.sig plugin
        awk '/BEGIN/ {n++} n == 2' plugin.crt | openssl x509 -noout -pubkey > manifest.pem
        openssl dgst -sha256 -verify manifest.pem -signature plugin.manifest.sig plugin.manifest
        openssl verify -attime 1777636800 -CAfile authority.pem plugin.crt
        """,
    )
    assert said.splitlines() == ["plugin: OK", "Verified OK", "Verified OK", "plugin.crt: OK"]


def test_securesystemslib_accepts_the_provenance_and_refuses_it_changed(package: AssembledPackage) -> None:
    chain = read_chain(package.files["plugin.crt"])
    assert chain is not None
    public = load_der_x509_certificate(chain[2]).public_key()
    pem = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    key = SSlibKey.from_crypto(load_pem_public_key(pem), keyid=hashlib.sha256(chain[2]).hexdigest())  # type: ignore[arg-type]
    envelope = Envelope.from_dict(json.loads(package.files["plugin.provenance.json"]))
    assert envelope.verify([key], 1)
    statement = json.loads(envelope.payload)
    assert statement["_type"] == "https://in-toto.io/Statement/v1"
    assert statement["subject"] == [{"name": "plugin", "digest": {"sha256": package.binary_sha256}}]
    envelope.payload += b" "
    with pytest.raises(VerificationError):
        envelope.verify([key], 1)


def test_the_bill_of_materials_is_valid_and_names_what_was_linked_in(package: AssembledPackage) -> None:
    text = package.files["plugin.sbom.json"].decode()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    document = json.loads(text)
    named = {(part["name"], part["version"]) for part in document["components"]}
    assert named == {("go", "1.27.0"), ("example.com/lib", "v1.2.3"), ("example.com/new", "v0.2.0")}
    assert document["metadata"]["component"]["hashes"] == [{"alg": "SHA-256", "content": package.binary_sha256}]


def test_build_information_is_read_or_refused() -> None:
    info = read_build_info(go_binary())
    assert (info.go_version, info.package) == ("go1.27.0", "example.com/x")
    assert info.main is not None
    assert info.main.version == "(devel)"
    assert ("CGO_ENABLED", "0") in info.settings
    whole = go_binary()
    at = whole.index(b"\xff Go buildinf:")
    for broken in (b"", b"\x7fELF", whole[: at + 40], whole[:at] + b"\0" + whole[at + 1 :], whole[1:]):
        with pytest.raises(BuildInfoInvalid):
            read_build_info(broken)
    # The magic as mere data before the real one does not mislead.
    decoy = (b"\xff Go buildinf:" + b"\xff" * 18 + b"\0" * 16)[:48]
    assert read_build_info(decoy + whole).go_version == "go1.27.0"
