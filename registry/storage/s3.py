"""Artifacts in S3, or any store that speaks its protocol.

A file is spooled to local disk while it is hashed, then written by one PutObject that states its SHA-256: the store
refuses other bytes, and keeps the checksum beside the object. What is checked before anything is handed out is that
checksum, the size and, where the bucket keeps versions, that it is the very version that was written. An object that
was overwritten has another version and another checksum, or none. Whoever is sent all of an object is sent its end only
when the bytes that came were held against the checksum too.
"""

import base64
import contextlib
import hashlib
import re
import tempfile
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import IO, Any

from botocore.exceptions import BotoCoreError, ClientError, FlexibleChecksumError
from storages.backends.s3 import S3Storage

from registry.storage.interface import SENT_CHUNK_BYTES, FileDamaged, FileTooLarge, Stored, StoreUnavailable

MAX_OBJECT_BYTES = 5 * 1024**3
_PREFIX = "sha256/"
_DIGEST = re.compile(r"[0-9a-f]{64}")
_MISSING = frozenset({"NoSuchKey", "NoSuchVersion", "404", "NotFound", "MethodNotAllowed", "405"})
_CHANGED = frozenset({"PreconditionFailed", "412"})


class S3Store:
    """The store in one bucket, reached through django-storages' connection."""

    def __init__(self, storage: S3Storage, *, spool: Path | None = None) -> None:
        self._bucket = str(storage.bucket_name)
        # One client for all threads, which it is safe for: django-storages would make one for each, and each holds
        # megabytes of API description.
        self._client: Any = storage.connection.meta.client
        self._spool = spool

    def put_stream(self, chunks: Iterable[bytes], *, max_bytes: int) -> Stored:
        """See `ArtifactStore.put_stream`."""
        try:
            with tempfile.TemporaryFile(dir=self._spool) as file:
                hasher, size = hashlib.sha256(), 0
                for chunk in chunks:
                    size += len(chunk)
                    if size > min(max_bytes, MAX_OBJECT_BYTES):
                        raise FileTooLarge(f"A file may have at most {min(max_bytes, MAX_OBJECT_BYTES)} bytes.")
                    hasher.update(chunk)
                    file.write(chunk)
                file.seek(0)
                return self._put(file, hasher.hexdigest(), size)
        except OSError as exc:
            raise StoreUnavailable(note=f"cannot spool an upload: {type(exc).__name__}") from exc

    def exists(self, stored: Stored) -> bool:
        """See `ArtifactStore.exists`."""
        try:
            return int(self._head(stored)["ContentLength"]) == stored.size
        except FileDamaged:
            return False

    def open(self, stored: Stored) -> "S3File":
        """See `ArtifactStore.open`."""
        head = self._head(stored)
        if head["ContentLength"] != stored.size:
            raise FileDamaged("size")
        if head.get("ChecksumSHA256") != _checksum(stored.sha256):
            raise FileDamaged("digest")
        return S3File(self, stored, head["ETag"])

    def digest_of(self, stored: Stored) -> str:
        """See `ArtifactStore.digest_of`."""
        hasher = hashlib.sha256()
        for piece in self.stream(stored):
            hasher.update(piece)
        return hasher.hexdigest()

    def delete(self, stored: Stored) -> None:
        """See `ArtifactStore.delete`: every version of it, or a bucket that keeps versions would keep them for ever."""
        key = self._named(stored)["Key"]
        with _translated(missing_is_damage=False):
            pages = self._client.get_paginator("list_object_versions").paginate(Bucket=self._bucket, Prefix=key)
            for page in pages:
                for entry in (*page.get("Versions", ()), *page.get("DeleteMarkers", ())):
                    self._client.delete_object(Bucket=self._bucket, Key=key, VersionId=entry["VersionId"])

    def all_files(self) -> Iterator[tuple[Stored, datetime]]:
        """See `ArtifactStore.all_files`."""
        with _translated():
            pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=_PREFIX)
            for page in pages:
                for entry in page.get("Contents", ()):
                    sha256 = entry["Key"].removeprefix(_PREFIX)
                    if _DIGEST.fullmatch(sha256):
                        yield Stored(sha256, entry["Size"]), entry["LastModified"]

    def remove_leftovers(self, *, before: datetime) -> int:
        """Nothing is ever written to the bucket but whole files."""
        return 0

    def stream(self, stored: Stored, **conditions: Any) -> Iterator[bytes]:
        """Yield an object's bytes; `conditions` are GetObject's own parameters (Range, IfMatch).

        Of a whole object the last piece comes when all of it has been held against the checksum: boto does that once
        it has read the end.
        """
        with _translated():
            answer = self._client.get_object(**self._named(stored), **conditions)
            with contextlib.closing(answer["Body"]) as body:
                held = b""
                for piece in body.iter_chunks(SENT_CHUNK_BYTES):
                    if held:
                        yield held
                    held = piece
                yield held

    def link(self, stored: Stored, *, filename: str, seconds: int) -> str:
        """A presigned link to these very bytes."""
        parameters = self._named(stored) | {
            "ResponseContentDisposition": f'attachment; filename="{filename}"',
            "ResponseContentType": "application/octet-stream",
        }
        return str(self._client.generate_presigned_url("get_object", Params=parameters, ExpiresIn=seconds))

    def _put(self, file: IO[bytes], sha256: str, size: int) -> Stored:
        with _translated():
            answer = self._client.put_object(
                Bucket=self._bucket,
                Key=f"{_PREFIX}{sha256}",
                Body=file,
                ContentLength=size,
                ContentType="application/octet-stream",
                ChecksumAlgorithm="SHA256",
                ChecksumSHA256=_checksum(sha256),
            )
        stored = Stored(sha256, size, answer.get("VersionId") or "")
        if self._head(stored).get("ChecksumSHA256") != _checksum(sha256):
            raise StoreUnavailable(note="the object store keeps no SHA-256 checksums; artifacts need one that does")
        return stored

    def _head(self, stored: Stored) -> dict[str, Any]:
        with _translated():
            found: dict[str, Any] = self._client.head_object(**self._named(stored), ChecksumMode="ENABLED")
        return found

    def _named(self, stored: Stored) -> dict[str, str]:
        if not _DIGEST.fullmatch(stored.sha256):
            raise ValueError("a file is named by its SHA-256 in hex")
        named = {"Bucket": self._bucket, "Key": f"{_PREFIX}{stored.sha256}"}
        return named | {"VersionId": stored.object_version} if stored.object_version else named


