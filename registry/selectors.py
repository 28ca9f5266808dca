"""Scoped reads: what one visitor may see of releases, and what operators see of all."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property

import semver
from django.db.models import Prefetch, Q

from licensing.core.errors import NotFound
from licensing.rules.versions import parse_version
from registry.models import Artifact, Channel, CustomerPolicy, RegistryToken, Release, RequestedBuild, SignedPolicy
from registry.services.policies import is_pinned
from registry.services.releases import STABLE
from registry.services.visitors import Visitor

ANY_TARGET = "any"
_LOWEST = semver.Version(0)


@dataclass(frozen=True)
class Offer:
    """A release as one visitor sees it: the files it may have now, and the targets that would be built for it."""

    release: Release
    artifacts: dict[str, Artifact]
    buildable: frozenset[str]

    @cached_property
    def precedence(self) -> semver.Version:
        """How it sorts among others (Semantic Versioning 2.0.0, 11)."""
        return parse_version(self.release.version) or _LOWEST

    @property
    def targets(self) -> list[str]:
        """Every target it can be had for, sorted."""
        return sorted(self.artifacts.keys() | self.buildable)

    def is_for(self, platform: str) -> bool:
        """Whether it can be had for a platform; the empty one stands for all."""
        return not platform or platform in self.artifacts or platform in self.buildable or ANY_TARGET in self.artifacts

    def artifact_for(self, platform: str) -> Artifact | None:
        """The file for a platform: its own, else one that is for any."""
        return self.artifacts.get(platform) or self.artifacts.get(ANY_TARGET)


@dataclass(frozen=True)
class PluginOffers:
    """The releases of one plugin as one visitor sees them, the newest first."""

    plugin: str
    offers: tuple[Offer, ...]
    heads: dict[str, str] = field(default_factory=dict)
    """What each channel offers: channel → version."""

    def latest(self, *, channel: str, platform: str, policy: CustomerPolicy) -> Offer | None:
        """The newest release that a channel offers for a platform and that the customer's policy allows.

        Nothing newer than what the channel stands at: after a roll back the newer ones are no longer offered. Every
        channel offers what `stable` does, if that is newer than its own.
        """
        pin = policy.version_pins.get(self.plugin)
        for offer in self.offers:
            version = offer.release.version
            is_allowed = pin is None or is_pinned(pin, version)
            if is_allowed and offer.is_for(platform) and self.is_offered(offer, {channel, STABLE}):
                return offer
        return None

    def is_offered(self, offer: Offer, channels: Iterable[str] | None = None) -> bool:
        """Whether one of these channels (of all of its own, unless said) offers a release now."""
        wanted = offer.release.channels if channels is None else channels
        return not offer.release.is_yanked and any(self._is_offered(offer, name) for name in wanted)

    def offer(self, version: str) -> Offer | None:
        """The release of exactly this version, yanked or not."""
        return next((offer for offer in self.offers if offer.release.version == version), None)

    def _is_offered(self, offer: Offer, channel: str) -> bool:
        head = self.heads.get(channel)
        if head is None or channel not in offer.release.channels:
            return False
        return offer.precedence <= (parse_version(head) or _LOWEST)


def visible_plugins(visitor: Visitor) -> list[str]:
    """The names of the plugins that a visitor may see and that are not in quarantine, sorted."""
    names = sorted(visitor.catalogue.plugins)
    return [name for name in names if visitor.may_see(name) and not visitor.is_plugin_quarantined(name)]


def offers_for(visitor: Visitor, names: Iterable[str]) -> dict[str, PluginOffers]:
    """What a visitor may have of each of these plugins, which it must be known to see."""
    wanted = list(names)
    heads: dict[str, dict[str, str]] = {name: {} for name in wanted}
    for channel in Channel.objects.filter(plugin__in=wanted).select_related("head"):
        heads[channel.plugin_id][channel.name] = channel.head.version
    found: dict[str, list[Offer]] = {name: [] for name in wanted}
    for release in _releases(visitor, wanted):
        if visitor.judge(release.plugin_id, release.version).valid:
            found[release.plugin_id].append(_offer(visitor, release))
    return {
        name: PluginOffers(
            name, tuple(sorted(found[name], key=lambda offer: offer.precedence, reverse=True)), heads[name]
        )
        for name in wanted
    }


def published_release(plugin: str, version: str) -> Release:
    """A published release by its exact version. Raises `NotFound`."""
    row = Release.objects.filter(plugin=plugin, version=version, state=Release.State.PUBLISHED).first()
    if row is None:
        raise NotFound()
    return row


def current_artifact(release: Release, customer_id: str, target: str) -> Artifact | None:
    """The customer's own file for a target, else everybody's; one for any target if there is none for this."""
    rows = Artifact.objects.filter(
        Q(customer=customer_id) | Q(customer=None), release=release, target__in=[target, ANY_TARGET], superseded_at=None
    ).select_related("file", "release")
    return min(rows, key=lambda row: (row.target != target, row.customer_id is None), default=None)


def signed_policy(customer_id: str) -> SignedPolicy | None:
    """The newest signed policy of a customer, if one was ever signed."""
    return SignedPolicy.objects.filter(customer_id=customer_id).exclude(text="").first()


def requested_build(customer_id: str, request_id: str) -> RequestedBuild:
    """A build that the customer asked for. Raises `NotFound`."""
    row = RequestedBuild.objects.select_related("release").filter(pk=request_id, customer=customer_id).first()
    if row is None:
        raise NotFound()
    return row


def registry_token(customer_id: str, token_id: str) -> RegistryToken:
    """A registry token of a customer. Raises `NotFound`."""
    row = RegistryToken.objects.filter(pk=token_id, customer=customer_id).first()
    if row is None:
        raise NotFound()
    return row


def release(plugin: str, version: str, *, lock: bool = False) -> Release:
    """A release for operators, drafts included. Raises `NotFound`."""
    rows = Release.objects.select_for_update(no_key=True) if lock else Release.objects.all()
    row = rows.filter(plugin=plugin, version=version).first()
    if row is None:
        raise NotFound()
    return row


def _releases(visitor: Visitor, names: list[str]) -> list[Release]:
    artifacts = Artifact.objects.filter(
        Q(customer=visitor.customer.id) | Q(customer=None), superseded_at=None
    ).select_related("file")
    rows = Release.objects.filter(plugin__in=names, state=Release.State.PUBLISHED)
    return list(rows.prefetch_related(Prefetch("artifacts", queryset=artifacts, to_attr="offered_artifacts")))


def _offer(visitor: Visitor, release: Release) -> Offer:
    offered: list[Artifact] = release.offered_artifacts  # type: ignore[attr-defined]
    found: dict[str, Artifact] = {}
    # The customer's own last: it takes the place of everybody's.
    for artifact in sorted(offered, key=lambda row: row.customer_id is not None):
        if visitor.judge(release.plugin_id, release.version, build_id=artifact.build_id, sha256=artifact.sha256).valid:
            found[artifact.target] = artifact
        else:
            found.pop(artifact.target, None)
    return Offer(release, found, frozenset(release.build_targets))
