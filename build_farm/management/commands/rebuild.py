"""`manage.py rebuild BUILD`: build again from the record, and compare with what was published, byte for byte."""

import contextlib
import hashlib
import io
import shutil
from argparse import ArgumentParser
from dataclasses import asdict
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from build_farm.compile import CompileFailed
from build_farm.models import Build
from build_farm.packaging.archive import read_archive
from build_farm.packaging.contents import binary_name
from build_farm.sandbox import SandboxUnavailable, SlotsBusy
from build_farm.services.compile_build import compile_build
from build_farm.services.prepare_build import recorded_constants
from build_farm.workplace import Workplace, configured_workplace
from registry.services.stored_files import as_stored
from registry.storage import FileDamaged, artifact_store


class Command(BaseCommand):
    """Needs the `builds` key-encryption key, and the kit and toolchain that the build was made with."""

    help = "Build a published build again from its recorded inputs, and compare the bytes."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Which build."""
        parser.add_argument("build")

    def handle(self, *args: Any, **options: Any) -> None:
        """Exit with 0 if the bytes are the same."""
        build = Build.objects.select_related("release__source", "artifact__file").filter(pk=options["build"]).first()
        if build is None or build.artifact is None:
            raise CommandError("There is no such published build.")
        try:
            workplace = configured_workplace()
            _require_same_tools(build, workplace)
            again = _build_again(build, workplace)
            published = _published_binary(build)
        except (SandboxUnavailable, SlotsBusy, CompileFailed, FileDamaged, OSError) as exc:
            raise CommandError(f"It cannot be built again here: {exc}") from exc
        digest = hashlib.sha256(again).hexdigest()
        if again != published:
            at = next(
                (index for index, pair in enumerate(zip(again, published, strict=False)) if pair[0] != pair[1]),
                min(len(again), len(published)),
            )
            raise CommandError(f"The bytes differ from byte {at} on: {digest} instead of {build.binary_sha256}.")
        self.stdout.write(f"The same {len(again)} bytes: {digest}")


def _require_same_tools(build: Build, workplace: Workplace) -> None:
    found = {"toolchain": workplace.toolchain.version, "kit_digest": workplace.kit.digest}
    for name, value in found.items():
        if getattr(build, name) != value:
            raise CommandError(f"The build was made with {name} {getattr(build, name)}; here is {value}.")


def _build_again(build: Build, workplace: Workplace) -> bytes:
    build.constants = asdict(recorded_constants(build))
    scratch = workplace.scratch()
    try:
        with workplace.pool.take() as slot:
            compiled = compile_build(build, slot=slot, workplace=workplace, store=artifact_store(), scratch=scratch)
        return Path(compiled.path).read_bytes()
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _published_binary(build: Build) -> bytes:
    if build.artifact is None:
        raise CommandError("There is no such published build.")
    with contextlib.closing(artifact_store().open(as_stored(build.artifact.file))) as file:
        files = read_archive(io.BytesIO(b"".join(file.chunks(0, file.size))))
    return files[binary_name(build.target)]
