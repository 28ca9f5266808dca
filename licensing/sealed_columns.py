"""The sealed columns of `licensing` (see `accounts.sealed_columns`)."""

from accounts.sealed_columns import SealedColumn, declare
from licensing.models import BuildCredential, Certificate, CertificateRequest, SigningKey
from licensing.services.key_lifecycle import certificate_identity
from licensing.services.offline_authority import request_identity
from licensing.services.proofs import build_secret_identity
from licensing.services.signing_keys import sealing_identity

declare(
    SealedColumn(BuildCredential, "sealed_secret", "builds", build_secret_identity),
    SealedColumn(SigningKey, "sealed_private_key", "tokens", sealing_identity),
    SealedColumn(Certificate, "sealed_private_key", "artifacts", certificate_identity),
    SealedColumn(CertificateRequest, "sealed_private_key", "artifacts", request_identity),
)
