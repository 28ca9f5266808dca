"""What the APIs of `licensing` ask and show. Members are the words of DESIGN §3; lengths are those of the tables."""

from datetime import datetime
from typing import Annotated, Any, Literal, cast

import msgspec
from django.conf import settings
from msgspec import UNSET, Meta, UnsetType

from accounts.api.shapes import Reason
from licensing.core.api.shapes import Asked, Instant, ListQuery, Shown
from licensing.core.json_body import whole
from licensing.models import (
    Entitlement,
    Feature,
    Installation,
    Lockdown,
    Plugin,
    PluginManifest,
    Quarantine,
    SigningKey,
    Subscription,
    Tier,
)
from licensing.rules.snapshot import Subscription as SubscriptionFacts
from licensing.rules.subscription import standing

Count = Annotated[int, Meta(ge=0, le=2**31 - 1)]
BigCount = Annotated[int, Meta(ge=0, le=2**53)]
TierName = Annotated[str, Meta(pattern=whole(r"[A-Za-z][A-Za-z0-9 _-]{0,31}"), examples=["Pro"])]
FeatureCode = Annotated[str, Meta(pattern=whole(r"[a-z][a-z0-9_]{0,62}"), examples=["api_logging"])]
PluginName = Annotated[str, Meta(pattern=whole(r"[a-z0-9]([a-z0-9._-]{0,62}[a-z0-9])?"), examples=["api-logger"])]
Version = Annotated[
    str, Meta(min_length=1, max_length=64, pattern=whole(r"[0-9A-Za-z][0-9A-Za-z.+-]*"), examples=["2.1.0"])
]
Value = bool | Annotated[int, Meta(ge=-(2**53) + 1, le=2**53 - 1)] | Annotated[str, Meta(max_length=1000)]
Text = Annotated[str, Meta(max_length=500)]
Source = Annotated[str, Meta(max_length=100, examples=["order 1042"])]
Grants = dict[FeatureCode, Value]
Status = Literal["trialing", "active", "past_due", "paused", "canceled", "expired"]
Kind = Literal["override", "temporary"]
Proof = Literal["optional", "required"]
Scope = Literal["plugin", "version", "artifact", "build", "installation", "customer"]


# -- Catalogue


class FeatureAsked(Asked):
    """A feature to make."""

    code: FeatureCode
    name: Annotated[str, Meta(max_length=100)] = ""
    description: Text = ""
    value_type: Literal["bool", "int", "str"] = "bool"


class FeatureChanges(Asked):
    """What to change of a feature; members left out stay as they are."""

    name: Annotated[str, Meta(max_length=100)] | UnsetType = UNSET
    description: Text | UnsetType = UNSET
    value_type: Literal["bool", "int", "str"] | UnsetType = UNSET


class FeatureShown(Shown):
    """A feature."""

    code: FeatureCode
    name: str
    description: str
    value_type: Literal["bool", "int", "str"]
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, row: Feature) -> "FeatureShown":
        """Show a row."""
        return cls(**{name: getattr(row, name) for name in cls.__struct_fields__})


class TierAsked(Asked):
    """A tier to make; a higher `rank` includes what asks for a lower one."""

    name: TierName
    rank: Count
    description: Text = ""
    requests_per_minute: Count = 60
    events_per_day: BigCount = 10_000
    installation_limit: Count | None = None
    features: Grants = {}


class TierChanges(Asked):
    """What to change of a tier; `features`, where given, becomes exactly what it grants."""

    rank: Count | UnsetType = UNSET
    description: Text | UnsetType = UNSET
    requests_per_minute: Count | UnsetType = UNSET
    events_per_day: BigCount | UnsetType = UNSET
    installation_limit: Count | UnsetType | None = UNSET
    features: Grants | UnsetType = UNSET


