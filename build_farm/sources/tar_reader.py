"""Reads a tar stream strictly: ustar, pax and GNU long names, and nothing else.

The standard library's reader takes a pax header of any length into memory, follows chains of them recursively, and
knows sparse files; here the length is bounded, a chain is refused, and an unknown type is refused by name.
Source: POSIX.1-2017, pax, "ustar Interchange Format" and "pax Extended Header"; GNU tar manual, "Basic Tar Format".
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from build_farm.sources.errors import MemberRefused, SourceRefused
from build_farm.sources.members import PIECE_BYTES, Kind, Member

_BLOCK = 512
_LONGEST_HEADER = 64 * 1024
_EMPTY = bytes(_BLOCK)

_REFUSED_TYPES = {
    b"1": "hard links are not allowed",
    b"3": "devices are not allowed",
    b"4": "devices are not allowed",
    b"6": "pipes are not allowed",
    b"S": "sparse files are not allowed",
}


class ByteSource(Protocol):
    """A stream that gives up to `size` bytes, none at its end."""

    def read(self, size: int, /) -> bytes:
        """Read."""


@dataclass
class _Pending:
    """What extended headers have said about the member to come."""

    name: str | None = None
    link: str | None = None
    size: int | None = None
    seen: tuple[bytes, ...] = ()


def read_tar(stream: ByteSource) -> Iterator[Member]:
    """The members of an uncompressed tar stream.

    Raises:
        SourceRefused: it is not a tar, or ends early.
        MemberRefused: a member is of a type that a source has no use for.
    """
    pending = _Pending()
    while (header := _exactly(stream, _BLOCK)) != _EMPTY:
        _check_sum(header)
        kind = header[156:157]
        size = _number(header[124:136]) if pending.size is None else pending.size
        if kind in (b"x", b"L", b"K", b"g"):
            _take_extension(stream, kind, _number(header[124:136]), pending)
            continue
        name = pending.name if pending.name is not None else _header_name(header)
        link = pending.link if pending.link is not None else _text(header[157:257])
        pending = _Pending()
        member, padding = _member(stream, name=name, link=link, kind=kind, size=size)
        yield member
        for _ in member.pieces:  # what the caller left unread
            pass
        _exactly(stream, padding)
    if pending.seen:
        raise SourceRefused("the tar ends after an extended header")
    # To the end, so that a compressed stream's checksum is seen to hold.
    while rest := stream.read(PIECE_BYTES):
        if rest.strip(b"\0"):
            raise SourceRefused("the tar has something after its end")


def _member(stream: ByteSource, *, name: str, link: str, kind: bytes, size: int) -> tuple[Member, int]:
    if kind in _REFUSED_TYPES:
        raise MemberRefused(name, _REFUSED_TYPES[kind])
    if kind in (b"0", b"\0", b"7"):
        # Before POSIX a folder was a file whose name ends with a slash.
        if name.endswith("/"):
            raise MemberRefused(name, "a file's name ends with a slash")
        return Member(name, Kind.FILE, "", _pieces(stream, size)), -size % _BLOCK
    if size:
        raise MemberRefused(name, "a member that is no file has content")
    if kind == b"5":
        return Member(name, Kind.FOLDER, "", iter(())), 0
    if kind == b"2":
        return Member(name, Kind.LINK, link, iter(())), 0
    raise MemberRefused(name, f"members of the type {kind!r} are not allowed")


def _take_extension(stream: ByteSource, kind: bytes, size: int, pending: _Pending) -> None:
    if size > _LONGEST_HEADER:
        raise SourceRefused(f"an extended header of the tar is longer than {_LONGEST_HEADER} bytes")
    if kind in pending.seen:
        raise SourceRefused("the tar repeats an extended header before one member")
    body = _exactly(stream, size)
    _exactly(stream, -size % _BLOCK)
    if kind == b"g":
        # `git archive` writes its commit here; anything that would change every member is refused.
        if {"path", "linkpath", "size"} & _pax_records(body).keys():
            raise SourceRefused("a global header of the tar renames its members")
        return
    pending.seen += (kind,)
    if kind == b"L":
        pending.name = _text(body)
    elif kind == b"K":
        pending.link = _text(body)
    else:
        _apply_pax(_pax_records(body), pending)


def _apply_pax(records: dict[str, bytes], pending: _Pending) -> None:
    if any(key.startswith("GNU.sparse.") for key in records):
        raise SourceRefused("sparse files are not allowed in the tar")
    if "path" in records:
        pending.name = _decoded(records["path"])
    if "linkpath" in records:
        pending.link = _decoded(records["linkpath"])
    if "size" in records:
        if not records["size"].isdigit() or len(records["size"]) > 18:
            raise SourceRefused("a size in an extended header of the tar is not a number")
        pending.size = int(records["size"])


def _pax_records(body: bytes) -> dict[str, bytes]:
    records: dict[str, bytes] = {}
    while body:
        digits, space, _ = body[:10].partition(b" ")
        length = int(digits) if space and digits.isdigit() else 0
        record = body[len(digits) + 1 : length - 1]
        key, equals, value = record.partition(b"=")
        if not equals or length > len(body) or body[length - 1 : length] != b"\n":
            raise SourceRefused("an extended header of the tar is malformed")
        records[_decoded(key)] = value
        body = body[length:]
    return records


def _check_sum(header: bytes) -> None:
    stated = _number(header[148:156])
    if stated != sum(header[:148]) + 8 * 0x20 + sum(header[156:]):
        raise SourceRefused("this is not a tar archive, or it is damaged (header checksum)")


def _number(field: bytes) -> int:
    if field[:1] == b"\x80":  # GNU base-256
        return int.from_bytes(field[1:], "big")
    digits = field.strip(b" \0")
    if any(digit not in b"01234567" for digit in digits):
        raise SourceRefused("a number in a header of the tar is malformed")
    return int(digits or b"0", 8)


def _header_name(header: bytes) -> str:
    name = _text(header[:100])
    prefix = _text(header[345:500]) if header[257:263] == b"ustar\0" else ""
    return f"{prefix}/{name}" if prefix else name


def _text(field: bytes) -> str:
    # One terminating NUL belongs to the format; bytes behind it would be read differently by another reader.
    text, _, rest = field.partition(b"\0")
    if rest.strip(b"\0"):
        raise MemberRefused(_decoded(text), "the name holds a NUL")
    return _decoded(text)


def _decoded(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")


def _pieces(stream: ByteSource, size: int) -> Iterator[bytes]:
    while size:
        piece = stream.read(min(size, PIECE_BYTES))
        if not piece:
            raise SourceRefused("the archive ends in the middle of a file")
        size -= len(piece)
        yield piece


def _exactly(stream: ByteSource, size: int) -> bytes:
    return b"".join(_pieces(stream, size))
