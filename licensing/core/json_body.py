"""Reading a JSON request body strictly: what we accept is what every parser would read the same way.

Refused, each with the field it concerns: a wrong content type, a body without a length, over the limit, not UTF-8,
not JSON (RFC 8259), duplicate members (RFC 8259 §4 leaves them undefined), NaN and infinities, numbers beyond 64
bits, NUL characters (PostgreSQL has no such text), lone surrogates (not UTF-8), and deep nesting.
"""

import json
import re
from typing import Any, NoReturn, TypeVar

import msgspec
from django.http import HttpRequest, RawPostDataException

from licensing.core.errors import BadRequest, BodyTooLarge, LengthRequired, UnsupportedMediaType
from licensing.core.structures import ready

MAX_BODY_BYTES = 64 * 1024
MAX_DEPTH = 16
_LARGEST_INTEGER = 2**63 - 1
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_CHARSET = re.compile(r'charset\s*=\s*"?([^";\s]+)', re.IGNORECASE)

Shape = TypeVar("Shape")


def declared_length(request: HttpRequest, *, max_bytes: int = MAX_BODY_BYTES) -> int:
    """How long the body is, by its headers; nothing of it is read.

    WSGI servers hand over a chunked body as an empty one, which would be misread as "no body": it gets 411.

    Raises:
        LengthRequired, BodyTooLarge, BadRequest
    """
    if request.META.get("HTTP_TRANSFER_ENCODING"):
        raise LengthRequired("Chunked bodies are not read here; send a Content-Length.")
    length = request.META.get("CONTENT_LENGTH") or "0"
    if not (length.isascii() and length.isdigit()):
        raise BadRequest("Content-Length must be a number.", field="Content-Length")
    if len(length) > 12 or int(length) > max_bytes:
        raise BodyTooLarge(f"The body may have at most {max_bytes} bytes.")
    return int(length)


def read_body(request: HttpRequest, *, max_bytes: int = MAX_BODY_BYTES) -> bytes:
    """Return the raw body of at most `max_bytes` bytes.

    Raises:
        LengthRequired, BodyTooLarge, BadRequest
    """
    length = declared_length(request, max_bytes=max_bytes)
    try:
        body = request.body
    except (RawPostDataException, OSError) as exc:
        raise BadRequest("The body could not be read to its end.") from exc
    if len(body) != length:
        raise BadRequest("The body is shorter than its Content-Length says.", field="Content-Length")
    return body


def read_object(request: HttpRequest, *, max_bytes: int = MAX_BODY_BYTES, allow_empty: bool = False) -> dict[str, Any]:
    """Return the JSON object in the request's body; `allow_empty` reads no body as `{}`.

    Raises:
        UnsupportedMediaType, LengthRequired, BodyTooLarge, BadRequest
    """
    body = read_body(request, max_bytes=max_bytes)
    if not body and allow_empty:
        return {}
    _require_json(request.META.get("CONTENT_TYPE", ""))
    return parse_object(body)


def parse_object(body: bytes) -> dict[str, Any]:
    """Parse one JSON object strictly (see the module's docstring).

    Raises:
        BadRequest: with the field where one is to blame.
    """
    plain = _parse_plain(body)
    if plain is not None:
        return plain
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as exc:
        raise BadRequest("The body must be UTF-8.") from exc
    try:
        value = _decode(text)
    except BadRequest:
        raise
    except RecursionError as exc:
        raise BadRequest(f"The body may nest at most {MAX_DEPTH} deep.") from exc
    except ValueError as exc:  # includes an integer of more digits than Python will read
        raise BadRequest("The body is not valid JSON.") from exc
    if not isinstance(value, dict):
        raise BadRequest("The body must be a JSON object.")
    _check_values(value, "", MAX_DEPTH)
    # Written out, a NUL character is no JSON, and a surrogate no UTF-8: it takes an escape to say either.
    if "\\u" in text:
        _check_texts(value, "")
    return value