class TierShown(Shown):
    """A tier and what it grants: feature code → value."""

    name: TierName
    rank: int
    description: str
    requests_per_minute: int
    events_per_day: int
    installation_limit: int | None
    features: dict[str, Any]
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, row: Tier) -> "TierShown":
        """Show a row."""
        members = {name: getattr(row, name) for name in cls.__struct_fields__ if name != "features"}
        grants = sorted(row.grants.all(), key=lambda grant: grant.feature_id)
        return cls(**members, features={grant.feature_id: grant.value for grant in grants})


class PluginAsked(Asked):
    """A plugin to make."""

    name: PluginName
    required_tier: TierName
    description: Text = ""
    features: Annotated[list[FeatureCode], Meta(max_length=200)] = []
    is_private: bool = False
    allowed_customers: Annotated[list[Annotated[str, Meta(max_length=63)]], Meta(max_length=1000)] = []
    accepts_unsigned: bool = False
    installation_required: bool = False
    proof: Proof = "optional"
    lease_seconds: Annotated[int, Meta(ge=0, le=90 * 86400)] = 72 * 3600
    minimum_version: Annotated[str, Meta(max_length=64)] = ""
    blocked_versions: Annotated[list[Version], Meta(max_length=200)] = []
    rate_limit: Count | None = None
    quota: BigCount | None = None


class PluginChanges(Asked):
    """What to change of a plugin; lists become exactly what is given."""

    required_tier: TierName | UnsetType = UNSET
    description: Text | UnsetType = UNSET
    features: Annotated[list[FeatureCode], Meta(max_length=200)] | UnsetType = UNSET
    is_private: bool | UnsetType = UNSET
    allowed_customers: Annotated[list[Annotated[str, Meta(max_length=63)]], Meta(max_length=1000)] | UnsetType = UNSET
    accepts_unsigned: bool | UnsetType = UNSET
    installation_required: bool | UnsetType = UNSET
    proof: Proof | UnsetType = UNSET
    lease_seconds: Annotated[int, Meta(ge=0, le=90 * 86400)] | UnsetType = UNSET
    minimum_version: Annotated[str, Meta(max_length=64)] | UnsetType = UNSET
    blocked_versions: Annotated[list[Version], Meta(max_length=200)] | UnsetType = UNSET
    rate_limit: Count | UnsetType | None = UNSET
    quota: BigCount | UnsetType | None = UNSET


class PluginShown(Shown):
    """A plugin."""

    name: PluginName
    required_tier: str
    description: str
    features: list[str]
    is_private: bool
    allowed_customers: list[str]
    accepts_unsigned: bool
    installation_required: bool
    proof: Proof
    lease_seconds: int
    minimum_version: str
    blocked_versions: list[str]
    rate_limit: int | None
    quota: int | None
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, row: Plugin) -> "PluginShown":
        """Show a row of `scoped_reads.plugins`."""
        own = [name for name in cls.__struct_fields__ if name not in ("required_tier", "features")]
        members: dict[str, Any] = {name: getattr(row, name) for name in own}
        features: list[str] = row.listed_features  # type: ignore[attr-defined]
        return cls(**members, required_tier=row.required_tier_id, features=features)


class ManifestAsked(Asked):
    """A permission manifest in any of its written forms (docs/api.md)."""

    permissions: list[dict[str, Any]] | dict[str, dict[str, Any]] = []
    resources: dict[str, Any] | UnsetType = UNSET
    limits: dict[str, Any] | UnsetType = UNSET
    filesystem: dict[str, Any] = {}
    network: dict[str, Any] = {}


class ManifestShown(Shown):
    """The permission manifest of one version, in its canonical form."""

    plugin: str
    version: str
    permissions: list[dict[str, Any]]
    limits: dict[str, Any]
    filesystem: dict[str, Any]
    network: dict[str, Any]
    short: list[str]
    created_at: datetime

    @classmethod
    def of(cls, row: PluginManifest) -> "ManifestShown":
        """Show a row."""
        return cls(plugin=row.plugin_id, version=row.version, created_at=row.created_at, **row.manifest)


