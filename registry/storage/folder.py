"""Artifacts in a folder: `sha256/ab/cd/<digest>`, written beside and renamed into place.

A file's digest is known to hold when all of it was hashed and neither inode, size, mtime nor ctime has changed since.
ctime is the one that a program cannot set back: whoever restores the mtime of an altered file advances it.
"""

import contextlib
import errno
import hashlib
import os
import re
import secrets
import stat
import threading
import time
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from registry.storage.interface import (
    CHUNK_BYTES,
    SENT_CHUNK_BYTES,
    FileDamaged,
    FileTooLarge,
    Stored,
    StoreUnavailable,
)

_DIGEST = re.compile(r"[0-9a-f]{64}")
_MAX_REMEMBERED = 10_000
# File times have the grain of the kernel's tick: two changes within one look like one.
_GRAIN_NANOSECONDS = 50_000_000

Identity = tuple[int, int, int, int, int]


class FolderStore:
    """The store in one folder; temporary files lie in `incoming/` on the same file system."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._verified: OrderedDict[str, Identity] = OrderedDict()
        self._lock = threading.Lock()
        self._hashing: dict[str, threading.Lock] = {}

    def put_stream(self, chunks: Iterable[bytes], *, max_bytes: int) -> Stored:
        """See `ArtifactStore.put_stream`. A file that is there already is replaced by its equal."""
        with _translated("take a file in"):
            incoming = self._root / "incoming"
            incoming.mkdir(parents=True, exist_ok=True)
            temporary = incoming / secrets.token_hex(16)
            try:
                with _create(temporary) as file:
                    stored = _copy(chunks, file, max_bytes)
                    file.flush()
                    os.fsync(file.fileno())
                self._move_in(temporary, self._path(stored.sha256))
            finally:
                temporary.unlink(missing_ok=True)
        return stored

    def exists(self, stored: Stored) -> bool:
        """See `ArtifactStore.exists`."""
        with _translated("look at a file"):
            try:
                found = self._path(stored.sha256).lstat()
            except FileNotFoundError:
                return False
            return stat.S_ISREG(found.st_mode) and found.st_size == stored.size

    def open(self, stored: Stored) -> "OpenFile":
        """See `ArtifactStore.open`: hashes all of it the first time, and whenever its identity has changed."""
        file = self._open(stored)
        try:
            identity = self._require_digest(stored, file)
        except BaseException:
            file.close()
            raise
        return OpenFile(file, identity, self._path(stored.sha256).relative_to(self._root))

    def digest_of(self, stored: Stored) -> str:
        """See `ArtifactStore.digest_of`."""
        with _translated("read a file"), self._open(stored) as file:
            return _hash(file)

    def delete(self, stored: Stored) -> None:
        """See `ArtifactStore.delete`."""
        with _translated("remove a file"):
            self._path(stored.sha256).unlink(missing_ok=True)

    def all_files(self) -> Iterator[tuple[Stored, datetime]]:
        """See `ArtifactStore.all_files`."""
        for path in (self._root / "sha256").glob("??/??/*"):
            if not _DIGEST.fullmatch(path.name):
                continue
            with contextlib.suppress(FileNotFoundError):
                found = path.lstat()
                yield Stored(path.name, found.st_size), datetime.fromtimestamp(found.st_mtime, UTC)

    def remove_leftovers(self, *, before: datetime) -> int:
        """See `ArtifactStore.remove_leftovers`."""
        removed = 0
        for path in (self._root / "incoming").glob("*"):
            with contextlib.suppress(FileNotFoundError):
                if path.lstat().st_mtime < before.timestamp():
                    path.unlink()
                    removed += 1
        return removed

    def _path(self, sha256: str) -> Path:
        if not _DIGEST.fullmatch(sha256):
            raise ValueError("a file is named by its SHA-256 in hex")
        return self._root / "sha256" / sha256[:2] / sha256[2:4] / sha256

    def _move_in(self, temporary: Path, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.replace(path)
        # A rename is durable when its directory is; new directories, when theirs are.
        for folder in (path.parent, path.parent.parent, path.parent.parent.parent, self._root):
            _sync_folder(folder)

    def _open(self, stored: Stored) -> IO[bytes]:
        try:
            descriptor = os.open(self._path(stored.sha256), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as exc:
            if exc.errno in (errno.ENOENT, errno.ELOOP, errno.ENOTDIR):
                raise FileDamaged("missing") from exc
            raise StoreUnavailable(note=f"cannot open a file: {errno.errorcode.get(exc.errno or 0)}") from exc
        return os.fdopen(descriptor, "rb", buffering=0)

    def _require_digest(self, stored: Stored, file: IO[bytes]) -> Identity:
        identity = _identity(file)
        if identity[2] != stored.size:
            raise FileDamaged("size")
        if self._is_verified(stored.sha256, identity):
            return identity
        with self._hashing_lock(stored.sha256):
            # Another request may have hashed it while this one waited.
            if self._is_verified(stored.sha256, identity):
                return identity
            is_old = _outwait_grain(identity[4])
            with _translated("read a file"):
                digest = _hash(file)
            if digest != stored.sha256 or _identity(file) != identity:
                raise FileDamaged("digest")
            if is_old:
                self._remember(stored.sha256, identity)
        return identity

    def _is_verified(self, sha256: str, identity: Identity) -> bool:
        with self._lock:
            return self._verified.get(sha256) == identity

    def _remember(self, sha256: str, identity: Identity) -> None:
        with self._lock:
            self._verified[sha256] = identity
            self._verified.move_to_end(sha256)
            while len(self._verified) > _MAX_REMEMBERED:
                self._verified.popitem(last=False)

    @contextlib.contextmanager
    def _hashing_lock(self, sha256: str) -> Iterator[None]:
        """One thread at a time reads a file through; the others wait for what it finds."""
        with self._lock:
            lock = self._hashing.setdefault(sha256, threading.Lock())
        with lock:
            try:
                yield
            finally:
                with self._lock:
                    self._hashing.pop(sha256, None)


class OpenFile:
    """An open file of the folder, watched while it is sent."""

    def __init__(self, file: IO[bytes], identity: Identity, local_path: Path) -> None:
        self._file = file
        self._identity = identity
        self.local_path: Path | None = local_path

    @property
    def size(self) -> int:
        """Bytes."""
        return self._identity[2]

    def chunks(self, start: int, length: int) -> Iterator[bytes]:
        """See `VerifiedFile.chunks`: looks before each piece whether the file is still the one that was hashed."""
        end = start + length
        while start < end:
            with _translated("read a file"):
                piece = os.pread(self._file.fileno(), min(SENT_CHUNK_BYTES, end - start), start)
            # After the read: what was changed before it shows in the times, what is changed later was not read.
            if not piece or _identity(self._file) != self._identity:
                raise FileDamaged("changed")
            start += len(piece)
            yield piece

    def link(self, *, filename: str, seconds: int) -> str | None:
        """A folder gives no links."""
        return None

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _identity(file: IO[bytes]) -> Identity:
    found = os.fstat(file.fileno())
    if not stat.S_ISREG(found.st_mode):
        raise FileDamaged("kind")
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _outwait_grain(changed_at: int) -> bool:
    """Let a file that was changed just now grow older than the grain; False if the clock does not say so even then."""
    wait = changed_at + _GRAIN_NANOSECONDS - time.time_ns()
    if wait > 0:
        time.sleep(min(wait, _GRAIN_NANOSECONDS) / 1e9)
    return time.time_ns() >= changed_at + _GRAIN_NANOSECONDS


def _create(path: Path) -> IO[bytes]:
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o440), "wb")


def _copy(chunks: Iterable[bytes], file: IO[bytes], max_bytes: int) -> Stored:
    hasher, size = hashlib.sha256(), 0
    for chunk in chunks:
        size += len(chunk)
        if size > max_bytes:
            raise FileTooLarge(f"A file may have at most {max_bytes} bytes.")
        hasher.update(chunk)
        file.write(chunk)
    return Stored(hasher.hexdigest(), size)


def _hash(file: IO[bytes]) -> str:
    hasher, position = hashlib.sha256(), 0
    while piece := os.pread(file.fileno(), 4 * CHUNK_BYTES, position):
        hasher.update(piece)
        position += len(piece)
    return hasher.hexdigest()


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _translated(doing: str) -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        raise StoreUnavailable(note=f"cannot {doing}: {errno.errorcode.get(exc.errno or 0)}") from exc
