"""What the rules decide by: one customer's state and the catalogue's, as plain immutable values.

Both are read from the database in one statement each, as JSON arrays (array_like: no member names to store or
repeat), and are small: a web process holds many thousands. Instants are Unix seconds.
"""

from typing import Any

import msgspec

Value = bool | int | str


class Key(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """An API key as decisions need it. `digest` is the keyed digest (32 bytes) that finds it."""

    id: str
    digest: bytes
    mode: str
    scopes: frozenset[str]
    cidrs: tuple[str, ...] | None
    expires_at: float | None
    is_revoked: bool


class Subscription(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A customer's subscription, as its row says."""

    tier: str
    status: str
    period_end: float
    grace_until: float | None
    installation_limit: int | None


class Override(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A customer's own value of a feature, for as long as it stands."""

    feature: str
    value: Value
    id: str
    source: str


class TemporaryGrant(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A value of a feature from `starts_at` until before `ends_at`."""

    feature: str
    value: Value
    starts_at: float
    ends_at: float
    id: str
    source: str


class Quarantined(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One quarantine in force; `plugin` and `target` as in the API."""

    scope: str
    plugin: str
    target: str


class CustomerSnapshot(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One customer, but for its installations and builds: of those only what is quarantined or has a generation.

    `generations` maps `kind:subject id` to a number; what is not there is 0. None stands for empty, to save room.
    """

    id: str
    name: str
    is_suspended: bool
    proof_required: bool
    subscription: Subscription | None
    keys: tuple[Key, ...]
    overrides: tuple[Override, ...] | None
    grants: tuple[TemporaryGrant, ...] | None
    allowed_plugins: tuple[str, ...] | None
    quarantines: tuple[Quarantined, ...] | None
    generations: dict[str, int] | None

    def generation(self, kind: str, subject_id: str) -> int:
        """How often this subject was signed out."""
        return self.generations.get(f"{kind}:{subject_id}", 0) if self.generations else 0

    def key(self, key_id: str) -> Key | None:
        """The API key of this id, if the customer has it."""
        for key in self.keys:
            if key.id == key_id:
                return key
        return None

    def key_by_digest(self, digests: tuple[bytes, ...]) -> Key | None:
        """The API key that one of `digests` finds (one for each pepper in use)."""
        for key in self.keys:
            if key.digest in digests:
                return key
        return None

    def is_quarantined(self, scope: str, target: str) -> bool:
        """Whether a build, an installation or the customer itself is in quarantine."""
        if not self.quarantines:
            return False
        return any(entry.scope == scope and entry.target == target for entry in self.quarantines)

    @property
    def is_customer_quarantined(self) -> bool:
        """Whether a quarantine names the whole customer."""
        if not self.quarantines:
            return False
        return any(entry.scope == "customer" for entry in self.quarantines)


class Tier(msgspec.Struct, frozen=True, array_like=True):
    """A tier and what it grants."""

    name: str
    rank: int
    requests_per_minute: int
    events_per_day: int
    installation_limit: int | None
    grants: dict[str, Value]


class Plugin(msgspec.Struct, frozen=True, array_like=True):
    """A plugin as decisions need it; `manifests` maps a version to its permission manifest."""

    name: str
    required_tier: str
    features: tuple[str, ...]
    is_private: bool
    accepts_unsigned: bool
    installation_required: bool
    proof_required: bool
    lease_seconds: int
    minimum_version: str
    blocked_versions: tuple[str, ...]
    rate_limit: int | None
    quota: int | None
    manifests: dict[str, dict[str, Any]]


class SigningKeyRow(msgspec.Struct, frozen=True, array_like=True):
    """A token or lease key: its public half, and for an active one the sealed private half."""

    kid: str
    purpose: str
    state: str
    public_jwk: dict[str, str]
    sealed_private_key: bytes | None


class Catalogue(msgspec.Struct, frozen=True, array_like=True):
    """What is the same for all customers."""

    is_locked_down: bool
    tiers: dict[str, Tier]
    features: dict[str, str]
    plugins: dict[str, Plugin]
    quarantines: tuple[Quarantined, ...]
    quarantined_builds: frozenset[str]
    signing_keys: tuple[SigningKeyRow, ...]
    key_set_kids: tuple[str, ...]

    def tier_named(self, name: str) -> Tier | None:
        """Find a tier whatever its letters' case."""
        found = self.tiers.get(name)
        if found is not None:
            return found
        folded = name.casefold()
        return next((tier for tier in self.tiers.values() if tier.name.casefold() == folded), None)

    def is_plugin_quarantined(self, plugin: str, version: str, build_id: str = "") -> bool:
        """Whether the plugin, this version of it, or the artifact that this build is, is in quarantine."""
        if build_id and build_id in self.quarantined_builds:
            return True
        if not self.quarantines:
            return False
        return any(
            entry.plugin == plugin
            and (entry.scope == "plugin" or (entry.scope == "version" and entry.target == version))
            for entry in self.quarantines
        )

    def is_artifact_quarantined(self, sha256: str) -> bool:
        """Whether the file of this digest (hex) is in quarantine."""
        return any(entry.scope == "artifact" and entry.target == sha256 for entry in self.quarantines)