# -- What a customer has


class SubscriptionAsked(Asked):
    """A whole subscription."""

    tier: TierName
    period_start: Instant
    period_end: Instant
    status: Status = "active"
    grace_until: Instant | None = None
    installation_limit: Count | None = None


class SubscriptionChanges(Asked):
    """What to change of a subscription; members left out stay as they are."""

    tier: TierName | UnsetType = UNSET
    status: Status | UnsetType = UNSET
    period_start: Instant | UnsetType = UNSET
    period_end: Instant | UnsetType = UNSET
    grace_until: Instant | UnsetType | None = UNSET
    installation_limit: Count | UnsetType | None = UNSET


class SubscriptionShown(Shown):
    """A subscription, and how it stands at this instant (`code` as the plugin API would say it)."""

    customer_id: str
    tier: str
    status: Status
    period_start: datetime
    period_end: datetime
    grace_until: datetime | None
    installation_limit: int | None
    is_active: bool
    code: str
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, row: Subscription, now: datetime) -> "SubscriptionShown":
        """Show a row as it stands at `now`."""
        facts = SubscriptionFacts(
            row.tier_id,
            row.status,
            row.period_end.timestamp(),
            row.grace_until.timestamp() if row.grace_until else None,
            row.installation_limit,
        )
        stands = standing(facts, now.timestamp(), grace_seconds=settings.GRACE_SECONDS)
        return cls(
            customer_id=row.customer_id,
            tier=row.tier_id,
            status=cast(Status, row.status),
            period_start=row.period_start,
            period_end=row.period_end,
            grace_until=row.grace_until,
            installation_limit=row.installation_limit,
            is_active=stands.is_active,
            code=stands.code,
            created_at=row.created_at,
            updated_at=row.updated_at,
        )


class EntitlementAsked(Asked):
    """A feature to give a customer: with `ends_at` for a time, without for good. `false` takes it away."""

    feature: FeatureCode
    value: Value = True
    kind: Kind | None = None
    starts_at: Instant | None = None
    ends_at: Instant | None = None
    source: Source = ""


class EntitlementChanges(Asked):
    """What to change of an entitlement; members left out stay as they are."""

    value: Value | UnsetType = UNSET
    starts_at: Instant | UnsetType = UNSET
    ends_at: Instant | UnsetType = UNSET
    source: Source | UnsetType = UNSET


class EntitlementChangesInBatch(EntitlementChanges, kw_only=True):
    """One entitlement's changes in a batch."""

    id: Annotated[str, Meta(max_length=40)]


class EntitlementBatchAsked(Asked):
    """Entitlements to add and to change, all or none."""

    create: Annotated[list[EntitlementAsked], Meta(max_length=500)] = []
    update: Annotated[list[EntitlementChangesInBatch], Meta(max_length=500)] = []


class EntitlementShown(Shown):
    """A feature that one customer has beside what its tier grants."""

    id: str
    customer_id: str
    feature: str
    kind: Kind
    value: bool | int | str
    starts_at: datetime | None
    ends_at: datetime | None
    source: str
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, row: Entitlement) -> "EntitlementShown":
        """Show a row."""
        members = {name: getattr(row, name) for name in cls.__struct_fields__ if name != "feature"}
        return cls(**members, feature=row.feature_id)


class EntitlementBatchShown(Shown):
    """What a batch added and changed, in the order asked."""

    created: list[EntitlementShown]
    updated: list[EntitlementShown]


class EntitlementQuery(ListQuery):
    """Which entitlements."""

    feature: Annotated[str, Meta(max_length=63)] = ""
    kind: Kind | None = None
    in_force: bool | None = None


