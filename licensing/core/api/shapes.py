"""Typed shapes of requests and answers, and the strict reading of the former.

A shape is a msgspec structure. The same declaration reads a request, writes an answer and makes the JSON Schema, so
that what is documented is what is accepted. Members that a shape does not have are refused by name: on these APIs they
are typing errors.
"""

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, TypeVar, get_args, get_origin

import msgspec
from django.http import HttpRequest, QueryDict

from licensing.core.errors import BadRequest
from licensing.core.json_body import MAX_BODY_BYTES, read_object
from licensing.core.structures import ready

Instant = Annotated[
    datetime,
    msgspec.Meta(
        tz=True,
        description="RFC 3339 with an offset, such as `2026-01-31T00:00:00Z`; years 2000 to 2199.",
        extra_json_schema={"examples": ["2026-01-31T00:00:00Z"], "pattern": "^2[01][0-9]{2}-"},
    ),
]
MAX_ERRORS = 50
_EARLIEST, _LATEST = datetime(2000, 1, 1, tzinfo=UTC), datetime(2199, 12, 31, 23, 59, 59, tzinfo=UTC)
_PATH = re.compile(r" - at `(?P<path>[^`]*)`\Z")
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")

Shape = TypeVar("Shape", bound=msgspec.Struct)


class Asked(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Base of request bodies."""


class Shown(msgspec.Struct, kw_only=True):
    """Base of answers."""


class ListQuery(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Base of list endpoints' query parameters."""

    limit: Annotated[int, msgspec.Meta(ge=1, le=200, description="How many at most.")] = 50
    cursor: Annotated[str, msgspec.Meta(max_length=1024, description="From `next` of the page before.")] = ""


class FieldError(msgspec.Struct, frozen=True):
    """What is wrong with one field."""

    field: str
    detail: str


def invalid_shape(errors: list[FieldError]) -> BadRequest:
    """The error that lists what is wrong, field by field."""
    first = errors[0]
    listed = [{"field": error.field, "detail": error.detail} for error in errors[:MAX_ERRORS]]
    return BadRequest(f"{first.field}: {first.detail}", field=first.field, extra={"errors": listed})


def read_asked(
    request: HttpRequest, shape: type[Shape], *, max_bytes: int = MAX_BODY_BYTES, allow_empty: bool = False
) -> tuple[Shape, dict[str, Any]]:
    """Read the request's body as `shape`; also return the parsed object as sent.

    Raises:
        BadRequest: with `errors`, one for each field that is wrong; and what `read_object` raises.
    """
    value = read_object(request, max_bytes=max_bytes, allow_empty=allow_empty)
    return convert(value, shape), value


def read_query(query: QueryDict, shape: type[Shape]) -> Shape:
    """Read query parameters as `shape`. Raises `BadRequest` for unknown, repeated or unreadable ones."""
    repeated = [name for name, values in query.lists() if len(values) > 1]
    errors = [FieldError(_plain(name), "This parameter may be given once.") for name in repeated]
    errors += [
        FieldError(_plain(name), "NUL characters and lone surrogates are not text.")
        for name, value in query.items()
        if _UNSTORABLE.search(name) or _UNSTORABLE.search(str(value))
    ]
    if errors:
        raise invalid_shape(errors)
    return convert(dict(query.items()), shape, strict=False)


def convert(value: Mapping[str, Any], shape: type[Shape], *, strict: bool = True) -> Shape:
    """Turn parsed members into `shape`, instants in UTC. Raises `BadRequest` with every field that is wrong."""
    errors = list(member_errors(value, ready(shape), strict=strict))
    if errors:
        raise invalid_shape(errors)
    asked: Shape = _in_utc(msgspec.convert(value, shape, strict=strict))
    return asked


def member_errors(
    value: Mapping[str, Any], shape: type[msgspec.Struct], *, strict: bool = True, prefix: str = ""
) -> Iterator[FieldError]:
    """Yield what is wrong with each member, in the shape's order; unknown members last."""
    fields = {field.encode_name: field for field in msgspec.structs.fields(shape)}
    for name, field in fields.items():
        if name in value:
            yield from _value_errors(value[name], field.type, strict=strict, path=f"{prefix}{name}")
        elif field.required:
            yield FieldError(f"{prefix}{name}", "This field is required.")
    for name in value:
        if name not in fields:
            yield FieldError(f"{prefix}{_plain(name)}"[:128], "There is no such field here.")


def _value_errors(value: Any, kind: Any, *, strict: bool, path: str) -> Iterator[FieldError]:
    item_shape = _list_of(kind)
    if item_shape is not None and isinstance(value, list) and all(isinstance(item, dict) for item in value):
        found = False
        for index, item in enumerate(value):
            for error in member_errors(item, item_shape, strict=strict, prefix=f"{path}[{index}]."):
                found = True
                yield error
        if found:
            return
    try:
        converted = msgspec.convert(value, kind, strict=strict)
    except (msgspec.ValidationError, OverflowError) as exc:
        yield _field_error(exc, path)
        return
    if isinstance(converted, datetime) and not _is_storable(converted):
        yield FieldError(path, "The year must be from 2000 to 2199.")


def _field_error(exc: Exception, path: str) -> FieldError:
    text = str(exc)
    inner = _PATH.search(text)
    if inner:
        text = text[: inner.start()]
        path += inner["path"].removeprefix("$")
    return FieldError(path, f"{text[:200]}.")


def _list_of(kind: Any) -> type[msgspec.Struct] | None:
    """The structure that a list type holds, as `list[Item]` or annotated so."""
    if get_origin(kind) is Annotated:
        kind = get_args(kind)[0]
    if get_origin(kind) is not list:
        return None
    (item,) = get_args(kind)
    return item if isinstance(item, type) and issubclass(item, msgspec.Struct) else None


def _is_storable(instant: datetime) -> bool:
    try:
        return _EARLIEST <= instant.astimezone(UTC) <= _LATEST
    except OverflowError:
        return False


def _in_utc(value: Any) -> Any:
    """Bring every instant of a shape, and of shapes in its lists, to UTC: answers are written with `Z`."""
    changed: dict[str, Any] = {}
    for name in value.__struct_fields__:
        member = getattr(value, name)
        if isinstance(member, datetime):
            changed[name] = member.astimezone(UTC)
        elif isinstance(member, list) and member and isinstance(member[0], msgspec.Struct):
            changed[name] = [_in_utc(item) for item in member]
    return msgspec.structs.replace(value, **changed) if changed else value


def given(asked: msgspec.Struct) -> dict[str, Any]:
    """The members that a partial update names; what was left out is UNSET."""
    members = ((name, getattr(asked, name)) for name in asked.__struct_fields__)
    return {name: value for name, value in members if value is not msgspec.UNSET}


def _plain(name: str) -> str:
    """A member's name as it can be shown: bounded, and valid UTF-8."""
    return name.encode("utf-8", "replace").decode()[:64].replace("\x00", "?")
