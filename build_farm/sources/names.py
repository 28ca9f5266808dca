"""Which names a member of a source archive may have, and where its links may lead."""

import unicodedata
from pathlib import PurePosixPath

from build_farm.sources.errors import MemberRefused
from build_farm.sources.limits import ArchiveLimits

_LONGEST_COMPONENT = 255


def member_path(name: str, limits: ArchiveLimits) -> PurePosixPath | None:
    """The relative path that `name` stands for; None for the archive's own root (`.` or `./`).

    Raises:
        MemberRefused: the name could mean something else somewhere: to another file system, shell or compiler.
    """
    if len(name.encode("utf-8", "surrogateescape")) > limits.name_bytes:
        raise MemberRefused(name, f"the name is longer than {limits.name_bytes} bytes")
    _check_characters(name)
    if name.startswith("/"):
        raise MemberRefused(name, "the path is absolute")
    trimmed = name.removesuffix("/")
    while trimmed.startswith("./"):
        trimmed = trimmed.removeprefix("./")
    if trimmed in (".", ""):
        return None
    parts = trimmed.split("/")
    if len(parts) > limits.depth:
        raise MemberRefused(name, f"folders are nested deeper than {limits.depth}")
    for part in parts:
        _check_component(name, part)
    return PurePosixPath(*parts)


def _check_characters(name: str) -> None:
    for char in name:
        # Cs is a byte that was not UTF-8; Cf are invisible characters, the direction overrides among them.
        if unicodedata.category(char) in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"):
            raise MemberRefused(name, "the name holds a control or unprintable character")
    if "\\" in name:
        raise MemberRefused(name, "the name holds a backslash")
    if not name:
        raise MemberRefused(name, "the name is empty")


def _check_component(name: str, part: str) -> None:
    if part == "..":
        raise MemberRefused(name, "the path leaves the archive (..)")
    if part in ("", "."):
        raise MemberRefused(name, "the path has an empty or . component")
    if part.startswith("-"):
        raise MemberRefused(name, "a component begins with - and could be taken for a flag")
    if part.startswith("@"):
        raise MemberRefused(name, "a component begins with @ and could be taken for a list of arguments")
    if len(part.encode()) > _LONGEST_COMPONENT:
        raise MemberRefused(name, f"a component is longer than {_LONGEST_COMPONENT} bytes")


def collision_key(path: PurePosixPath) -> str:
    """Equal for two paths that some file system takes for one (case, Unicode form)."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", str(path)).casefold())


def check_link(path: PurePosixPath, target: str, limits: ArchiveLimits) -> None:
    """Refuse a symbolic link at `path` that leads, or could lead, out of the archive.

    `..` is allowed at the front only, where it climbs real folders (a member's parents are never links); further in
    it could climb from wherever another link points to.

    Raises:
        MemberRefused: it does, or its target is no proper path.
    """
    if target.startswith("/"):
        raise MemberRefused(str(path), "the link's target is absolute")
    parts = target.removesuffix("/").split("/")
    climbs = 0
    while parts and parts[0] == "..":
        parts.pop(0)
        climbs += 1
    if climbs > len(path.parts) - 1:
        raise MemberRefused(str(path), "the link leaves the archive")
    if ".." in parts:
        raise MemberRefused(str(path), "the link's target has .. in its middle")
    if parts:
        try:
            if member_path("/".join(parts), limits) is None:
                raise MemberRefused(str(path), "the link's target is empty or its own folder")
        except MemberRefused as exc:
            raise MemberRefused(str(path), f"the link's target: {exc.reason}") from exc
    elif climbs:
        raise MemberRefused(str(path), "the link points to one of its own parents")
