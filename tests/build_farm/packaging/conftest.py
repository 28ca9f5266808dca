"""A PluginAuthority, a signer under it, and one good package. No database."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from build_farm.packaging import PackageContents, ProvenanceFacts, assemble
from build_farm.packaging.contents import AssembledPackage
from licensing.crypto import signatures
from licensing.crypto.authority import PluginAuthority, Purpose, certificate_to_der, generate_purpose_key
from tests.build_farm.go_binary import go_binary

NOW = datetime(2026, 5, 1, 12, 0, 0, tzinfo=UTC)
DAY = timedelta(days=1)

CONTENTS = PackageContents(
    tier="Pro",
    features=("console_logging", "api_logging"),
    permissions=[{"resource": "network", "action": "fetch", "scope": None, "effect": "allow"}],
    resources={"timeout_seconds": 30},
    build_time=NOW,
    signed_at=NOW,
    provenance=ProvenanceFacts(
        build_id="bld_1",
        customer_id="cust_123",
        plugin="api-logger",
        version="2.1.0",
        target="linux/amd64",
        issuer="https://licensing.example.com",
        source_sha256="11" * 32,
        kit_version="v1.0.0",
        kit_digest="22" * 32,
        toolchain="go1.27.0",
        farm_version="1.0.0",
        started_at=NOW,
        finished_at=NOW,
    ),
)


class KeptSigner:
    """A signer whose keys are in memory; the RSA key is made once, since that takes a second."""

    rsa_key: rsa.RSAPrivateKey | None = None

    def __init__(self, authority: PluginAuthority, *, not_before: datetime, not_after: datetime) -> None:
        self._authority = authority
        self._keys = {}
        for purpose in (Purpose.BINARY, Purpose.MANIFEST, Purpose.PROVENANCE, Purpose.KEYSLOTS):
            key = self._rsa() if purpose is Purpose.BINARY else generate_purpose_key(purpose)
            certificate = authority.issue(purpose, key.public_key(), not_before=not_before, not_after=not_after)
            self._keys[purpose] = (certificate_to_der(certificate), key)

    @classmethod
    def _rsa(cls) -> rsa.RSAPrivateKey:
        if cls.rsa_key is None:
            made = generate_purpose_key(Purpose.BINARY)
            assert isinstance(made, rsa.RSAPrivateKey)
            cls.rsa_key = made
        return cls.rsa_key

    def sign_binary(self, digest: bytes) -> bytes:
        key = self._keys[Purpose.BINARY][1]
        assert isinstance(key, rsa.RSAPrivateKey)
        return signatures.sign_binary(key, digest)

    def sign_text(self, purpose: Purpose, text: bytes) -> bytes:
        key = self._keys[purpose][1]
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        return signatures.sign_text(key, text)

    def certificate(self, purpose: Purpose) -> bytes:
        return self._keys[purpose][0]

    def authority(self) -> bytes:
        return self._authority.certificate_der


@pytest.fixture(scope="session")
def authority() -> PluginAuthority:
    return PluginAuthority.create(now=NOW - 400 * DAY)


@pytest.fixture(scope="session")
def signer(authority: PluginAuthority) -> KeptSigner:
    return KeptSigner(authority, not_before=NOW - DAY, not_after=NOW + 30 * DAY)


@pytest.fixture(scope="session")
def package(signer: KeptSigner) -> AssembledPackage:
    return assemble(CONTENTS, go_binary(), signer)


@pytest.fixture
def files(package: AssembledPackage) -> dict[str, bytes]:
    """The package's files, to be tampered with."""
    return dict(package.files)


@pytest.fixture(scope="session")
def make_package() -> Callable[..., AssembledPackage]:
    """Assemble another package: with another signer, or other facts."""

    def make(signer: KeptSigner, *, binary: bytes | None = None, **facts: str) -> AssembledPackage:
        return assemble(
            replace(CONTENTS, provenance=replace(CONTENTS.provenance, **facts)), binary or go_binary(), signer
        )

    return make


@pytest.fixture(scope="session")
def make_signer() -> Callable[..., KeptSigner]:
    """A signer under an authority, with certificates of other times."""
    return KeptSigner