class InstallationShown(Shown):
    """One copy of a plugin on one machine."""

    id: str
    customer_id: str
    plugin: str
    mode: Literal["live", "test"]
    fingerprint: str
    is_anonymous: bool
    hostname: str
    os: str
    arch: str
    version: str
    build_id: str
    api_key_id: str
    first_seen_at: datetime
    last_seen_at: datetime
    last_seen_from: str | None
    lease_until: datetime | None
    released_at: datetime | None
    released_reason: str
    possible_clone_at: datetime | None

    @classmethod
    def of(cls, row: Installation) -> "InstallationShown":
        """Show a row."""
        members = {name: getattr(row, name) for name in cls.__struct_fields__ if name != "plugin"}
        return cls(**members, plugin=row.plugin_id)


class InstallationQuery(ListQuery):
    """Which installations."""

    search: Annotated[str, Meta(max_length=128, description="How hostname, fingerprint or id starts.")] = ""
    plugin: Annotated[str, Meta(max_length=64)] = ""
    version: Annotated[str, Meta(max_length=64)] = ""
    mode: Literal["live", "test"] | None = None
    is_released: bool | None = None
    ordering: Literal["-last_seen_at", "last_seen_at"] = "-last_seen_at"


class ExplainQuery(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What to explain: a plugin (perhaps one version of it), a feature, or both."""

    plugin: Annotated[str, Meta(max_length=64)] = ""
    version: Annotated[str, Meta(max_length=64)] = ""
    feature: Annotated[str, Meta(max_length=63)] = ""


# -- Taking access away


class InstallationQuarantineAsked(Asked):
    """Why an installation is put under quarantine."""

    reason: Reason = ""


class QuarantineShown(Shown):
    """Something that is not to be trusted, since `created_at` and until `lifted_at`."""

    id: str
    scope: Scope
    plugin: str
    target: str
    customer_id: str | None
    reason: str
    created_at: datetime
    created_by: str
    lifted_at: datetime | None
    lifted_by: str

    @classmethod
    def of(cls, row: Quarantine) -> "QuarantineShown":
        """Show a row."""
        members = {name: getattr(row, name) for name in cls.__struct_fields__ if name != "plugin"}
        return cls(**members, plugin=row.plugin_name)


class QuarantineQuery(ListQuery):
    """Which quarantines, newest first."""

    scope: Scope | None = None
    plugin: Annotated[str, Meta(max_length=64)] = ""
    customer: Annotated[str, Meta(max_length=63)] = ""
    in_force: bool | None = None


class LockdownAsked(Asked):
    """Why everything is locked."""

    reason: Reason = ""


class LockdownShown(Shown):
    """The global switch."""

    is_on: bool
    reason: str
    started_at: datetime | None
    started_by: str

    @classmethod
    def of(cls, row: Lockdown | None) -> "LockdownShown":
        """Show the row, or that there is none."""
        if row is None:
            return cls(is_on=False, reason="", started_at=None, started_by="")
        return cls(is_on=True, reason=row.reason, started_at=row.started_at, started_by=row.started_by)


# -- Signing keys


class SigningKeyShown(Shown):
    """A key that tokens or leases are signed with; its public half is in the JWKS or the signed key set."""

    kid: str
    purpose: Literal["token", "lease"]
    algorithm: str
    state: Literal["pending", "active", "retiring", "retired"]
    created_at: datetime
    activated_at: datetime | None
    retiring_at: datetime | None
    retired_at: datetime | None

    @classmethod
    def of(cls, row: SigningKey) -> "SigningKeyShown":
        """Show a row."""
        return cls(**{name: getattr(row, name) for name in cls.__struct_fields__})


class SigningKeyQuery(ListQuery):
    """Which signing keys, newest first."""

    purpose: Literal["token", "lease"] | None = None
    state: Literal["pending", "active", "retiring", "retired"] | None = None


class SigningKeyRotationAsked(Asked):
    """Which key to rotate; in an emergency what the old one signed is refused from now on."""

    purpose: Literal["token", "lease"]
    emergency: bool = False
