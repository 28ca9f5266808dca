"""What every signer does."""

from typing import Protocol

from licensing.crypto.authority import Purpose


class SignerUnavailable(Exception):
    """The signer cannot be asked now, or has no key of a purpose. The message holds no secret."""


class Signer(Protocol):
    """Keys of one moment: certificates and signatures of one signer belong together. May raise `SignerUnavailable`."""

    def sign_binary(self, digest: bytes) -> bytes:
        """RSA-3072 PKCS #1 v1.5 over a SHA-256 (32 bytes), by the key of purpose `binary`: 384 bytes."""

    def sign_text(self, purpose: Purpose, text: bytes) -> bytes:
        """ECDSA P-256 with SHA-256 over a text, by the key of any other purpose: DER."""

    def certificate(self, purpose: Purpose) -> bytes:
        """The certificate of the key of a purpose, DER."""

    def authority(self) -> bytes:
        """PluginAuthority's certificate, DER."""
