"""The files of a package, made in the order in which they depend on each other."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from build_farm.packaging.build_info import read_build_info
from build_farm.packaging.instants import rfc3339
from build_farm.packaging.pem import write_chain
from build_farm.packaging.provenance import ProvenanceFacts, provenance_statement
from build_farm.packaging.sbom import bill_of_materials
from build_farm.signing.documents import sign_envelope
from build_farm.signing.interface import Signer
from licensing.crypto.authority import Purpose
from licensing.crypto.signatures import IN_TOTO_PAYLOAD_TYPE, write_typed

MANIFEST_TYPE: Final = "keywright-manifest/v1"
SIGNATURE_ALGORITHM: Final = "SHA256-RSA"
MANIFEST: Final = "plugin.manifest"
MANIFEST_SIGNATURE: Final = "plugin.manifest.sig"
CHECKSUM: Final = "plugin.sha256"
SIGNATURE: Final = "plugin.sig"
CERTIFICATES: Final = "plugin.crt"
PROVENANCE: Final = "plugin.provenance.json"
SBOM: Final = "plugin.sbom.json"


def binary_name(target: str) -> str:
    """What the binary is called in a package for `target` (os/arch)."""
    return "plugin.exe" if target.startswith("windows/") else "plugin"


def package_filename(plugin: str, version: str, target: str) -> str:
    """The name of a package's file."""
    return f"{plugin}-{version}-{target.replace('/', '-')}.kmpkg"


@dataclass(frozen=True, slots=True)
class PackageContents:
    """What the database says of a build that goes into its package; instants are aware.

    `permissions` and `resources` are the plugin manifest's canonical members.
    """

    tier: str
    features: tuple[str, ...]
    permissions: list[Any]
    resources: Mapping[str, Any]
    build_time: datetime
    signed_at: datetime
    provenance: ProvenanceFacts


@dataclass(frozen=True, slots=True)
class AssembledPackage:
    """The files in the order they are packed, and what is registered of them."""

    files: Mapping[str, bytes] = field(repr=False)
    binary_sha256: str
    signature: bytes = field(repr=False)


def assemble(contents: PackageContents, binary: bytes, signer: Signer) -> AssembledPackage:
    """Make and sign every file of a package from the binary's own bytes.

    Raises:
        BuildInfoInvalid: the bytes are no Go binary.
        SignerUnavailable: the signer cannot sign.
    """
    facts = contents.provenance
    name, digest = binary_name(facts.target), hashlib.sha256(binary)
    sha256 = digest.hexdigest()
    signature = signer.sign_binary(digest.digest())
    statement = provenance_statement(facts, binary_name=name, binary_sha256=sha256)
    listed = {
        name: binary,
        CHECKSUM: f"{sha256}  {name}\n".encode("ascii"),
        SIGNATURE: signature,
        CERTIFICATES: write_chain(
            [
                signer.certificate(Purpose.BINARY),
                signer.certificate(Purpose.MANIFEST),
                signer.certificate(Purpose.PROVENANCE),
                signer.authority(),
            ]
        ),
        PROVENANCE: sign_envelope(signer, Purpose.PROVENANCE, statement, payload_type=IN_TOTO_PAYLOAD_TYPE),
        SBOM: bill_of_materials(
            read_build_info(binary),
            build_id=facts.build_id,
            plugin=facts.plugin,
            version=facts.version,
            binary_sha256=sha256,
            build_time=contents.build_time,
        ),
    }
    manifest = write_typed(_manifest(contents, sha256, listed))
    files = {**listed, MANIFEST: manifest, MANIFEST_SIGNATURE: signer.sign_text(Purpose.MANIFEST, manifest)}
    return AssembledPackage(files, sha256, signature)


def _manifest(contents: PackageContents, sha256: str, listed: Mapping[str, bytes]) -> dict[str, Any]:
    facts = contents.provenance
    return {
        "_type": MANIFEST_TYPE,
        "name": facts.plugin,
        "version": facts.version,
        "target": facts.target,
        "customer_id": facts.customer_id,
        "tier": contents.tier,
        "build_id": facts.build_id,
        "build_time": rfc3339(contents.build_time),
        "signed_at": rfc3339(contents.signed_at),
        "hash": sha256,
        "signature_algorithm": SIGNATURE_ALGORITHM,
        "features": list(contents.features),
        "permissions": contents.permissions,
        "resources": dict(contents.resources),
        "files": {
            name: {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}
            for name, content in listed.items()
        },
    }
