"""What the operator's pages about releases show, each part in one statement."""

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any, Final

from django.db.models import Count, F, Q, QuerySet

from licensing import scoped_reads
from licensing.models import Plugin, Quarantine
from registry.models import Artifact, Channel, Release

_MOST_QUARANTINES: Final = 500
_MOST_FILES: Final = 200


@dataclass(frozen=True, slots=True)
class PluginLine:
    """A plugin in the list: what it offers, and whether it is in quarantine."""

    plugin: Plugin
    channels: list[Channel]
    releases: int
    is_quarantined: bool


@dataclass(frozen=True, slots=True)
class InQuarantine:
    """What of one plugin is in quarantine."""

    rows: list[Quarantine]
    of: dict[tuple[str, str], Quarantine] = field(default_factory=dict)
    """(scope, target) → the entry in force."""

    @property
    def whole(self) -> Quarantine | None:
        """The entry of the whole plugin."""
        return self.of.get(("plugin", ""))

    def version(self, version: str) -> Quarantine | None:
        """The entry of a version."""
        return self.of.get(("version", version))

    def artifact(self, sha256: str) -> Quarantine | None:
        """The entry of an artifact."""
        return self.of.get(("artifact", sha256))


@dataclass(frozen=True, slots=True)
class ReleaseLine:
    """A release in a plugin's list."""

    release: Release
    quarantine: Quarantine | None
    heads: list[str]
    """The channels that offer it now."""


@dataclass(frozen=True, slots=True)
class FileLine:
    """A file of a release."""

    artifact: Artifact
    is_signed: bool
    quarantine: Quarantine | None


def plugins(text: str) -> QuerySet[Plugin]:
    """Plugins by name, those whose name or description has a text in it."""
    rows = scoped_reads.plugins().order_by("name")
    return rows.filter(Q(name__icontains=text) | Q(description__icontains=text)) if text else rows


def plugin_lines(rows: list[Plugin]) -> list[PluginLine]:
    """What is to be said of each of these plugins."""
    names = [row.name for row in rows]
    channels: dict[str, list[Channel]] = defaultdict(list)
    for channel in Channel.objects.filter(plugin__in=names).select_related("head").order_by("name"):
        channels[channel.plugin_id].append(channel)
    releases = dict(Release.objects.filter(plugin__in=names).values_list("plugin").annotate(Count("pk")))
    held = scoped_reads.quarantines().filter(scope="plugin", plugin_name__in=names, lifted_at=None)
    quarantined = set(held.values_list("plugin_name", flat=True))
    return [PluginLine(row, channels[row.name], releases.get(row.name, 0), row.name in quarantined) for row in rows]


def in_quarantine(plugin: str) -> InQuarantine:
    """What of a plugin is in quarantine now, the newest first."""
    held = scoped_reads.quarantines().filter(plugin_name=plugin, lifted_at=None).order_by("-id")
    rows = list(held[:_MOST_QUARANTINES])
    return InQuarantine(rows, {(row.scope, row.target): row for row in rows})


def channels_of(plugin: str) -> list[Channel]:
    """A plugin's channels by name, with what they offer and offered before."""
    return list(Channel.objects.filter(plugin=plugin).select_related("head", "previous").order_by("name"))


def releases_of(plugin: str) -> QuerySet[Release]:
    """A plugin's releases, drafts before those that are out, the newest first; without their notes."""
    rows = Release.objects.filter(plugin=plugin).defer("notes")
    return rows.order_by(F("published_at").desc(nulls_first=True), "-created_at", "-id")


def release_lines(rows: list[Release], channels: list[Channel], held: InQuarantine) -> list[ReleaseLine]:
    """What is to be said of each of these releases."""
    return [
        ReleaseLine(row, held.version(row.version), [channel.name for channel in channels if channel.head_id == row.pk])
        for row in rows
    ]


def offerable(plugin: str, channel: str) -> list[tuple[str, Any]]:
    """(version, when published) of what a channel could offer, the newest first."""
    rows = Release.objects.filter(
        plugin=plugin, state=Release.State.PUBLISHED, yanked_at=None, channels__contains=[channel]
    )
    return list(rows.order_by("-published_at", "-id").values_list("version", "published_at")[:200])


def public_files(release: Release, held: InQuarantine) -> list[FileLine]:
    """Everybody's files of a release, by target; those that were superseded last."""
    return file_lines(list(_files(release).filter(customer=None)[:_MOST_FILES]), held)


def customers_files(release: Release, text: str) -> QuerySet[Artifact]:
    """Customers' own builds of a release that are handed out now, by customer."""
    rows = _files(release).filter(customer__isnull=False, superseded_at=None).select_related("customer")
    if text:
        rows = rows.filter(Q(customer_id__startswith=text) | Q(customer__name__istartswith=text))
    return rows.order_by("customer_id", "target")


def file_lines(rows: list[Artifact], held: InQuarantine) -> list[FileLine]:
    """What is to be said of each of these files."""
    return [FileLine(row, bool(row.has_signature), held.artifact(row.sha256)) for row in rows]  # type: ignore[attr-defined]


def _files(release: Release) -> QuerySet[Artifact]:
    rows = Artifact.objects.filter(release=release).select_related("file").defer("signature", "certificate")
    return rows.annotate(has_signature=Q(signature__isnull=False)).order_by("superseded_at", "target", "id")
