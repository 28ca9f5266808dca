"""Every column that is sealed at rest, declared once, so that rotating a key-encryption key can forget none.

An app declares its columns in a module of this name (`licensing/sealed_columns.py`, …), found by itself in every
installed app. A test walks all models and fails for a `sealed_…` column that is not declared here.
"""

import base64
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from allauth.mfa.models import Authenticator
from django.db.models import BinaryField, F, Func, Model, Value
from django.db.models.expressions import Combinable
from django.db.models.fields.json import KeyTextTransform
from django.db.models.functions import Left
from django.utils.module_loading import autodiscover_modules

from accounts.models import ApiKey, OperatorKey
from accounts.services.key_material import MFA_IDENTITY, fingerprint_identity, root_identity
from licensing.crypto.sealing import SealBroken


@dataclass(frozen=True, slots=True)
class SealedColumn:
    """A column of sealed bytes; `identity` is what a row's value is bound to, from the row's primary key."""

    model: type[Model]
    column: str
    purpose: str
    identity: Callable[[str], str]

    def __str__(self) -> str:
        return f"{self.model._meta.db_table}.{self.column}"

    def sealed_in(self, value: Any) -> bytes:
        """The sealed bytes in what the column holds."""
        return bytes(value)

    def with_sealed(self, value: Any, sealed: bytes) -> Any:
        """What the column holds with other sealed bytes in it."""
        return sealed

    def head(self) -> Combinable:
        """The database's expression for the first three sealed bytes of a row, as they are stored; null if none are."""
        return Func(F(self.column), Value(1), Value(3), function="substring", output_field=BinaryField())

    def as_stored(self, head: bytes) -> bytes | str:
        """Three bytes as `head` gives them."""
        return head

    def as_bytes(self, stored: Any) -> bytes:
        """What `head` gave, as bytes again."""
        return bytes(stored)


@dataclass(frozen=True, slots=True)
class SealedMember(SealedColumn):
    """A member of a JSON object in a column, its sealed bytes written in base64; many rows may have no such member.

    Nothing but the member is touched when it is resealed.
    """

    member: str

    def __str__(self) -> str:
        return f"{self.model._meta.db_table}.{self.column}.{self.member}"

    def sealed_in(self, value: Any) -> bytes:
        """The sealed bytes of the member. Raises `SealBroken` where it is no base64 text."""
        try:
            return base64.b64decode(value[self.member], validate=True)
        except (TypeError, ValueError):
            raise SealBroken from None

    def with_sealed(self, value: Any, sealed: bytes) -> Any:
        """The same object with the member's new bytes."""
        return {**value, self.member: base64.b64encode(sealed).decode()}

    def head(self) -> Combinable:
        """The first four characters: in base64 they are exactly the first three bytes."""
        return Left(KeyTextTransform(self.member, self.column), 4)

    def as_stored(self, head: bytes) -> bytes | str:
        """Three bytes as the member's first four characters."""
        return base64.b64encode(head).decode()

    def as_bytes(self, stored: Any) -> bytes:
        """The bytes of four characters; zeros for what cannot be sealed bytes."""
        try:
            return base64.b64decode(stored, validate=True)
        except ValueError:
            return bytes(3)


_declared: dict[str, SealedColumn] = {}


def declare(*columns: SealedColumn) -> None:
    """Add columns to the register; apps do this when their `sealed_columns` module is imported."""
    for column in columns:
        _declared[str(column)] = column


def declared_columns(purpose: str | None = None) -> list[SealedColumn]:
    """Every declared column of every app, or those of one purpose, in a fixed order."""
    autodiscover_modules("sealed_columns")
    columns = sorted(_declared.values(), key=str)
    return [column for column in columns if purpose in (None, column.purpose)]


def _mfa_identity(_pk: str) -> str:
    # django-allauth seals a secret before there is a row.
    return MFA_IDENTITY


declare(
    SealedColumn(ApiKey, "sealed_fingerprint", "auth", lambda pk: fingerprint_identity("api_key", pk)),
    SealedColumn(ApiKey, "sealed_root", "auth", root_identity),
    SealedColumn(OperatorKey, "sealed_fingerprint", "auth", lambda pk: fingerprint_identity("operator_key", pk)),
    # django-allauth's second factors: the secret of an authenticator app, and the seed of recovery codes.
    SealedMember(Authenticator, "data", "web", _mfa_identity, "secret"),
    SealedMember(Authenticator, "data", "web", _mfa_identity, "seed"),
)
