"""Unpacks a source archive into an empty folder, believing nothing that it says."""

import gzip
import os
import shutil
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from build_farm.sources.errors import MemberRefused, SourceRefused
from build_farm.sources.limits import ArchiveLimits
from build_farm.sources.members import Kind, Member
from build_farm.sources.names import check_link, collision_key, member_path
from build_farm.sources.tar_reader import ByteSource, read_tar
from build_farm.sources.zip_reader import read_zip

_GZIP_MAGIC = b"\x1f\x8b"
_ZIP_MAGICS = (b"PK\x03\x04", b"PK\x05\x06")
_HEADER_ALLOWANCE_BYTES = 4096  # for each member of a tar: header, padding, extended header


def unpack_archive(archive: Path, destination: Path, limits: ArchiveLimits | None = None) -> None:
    """Unpack the .tar.gz, .tar or .zip at `archive` (told apart by content) into the new folder `destination`.

    Files become 0644 and folders 0755 whatever the archive says, so that the same content gives the same tree. If it
    is refused, `destination` does not exist.

    Raises:
        MemberRefused: a member is not acceptable; names it and says why.
        SourceRefused: the archive as a whole is not.
    """
    limits = limits or ArchiveLimits()
    if archive.stat().st_size > limits.archive_bytes:
        raise SourceRefused(f"the archive is larger than {limits.archive_bytes} bytes")
    destination.mkdir()
    destination.chmod(0o755)  # whatever the umask: the slots' uids read it
    try:
        with archive.open("rb") as stream:
            _Unpacker(destination, limits).take_all(_members(archive, stream, limits))
    except (OSError, EOFError, zlib.error) as exc:
        shutil.rmtree(destination)
        if isinstance(exc, OSError) and exc.errno is not None:
            raise  # the disk's fault, not the archive's
        raise SourceRefused(f"the archive is damaged: {exc}") from exc
    except BaseException:
        shutil.rmtree(destination)
        raise


def _members(archive: Path, stream: BinaryIO, limits: ArchiveLimits) -> Iterator[Member]:
    magic = _first_bytes(archive)
    if magic.startswith(_ZIP_MAGICS):
        return read_zip(archive, limits)
    most = limits.total_bytes + limits.members * _HEADER_ALLOWANCE_BYTES
    if magic.startswith(_GZIP_MAGIC):
        return read_tar(_Bounded(gzip.GzipFile(fileobj=stream, mode="rb"), most))
    return read_tar(_Bounded(stream, most))


def _first_bytes(archive: Path) -> bytes:
    with archive.open("rb") as stream:
        return stream.read(4)


class _Bounded:
    """A stream that refuses to give more than `most` bytes: what a compressed bomb unfolds to, headers included."""

    def __init__(self, stream: ByteSource, most: int) -> None:
        self._stream = stream
        self._left = most

    def read(self, size: int, /) -> bytes:
        piece = self._stream.read(size)
        self._left -= len(piece)
        if self._left < 0:
            raise SourceRefused("the archive unfolds to more than is allowed")
        return piece


class _Unpacker:
    def __init__(self, destination: Path, limits: ArchiveLimits) -> None:
        self._destination = destination
        self._limits = limits
        self._bytes_left = limits.total_bytes
        self._members_left = limits.members
        self._kinds: dict[str, tuple[PurePosixPath, Kind]] = {}
        self._links: list[tuple[PurePosixPath, str]] = []

    def take_all(self, members: Iterator[Member]) -> None:
        for member in members:
            self._take(member)
        # Links last: no file can be written through one.
        for path, target in self._links:
            (self._destination / path).symlink_to(target)

    def _take(self, member: Member) -> None:
        self._members_left -= 1
        if self._members_left < 0:
            raise SourceRefused(f"the archive has more than {self._limits.members} members")
        path = member_path(member.unverified_name, self._limits)
        if path is None:
            if member.kind is not Kind.FOLDER:
                raise MemberRefused(member.unverified_name, "the archive's root is not a folder")
            return
        for parent in reversed(path.parents[:-1]):
            self._claim(parent, Kind.FOLDER, path)
        self._claim(path, member.kind, path)
        if member.kind is Kind.LINK:
            check_link(path, member.link_target, self._limits)
            self._links.append((path, member.link_target))
        elif member.kind is Kind.FILE:
            self._write(path, member.pieces)

    def _claim(self, path: PurePosixPath, kind: Kind, member: PurePosixPath) -> None:
        """Give `path` to this member, once, under every spelling that some file system takes for the same."""
        key = collision_key(path)
        known = self._kinds.get(key)
        if known is None:
            self._kinds[key] = (path, kind)
            if len(self._kinds) > self._limits.members:
                raise SourceRefused(f"the archive has more than {self._limits.members} members")
            if kind is Kind.FOLDER:
                (self._destination / path).mkdir()
                (self._destination / path).chmod(0o755)
            return
        other, other_kind = known
        if other != path:
            raise MemberRefused(str(member), f"{path} and {other} differ only in case or Unicode form")
        if path != member and other_kind is not Kind.FOLDER:
            raise MemberRefused(str(member), f"{path} is a {other_kind.value}, not a folder")
        if not kind is other_kind is Kind.FOLDER:
            raise MemberRefused(str(member), "the path appears twice")

    def _write(self, path: PurePosixPath, pieces: Iterator[bytes]) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(self._destination / path, flags, 0o644)
        size = 0
        with os.fdopen(descriptor, "wb") as stream:
            os.fchmod(descriptor, 0o644)
            for piece in pieces:
                size += len(piece)
                self._bytes_left -= len(piece)
                if size > self._limits.file_bytes:
                    raise MemberRefused(str(path), f"the file is larger than {self._limits.file_bytes} bytes")
                if self._bytes_left < 0:
                    raise MemberRefused(
                        str(path), f"with it the archive unfolds to more than {self._limits.total_bytes} bytes"
                    )
                stream.write(piece)
