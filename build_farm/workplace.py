"""Where a build worker works: its folders, its toolchain, its kit, the compiler cache and the slots.

Build slots run as users of their own, so everything that a sandbox mounts must be in reach of those: the toolchain and
bubblewrap are brought below BUILD_DIR where they are not (a virtual environment in root's home).
"""

import errno
import json
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

import structlog
from django.conf import settings

from build_farm.compile import (
    GoKit,
    GoToolchain,
    SandboxSettings,
    SourceTree,
    WarmCache,
    find_toolchain,
    lay_out_source,
    read_gokit,
)
from build_farm.sandbox import SandboxLimits, SlotPool, SlotsBusy
from build_farm.sandbox.bubblewrap import find_bubblewrap
from build_farm.sources import ArchiveLimits, open_release_source, unpack_archive
from build_farm.sources.manifest import TARGETS

log = structlog.get_logger(__name__)

KIT_FOLDER = Path(__file__).with_name("gokit")
_MIB = 1024 * 1024
_TREES_KEPT = 20


@dataclass(frozen=True)
class Workplace:
    """One machine's place for builds."""

    root: Path
    kit: GoKit
    toolchain: GoToolchain
    cache: WarmCache
    pool: SlotPool
    sandbox: SandboxSettings

    def source_tree(self, sha256: str, fetch: Callable[[IO[bytes]], None]) -> SourceTree:
        """The release's source, unpacked with the kit laid in; made once for all its customers.

        `fetch` writes the archive's bytes to the file it is given. Whoever finishes first wins.
        """
        folder = self._folder("trees") / f"{sha256}-{self.kit.digest[:16]}"
        if not (folder / "tree.json").is_file():
            self._make_tree(folder, fetch)
        os.utime(folder)
        described = json.loads((folder / "tree.json").read_text())
        return SourceTree(
            root=folder / described["root"],
            package=PurePosixPath(described["package"]),
            module_path=described["module_path"],
            digest=described["digest"],
        )

    def scratch(self) -> Path:
        """A new folder for one job, in reach of the slots' users; whoever asks removes it."""
        folder = Path(tempfile.mkdtemp(dir=self._folder("jobs")))
        folder.chmod(0o711)
        return folder

    def tidy(self) -> None:
        """Remove what killed jobs left behind and what was used longest ago, unless somebody is at work here."""
        try:
            with ExitStack() as stack:
                for _ in range(self.pool.count):
                    stack.enter_context(self.pool.take())
                shutil.rmtree(self.root / "jobs", ignore_errors=True)
                _keep_newest(self._folder("trees").iterdir(), _TREES_KEPT)
                _keep_newest(self.cache.folder.glob("release-*"), _TREES_KEPT * len(TARGETS))
                _keep_newest(self.cache.folder.glob("base-*"), 2 * len(TARGETS))
        except SlotsBusy:
            return

    def _make_tree(self, folder: Path, fetch: Callable[[IO[bytes]], None]) -> None:
        staging = Path(tempfile.mkdtemp(dir=self._folder("jobs")))
        try:
            staging.chmod(0o755)
            with (staging / "archive").open("xb") as archive:
                fetch(archive)
            limits = ArchiveLimits(archive_bytes=settings.SOURCE_MAX_BYTES)
            unpack_archive(staging / "archive", staging / "source", limits)
            (staging / "archive").unlink()
            tree = lay_out_source(open_release_source(staging / "source"), self.kit)
            described = {
                "root": tree.root.relative_to(staging).as_posix(),
                "package": str(tree.package),
                "module_path": tree.module_path,
                "digest": tree.digest,
            }
            (staging / "tree.json").write_text(json.dumps(described))
            try:
                staging.rename(folder)
            except OSError:
                if not (folder / "tree.json").is_file():
                    raise
        finally:
            shutil.rmtree(staging, ignore_errors=True)

    def _folder(self, name: str) -> Path:
        return _open_folder(self.root / name)


