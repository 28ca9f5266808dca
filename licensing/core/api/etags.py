"""Entity tags and preconditions (RFC 9110, 8.8.3 and 13.1): no update is lost between a read and a write."""

import base64
import hashlib
import re

import msgspec
from django.http import HttpRequest

from licensing.core.errors import BadRequest, PreconditionFailed

_TAGS = re.compile(r'\s*(?:W/)?"[\x21\x23-\x7e]*"\s*(?:,\s*(?:W/)?"[\x21\x23-\x7e]*"\s*)*')
_TAG = re.compile(r'(?:W/)?"[\x21\x23-\x7e]*"')


def entity_tag(shown: msgspec.Struct) -> str:
    """A strong entity tag: equal for equal representations, and for no others."""
    digest = hashlib.sha256(msgspec.json.encode(shown, order="deterministic")).digest()
    return f'"{base64.urlsafe_b64encode(digest[:18]).decode("ascii")}"'


def check_if_match(request: HttpRequest, shown: msgspec.Struct | None) -> None:
    """Hold `If-Match` and `If-None-Match: *` of a write against the present state, whose row is locked.

    `shown` is the present representation, or None where nothing is there yet. Weak tags never match here.

    Raises:
        PreconditionFailed: the caller has another state in mind.
        BadRequest: the header cannot be read.
    """
    wanted = request.META.get("HTTP_IF_MATCH")
    if wanted is not None and not _names(wanted, shown, "If-Match", weak=False):
        raise PreconditionFailed()
    unwanted = request.META.get("HTTP_IF_NONE_MATCH")
    if unwanted is not None and _names(unwanted, shown, "If-None-Match", weak=True):
        raise PreconditionFailed("It exists already.")


def is_known_to_client(request: HttpRequest, tag: str) -> bool:
    """Whether a read's `If-None-Match` names `tag`: the answer is then 304."""
    header = request.META.get("HTTP_IF_NONE_MATCH", "")
    return header.strip() == "*" or tag in (found.removeprefix("W/") for found in _TAG.findall(header))


def _names(header: str, shown: msgspec.Struct | None, name: str, *, weak: bool) -> bool:
    if header.strip() == "*":
        return shown is not None
    if not _TAGS.fullmatch(header):
        raise BadRequest(f"{name}: a list of entity tags in double quotes, or *.", field=name)
    if shown is None:
        return False
    tags = _TAG.findall(header)
    return entity_tag(shown) in ([tag.removeprefix("W/") for tag in tags] if weak else tags)
