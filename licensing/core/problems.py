"""Problem documents (RFC 9457): the one place where errors become HTTP answers."""

from collections.abc import Mapping, ValuesView
from http import HTTPStatus
from http.cookies import SimpleCookie
from types import MappingProxyType
from typing import Any

import msgspec
import structlog
from django.core.exceptions import DisallowedHost, PermissionDenied, RequestDataTooBig, SuspiciousOperation
from django.db import InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import ResponseHeaders
from django.utils.functional import cached_property

from licensing.core import errors
from licensing.core.request_id import request_id

log = structlog.get_logger(__name__)

PROBLEM_CONTENT_TYPE = "application/problem+json"
DOCUMENTATION_ROOT = "/docs/errors/"
PLUGIN_API_PREFIX = "/api/plugins/"
_NO_HEADERS: Mapping[str, str] = MappingProxyType({})


class QuickHeaders(ResponseHeaders):
    """Headers of an answer; what is plain printable ASCII needs none of the parent's conversions."""

    def __init__(self, headers: Mapping[str, tuple[str, str]]) -> None:
        # By their names in small letters: their names, and their values. As the parent keeps them.
        self._store: dict[str, tuple[str, str]] = dict(headers)

    def __setitem__(self, name: str, value: str | bytes | int) -> None:
        if isinstance(value, str) and value.isascii() and value.isprintable() and name.isascii() and name.isprintable():
            self._store[name.lower()] = (name, value)
        else:
            super().__setitem__(name, value)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name.lower() in self._store

    def items(self) -> ValuesView[tuple[str, str]]:  # type: ignore[override]  # as good to go through
        """Names, as they were spelled, and values."""
        return self._store.values()


class CodedResponse(HttpResponse):
    """A response that knows the code it answers with, for the metrics."""

    code: str = ""

    def __init__(self, content: bytes, *, status: int, content_type: str, headers: Mapping[str, str]) -> None:
        # Not the parents', which look at everything that may be handed in: a tenth of what a validate takes.
        self.status_code = status
        # A server that is not told the length sends chunks.
        self.headers = QuickHeaders(
            {
                "content-type": ("Content-Type", content_type),
                "content-length": ("Content-Length", str(len(content))),
                "cache-control": ("Cache-Control", "no-store"),
            }
        )
        for name, value in headers.items():
            self.headers[name] = value
        self._container = [content]
        self._charset = self._reason_phrase = None
        self._resource_closers: list[Any] = []
        self._handler_class = None
        self.closed = False

    @cached_property
    def cookies(self) -> SimpleCookie:  # type: ignore[override]  # made when asked for: answers to programs set none
        """What `set_cookie` sets."""
        return SimpleCookie()


def json_response(
    body: Mapping[str, Any],
    *,
    status: int = 200,
    content_type: str = "application/json",
    headers: Mapping[str, str] = _NO_HEADERS,
) -> HttpResponse:
    """Answer `body` as JSON that no cache may keep, unless `headers` say otherwise."""
    response = CodedResponse(msgspec.json.encode(body), status=status, content_type=content_type, headers=headers)
    response.code = str(body.get("code", ""))
    return response


def problem_response(
    request: HttpRequest,
    *,
    status: int,
    code: str,
    detail: str,
    title: str = "",
    headers: Mapping[str, str] = _NO_HEADERS,
    extra: Mapping[str, object] | None = None,
) -> HttpResponse:
    """Answer a problem document: type, title, status, detail, code, request_id, and `extra` members.

    The plugin API's clients look at `success` first (seed: plugin-authentication.md), so theirs has it too.
    """
    body: dict[str, Any] = {
        "type": f"{DOCUMENTATION_ROOT}{code}",
        "title": title or HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "code": code,
        "request_id": request_id(),
        **(extra or {}),
    }
    if request.path.startswith(PLUGIN_API_PREFIX):
        body = {"success": False, **body}
    return json_response(body, status=status, content_type=PROBLEM_CONTENT_TYPE, headers=headers)


def error_response(request: HttpRequest, error: errors.DomainError) -> HttpResponse:
    """Answer a domain error as its problem document; its note goes to the log."""
    if error.note or (error.status >= 500 and not isinstance(error, errors.Overloaded)):
        log.warning("request.refused", code=error.code, note=error.note)
    extra = dict(error.extra)
    if error.field is not None:
        extra["field"] = error.field
    return problem_response(
        request,
        status=error.status,
        code=error.code,
        title=error.title,
        detail=error.detail,
        headers=error.headers,
        extra=extra,
    )


def exception_response(request: HttpRequest, exc: Exception) -> HttpResponse:
    """Answer any exception: known ones by their mapping, the rest as a 500 with a request id and nothing else."""
    known = as_domain_error(exc)
    if known is not None:
        return error_response(request, known)
    log.error("request.failed", error_type=type(exc).__name__, exc_info=exc)
    return problem_response(
        request,
        status=500,
        code="INTERNAL_ERROR",
        title="Something went wrong here",
        detail="The error has been recorded under the request id.",
    )


def as_domain_error(exc: Exception) -> errors.DomainError | None:
    """Translate what Django and the database raise into a domain error; None for what is not expected."""
    match exc:
        case errors.DomainError():
            return exc
        case Http404():
            return errors.NotFound()
        case DisallowedHost():
            return errors.BadRequest("The Host header names no host of this server.", field="Host")
        case RequestDataTooBig():
            return errors.BodyTooLarge()
        case SuspiciousOperation():
            return errors.BadRequest()
        case PermissionDenied():
            return errors.PermissionMissing()
        case OperationalError() | InterfaceError():
            # The database is away, starting, or refused the connection: no answer can be known.
            return errors.ServiceUnavailable(note=f"database: {type(exc).__name__}")
        case errors.ConfigurationError():
            # A secret that this process was not given: nothing weaker will do. The text never holds one.
            return errors.ServiceUnavailable(note=str(exc))
    return None