def find_tools() -> tuple[GoToolchain, Path]:
    """The toolchain and the bubblewrap that the settings name. Raises `SandboxUnavailable`."""
    return find_toolchain(_path(settings.BUILD_GO_ROOT)), find_bubblewrap(_path(settings.BUILD_BUBBLEWRAP))


def configured_workplace() -> Workplace:
    """The workplace that the settings describe.

    Raises:
        SandboxUnavailable: there is no Go toolchain or no bubblewrap.
        OSError: BUILD_DIR cannot be used.
    """
    root = Path(settings.BUILD_DIR)
    root.mkdir(parents=True, exist_ok=True)
    _require_own(root)
    root = _open_folder(root.resolve())
    toolchain, bubblewrap = find_tools()
    if os.geteuid() != 0:
        log.warning("build_farm.ordinary_user", hint="Builds run as this process's own user; root gives each its own.")
    else:
        toolchain = GoToolchain(_in_reach(toolchain.root, root / "tools" / toolchain.version), toolchain.version)
        bubblewrap = _in_reach(bubblewrap.resolve(), root / "tools" / "bwrap")
    return Workplace(
        root=root,
        kit=read_gokit(KIT_FOLDER),
        toolchain=toolchain,
        cache=WarmCache(_path(settings.BUILD_CACHE_DIR) or root / "cache"),
        pool=SlotPool(root / "slots", count=settings.BUILD_SLOTS, base_uid=settings.BUILD_BASE_UID),
        sandbox=SandboxSettings(
            limits=SandboxLimits(
                wall_seconds=float(settings.BUILD_SECONDS),
                cpu_seconds=2 * settings.BUILD_SECONDS,
                memory_bytes=settings.BUILD_MEMORY_MEGABYTES * _MIB,
            ),
            bubblewrap=bubblewrap,
            cgroup_parent=_path(settings.BUILD_CGROUP),
        ),
    )


def _keep_newest(folders: Iterable[Path], count: int) -> None:
    by_age = sorted(folders, key=lambda path: path.stat().st_mtime)
    for folder in by_age[: max(0, len(by_age) - count)]:
        shutil.rmtree(folder, ignore_errors=True)


def _require_own(folder: Path) -> None:
    """Refuse a folder that somebody else has put there, or a link to one: builds trust what is in it."""
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise PermissionError(errno.EPERM, "BUILD_DIR is not a folder of this process's own user alone")


def _path(text: str) -> Path | None:
    return Path(text) if text else None


def _open_folder(folder: Path) -> Path:
    """A folder that the slots' users can pass through but not list or write."""
    folder.mkdir(exist_ok=True)
    folder.chmod(0o711)
    return folder


def _in_reach(path: Path, copy: Path) -> Path:
    """`path` if any user can reach it, else its copy, made once. The name of a copy says what it is of."""
    if _is_reachable(path):
        return path
    if not copy.exists():
        _open_folder(copy.parent)
        staging = Path(tempfile.mkdtemp(dir=copy.parent))
        try:
            staging.chmod(0o755)
            made = staging / "copy"
            if path.is_dir():
                shutil.copytree(path, made, symlinks=True)
            else:
                shutil.copy2(path, made)
            _open_up(made)
            made.rename(copy)
        except OSError:
            if not copy.exists():
                raise
        finally:
            shutil.rmtree(staging, ignore_errors=True)
    return copy


def _is_reachable(path: Path) -> bool:
    """Whether a stranger may pass every folder on the way, and read what is there."""
    wanted = stat.S_IXOTH | (stat.S_IROTH if path.is_file() else 0)
    if path.stat().st_mode & wanted != wanted:
        return False
    return all(parent.stat().st_mode & stat.S_IXOTH for parent in path.resolve().parents)


def _open_up(path: Path) -> None:
    """Let everybody read, whatever the umask was when it was installed."""
    for entry in (path, *path.rglob("*")):
        if not entry.is_symlink():
            mode = entry.stat().st_mode
            entry.chmod(mode | stat.S_IROTH | (stat.S_IXOTH if mode & stat.S_IXUSR else 0))
