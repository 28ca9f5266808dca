"""What only browsers need, and only where there are pages: the keyed APIs are a hot path and never pay for it.

One middleware holds Django's usual chain (sessions, CSRF, Content-Security-Policy, …) and sends a request through it
when its path is a page's; assets go to WhiteNoise, programs straight on.
"""

from collections.abc import Callable
from typing import Any, Final, cast

import redis
from django.conf import settings
from django.core.exceptions import MiddlewareNotUsed
from django.core.handlers.exception import convert_exception_to_response
from django.http import HttpRequest, HttpResponseBase
from django.utils.module_loading import import_string
from kombu.exceptions import OperationalError as BrokerAway
from whitenoise.middleware import WhiteNoiseMiddleware  # type: ignore[import-untyped]

from accounts.portal.errors import page_for_error
from licensing.core.errors import DomainError, Overloaded, ServiceUnavailable
from licensing.core.json_body import declared_length
from licensing.core.long_answers import held_to_one_thread
from licensing.core.middleware import MACHINE_PREFIXES
from licensing.core.problems import as_domain_error, error_response, log

Handler = Callable[[HttpRequest], HttpResponseBase]

CHAIN: Final = (
    "django.contrib.sessions.middleware.SessionMiddleware",
    "csp.middleware.CSPMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "accounts.portal.sessions.LastSeenMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "allauth.account.middleware.AccountMiddleware",
)
_SESSION_API: Final = "/api/account"
_FILES: Final = "/files/"
MAX_FORM_BYTES: Final = 1024 * 1024
_HEADERS: Final = {
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "Reporting-Endpoints": 'browser="/account/reports"',
}


class BrowserMiddleware:
    """Sends each request the way its path asks for."""

    def __init__(self, get_response: Handler) -> None:
        if settings.ROLE == "files":
            raise MiddlewareNotUsed
        self._programs = get_response
        self._sessions = import_string(CHAIN[0])(get_response)
        self._assets = WhiteNoiseMiddleware(get_response)
        self._hooks: list[Any] = []
        self._pages = self._chain(get_response)

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self._answer(request)
        if request.path_info.startswith(_FILES):
            return response  # where there are any, this is not where requests are decided
        try:
            return held_to_one_thread(response)
        except Overloaded as exc:
            if _is_page(request):
                return page_for_error(request, status=exc.status, error=exc)
            return error_response(request, exc)

    def _answer(self, request: HttpRequest) -> HttpResponseBase:
        path = request.path_info
        if path.startswith(_SESSION_API):
            response: HttpResponseBase = self._sessions(request)
            return response
        if path.startswith(MACHINE_PREFIXES):
            return self._programs(request)
        if path.startswith(settings.STATIC_URL):
            return self._asset(request)
        return self._page(request)

    def process_view(
        self, request: HttpRequest, view: Callable[..., HttpResponseBase], args: Any, kwargs: Any
    ) -> HttpResponseBase | None:
        """Ask the chain's own hooks, the outermost first; that of CSRF stands here.

        It looks for its token in the form, so a body that is too large has to be refused before it: Django reads the
        files of a form to their end, however long they are.
        """
        refusal = _large_body_refused(request)
        if refusal is not None:
            return refusal
        for hook in self._hooks if _is_page(request) else ():
            if hasattr(hook, "process_view"):
                response: HttpResponseBase | None = hook.process_view(request, view, args, kwargs)
                if response is not None:
                    return response
        return None

    def process_exception(self, request: HttpRequest, exc: Exception) -> HttpResponseBase | None:
        """Ask the chain's own hooks, the innermost first; then answer what services raise with a page."""
        if not _is_page(request):
            return None
        for hook in reversed(self._hooks):
            if hasattr(hook, "process_exception"):
                response: HttpResponseBase | None = hook.process_exception(request, exc)
                if response is not None:
                    return response
        error = as_domain_error(exc)
        if isinstance(exc, (redis.RedisError, BrokerAway)):
            # Rate limits and used codes are counted there: without them nobody signs in, rather than anybody.
            error = ServiceUnavailable(note=f"valkey: {type(exc).__name__}")
        if error is None:
            log.error("request.failed", error_type=type(exc).__name__, exc_info=exc)
            return page_for_error(request, status=500)
        return page_for_error(request, status=error.status, error=error)

    def _chain(self, get_response: Handler) -> Handler:
        handler = get_response
        for name in reversed(CHAIN):
            middleware = import_string(name)(handler)
            self._hooks.insert(0, middleware)
            handler = cast(Handler, convert_exception_to_response(middleware))
        return handler

    def _page(self, request: HttpRequest) -> HttpResponseBase:
        request.get_host()  # raises for a Host that is none of ours, whatever the page then does with it
        response = self._pages(request)
        for name, value in _HEADERS.items():
            response.headers.setdefault(name, value)
        response.headers.setdefault("Cache-Control", "no-store")
        return response

    def _asset(self, request: HttpRequest) -> HttpResponseBase:
        response: HttpResponseBase = self._assets(request)
        response.headers.setdefault("Cross-Origin-Resource-Policy", "same-origin")
        response.headers.setdefault("X-Content-Type-Options", "nosniff")
        return response


def _large_body_refused(request: HttpRequest) -> HttpResponseBase | None:
    """The answer to a body that is too large, or of no told length, wherever Django itself would parse it as a form."""
    is_page = _is_page(request)
    if not (is_page or request.path_info.startswith(_SESSION_API)):
        return None
    try:
        declared_length(request, max_bytes=MAX_FORM_BYTES)
    except DomainError as exc:
        return page_for_error(request, status=exc.status, error=exc) if is_page else error_response(request, exc)
    return None


def _is_page(request: HttpRequest) -> bool:
    return not request.path_info.startswith((*MACHINE_PREFIXES, settings.STATIC_URL))
