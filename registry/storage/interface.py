"""What every artifact store does."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from licensing.core.errors import BodyTooLarge, ServiceUnavailable

CHUNK_BYTES = 256 * 1024
# What is sent is queued by the server for each slow reader, some pieces deep: smaller ones take less memory.
SENT_CHUNK_BYTES = 64 * 1024


class StoreUnavailable(ServiceUnavailable):
    """The store cannot be asked, or cannot take a file now (a full disk, an outage)."""


class FileTooLarge(BodyTooLarge):
    """A file is over the limit."""


class FileDamaged(Exception):
    """The store has other bytes than those it was given, or none. `reason` is a word for logs and events."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"stored file refused: {reason}")
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Stored:
    """A file in the store: hex SHA-256, size in bytes, and the version id that the store gave it ("" if none)."""

    sha256: str
    size: int
    object_version: str = ""


class VerifiedFile(Protocol):
    """An open file whose digest is known to hold."""

    @property
    def size(self) -> int:
        """Bytes."""

    @property
    def local_path(self) -> Path | None:
        """Where it lies below the store's folder, for a proxy on this machine that sends it; None if nowhere."""

    def chunks(self, start: int, length: int) -> Iterator[bytes]:
        """Yield `length` bytes from `start` in pieces.

        Raises:
            FileDamaged: it was changed meanwhile; what follows is not sent.
            StoreUnavailable: the store went away.
        """

    def link(self, *, filename: str, seconds: int) -> str | None:
        """A link to fetch it with, straight from the store, for so long; None where the store gives no links."""

    def close(self) -> None:
        """Let go of it."""


class ArtifactStore(Protocol):
    """Files by digest. Every method may raise `StoreUnavailable`."""

    def put_stream(self, chunks: Iterable[bytes], *, max_bytes: int) -> Stored:
        """Take a file in: hashed on its way, in place whole or not at all, durable when this returns.

        Raises:
            FileTooLarge: it has more than `max_bytes`.
        """

    def exists(self, stored: Stored) -> bool:
        """Whether a file of that digest and size is in place. Its bytes are not read."""

    def open(self, stored: Stored) -> VerifiedFile:
        """Open a file once its digest is known to hold. Raises `FileDamaged`."""

    def digest_of(self, stored: Stored) -> str:
        """Read all of a file and return its hex SHA-256, believing nothing. Raises `FileDamaged` if it is missing."""

    def delete(self, stored: Stored) -> None:
        """Remove a file; one that is not there is no error."""

    def all_files(self) -> Iterator[tuple[Stored, datetime]]:
        """Yield every file in place, with the instant it was put there. The digest is its name, not verified."""

    def remove_leftovers(self, *, before: datetime) -> int:
        """Remove what uploads that died before that instant have left behind; return how many."""
