"""Releases: made as drafts, filled, published whole, yanked, and channels moved between them.

What was published never changes: a version that comes again with other bytes is refused, whoever sends it.
"""

import re
from collections.abc import Iterable, Mapping
from datetime import datetime

from django.db import IntegrityError, transaction

from licensing.core import audit, outbox
from licensing.core.actor import Actor
from licensing.core.errors import Conflict, InvalidValue
from licensing.core.ids import new_id
from licensing.models import Plugin
from licensing.rules.versions import parse_version
from registry.errors import ReleaseNotReady, VersionExists
from registry.models import CHANNEL_PATTERN, TARGET_PATTERN, Artifact, Channel, Release
from registry.services.stored_files import refer_to
from registry.storage import ArtifactStore, Stored

STABLE = "stable"
MAX_NOTES_CHARACTERS = 50_000


def create_release(
    *,
    plugin: Plugin,
    version: str,
    actor: Actor,
    now: datetime,
    store: ArtifactStore,
    channels: Iterable[str] = (STABLE,),
    notes: str = "",
    source: Stored | None = None,
    build_targets: Iterable[str] = (),
) -> Release:
    """Make a draft of a release. Made again from the same source, it is the release that is there.

    Raises:
        InvalidValue: naming the field.
        VersionExists: the version is there, from another source.
        FileGone: the source was collected; put it again.
    """
    version = checked_version(version)
    asked = Release(
        id=new_id("rel"),
        plugin=plugin,
        version=version,
        channels=checked_channels(channels),
        notes=checked_notes(notes),
        build_targets=checked_targets(build_targets),
        created_by=actor.id,
    )
    if bool(asked.build_targets) != (source is not None):
        raise InvalidValue("build_targets: a release with a source has targets, one without has none.")
    with transaction.atomic():
        asked.source = refer_to(source, store=store, now=now) if source is not None else None
        try:
            with transaction.atomic():
                asked.save(force_insert=True)
        except IntegrityError:
            return _same_release(asked)
        _record(asked, "release.created", actor, {"channels": asked.channels, "source": asked.source_id})
    return asked


def publish_release(
    *, release: Release, actor: Actor, now: datetime, require_installation: bool = True, expected: Iterable[str] = ()
) -> Release:
    """Let customers know of a release: from this commit on all of it, before it nothing.

    Each of its channels offers it from now on, unless the channel offers a newer one. The plugin then refuses callers
    that name no installation, unless its vendor says no (`require_installation`). Publishing again changes nothing.

    `expected` names the targets that must be there: a prebuilt file, or a source that is built for them.

    Raises:
        ReleaseNotReady: there is nothing to download, an expected target is missing, or a file is not signed yet.
    """
    with transaction.atomic():
        # The plugin before its releases, always in this order: two releases published at once move the same channels.
        plugin = Plugin.objects.select_for_update(no_key=True).get(pk=release.plugin_id)
        row = Release.objects.select_for_update(no_key=True).get(pk=release.pk)
        if row.is_published:
            return row
        _require_ready(row, frozenset(expected))
        row.state, row.published_at = Release.State.PUBLISHED, now
        row.save(update_fields=["state", "published_at"])
        for channel in row.channels:
            _offer(row, channel, now)
        if require_installation and not plugin.installation_required:
            plugin.installation_required = True
            plugin.save(update_fields=["installation_required", "updated_at"])
        detail = {"plugin": row.plugin_id, "version": row.version, "channels": row.channels}
        _record(row, "release.published", actor, detail)
        outbox.emit("release.published", payload={"release_id": row.id, **detail})
    return row


def delete_draft(*, release: Release, actor: Actor) -> None:
    """Throw away a release that was never published. Raises `Conflict` for one that was."""
    with transaction.atomic():
        row = Release.objects.select_for_update().get(pk=release.pk)
        if row.is_published:
            raise Conflict("A published release stays; yank it, or quarantine it.")
        Artifact.objects.filter(release=row).delete()
        _record(row, "release.deleted", actor, {"version": row.version})
        row.delete()


def set_notes(*, release: Release, notes: str, actor: Actor) -> Release:
    """Replace the release notes (Markdown): the one thing of a release that may change."""
    with transaction.atomic():
        row = Release.objects.select_for_update(no_key=True).get(pk=release.pk)
        notes = checked_notes(notes)
        if row.notes != notes:
            row.notes = notes
            row.save(update_fields=["notes"])
            _record(row, "release.notes_changed", actor, {})
    return row


def yank_release(*, release: Release, reason: str, actor: Actor, now: datetime) -> Release:
    """Offer a release no more. Who names its exact version still gets it. Yanking again changes nothing.

    Raises:
        Conflict: it was never published.
    """
    with transaction.atomic():
        row = _locked(release)
        if not row.is_published:
            raise Conflict("This release is a draft: delete it.")
        if not row.is_yanked:
            row.yanked_at, row.yanked_reason = now, reason[:500]
            row.save(update_fields=["yanked_at", "yanked_reason"])
            _record_offer(row, "release.yanked", actor, {"reason": row.yanked_reason})
    return row


