"""How large a source may be."""

from dataclasses import dataclass

MIB = 1024 * 1024


@dataclass(frozen=True)
class ArchiveLimits:
    """Bounds of one archive, in bytes and members. All are counted while reading, whatever headers claim."""

    archive_bytes: int = 64 * MIB
    total_bytes: int = 512 * MIB
    file_bytes: int = 64 * MIB
    members: int = 20_000
    name_bytes: int = 1024
    depth: int = 32
