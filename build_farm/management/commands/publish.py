"""`manage.py publish DIR`: make a release of a folder of source (or of an archive), and publish it."""

import tempfile
from argparse import ArgumentParser
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from django.core.management.base import BaseCommand, CommandError

from build_farm.services.publish_source import PublishedSource, PublishOptions, publish_source
from build_farm.source_archive import FolderUnfit, pack_folder
from build_farm.sources import SourceRefused, parse_manifest
from licensing.core.actor import system
from licensing.core.errors import DomainError
from licensing.models import Plugin
from registry.storage import artifact_store
from registry.storage.interface import CHUNK_BYTES


class Command(BaseCommand):
    """The plugin is the one that keywright.toml names; run it again with the same source and nothing changes."""

    help = "Publish a release from its source: a folder with keywright.toml, packed as it is."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """The folder, and what the API's query says."""
        parser.add_argument("folder", type=Path)
        parser.add_argument("--channel", action="append", dest="channels", help="Default: stable.")
        parser.add_argument("--notes", type=Path, help="A file with release notes in Markdown.")
        parser.add_argument("--draft", action="store_true", help="Make the release, and publish it later.")
        parser.add_argument(
            "--installation-optional", action="store_true", help="Go on serving callers that name no installation."
        )
        parser.add_argument(
            "--refuse-undeclared", action="store_true", help="Refuse a source that can do what it does not declare."
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Publish, then say what was found."""
        try:
            published = publish_folder(
                options["folder"],
                PublishOptions(
                    channels=tuple(options["channels"] or ["stable"]),
                    notes=options["notes"].read_text(encoding="utf-8") if options["notes"] else "",
                    require_installation=not options["installation_optional"],
                    refuse_undeclared=options["refuse_undeclared"],
                    is_draft=options["draft"],
                ),
            )
        except (DomainError, FolderUnfit, SourceRefused, OSError) as exc:
            raise CommandError(str(exc)) from exc
        release, source = published.release, published.source
        self.stdout.write(f"{release.plugin_id} {release.version} is {release.state} ({release.id}).")
        for capability, places in source.capabilities.items():
            mark = "not declared" if capability in source.undeclared else "declared"
            self.stdout.write(f"  {capability}: {mark}; {places[0] if places else ''}")


def publish_folder(folder: Path, options: PublishOptions) -> PublishedSource:
    """Pack a folder and publish it as the plugin that its keywright.toml names."""
    manifest = parse_manifest((folder / "keywright.toml").read_bytes())
    plugin = Plugin.objects.filter(pk=manifest.name).first()
    if plugin is None:
        raise FolderUnfit(f"There is no plugin {manifest.name}; make it first.")
    with tempfile.TemporaryFile() as packed:
        pack_folder(folder, packed)
        packed.seek(0)
        return publish_source(
            plugin=plugin,
            chunks=_pieces(packed),
            options=options,
            actor=system("publish"),
            now=datetime.now(UTC),
            store=artifact_store(),
        )


def _pieces(file: IO[bytes]) -> Iterator[bytes]:
    while piece := file.read(CHUNK_BYTES):
        yield piece
