"""Commands that check a downloaded file with nothing but a shell, its own digest and signature written into them."""

import base64

from registry.api.shapes import pem
from registry.models import Artifact


def digest_command(artifact: Artifact) -> str:
    """Hold the file against its SHA-256. Digest and file name are of characters that no shell reads anything into."""
    return f"sha256sum -c <<'END'\n{artifact.sha256}  {artifact.filename}\nEND"


def signature_commands(artifact: Artifact, *, public_url: str) -> str:
    """Hold it against the vendor's signature, and that key against PluginAuthority; empty for an unsigned file.

    RSA, PKCS #1 v1.5, over the SHA-256 of the file. `-ignore_critical`: openssl does not know the certificate's
    purpose; `-no_check_time`: what was signed while the certificate was valid stays good.
    """
    if artifact.signature is None or artifact.certificate is None:
        return ""
    signature = base64.b64encode(bytes(artifact.signature)).decode("ascii")
    return "\n".join(
        (
            "cat > signer.pem <<'END'",
            pem(bytes(artifact.certificate)).strip(),
            "END",
            "base64 -d > plugin.sig <<'END'",
            signature,
            "END",
            "openssl x509 -in signer.pem -noout -pubkey > signer.pub",
            f"openssl dgst -sha256 -verify signer.pub -signature plugin.sig {artifact.filename}",
            f"curl -fsS {public_url}/.well-known/keywright-authority | openssl x509 -inform der -out authority.pem",
            "openssl verify -ignore_critical -no_check_time -CAfile authority.pem signer.pem",
        )
    )
