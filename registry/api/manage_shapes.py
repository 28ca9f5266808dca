"""What operators and customers' administrators ask of releases, tokens and policies, and what they are shown."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from licensing.core.api.shapes import Asked, Instant, ListQuery, Shown
from registry.api.shapes import Channel, SignedPolicyShown
from registry.models import Artifact, CustomerPolicy, RegistryToken, Release, SignedPolicy
from registry.models import Channel as ChannelRow
from registry.notes import rendered
from registry.services.releases import STABLE

Version = Annotated[str, Meta(min_length=5, max_length=64, examples=["2.1.0"])]
Notes = Annotated[str, Meta(max_length=50_000, description="Markdown.", examples=["* Faster start"])]
Target = Annotated[str, Meta(max_length=32, examples=["linux/amd64"])]
Reason = Annotated[str, Meta(max_length=500, examples=["Crashes on start"])]
PluginName = Annotated[str, Meta(min_length=1, max_length=64, examples=["api-logger"])]
Count = Annotated[int, Meta(ge=1, le=2**31 - 1)]
ByteCount = Annotated[int, Meta(ge=1, le=2**62)]


class ManagedReleaseQuery(ListQuery, kw_only=True):
    """Which releases to list."""

    state: Literal["draft", "published"] | None = None


class ReleaseAsked(Asked):
    """A draft of a release, to be filled with prebuilt files."""

    version: Version
    channels: Annotated[list[Channel], Meta(min_length=1, max_length=8)] = msgspec.field(
        default_factory=lambda: [STABLE]
    )
    notes: Notes = ""


class ReleaseChanges(Asked):
    """The one thing of a release that may change."""

    notes: Notes


class PublishAsked(Asked):
    """How to publish. `targets`: refuse unless each of these is there."""

    require_installation: bool = True
    targets: Annotated[list[Target], Meta(max_length=32)] = []


class YankAsked(Asked):
    """Why a release is no longer offered; customers are shown it."""

    reason: Reason = ""


class ChannelAsked(Asked):
    """What a channel is to offer."""

    version: Version


class ManagedArtifactShown(Shown):
    """A file of a release."""

    id: str
    target: str
    filename: str
    size: int
    sha256: str
    kind: str
    customer_id: str | None
    build_id: str
    is_signed: bool
    created_at: Instant
    superseded_at: Instant | None

    @classmethod
    def of(cls, row: Artifact) -> "ManagedArtifactShown":
        """Show it."""
        return cls(
            id=row.id,
            target=row.target,
            filename=row.filename,
            size=row.file.size,
            sha256=row.sha256,
            kind=row.kind,
            customer_id=row.customer_id,
            build_id=row.build_id,
            is_signed=row.is_signed,
            created_at=row.created_at,
            superseded_at=row.superseded_at,
        )


class ManagedReleaseShown(Shown):
    """A release as operators see it; `files` are the public ones."""

    id: str
    plugin: str
    version: str
    state: str
    channels: list[str]
    notes: str
    notes_html: str
    source_sha256: str | None
    build_targets: list[str]
    files: list[ManagedArtifactShown]
    created_at: Instant
    published_at: Instant | None
    yanked_at: Instant | None
    yanked_reason: str

    @classmethod
    def of(cls, row: Release) -> "ManagedReleaseShown":
        """Show it."""
        files = Artifact.objects.filter(release=row, customer=None, superseded_at=None).select_related("file")
        return cls(
            id=row.id,
            plugin=row.plugin_id,
            version=row.version,
            state=row.state,
            channels=list(row.channels),
            notes=row.notes,
            notes_html=rendered(row.notes),
            source_sha256=row.source_id,
            build_targets=list(row.build_targets),
            files=[ManagedArtifactShown.of(file) for file in files.order_by("target")],
            created_at=row.created_at,
            published_at=row.published_at,
            yanked_at=row.yanked_at,
            yanked_reason=row.yanked_reason,
        )


class ChannelShown(Shown):
    """What a channel offers, and what it offered before."""

    name: str
    version: str
    previous_version: str | None
    moved_at: Instant

    @classmethod
    def of(cls, row: ChannelRow) -> "ChannelShown":
        """Show it."""
        return cls(
            name=row.name,
            version=row.head.version,
            previous_version=row.previous.version if row.previous else None,
            moved_at=row.moved_at,
        )


class RegistryTokenAsked(Asked):
    """A registry token to make; without `plugins` it reads all that the customer may see."""

    name: Annotated[str, Meta(min_length=1, max_length=100, examples=["CI"])]
    expires_at: Instant
    plugins: Annotated[list[PluginName], Meta(max_length=200)] = []
    max_downloads: Count | None = None
    max_bytes: ByteCount | None = None


class RegistryTokenRevocation(Asked):
    """Why a token is revoked."""

    reason: Annotated[str, Meta(max_length=200)] = ""


class RegistryTokenShown(Shown):
    """A registry token; never the token itself."""

    id: str
    name: str
    last4: str
    plugins: list[str]
    expires_at: Instant
    max_downloads: int | None
    max_bytes: int | None
    downloads_used: int
    bytes_used: int
    last_used_at: Instant | None
    created_at: Instant
    revoked_at: Instant | None
    revoked_reason: str

    @classmethod
    def of(cls, row: RegistryToken) -> "RegistryTokenShown":
        """Show it."""
        return cls(**members_of(row))


class IssuedRegistryTokenShown(RegistryTokenShown, kw_only=True):
    """A new registry token with the token itself, this once."""

    token: str

    @classmethod
    def issued(cls, row: RegistryToken, token: str) -> "IssuedRegistryTokenShown":
        """Show it."""
        return cls(**members_of(row), token=token)


class PolicyChanges(Asked):
    """What to change of a policy; members left out stay as they are."""

    plugin_verification: Literal["strict", "warn", "off"] | UnsetType = UNSET
    allow_unsigned: bool | UnsetType = UNSET
    allowed_sources: Annotated[list[Annotated[str, Meta(max_length=200)]], Meta(max_length=500)] | UnsetType = UNSET
    blocked_plugins: Annotated[list[PluginName], Meta(max_length=500)] | UnsetType = UNSET
    auto_update: bool | UnsetType = UNSET
    version_pins: dict[PluginName, Annotated[str, Meta(max_length=64)]] | UnsetType = UNSET


class ManagedPolicyShown(Shown):
    """A customer's policy as it holds now, and the newest version that was signed."""

    customer_id: str
    version: int
    plugin_verification: str
    allow_unsigned: bool
    allowed_sources: list[str]
    blocked_plugins: list[str]
    auto_update: bool
    version_pins: dict[str, str]
    signed: SignedPolicyShown | None

    @classmethod
    def of(cls, row: CustomerPolicy, signed: SignedPolicy | None) -> "ManagedPolicyShown":
        """Show it."""
        names = [name for name in cls.__struct_fields__ if name != "signed"]
        members = {name: getattr(row, name) for name in names}
        return cls(**members, signed=SignedPolicyShown.of(signed) if signed else None)


def members_of(row: RegistryToken) -> dict[str, Any]:
    """The members that show a token."""
    return {field.name: getattr(row, field.name) for field in msgspec.structs.fields(RegistryTokenShown)}
