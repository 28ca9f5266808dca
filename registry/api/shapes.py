"""What the registry is asked and what it answers."""

import base64
from datetime import datetime
from typing import Annotated, Literal

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from licensing.core.api.shapes import Asked, Instant, Shown
from licensing.core.json_body import whole
from registry.models import CHANNEL_PATTERN, Artifact, CustomerPolicy, RequestedBuild, SignedPolicy
from registry.notes import rendered
from registry.selectors import Offer

Platform = Annotated[
    str, msgspec.Meta(pattern=whole(r"|[a-z0-9]{1,15}/[a-z0-9_]{1,15}"), description="Such as `linux/amd64`.")
]
Channel = Annotated[
    str, msgspec.Meta(pattern=whole(CHANNEL_PATTERN.strip("^$")), description="Such as `stable` or `beta`.")
]
PlatformPart = Annotated[str, msgspec.Meta(pattern=whole(r"[a-z0-9_]{1,15}"))]
MAX_INSTALLED = 200


class RegistryPluginsQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which plugins to list."""

    platform: Platform = ""
    channel: Channel = "stable"


class SignedPolicyShown(Shown):
    """A policy to hold against the authority: `text` is what was signed, byte for byte in UTF-8."""

    version: int
    text: str
    signature: str
    certificate: str

    @classmethod
    def of(cls, row: SignedPolicy) -> "SignedPolicyShown":
        """Show it; the signature in base64, the certificate in PEM."""
        return cls(
            version=row.version,
            text=row.text,
            signature=base64.b64encode(bytes(row.signature)).decode("ascii"),
            certificate=pem(bytes(row.certificate)),
        )


class PolicyShown(Shown):
    """The customer's policy as it holds now; `signed` is the newest version that was signed, perhaps one before."""

    version: int
    plugin_verification: str
    allow_unsigned: bool
    allowed_sources: list[str]
    blocked_plugins: list[str]
    auto_update: bool
    version_pins: dict[str, str]
    signed: SignedPolicyShown | None

    @classmethod
    def of(cls, row: CustomerPolicy, signed: SignedPolicy | None) -> "PolicyShown":
        """Show it."""
        return cls(
            version=row.version,
            plugin_verification=row.plugin_verification,
            allow_unsigned=row.allow_unsigned,
            allowed_sources=list(row.allowed_sources),
            blocked_plugins=list(row.blocked_plugins),
            auto_update=row.auto_update,
            version_pins=dict(row.version_pins),
            signed=SignedPolicyShown.of(signed) if signed else None,
        )


class ListedPlugin(Shown):
    """A plugin that can be installed; `latest_version` is what the channel offers for the platform."""

    name: str
    description: str
    latest_version: str
    published_at: Instant
    targets: list[str]
    required_tier: str
    is_private: bool


class RegistryPluginsShown(Shown):
    """What may be installed."""

    plugins: list[ListedPlugin]
    policy: PolicyShown


class ListedRelease(Shown):
    """A release; a yanked one is offered no more, and still fetched by its version."""

    version: str
    channels: list[str]
    published_at: Instant
    is_yanked: bool
    targets: list[str]

    @classmethod
    def of(cls, offer: Offer) -> "ListedRelease":
        """Show it."""
        row = offer.release
        return cls(
            version=row.version,
            channels=list(row.channels),
            published_at=published(row.published_at),
            is_yanked=row.is_yanked,
            targets=offer.targets,
        )


class RegistryPluginShown(Shown):
    """A plugin with its releases, the newest first."""

    name: str
    description: str
    latest_version: str | None
    required_tier: str
    is_private: bool
    releases: list[ListedRelease]
    policy: PolicyShown


