"""Receiving a source archive: streamed, bounded, and whole or not at all."""

from collections.abc import Iterator
from typing import Final

from django.conf import settings
from django.http import HttpRequest
from django.http.request import UnreadablePostError

from licensing.core.errors import BadRequest, BodyTooLarge, LengthRequired
from registry.storage.interface import CHUNK_BYTES

ARCHIVE_TYPES: Final = (
    "application/gzip",
    "application/x-gzip",
    "application/x-tar",
    "application/zip",
    "application/octet-stream",
)


def is_archive(request: HttpRequest) -> bool:
    """Whether the body is said to be an archive."""
    return request.META.get("CONTENT_TYPE", "").partition(";")[0].strip().lower() in ARCHIVE_TYPES


def received_source(request: HttpRequest) -> Iterator[bytes]:
    """Yield the body in pieces.

    Raises:
        LengthRequired, BodyTooLarge: before anything is read.
        BadRequest: the caller vanished half-way; nothing is kept.
    """
    length = request.META.get("CONTENT_LENGTH") or ""
    if request.META.get("HTTP_TRANSFER_ENCODING") or not (length.isascii() and length.isdigit()):
        raise LengthRequired("Send a Content-Length.")
    if len(length) > 15 or int(length) > settings.SOURCE_MAX_BYTES:
        raise BodyTooLarge(f"A source archive may have at most {settings.SOURCE_MAX_BYTES} bytes.")
    return _chunks(request, int(length))


def _chunks(request: HttpRequest, length: int) -> Iterator[bytes]:
    received = 0
    try:
        while received < length and (chunk := request.read(min(CHUNK_BYTES, length - received))):
            received += len(chunk)
            yield chunk
    except UnreadablePostError as exc:
        raise BadRequest("The body could not be read to its end.") from exc
    if received != length:
        raise BadRequest("The body is shorter than its Content-Length says.", field="Content-Length")
