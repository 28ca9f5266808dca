"""What surrounds every request: its id, its line in the log, and errors as problem documents."""

import re
import secrets
import time
from collections.abc import Callable

import structlog
from django.http import HttpRequest, HttpResponseBase

from licensing.core.problems import exception_response
from licensing.core.source import client_address

log = structlog.get_logger("licensing.access")

_LOGGABLE = re.compile(r"[A-Za-z0-9._:/+=@-]{1,128}")
_QUIET_PATHS = frozenset({"/livez", "/readyz", "/metrics"})
_MACHINE_PREFIXES = ("/api/", "/.well-known/", "/private/", "/livez", "/readyz", "/metrics")

Handler = Callable[[HttpRequest], HttpResponseBase]


class RequestMiddleware:
    """Gives each request an id of ours, binds it to every log line, and answers with it as `X-Request-ID`.

    The caller's own `X-Request-ID` is logged beside ours where it is plain text, and never echoed.
    """

    def __init__(self, get_response: Handler) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        started = time.perf_counter()
        request_id = f"req_{secrets.token_hex(12)}"
        request.request_id = request_id
        structlog.contextvars.bind_contextvars(request_id=request_id)
        theirs = request.META.get("HTTP_X_REQUEST_ID", "")
        if theirs and _LOGGABLE.fullmatch(theirs):
            structlog.contextvars.bind_contextvars(client_request_id=theirs)
        try:
            response = self._get_response(request)
            response.headers["X-Request-ID"] = request_id
            if request.path not in _QUIET_PATHS:
                # The path only: a query string can hold a signed URL's parameters.
                log.info(
                    "request",
                    method=request.method,
                    path=request.path[:256],
                    status=response.status_code,
                    address=client_address(request),
                    milliseconds=round((time.perf_counter() - started) * 1000, 2),
                )
            return response
        finally:
            structlog.contextvars.unbind_contextvars("request_id", "client_request_id")

    def process_exception(self, request: HttpRequest, exc: Exception) -> HttpResponseBase | None:
        """Answer what a view raised, where programs are asking; pages have their own error templates."""
        if request.path.startswith(_MACHINE_PREFIXES):
            return exception_response(request, exc)
        return None
