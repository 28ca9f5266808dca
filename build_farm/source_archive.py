"""Packing a folder of source into the archive that the farm takes in: the same folder gives the same bytes."""

import gzip
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

_LEFT_OUT = {".git", ".hg", ".svn", ".idea", ".vscode", "node_modules"}


class FolderUnfit(Exception):
    """The folder cannot be packed; the message says why."""


def pack_folder(folder: Path, destination: IO[bytes]) -> int:
    """Write `folder` as a tar.gz without owners and times, hidden version control left out; returns how many files.

    Raises:
        FolderUnfit: it has no keywright.toml, or holds what is no file, folder or link.
    """
    if not (folder / "keywright.toml").is_file():
        raise FolderUnfit(f"There is no keywright.toml in {folder}.")
    count = 0
    with (
        gzip.GzipFile(fileobj=destination, mode="wb", filename="", mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w|", format=tarfile.PAX_FORMAT) as archive,
    ):
        for path in _sorted_files(folder):
            _add(archive, path, path.relative_to(folder).as_posix())
            count += 1
    return count


def _sorted_files(folder: Path) -> Iterator[Path]:
    for here, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if name not in _LEFT_OUT)
        links = [name for name in folders if (Path(here) / name).is_symlink()]
        for name in sorted([*names, *links]):
            yield Path(here) / name


def _add(archive: tarfile.TarFile, path: Path, name: str) -> None:
    entry = tarfile.TarInfo(name)
    if path.is_symlink():
        entry.type, entry.linkname = tarfile.SYMTYPE, os.fspath(path.readlink())
        archive.addfile(entry)
    elif path.is_file():
        with path.open("rb") as stream:
            entry.size, entry.mode = os.fstat(stream.fileno()).st_size, 0o644
            archive.addfile(entry, stream)
    else:
        raise FolderUnfit(f"{name} is no file, folder or link.")