class ArtifactShown(Shown):
    """A file of a release; `is_own`: built for this customer alone."""

    target: str
    filename: str
    size: int
    sha256: str
    is_signed: bool
    is_own: bool

    @classmethod
    def of(cls, row: Artifact) -> "ArtifactShown":
        """Show it."""
        return cls(
            target=row.target,
            filename=row.filename,
            size=row.file.size,
            sha256=row.sha256,
            is_signed=row.is_signed,
            is_own=row.customer_id is not None,
        )


class RegistryReleaseShown(Shown):
    """One release: its files, and the targets that are built when they are asked for."""

    plugin: str
    version: str
    channels: list[str]
    published_at: Instant
    is_yanked: bool
    yanked_reason: str
    notes: str
    notes_html: str
    artifacts: list[ArtifactShown]
    built_on_demand: list[str]

    @classmethod
    def of(cls, offer: Offer) -> "RegistryReleaseShown":
        """Show it."""
        row = offer.release
        return cls(
            plugin=row.plugin_id,
            version=row.version,
            channels=list(row.channels),
            published_at=published(row.published_at),
            is_yanked=row.is_yanked,
            yanked_reason=row.yanked_reason,
            notes=row.notes,
            notes_html=rendered(row.notes),
            artifacts=[ArtifactShown.of(offer.artifacts[target]) for target in sorted(offer.artifacts)],
            built_on_demand=sorted(offer.buildable - offer.artifacts.keys()),
        )


class InstalledAsked(Asked):
    """A plugin that a host has."""

    plugin: Annotated[str, msgspec.Meta(max_length=64)]
    version: Annotated[str, msgspec.Meta(max_length=64)]


class UpdatesAsked(Asked):
    """What a host has, for which platform and channel."""

    installed: Annotated[list[InstalledAsked], msgspec.Meta(max_length=MAX_INSTALLED)]
    platform: Platform = ""
    channel: Channel = "stable"


class UpdateShown(Shown):
    """What to do about one installed plugin.

    `current`: nothing. `update_available`: `latest_version` is newer. `withdrawn`: the installed version is not offered
    any more (yanked, blocked, quarantined, rolled back); go to `latest_version`, if there is one. `unknown`: there is
    no such plugin here.
    """

    plugin: str
    installed_version: str
    status: Literal["current", "update_available", "withdrawn", "unknown"]
    latest_version: str | None


class UpdatesShown(Shown):
    """What is newer, in the order asked; `auto_update` is the customer's policy."""

    updates: list[UpdateShown]
    auto_update: bool


class DownloadAsked(Asked):
    """The machine that it is for."""

    os: PlatformPart
    arch: PlatformPart


class DownloadShown(Shown):
    """Where to fetch the file until `expires_at`, and what it must be.

    `signature` (base64; RSA, PKCS #1 v1.5, SHA-256 of the file) is by the key of `certificate` (PEM), which
    PluginAuthority issued; both null for an unsigned file.
    """

    url: str
    expires_at: Instant
    filename: str
    sha256: str
    size: int
    signature: str | None
    certificate: str | None


class BuildWaitShown(Shown):
    """A build that was asked for; `ready`: ask for the download again."""

    request_id: str
    status: Literal["requested", "building", "ready", "failed"]
    detail: str
    plugin: str
    version: str
    target: str
    download: str

    @classmethod
    def of(cls, row: RequestedBuild) -> "BuildWaitShown":
        """Show it."""
        plugin, version = row.release.plugin_id, row.release.version
        return cls(
            request_id=row.id,
            status=row.status,  # type: ignore[arg-type]
            detail=row.detail,
            plugin=plugin,
            version=version,
            target=row.target,
            download=f"/api/registry/plugins/{plugin}/releases/{version}/download",
        )


def published(instant: datetime | None) -> datetime:
    """The instant of a release that is published: the database holds that it has one."""
    if instant is None:
        raise ValueError("not published")
    return instant


def pem(der: bytes) -> str:
    """A certificate in PEM."""
    return x509.load_der_x509_certificate(der).public_bytes(serialization.Encoding.PEM).decode("ascii")
