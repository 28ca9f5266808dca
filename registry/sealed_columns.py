"""The sealed columns of `registry` (see `accounts.sealed_columns`)."""

from accounts.sealed_columns import SealedColumn, declare
from accounts.services.key_material import fingerprint_identity
from registry.models import RegistryToken

declare(
    SealedColumn(
        RegistryToken, "sealed_fingerprint", "auth", lambda pk: fingerprint_identity(RegistryToken._meta.db_table, pk)
    )
)