class S3File:
    """An object whose checksum was just seen to be its digest."""

    local_path: Path | None = None

    def __init__(self, store: S3Store, stored: Stored, tag: str) -> None:
        self._store = store
        self._stored = stored
        self._tag = tag

    @property
    def size(self) -> int:
        """Bytes."""
        return self._stored.size

    def chunks(self, start: int, length: int) -> Iterator[bytes]:
        """See `VerifiedFile.chunks`: the store itself refuses if the object is no longer the one looked at."""
        if length == 0:
            return iter(())
        if length == self.size:
            return self._store.stream(self._stored, IfMatch=self._tag)
        return self._store.stream(self._stored, Range=f"bytes={start}-{start + length - 1}", IfMatch=self._tag)

    def link(self, *, filename: str, seconds: int) -> str | None:
        """A presigned link."""
        return self._store.link(self._stored, filename=filename, seconds=seconds)

    def close(self) -> None:
        """Nothing is held."""


def _checksum(sha256: str) -> str:
    return base64.b64encode(bytes.fromhex(sha256)).decode("ascii")


@contextlib.contextmanager
def _translated(*, missing_is_damage: bool = True) -> Iterator[None]:
    try:
        yield
    except ClientError as exc:
        code = str(exc.response.get("Error", {}).get("Code", ""))
        if code in _MISSING and missing_is_damage:
            raise FileDamaged("missing") from exc
        if code in _CHANGED:
            raise FileDamaged("changed") from exc
        if code not in _MISSING:
            raise StoreUnavailable(note=f"object store: {code}") from exc
    except FlexibleChecksumError as exc:
        raise FileDamaged("digest") from exc
    except BotoCoreError as exc:
        raise StoreUnavailable(note=f"object store: {type(exc).__name__}") from exc