def _parse_plain(body: bytes) -> dict[str, Any] | None:
    """Parse the object that nearly every request has: of texts, and of objects of texts. None: look at it strictly.

    Of such an object without escapes every quotation mark begins or ends a text, so that there are too many of them
    where a member appears twice. Whatever is not accepted here is looked at again, by what knows why it is refused.
    """
    if b"\\" in body:
        return None
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, ValueError, RecursionError):
        return None
    if type(value) is not dict:
        return None
    texts = len(value)
    for item in value.values():
        if type(item) is str:
            texts += 1
        elif type(item) is dict and all(type(inner) is str for inner in item.values()):
            texts += 2 * len(item)
        elif item is not None:
            return None
    return value if body.count(b'"') == 2 * texts else None


def read_shape(value: dict[str, Any], shape: type[Shape]) -> Shape:
    """Convert a parsed object to a msgspec structure, strictly typed; unknown members are ignored.

    Raises:
        BadRequest: naming the field, such as `installation.fingerprint`.
    """
    try:
        return msgspec.convert(value, ready(shape), strict=True)
    except msgspec.ValidationError as exc:
        message, _, path = str(exc).partition(" - at `$")
        # The names of a mapping's members are the caller's own; the error does not say which it was.
        field = path.rstrip("`").replace("[...]", "").lstrip(".")
        missing = re.search(r"missing required field `([^`]+)`", message)
        if missing:
            field = f"{field}.{missing[1]}".lstrip(".")
            message = "This field is required"
        raise BadRequest(f"{field or 'body'}: {message}.", field=field or None) from exc


def whole(pattern: str) -> str:
    """A regular expression for a msgspec constraint that the whole text must match.

    In Python's `re` a bare `$` lets a line break follow; other dialects (JSON Schema's) read this alike.
    """
    return rf"^(?:{pattern})(?!\n)$"


def _require_json(content_type: str) -> None:
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise UnsupportedMediaType("Send the body as application/json.", field="Content-Type")
    charset = _CHARSET.search(content_type)
    if charset and charset[1].lower() not in ("utf-8", "utf8"):
        raise UnsupportedMediaType("JSON is UTF-8; no other charset is read.", field="Content-Type")


def _object_without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                shown = name.encode("utf-8", "replace").decode()[:64]
                raise BadRequest(f"The member {shown!r} appears twice.", field=shown)
            seen.add(name)
    return members


def _refuse_constant(name: str) -> NoReturn:
    raise BadRequest(f"{name} is not JSON.")


def _finite(text: str) -> float:
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise BadRequest("A number is too large.")
    return number


def _check_values(value: object, path: str, depth: int) -> None:
    if isinstance(value, int) and not isinstance(value, bool):
        if abs(value) > _LARGEST_INTEGER:
            raise BadRequest(f"{path}: the number is too large.", field=path)
    elif isinstance(value, dict | list):
        if depth == 0:
            raise BadRequest(f"The body may nest at most {MAX_DEPTH} deep.", field=path.split(".")[0])
        _check_members(value, path, depth)


def _check_members(value: dict[str, Any] | list[Any], path: str, depth: int) -> None:
    if isinstance(value, list):
        for index, item in enumerate(value):
            _check_values(item, f"{path}[{index}]", depth - 1)
        return
    for name, item in value.items():
        if not isinstance(item, str):
            _check_values(item, f"{path}.{name}" if path else name, depth - 1)


def _check_texts(value: object, path: str) -> None:
    """Refuse texts that cannot be stored or sent, in a value whose depth has been checked."""
    if isinstance(value, str):
        _check_text(value, path)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            _check_texts(item, f"{path}[{index}]")
    elif isinstance(value, dict):
        for name, item in value.items():
            _check_text(name, path or "body")
            _check_texts(item, f"{path}.{name}" if path else name)


def _check_text(text: str, path: str) -> None:
    if _UNSTORABLE.search(text):
        raise BadRequest(f"{path}: NUL characters and lone surrogates are not text.", field=path)


_decode = json.JSONDecoder(
    object_pairs_hook=_object_without_duplicates, parse_constant=_refuse_constant, parse_float=_finite
).decode
