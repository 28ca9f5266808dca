"""The base of all views on the management, account and registry APIs."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from rest_framework import exceptions
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.request import Request
from rest_framework.views import APIView

from licensing.core import errors
from licensing.core.problems import exception_response

_NAME = r"[A-Za-z0-9][A-Za-z0-9_.:+-]{0,127}"
_TEXT = re.compile(_NAME)


class JsonOnly(BaseContentNegotiation):
    """There is one representation; what `Accept` says changes nothing."""

    def select_parser(self, request: Request, parsers: Any) -> Any:
        """Bodies are read by `licensing.core.json_body`, not by DRF."""
        return None

    def select_renderer(self, request: Request, renderers: Any, format_suffix: str | None = None) -> Any:
        """Answers are written by msgspec, not by DRF."""
        return renderers[0], renderers[0].media_type


class ApiView(APIView):
    """Authenticates, checks the path's parameters, runs operations, and answers errors as problem documents.

    `path_patterns` says what a path's parameter may look like; anything else names nothing, and is 404.
    """

    content_negotiation_class = JsonOnly
    metadata_class = None
    http_method_names = ["get", "head", "post", "put", "patch", "delete"]
    path_patterns: ClassVar[Mapping[str, str]] = {}
    security: ClassVar[Sequence[str]] = ()

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Who comes first: nobody learns from a 404 or 405 what is here without a credential."""
        if not getattr(request.user, "is_authenticated", False):
            raise errors.CredentialMissing
        for name, value in kwargs.items():
            pattern = self.path_patterns.get(name)
            if not (re.fullmatch(pattern.strip("^$"), value) if pattern else _TEXT.fullmatch(value)):
                raise errors.NotFound()

    def handle_exception(self, exc: Exception) -> HttpResponse:  # type: ignore[override]
        """Answer whatever was raised through the one mapper."""
        return exception_response(self.request._request, _translated(exc, self.allowed_methods))

    def finalize_response(  # type: ignore[override]
        self, request: HttpRequest, response: HttpResponseBase, *args: Any, **kwargs: Any
    ) -> HttpResponseBase:
        """Leave the answer as it is: it is complete."""
        return response


def _translated(exc: Exception, allowed_methods: list[str]) -> Exception:
    """Turn what DRF itself raises into domain errors."""
    match exc:
        case exceptions.MethodNotAllowed():
            allowed = ", ".join(allowed_methods)
            return errors.MethodNotAllowed(f"Use {allowed}.", headers={"Allow": allowed})
        case exceptions.NotAuthenticated() | exceptions.AuthenticationFailed():
            return errors.CredentialMissing()
        case exceptions.PermissionDenied():
            return errors.PermissionMissing()
        case exceptions.ParseError() | exceptions.UnsupportedMediaType():
            return errors.BadRequest()
    return exc