def unyank_release(*, release: Release, actor: Actor) -> Release:
    """Offer a yanked release again. Raises nothing for one that is not yanked."""
    with transaction.atomic():
        row = _locked(release)
        if row.is_yanked:
            row.yanked_at, row.yanked_reason = None, ""
            row.save(update_fields=["yanked_at", "yanked_reason"])
            _record_offer(row, "release.unyanked", actor, {})
    return row


def move_channel(*, plugin: Plugin, name: str, release: Release, actor: Actor, now: datetime) -> Channel:
    """Make a channel offer this very release from this commit on: roll it back, or forward again.

    Raises:
        Conflict: the release is a draft, yanked, of another plugin, or was never in this channel.
    """
    with transaction.atomic():
        Plugin.objects.select_for_update(no_key=True).get(pk=plugin.pk)
        row = Release.objects.select_for_update(no_key=True).get(pk=release.pk)
        if row.plugin_id != plugin.pk or name not in row.channels or not row.is_published or row.is_yanked:
            raise Conflict(f"{name} can only offer a published release of its own that is not yanked.", field="version")
        channel = Channel.objects.select_for_update().get(plugin=plugin, name=name)
        if channel.head_id != row.pk:
            before = channel.head
            channel.head, channel.previous, channel.moved_at = row, before, now
            channel.save(update_fields=["head", "previous", "moved_at"])
            detail = {"channel": name, "version": row.version, "from_version": before.version}
            _record_offer(row, "release.channel_moved", actor, detail)
    return channel


def checked_version(text: str) -> str:
    """The canonical form of a semantic version. Raises `InvalidValue`."""
    parsed = parse_version(text)
    if parsed is None or parsed.build is not None or text != str(parsed) or len(text) > 64:
        # Two versions that differ in build metadata alone are equal in precedence: neither would be the newer one.
        raise InvalidValue(
            "version: a semantic version such as 2.1.0 or 2.2.0-rc.1, no build metadata.", field="version"
        )
    return text


def checked_channels(names: Iterable[str]) -> list[str]:
    """Channel names, sorted. Raises `InvalidValue`."""
    found = sorted(set(names))
    if not 1 <= len(found) <= 8 or not all(re.fullmatch(CHANNEL_PATTERN.strip("^$"), name) for name in found):
        raise InvalidValue("channels: one to eight names such as stable or beta.", field="channels")
    return found


def checked_targets(targets: Iterable[str]) -> list[str]:
    """Targets, sorted. Raises `InvalidValue`."""
    found = sorted(set(targets))
    if len(found) > 32 or not all(re.fullmatch(TARGET_PATTERN.strip("^$"), target) for target in found):
        raise InvalidValue("target: an operating system and architecture such as linux/amd64, or any.", field="target")
    return found


def checked_notes(notes: str) -> str:
    """Release notes of a bearable length. Raises `InvalidValue`."""
    if len(notes) > MAX_NOTES_CHARACTERS:
        raise InvalidValue(f"notes: at most {MAX_NOTES_CHARACTERS} characters.", field="notes")
    return notes


def _same_release(asked: Release) -> Release:
    there = Release.objects.get(plugin=asked.plugin_id, version=asked.version)
    if (there.source_id, there.build_targets) != (asked.source_id, asked.build_targets):
        raise VersionExists(f"{asked.version} exists already with other contents; give the new one a new version.")
    return there


def _locked(release: Release) -> Release:
    return Release.objects.select_for_update(no_key=True).get(pk=release.pk)


def _require_ready(row: Release, expected: frozenset[str]) -> None:
    prebuilt = list(Artifact.objects.filter(release=row, customer=None, superseded_at=None))
    offered = {artifact.target for artifact in prebuilt} | set(row.build_targets)
    if not offered:
        raise ReleaseNotReady("There is nothing to download: upload a file, or a source with targets.")
    if missing := sorted(expected - offered):
        raise ReleaseNotReady(f"Files are missing for {', '.join(missing)}.")
    if any(not artifact.is_signed for artifact in prebuilt):
        raise ReleaseNotReady("Its files are still being signed; ask again in a moment.")


def _offer(row: Release, name: str, now: datetime) -> None:
    """Move the channel to `row` if that is newer than what it offers."""
    channel = Channel.objects.select_for_update().filter(plugin=row.plugin_id, name=name).first()
    if channel is None:
        Channel.objects.create(plugin_id=row.plugin_id, name=name, head=row, moved_at=now)
    elif _is_newer(row.version, channel.head.version):
        channel.previous, channel.head, channel.moved_at = channel.head, row, now
        channel.save(update_fields=["head", "previous", "moved_at"])


def _is_newer(version: str, than: str) -> bool:
    ours, theirs = parse_version(version), parse_version(than)
    return ours is not None and (theirs is None or ours > theirs)


def _record_offer(row: Release, action: str, actor: Actor, detail: Mapping[str, object]) -> None:
    """Record a change of what is offered, and let others hear of it."""
    _record(row, action, actor, detail)
    outbox.emit(action, payload={"release_id": row.id, "plugin": row.plugin_id, "version": row.version, **detail})


def _record(row: Release, action: str, actor: Actor, detail: Mapping[str, object]) -> None:
    audit.record(
        actor=actor,
        action=action,
        subject_kind="release",
        subject_id=f"{row.plugin_id}@{row.version}",
        detail={"release_id": row.id, **detail},
    )
