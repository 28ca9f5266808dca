"""Taking in a release's source: read once, compared with what it declares, kept, and published whole."""

import shutil
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import transaction

from build_farm.errors import SourceUnacceptable
from build_farm.models import SourceArchive
from build_farm.sources import (
    ArchiveLimits,
    Capability,
    CapabilityUse,
    ReleaseSource,
    SourceManifest,
    SourceRefused,
    open_release_source,
    scan_capabilities,
    store_upload,
    undeclared,
    unpack_archive,
)
from licensing.core.actor import Actor
from licensing.models import Feature, Plugin, PluginManifest, Tier
from licensing.rules.manifests import ManifestInvalid, parse_manifest
from registry.models import Release
from registry.services.releases import STABLE, create_release, publish_release
from registry.storage import ArtifactStore
from registry.storage.interface import CHUNK_BYTES


@dataclass(frozen=True, slots=True)
class PublishOptions:
    """What a vendor decides about a release besides its source."""

    channels: tuple[str, ...] = (STABLE,)
    notes: str = ""
    require_installation: bool = True
    refuse_undeclared: bool = False
    is_draft: bool = False


@dataclass(frozen=True, slots=True)
class PublishedSource:
    """A release and what was found in its source."""

    release: Release
    source: SourceArchive


@dataclass(frozen=True, slots=True)
class _Examined:
    source: ReleaseSource
    uses: tuple[CapabilityUse, ...]
    undeclared: tuple[CapabilityUse, ...]
    permissions: Mapping[str, Any]


def publish_source(
    *,
    plugin: Plugin,
    chunks: Iterable[bytes],
    options: PublishOptions,
    actor: Actor,
    now: datetime,
    store: ArtifactStore,
) -> PublishedSource:
    """Make a release of a source archive (tar.gz, tar or zip) and publish it. The same archive again changes nothing.

    Raises:
        SourceUnacceptable: the archive or something in it cannot be taken; names it.
        InvalidValue: a channel or the notes.
        VersionExists: the version is there, from another source.
    """
    folder = Path(tempfile.mkdtemp(prefix="keywright-source-"))
    try:
        upload = store_upload(chunks, folder=folder, limit_bytes=settings.SOURCE_MAX_BYTES)
        examined = _examine(upload.path, folder / "source", plugin, options)
        with upload.path.open("rb") as archive:
            stored = store.put_stream(iter(lambda: archive.read(CHUNK_BYTES), b""), max_bytes=settings.SOURCE_MAX_BYTES)
    except SourceRefused as exc:
        raise SourceUnacceptable(str(exc)) from exc
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    manifest = examined.source.manifest
    with transaction.atomic():
        release = create_release(
            plugin=plugin,
            version=manifest.version,
            actor=actor,
            now=now,
            store=store,
            channels=options.channels,
            notes=options.notes,
            source=stored,
            build_targets=manifest.targets,
        )
        source = _keep(release, examined, actor)
        if not options.is_draft:
            release = publish_release(
                release=release, actor=actor, now=now, require_installation=options.require_installation
            )
    return PublishedSource(release, source)


def _examine(archive: Path, unpacked: Path, plugin: Plugin, options: PublishOptions) -> _Examined:
    """Read everything that is in the archive; nothing of it is run."""
    unpack_archive(archive, unpacked, ArchiveLimits(archive_bytes=settings.SOURCE_MAX_BYTES))
    source = open_release_source(unpacked)
    manifest = source.manifest
    if manifest.name != plugin.name:
        raise SourceRefused(f"keywright.toml: name: it is {manifest.name}, and this is {plugin.name}")
    _require_known(manifest)
    uses = scan_capabilities(source.root, module_path=source.module.path, package=manifest.package)
    missing = undeclared(uses, manifest)
    if missing and (options.refuse_undeclared or settings.REFUSE_UNDECLARED_CAPABILITIES):
        raise SourceRefused(f"the source can do what keywright.toml does not declare: {_words(missing)}")
    return _Examined(source, uses, missing, _canonical(manifest))


def _require_known(manifest: SourceManifest) -> None:
    known = set(Feature.objects.filter(pk__in=manifest.features).values_list("pk", flat=True))
    for code in manifest.features:
        if code not in known:
            raise SourceRefused(f"keywright.toml: features: there is no feature {code}")
    if manifest.tier is not None and not Tier.objects.filter(pk=manifest.tier).exists():
        raise SourceRefused(f"keywright.toml: tier: there is no tier {manifest.tier}")


def _canonical(manifest: SourceManifest) -> Mapping[str, Any]:
    try:
        return parse_manifest({"permissions": _written_permissions(manifest), "resources": _written_limits(manifest)})
    except ManifestInvalid as exc:
        raise SourceRefused(f"keywright.toml: {exc.field}: {exc.detail}") from exc


def _written_permissions(manifest: SourceManifest) -> Any:
    if manifest.permission_flags:
        return {
            resource: {action: _flag(value) for action, value in flags.items()}
            for resource, flags in manifest.permission_flags.items()
        }
    return [
        {"resource": entry.resource, "actions": list(entry.actions), "scope": entry.scope, "effect": entry.effect}
        for entry in manifest.permissions
    ]


def _flag(value: object) -> object:
    """A flag as the permission rules write it: yes, no, or the scopes."""
    if isinstance(value, tuple):
        return list(value)
    if isinstance(value, str):
        return False if value == "none" else [value]
    return value


def _written_limits(manifest: SourceManifest) -> dict[str, Any]:
    limits: dict[str, Any] = {name: value for name, value in manifest.resources.items() if "." not in name}
    rate = {
        name.removeprefix("rate_limit."): value
        for name, value in manifest.resources.items()
        if name.startswith("rate_limit.")
    }
    return limits | ({"rate_limit": rate} if rate else {})


def _keep(release: Release, examined: _Examined, actor: Actor) -> SourceArchive:
    """What was found, and the permissions that the plugin's answers and packages will state; both once."""
    manifest = examined.source.manifest
    PluginManifest.objects.get_or_create(
        plugin_id=release.plugin_id, version=release.version, defaults={"manifest": dict(examined.permissions)}
    )
    source, _ = SourceArchive.objects.get_or_create(
        release=release,
        defaults={
            "module_path": examined.source.module.path,
            "package": str(manifest.package),
            "features": list(manifest.features),
            "tier": manifest.tier or "",
            "permissions": examined.permissions["permissions"],
            "resources": examined.permissions["limits"],
            "capabilities": {str(use.capability): list(use.examples) for use in examined.uses},
            "undeclared": [str(use.capability) for use in examined.undeclared],
            "uploaded_by": actor.id,
        },
    )
    return source


def _words(uses: Iterable[CapabilityUse]) -> str:
    def shown(use: CapabilityUse) -> str:
        name = "cgo" if use.capability is Capability.CGO else str(use.capability)
        return f"{name} ({use.examples[0]})" if use.examples else name

    return ", ".join(shown(use) for use in uses)
