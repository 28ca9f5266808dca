"""A real package, tampered with in every way that needs no key of the vendor's; each is refused by two who look.

The one is the plugin itself, started from the changed folder; the other is what `manage.py verify_package` calls.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from build_farm.packaging import PackageRefused, verify_package
from build_farm.packaging.instants import parse_instant
from build_farm.packaging.pem import write_chain
from licensing.crypto.authority import (
    PluginAuthority,
    Purpose,
    certificate_to_der,
    generate_purpose_key,
    load_certificate,
)
from licensing.crypto.signatures import sign_binary, sign_text, write_typed

REFUSED_TO_RUN = 3
FLIPPED = {
    "plugin": "BINARY_CHANGED",
    "plugin.sha256": "PACKAGE_FILE_CHANGED",
    "plugin.sig": "BINARY_SIGNATURE_INVALID",
    "plugin.manifest": "MANIFEST_SIGNATURE_INVALID",
    "plugin.manifest.sig": "MANIFEST_SIGNATURE_INVALID",
    "plugin.crt": "CERTIFICATE_",
    "plugin.provenance.json": "PACKAGE_FILE_CHANGED",
    "plugin.sbom.json": "PACKAGE_FILE_CHANGED",
}


def is_refused_whatever_is_changed(package: Path, other: Path, authority_der: bytes, place: Path) -> None:
    """`package` and `other` are unpacked packages of two customers."""
    authority = load_certificate(authority_der).public_key()
    assert isinstance(authority, ec.EllipticCurvePublicKey)
    customer = json.loads((package / "plugin.manifest").read_text())["customer_id"]
    verify_package(_files(package), authority=authority, expected={"customer_id": customer})

    def expect(name: str, change: Callable[[Path], None], reason: str, verifiers_reason: str | None = None) -> None:
        changed = place / name
        changed.mkdir(parents=True)
        for entry in FLIPPED:
            shutil.copy2(package / entry, changed / entry)
        change(changed)
        with pytest.raises(PackageRefused) as refused:
            verify_package(_files(changed), authority=authority, expected={"customer_id": customer})
        assert refused.value.reason.startswith(verifiers_reason or reason), (name, str(refused.value))
        # No key and no address: it is not to come as far as needing them.
        ran = subprocess.run(
            [str(changed / "plugin")], stdin=subprocess.DEVNULL, capture_output=True, text=True, env={}, check=False
        )
        assert (ran.returncode, ran.stdout) == (REFUSED_TO_RUN, ""), (name, ran)
        assert reason in ran.stderr, (name, ran.stderr)
        shutil.rmtree(changed)

    for name, reason in FLIPPED.items():
        expect(f"flipped {name}", lambda folder, name=name: _flip(folder / name), reason)  # type: ignore[misc]
    for name in set(FLIPPED) - {"plugin"}:
        expect(f"without {name}", lambda folder, name=name: (folder / name).unlink(), "PACKAGE_FILE_MISSING")  # type: ignore[misc]
    expect("another customer's manifest", lambda folder: _take_manifest(folder, other), "MANIFEST_MISMATCH")
    expect("signed anew", _sign_anew, "CERTIFICATE_FOREIGN")


def _files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name in FLIPPED}


def _flip(path: Path) -> None:
    content = path.read_bytes()
    # Of the binary a constant of the customer's, which the plugin reads only after it has verified itself.
    place = content.index(b"encrypted:") + 20 if path.name == "plugin" else len(content) // 2
    path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])


def _take_manifest(folder: Path, other: Path) -> None:
    for name in ("plugin.manifest", "plugin.manifest.sig"):
        shutil.copy2(other / name, folder / name)


def _sign_anew(folder: Path) -> None:
    """As whoever has the package and keys of their own would: everything fits, but for who vouches for it."""
    manifest = json.loads((folder / "plugin.manifest").read_text())
    signed_at = parse_instant(manifest["signed_at"])
    assert signed_at is not None
    impostor = PluginAuthority.create(now=signed_at - timedelta(days=2))
    keys = {each: generate_purpose_key(each) for each in (Purpose.BINARY, Purpose.MANIFEST, Purpose.PROVENANCE)}
    issued = [
        certificate_to_der(
            impostor.issue(
                purpose,
                key.public_key(),
                not_before=signed_at - timedelta(days=1),
                not_after=signed_at + timedelta(days=1),
            )
        )
        for purpose, key in keys.items()
    ]
    binary_key, manifest_key = keys[Purpose.BINARY], keys[Purpose.MANIFEST]
    assert isinstance(binary_key, rsa.RSAPrivateKey)
    assert isinstance(manifest_key, ec.EllipticCurvePrivateKey)
    made = {
        "plugin.sig": sign_binary(binary_key, hashlib.sha256((folder / "plugin").read_bytes()).digest()),
        "plugin.crt": write_chain([*issued, impostor.certificate_der]),
    }
    for name, content in made.items():
        (folder / name).write_bytes(content)
        manifest["files"][name] = {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}
    (folder / "plugin.manifest").write_bytes(write_typed(manifest))
    (folder / "plugin.manifest.sig").write_bytes(sign_text(manifest_key, (folder / "plugin.manifest").read_bytes()))
