"""The claim sets of plugin tokens and offline leases, typed; every claim is required.

A claim set is written in one way only, its fields in their order, so whoever verifies can demand that a
payload is byte for byte what we would have written: that ends duplicate members, unknown claims and
numbers in disguise.
"""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

import msgspec

from licensing.core.structures import ready

MAX_INSTANT = 253_402_300_799
LEASE_AUDIENCE = "lease"

Text = Annotated[str, msgspec.Meta(min_length=1, max_length=512)]
Instant = Annotated[int, msgspec.Meta(ge=0, le=MAX_INSTANT)]
Generation = Annotated[int, msgspec.Meta(ge=0)]


class Claims(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a token and a lease both say. Times are epoch seconds.

    `sub` is the installation, `client_id` and `customer_id` the customer, `ver` the plugin's version,
    `bld` the build, `key` the API key's id.

    Raises:
        ValueError: it would be dead before it is born, or name two customers.
    """

    TYP: ClassVar[str]

    iss: Text
    aud: Text
    sub: Text
    client_id: Text
    customer_id: Text
    ver: Text
    bld: Text | None
    key: Text
    mode: Literal["live", "test"]
    iat: Instant
    nbf: Instant
    exp: Instant
    jti: Text

    def __post_init__(self) -> None:
        if self.client_id != self.customer_id:
            raise ValueError("client_id and customer_id are one customer")
        if self.exp <= self.iat or self.exp <= self.nbf:
            raise ValueError("exp is after iat and nbf")

    def to_dict(self) -> dict[str, Any]:
        """The claims as plain JSON values."""
        plain: dict[str, Any] = msgspec.to_builtins(self)
        return plain

    def to_json(self) -> bytes:
        """The one way this claim set is written."""
        return msgspec.json.encode(self)

    @classmethod
    def from_dict(cls, claims: Mapping[str, Any]) -> Self:
        """Read plain JSON values. Raises `ValueError` unless every claim is there and of its type."""
        try:
            return msgspec.convert(claims, ready(cls))
        except msgspec.ValidationError:
            raise ValueError(f"not the claims of {cls.TYP}") from None

    @classmethod
    def from_json(cls, raw: bytes) -> Self:
        """Read exactly what `to_json` writes. Raises `ValueError` for any other bytes."""
        try:
            claims = msgspec.json.decode(raw, type=ready(cls))
        except (msgspec.DecodeError, ValueError, RecursionError):
            raise ValueError(f"not the claims of {cls.TYP}") from None
        if msgspec.json.encode(claims) != raw:
            raise ValueError(f"the claims of {cls.TYP} are not written as we write them")
        return claims


class PluginClaims(Claims, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A plugin token (`at+jwt`); `aud` is the plugin.

    `gen` is the generation of (customer, key, installation) that the token was minted under.
    """

    TYP: ClassVar[str] = "at+jwt"

    auth_time: Instant
    subscription_tier: Text
    authorized_features: tuple[Text, ...]
    plugin_permissions: dict[Text, dict[str, Any]]
    nonce: Text | None
    gen: tuple[Generation, Generation, Generation]


class LeaseClaims(Claims, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An offline lease (`lease+jwt`); `features` maps each feature to the instant its permission ends."""

    TYP: ClassVar[str] = "lease+jwt"

    plugin: Text
    features: dict[Text, Instant]
    offline_until: Instant

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.aud != LEASE_AUDIENCE:
            raise ValueError("the audience of a lease is lease")
        if self.offline_until != self.exp:
            raise ValueError("a lease expires when offline use does")
