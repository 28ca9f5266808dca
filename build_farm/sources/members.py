"""What both archive readers give: one member after the other, its bytes read only in bounded pieces."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

PIECE_BYTES = 64 * 1024


class Kind(Enum):
    """What a member is. Everything else an archive can hold is refused by its reader."""

    FILE = "file"
    FOLDER = "folder"
    LINK = "link"


@dataclass(frozen=True)
class Member:
    """One member as the archive states it. `unverified_name` and `link_target` are yet to be checked.

    `pieces` must be read to its end before the next member is asked for; empty unless it is a file.
    """

    unverified_name: str
    kind: Kind
    link_target: str
    pieces: Iterator[bytes]
