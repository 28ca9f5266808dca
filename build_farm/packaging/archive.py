"""The outer form of a package: a deterministic tar.gz of a few flat files."""

import gzip
import io
import tarfile
from collections.abc import Mapping
from typing import IO, Final

MAX_FILES: Final = 16
MAX_BESIDE_BYTES: Final = 16 * 1024 * 1024  # what the kit reads of a file that is not the binary
MAX_BINARY_BYTES: Final = 1024 * 1024 * 1024
_EXECUTABLES: Final = ("plugin", "plugin.exe")
_PIECE_BYTES: Final = 1024 * 1024


class ArchiveMalformed(Exception):
    """The bytes are no package: the message says what was found instead."""


def write_archive(destination: IO[bytes], files: Mapping[str, bytes]) -> None:
    """Write `files` in their order. The same files give the same bytes with the same zlib.

    No time, no owner and no file name is in it; the binary is executable and everything readable.
    """
    with (
        gzip.GzipFile(fileobj=destination, mode="wb", filename="", mtime=0, compresslevel=6) as packed,
        tarfile.open(fileobj=packed, mode="w|", format=tarfile.USTAR_FORMAT) as archive,
    ):
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            entry.mode = 0o755 if name in _EXECUTABLES else 0o644
            archive.addfile(entry, io.BytesIO(content))


def read_archive(source: IO[bytes]) -> dict[str, bytes]:
    """Read a package into memory, flat and ordinary files only, each name once.

    Raises:
        ArchiveMalformed: it is not such an archive, or larger than packages are.
    """
    files: dict[str, bytes] = {}
    try:
        with gzip.GzipFile(fileobj=source, mode="rb") as packed:
            with tarfile.open(fileobj=packed, mode="r|") as archive:
                for entry in archive:
                    _take(archive, entry, files)
            _require_end(packed)
    except (tarfile.TarError, EOFError, OSError, ValueError, OverflowError) as exc:
        raise ArchiveMalformed(f"it is not a whole tar.gz ({type(exc).__name__})") from exc
    except Exception as exc:
        if type(exc).__module__ == "zlib":
            raise ArchiveMalformed("it is not a whole tar.gz (zlib)") from exc
        raise
    if not files:
        raise ArchiveMalformed("it holds no files")
    return files


def _take(archive: tarfile.TarFile, entry: tarfile.TarInfo, files: dict[str, bytes]) -> None:
    name = entry.name
    if not entry.isreg() or "/" in name or "\\" in name or name in ("", ".", ".."):
        raise ArchiveMalformed(f"{name[:80]!r} is no ordinary file at its top")
    if name in files:
        raise ArchiveMalformed(f"{name[:80]!r} stands in it twice")
    if len(files) >= MAX_FILES:
        raise ArchiveMalformed(f"it holds more than {MAX_FILES} files")
    most = MAX_BINARY_BYTES if name in _EXECUTABLES else MAX_BESIDE_BYTES
    if entry.size > most:
        raise ArchiveMalformed(f"{name[:80]!r} is larger than {most} bytes")
    reader = archive.extractfile(entry)
    files[name] = reader.read(most + 1) if reader is not None else b""
    if len(files[name]) != entry.size:
        raise ArchiveMalformed(f"{name[:80]!r} ends early")


def _require_end(packed: gzip.GzipFile) -> None:
    """Read on to the checksum; after the last entry a tar holds zeroes alone."""
    padding = 0
    while piece := packed.read(_PIECE_BYTES):
        padding += len(piece)
        if piece.strip(b"\0") or padding > _PIECE_BYTES:
            raise ArchiveMalformed("something follows the end of the archive")
