"""The compiler's cache in read-only layers, so that a customer's build compiles one package and links.

Two kinds of layers: one for each toolchain, target and kit (the standard library and the kit, compiled from a
program of our own), and one for each release on top of it. Both are written by farm-owned warm-up jobs, in a sandbox,
from source that the vendor has reviewed. A customer's build sees them under an overlay and leaves nothing behind.
What a warm-up wrote is copied file by file, ordinary files only, and then belongs to the server, not to the slot.
"""

import hashlib
import os
import shutil
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path

from build_farm.compile.go_command import CACHE
from build_farm.compile.source_tree import SourceTree
from build_farm.compile.toolchain import GoToolchain
from build_farm.sandbox import Overlay

# In the future: the go command refreshes what is older than an hour, and that would copy each entry up to memory.
_TIMESTAMP = 4_102_444_800  # 2100-01-01
_LARGEST_LAYER_BYTES = 4 * 1024**3
_MOST_FILES = 200_000
_EMPTY_LAYER = "empty"
# A Go cache spreads its entries over these by the first byte of their digest.
CACHE_FOLDERS = tuple(f"{number:02x}" for number in range(256))


@dataclass(frozen=True)
class WarmCache:
    """The layers under `folder`, which must be reachable by the slots' uids and writable by the server only."""

    folder: Path

    def overlay(self, *, toolchain: GoToolchain, target: str, kit_digest: str, tree: SourceTree | None) -> Overlay:
        """The layers there are for a build of `tree` (None: for the kit alone), lowest first, to be thrown away."""
        base = base_key(toolchain=toolchain, target=target, kit_digest=kit_digest)
        names = [base] + ([release_key(base, tree)] if tree else [])
        layers = tuple(path for path in (self.folder / name for name in names) if path.is_dir())
        return Overlay(layers=layers or (self._empty(),), target=CACHE, writable_folders=CACHE_FOLDERS)

    def has(self, key: str) -> bool:
        """True if the layer is there, complete."""
        return (self.folder / key).is_dir()

    def adopt(self, upper: Path, key: str) -> None:
        """Make what a warm-up wrote to `upper` the layer `key`. The first one to finish wins."""
        self._make_folder()
        staging = Path(tempfile.mkdtemp(dir=self.folder, prefix="new-"))
        try:
            _copy_ordinary_files(upper, staging)
            staging.chmod(0o755)
            try:
                staging.rename(self.folder / key)
            except OSError:
                if not self.has(key):
                    raise
        finally:
            shutil.rmtree(staging, ignore_errors=True)

    def _empty(self) -> Path:
        self._make_folder()
        path = self.folder / _EMPTY_LAYER
        _make_folder(path)
        return path

    def _make_folder(self) -> None:
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        _make_folder(self.folder)


def _make_folder(folder: Path) -> None:
    """A folder that the slots' uids can read, whatever the umask."""
    folder.mkdir(exist_ok=True)
    folder.chmod(0o755)


def base_key(*, toolchain: GoToolchain, target: str, kit_digest: str) -> str:
    """The name of the layer that holds the standard library and the kit."""
    return "base-" + hashlib.sha256(f"{toolchain.version}\n{target}\n{kit_digest}".encode()).hexdigest()


def release_key(base: str, tree: SourceTree) -> str:
    """The name of the layer that holds one release's own packages, on top of `base`."""
    return "release-" + hashlib.sha256(f"{base}\n{tree.digest}".encode()).hexdigest()


def _copy_ordinary_files(source: Path, destination: Path) -> None:
    """Copy two levels of folders, as a Go cache has, following nothing and copying nothing but ordinary files."""
    bytes_left, files_left = _LARGEST_LAYER_BYTES, _MOST_FILES
    for folder, folders, names, descriptor in os.fwalk(source, follow_symlinks=False):
        here = destination / Path(folder).relative_to(source)
        for name in folders:
            # A link to a folder is among these, and is not walked into.
            if stat.S_ISDIR(os.stat(name, dir_fd=descriptor, follow_symlinks=False).st_mode):
                _make_folder(here / name)
        for name in names:
            if not stat.S_ISREG(os.stat(name, dir_fd=descriptor, follow_symlinks=False).st_mode):
                continue
            size = _copy(name, descriptor, here / name)
            bytes_left, files_left = bytes_left - size, files_left - 1
            if bytes_left < 0 or files_left < 0:
                raise OverflowError("a warm-up wrote more than a cache layer may hold")


def _copy(name: str, folder: int, destination: Path) -> int:
    source = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    with os.fdopen(source, "rb") as reading, destination.open("xb") as writing:
        shutil.copyfileobj(reading, writing)
        os.fchmod(writing.fileno(), 0o644)
        writing.flush()
        os.utime(writing.fileno(), (_TIMESTAMP, _TIMESTAMP))
        return os.fstat(writing.fileno()).st_size
