"""Reads a zip strictly: stored and deflated members, UTF-8 names, no encryption, a bounded directory."""

import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from build_farm.sources.errors import MemberRefused, SourceRefused
from build_farm.sources.limits import ArchiveLimits
from build_farm.sources.members import PIECE_BYTES, Kind, Member

_END_SIGNATURE = b"PK\x05\x06"
_END_BYTES = 22
_LONGEST_COMMENT = 65535
_DIRECTORY_ENTRY_BYTES = 46 + 256  # of an ordinary entry: the fixed part, a name, extra fields
_LONGEST_TARGET = 4096
_UNIX = 3


def read_zip(path: Path, limits: ArchiveLimits) -> Iterator[Member]:
    """The members of the zip at `path`.

    Raises:
        SourceRefused: it is not a zip, is damaged, or its directory is longer than `limits` allow.
        MemberRefused: a member is encrypted, compressed in a way we do not read, or of a type we have no use for.
    """
    _check_directory(path, limits)
    with _translated(), zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            member = _member(archive, info)
            yield member
            for _ in member.pieces:  # what the caller left unread
                pass


@contextmanager
def _translated() -> Iterator[None]:
    """The library's many ways to say that a zip is bad, in one of ours."""
    try:
        yield
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, EOFError, struct.error, ValueError) as exc:
        raise SourceRefused(f"the zip is damaged or uses features we do not read: {exc}") from exc


def _check_directory(path: Path, limits: ArchiveLimits) -> None:
    """The library reads the whole directory into memory, so its length is bounded before it is asked to."""
    with path.open("rb") as stream:
        size = stream.seek(0, 2)
        stream.seek(max(0, size - _END_BYTES - _LONGEST_COMMENT))
        tail = stream.read()
    # The same record that the library takes: one that ends the file, else the last one there is.
    start = len(tail) - _END_BYTES
    if start < 0 or tail[start : start + 4] != _END_SIGNATURE or tail[-2:] != b"\0\0":
        start = tail.rfind(_END_SIGNATURE)
    if start < 0 or len(tail) - start < _END_BYTES:
        raise SourceRefused("this is not a zip archive, or it is damaged (no directory)")
    members, directory_bytes, offset = struct.unpack("<HLL", tail[start + 10 : start + 20])
    if members == 0xFFFF or 0xFFFFFFFF in (directory_bytes, offset):
        raise SourceRefused("zip64 archives are not read")
    if members > limits.members or directory_bytes > limits.members * _DIRECTORY_ENTRY_BYTES:
        raise SourceRefused(f"the archive has more than {limits.members} members")


def _member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Member:
    name = info.orig_filename  # `filename` is already cut at a NUL
    if info.flag_bits & 0x1:
        raise MemberRefused(name, "encrypted members are not read")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise MemberRefused(name, "only stored and deflated members are read")
    mode = info.external_attr >> 16 if info.create_system == _UNIX else 0
    kind = stat.S_IFMT(mode)
    if name.endswith("/"):
        if kind not in (0, stat.S_IFDIR) or info.file_size:
            raise MemberRefused(name, "a folder that is something else as well")
        return Member(name, Kind.FOLDER, "", iter(()))
    if kind == stat.S_IFLNK:
        return Member(name, Kind.LINK, _link_target(archive, info), iter(()))
    if kind not in (0, stat.S_IFREG):
        raise MemberRefused(name, "devices, pipes and other special files are not allowed")
    return Member(name, Kind.FILE, "", _pieces(archive, info))


def _link_target(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> str:
    with archive.open(info) as stream:
        target = stream.read(_LONGEST_TARGET + 1)
    if len(target) > _LONGEST_TARGET:
        raise MemberRefused(info.orig_filename, "the link's target is too long")
    return target.decode("utf-8", "surrogateescape")


def _pieces(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Iterator[bytes]:
    # Runs in the caller's frame, where the translation around the reader does not reach.
    with _translated(), archive.open(info) as stream:
        while piece := stream.read(PIECE_BYTES):
            yield piece
