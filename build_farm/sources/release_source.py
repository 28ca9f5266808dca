"""An unpacked source as a whole: where its root is, what it says, and what it may not bring."""

import os
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from build_farm.sources.errors import ManifestRefused, MemberRefused, SourceRefused
from build_farm.sources.go_module import GoModule, parse_go_module
from build_farm.sources.manifest import FILE_NAME, SourceManifest, parse_manifest

GENERATED_FILE = "customer_auth.go"


@dataclass(frozen=True)
class ReleaseSource:
    """An unpacked, checked source. `root` is the folder that holds keywright.toml and go.mod."""

    root: Path
    manifest: SourceManifest
    module: GoModule


def open_release_source(unpacked: Path) -> ReleaseSource:
    """Find the root in an unpacked archive, read manifest and go.mod, and check the package's folder.

    Raises:
        SourceRefused: something is missing, wrong, or not a vendor's to bring; names it.
    """
    root = _root(unpacked)
    manifest = parse_manifest(_read(root, FILE_NAME))
    module = parse_go_module(_read(root, "go.mod"))
    _check_package(root, manifest.package)
    for folder in ("vendor", "vendor/keywright.dev", "vendor/keywright.dev/gokit"):
        if (root / folder).is_symlink():
            raise MemberRefused(folder, "must be a folder, not a link")
    if (root / "vendor" / "modules.txt").is_symlink():
        raise MemberRefused("vendor/modules.txt", "must be a file, not a link")
    return ReleaseSource(root=root, manifest=manifest, module=module)


def _root(unpacked: Path) -> Path:
    """The folder itself, or the only one in it, as in archives that forges make."""
    if (unpacked / FILE_NAME).exists():
        return unpacked
    entries = list(unpacked.iterdir())
    if len(entries) == 1 and entries[0].is_dir() and not entries[0].is_symlink() and (entries[0] / FILE_NAME).exists():
        return entries[0]
    raise SourceRefused(f"there is no {FILE_NAME} at the root of the archive")


def _read(root: Path, name: str) -> bytes:
    path = root / name
    if path.is_symlink() or not path.is_file():
        raise SourceRefused(f"{name} is missing or is no ordinary file")
    return path.read_bytes()


def _check_package(root: Path, package: PurePosixPath) -> None:
    folder = root
    for part in package.parts:
        folder /= part
        if folder.is_symlink() or not folder.is_dir():
            raise ManifestRefused("package", f"{package} is no folder of the archive")
    names = os.listdir(folder)  # noqa: PTH208 - names only
    for name in names:
        # A file system that folds case, and Go on it, would take either.
        if name.casefold() == GENERATED_FILE:
            raise MemberRefused(
                str(package / name), "this file is written by the build farm and may not be brought along"
            )
    if not any(name.endswith(".go") and not name.endswith("_test.go") for name in names):
        raise ManifestRefused("package", f"{package} has no Go files")
