"""The signer whose keys are in the database, sealed under the `artifacts` key that `sign` alone holds."""

from datetime import UTC, datetime

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from django.conf import settings
from django.utils.module_loading import import_string

from build_farm.signing.interface import Signer, SignerUnavailable
from licensing.crypto import signatures
from licensing.crypto.authority import LeafPrivateKey, Purpose
from licensing.models import Certificate
from licensing.services.key_lifecycle import AUTHORITY, CertificateLapsed, certificate_key


class LocalSigner:
    """Unseals each key when it is first asked for, and keeps it for as long as this object lives."""

    def __init__(self) -> None:
        self._keys: dict[Purpose, tuple[bytes, LeafPrivateKey]] = {}

    def sign_binary(self, digest: bytes) -> bytes:
        """See `Signer.sign_binary`."""
        _, private = self._key(Purpose.BINARY)
        if not isinstance(private, rsa.RSAPrivateKey):
            raise SignerUnavailable("binaries are signed by an RSA key")
        return signatures.sign_binary(private, digest)

    def sign_text(self, purpose: Purpose, text: bytes) -> bytes:
        """See `Signer.sign_text`."""
        _, private = self._key(purpose)
        if not isinstance(private, ec.EllipticCurvePrivateKey):
            raise SignerUnavailable("texts are signed by an EC key")
        return signatures.sign_text(private, text)

    def certificate(self, purpose: Purpose) -> bytes:
        """See `Signer.certificate`."""
        return self._key(purpose)[0]

    def authority(self) -> bytes:
        """See `Signer.authority`."""
        row = Certificate.objects.filter(purpose=AUTHORITY, retired_at=None).first()
        if row is None:
            raise SignerUnavailable("there is no PluginAuthority yet")
        return bytes(row.der)

    def _key(self, purpose: Purpose) -> tuple[bytes, LeafPrivateKey]:
        if purpose not in self._keys:
            try:
                row, private = certificate_key(purpose, now=datetime.now(UTC))
            except Certificate.DoesNotExist as exc:
                raise SignerUnavailable(f"there is no certificate of purpose {purpose.value}") from exc
            except CertificateLapsed as exc:
                raise SignerUnavailable(exc.detail) from exc
            self._keys[purpose] = (bytes(row.der), private)
        return self._keys[purpose]


def current_signer() -> Signer:
    """A new signer of the class that BUILD_SIGNER names."""
    signer: Signer = import_string(settings.BUILD_SIGNER)()
    return signer
