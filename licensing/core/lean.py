"""Serving a few paths without Django's way to a view: no middleware of pages, no signals, no pattern matching.

A request of these paths still gets its id, its line in the log, its metrics and its problem documents, from the same
code as every other, and the headers that Django's security middleware would add.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from django.conf import settings
from django.core.handlers.wsgi import WSGIRequest
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.middleware.security import SecurityMiddleware
from django.utils.functional import cached_property

from licensing.core.middleware import RequestMiddleware
from licensing.core.own_connection import own_connection

Environ = dict[str, Any]
StartResponse = Callable[..., Any]
Application = Callable[[Environ, StartResponse], Iterable[bytes]]
View = Callable[..., HttpResponseBase]


class LeanRequest(WSGIRequest):
    """A request of one of the lean paths: nothing is parsed that their views do not ask for."""

    def __init__(self, environ: Environ) -> None:
        # Not the parent's, which decodes a path that is known already and prepares to read forms.
        self.environ = self.META = environ
        environ.setdefault("SCRIPT_NAME", "")
        self.path = self.path_info = environ["PATH_INFO"]
        self.method = environ["REQUEST_METHOD"].upper()
        self.resolver_match = None
        self.content_type, self.content_params = None, {}
        self._read_started = False

    @cached_property
    def body(self) -> bytes:
        """The body; whoever asks has looked at its length first (`json_body.declared_length`)."""
        length = int(self.META.get("CONTENT_LENGTH") or 0)
        self._read_started = True
        read: bytes = self.META["wsgi.input"].read(length) if length else b""
        return read


class LeanHandler:
    """A WSGI application that serves `views` by their exact paths, and hands everything else to Django's handler."""

    def __init__(self, django_handler: Application, views: Mapping[str, View]) -> None:
        self._django_handler = django_handler
        self._serve = {path: RequestMiddleware(view) for path, view in views.items()}
        self._plain_headers = _security_headers(is_secure=False)
        self._secure_headers = _security_headers(is_secure=True)
        self._are_alike = self._plain_headers == self._secure_headers

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request (PEP 3333)."""
        serve = self._serve.get(environ["PATH_INFO"])
        if serve is None or environ.get("SCRIPT_NAME"):
            return self._django_handler(environ, start_response)
        request = LeanRequest(environ)
        try:
            response = serve(request)
        finally:
            _tidy_connections()
        given = response.headers
        is_secure = not self._are_alike and request.is_secure()
        security = self._secure_headers if is_secure else self._plain_headers
        headers = [*given.items(), *[each for each in security if each[0] not in given]]
        status = response.status_code
        start_response("200 OK" if status == 200 else f"{status} {response.reason_phrase}", headers)
        return [response.content]  # type: ignore[attr-defined]  # these views stream nothing


def _tidy_connections() -> None:
    """What Django does at the end of a request, where it used its connection: let go of it if it failed or is old."""
    connection = own_connection()
    if connection.health_check_done or connection.errors_occurred:  # type: ignore[attr-defined]  # stubs lack the first
        connection.close_if_unusable_or_obsolete()


def _security_headers(*, is_secure: bool) -> list[tuple[str, str]]:
    """The headers that Django's security middleware gives to every answer, as it is configured."""
    if "django.middleware.security.SecurityMiddleware" not in settings.MIDDLEWARE:
        return []
    request = HttpRequest()
    request.is_secure = lambda: is_secure  # type: ignore[method-assign]
    response = HttpResponse()
    del response.headers["Content-Type"]
    SecurityMiddleware(lambda _: response).process_response(request, response)
    return list(response.headers.items())
