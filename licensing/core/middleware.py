"""What surrounds every request: its id, its line in the log, and errors as problem documents."""

import logging
import re
import time
from collections.abc import Callable

import structlog
from django.http import HttpRequest, HttpResponseBase

from licensing.core import metrics, overload
from licensing.core.errors import Overloaded
from licensing.core.problems import PLUGIN_API_PREFIX, exception_response
from licensing.core.request_id import begin_request, end_request, request_id
from licensing.core.source import client_address

log = structlog.get_logger("licensing.access")
_access = logging.getLogger("licensing.access")

_LOGGABLE = re.compile(r"[A-Za-z0-9._:/+=@-]{1,128}")
_QUIET_PATHS = frozenset({"/livez", "/readyz", "/metrics"})
_OPENING = ("/files/", "/account/reset/", "/account/invitation/")
MACHINE_PREFIXES = ("/api/", "/.well-known/", "/private/", "/files/", "/livez", "/readyz", "/metrics")

Handler = Callable[[HttpRequest], HttpResponseBase]


class RequestMiddleware:
    """Gives each request an id of ours, puts it on every log line, and answers with it as `X-Request-ID`.

    The caller's own `X-Request-ID` is logged beside ours where it is plain text, and never echoed. A good answer of
    the plugin API is no line at INFO: it is counted, and a line each would cost more than the answer.
    """

    def __init__(self, get_response: Handler) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        started = time.perf_counter()
        theirs = request.META.get("HTTP_X_REQUEST_ID", "")
        token = begin_request(theirs if theirs and _LOGGABLE.fullmatch(theirs) else "")
        try:
            response = self._get_response(request)
            headers = response.headers
            headers["X-Request-ID"] = request_id()
            if "Cache-Control" not in headers:
                headers["Cache-Control"] = "no-store"
            if request.path.startswith(MACHINE_PREFIXES):
                headers["X-Content-Type-Options"] = "nosniff"
            _log_access(request, response, started)
            _observe(request, response, started)
            return response
        finally:
            end_request(token)

    def process_exception(self, request: HttpRequest, exc: Exception) -> HttpResponseBase | None:
        """Answer what a view raised, where programs are asking; pages have their own error templates."""
        if request.path.startswith(MACHINE_PREFIXES):
            return exception_response(request, exc)
        return None


def _shown(path: str) -> str:
    """A path as logs may have it, without what opens something: a file, a new password, an organisation."""
    return next((each for each in _OPENING if path.startswith(each)), path[:256])


def _observe(request: HttpRequest, response: HttpResponseBase, started: float) -> None:
    code = getattr(response, "code", "") or str(response.status_code)
    seconds = time.perf_counter() - started
    overload.worked(seconds)
    metrics.observe_request(request.path, code, seconds)
    if response.status_code in (401, 403):
        metrics.observe_refusal(code)


def _log_access(request: HttpRequest, response: HttpResponseBase, started: float) -> None:
    status = response.status_code
    is_quiet = request.path in _QUIET_PATHS or (status < 400 and request.path.startswith(PLUGIN_API_PREFIX))
    if getattr(response, "code", "") == Overloaded.code:
        is_quiet = True  # counted, too: a line each would take the time that there is too little of
    level = logging.DEBUG if is_quiet else logging.INFO
    if not _access.isEnabledFor(level):
        return
    # The path only: a query string can hold a signed URL's parameters.
    log.log(
        level,
        "request",
        method=request.method,
        path=_shown(request.path),
        status=status,
        address=client_address(request),
        milliseconds=round((time.perf_counter() - started) * 1000, 2),
    )
