"""The sealed columns of `build_farm`, for the rotation of key-encryption keys."""

from accounts.sealed_columns import SealedColumn, declare
from build_farm.models import Build
from licensing.services.proofs import build_secret_identity


def constants_identity(build_id: str) -> str:
    """What a build's sealed constants are bound to."""
    return f"build.constants:{build_id}"


declare(
    SealedColumn(Build, "sealed_secret", "builds", build_secret_identity),
    SealedColumn(Build, "sealed_constants", "builds", constants_identity),
)
