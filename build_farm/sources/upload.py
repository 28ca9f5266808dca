"""Receives an upload of unknown length into a file, hashed and bounded on the way."""

import hashlib
import os
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from build_farm.sources.errors import SourceRefused


@dataclass(frozen=True)
class StoredUpload:
    """A received file: where it is, the hex SHA-256 of its bytes, and how many they are."""

    path: Path
    sha256: str
    size_bytes: int


def store_upload(chunks: Iterable[bytes], *, folder: Path, limit_bytes: int) -> StoredUpload:
    """Write `chunks` to a new file in `folder` (mode 0600, synced); on any error nothing is left there.

    Raises:
        SourceRefused: there is nothing in it, or more than `limit_bytes`.
    """
    descriptor, name = tempfile.mkstemp(dir=folder, prefix="upload-")
    path = Path(name)
    digest, size = hashlib.sha256(), 0
    try:
        with os.fdopen(descriptor, "wb") as stream:
            for chunk in chunks:
                size += len(chunk)
                if size > limit_bytes:
                    raise SourceRefused(f"the archive is larger than {limit_bytes} bytes")
                digest.update(chunk)
                stream.write(chunk)
            stream.flush()
            os.fsync(stream.fileno())
        if not size:
            raise SourceRefused("the archive is empty")
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return StoredUpload(path=path, sha256=digest.hexdigest(), size_bytes=size)
