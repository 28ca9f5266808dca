"""Django's own error pages, as problem documents."""

from django.http import HttpRequest, HttpResponse

from licensing.core.errors import BadRequest, NotFound, PermissionMissing
from licensing.core.problems import error_response, problem_response


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """What Django itself finds malformed, such as a foreign Host header."""
    return error_response(request, BadRequest("The request is malformed."))


def permission_denied(request: HttpRequest, exception: Exception) -> HttpResponse:
    """What Django itself refuses."""
    return error_response(request, PermissionMissing())


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """No such path."""
    return error_response(request, NotFound())


def server_error(request: HttpRequest) -> HttpResponse:
    """An error outside of any view."""
    return problem_response(
        request,
        status=500,
        code="INTERNAL_ERROR",
        title="Something went wrong here",
        detail="The error has been recorded under the request id.",
    )
