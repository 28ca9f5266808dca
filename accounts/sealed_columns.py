"""Every column that is sealed at rest, declared once, so that rotating a key-encryption key can forget none.

An app declares its columns in a module of this name (`licensing/sealed_columns.py`, …), found by itself in every
installed app. A test walks all models and fails for a `sealed_…` column that is not declared here.
"""

from collections.abc import Callable
from dataclasses import dataclass

from django.db.models import Model
from django.utils.module_loading import autodiscover_modules

from accounts.models import ApiKey, OperatorKey
from accounts.services.key_material import fingerprint_identity, root_identity


@dataclass(frozen=True, slots=True)
class SealedColumn:
    """A column of sealed bytes; `identity` is what a row's value is bound to, from the row's primary key."""

    model: type[Model]
    column: str
    purpose: str
    identity: Callable[[str], str]

    def __str__(self) -> str:
        return f"{self.model._meta.db_table}.{self.column}"


_declared: dict[tuple[str, str], SealedColumn] = {}


def declare(*columns: SealedColumn) -> None:
    """Add columns to the register; apps do this when their `sealed_columns` module is imported."""
    for column in columns:
        _declared[column.model._meta.label, column.column] = column


def declared_columns(purpose: str | None = None) -> list[SealedColumn]:
    """Every declared column of every app, or those of one purpose, in a fixed order."""
    autodiscover_modules("sealed_columns")
    columns = sorted(_declared.values(), key=str)
    return [column for column in columns if purpose in (None, column.purpose)]


declare(
    SealedColumn(ApiKey, "sealed_fingerprint", "auth", lambda pk: fingerprint_identity("api_key", pk)),
    SealedColumn(ApiKey, "sealed_root", "auth", root_identity),
    SealedColumn(OperatorKey, "sealed_fingerprint", "auth", lambda pk: fingerprint_identity("operator_key", pk)),
)
