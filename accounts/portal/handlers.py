"""What Django itself refuses, as a page or, where programs ask, as a problem document."""

from django.http import HttpRequest, HttpResponse

from accounts.portal.errors import page_for_error
from licensing.core.errors import BadRequest, NotFound, PermissionMissing
from licensing.core.middleware import MACHINE_PREFIXES
from licensing.core.problems import error_response, exception_response


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """What Django finds malformed, such as a foreign Host header."""
    if _is_machine(request):
        return error_response(request, BadRequest("The request is malformed."))
    return page_for_error(request, status=400)


def permission_denied(request: HttpRequest, exception: Exception) -> HttpResponse:
    """What Django refuses."""
    if _is_machine(request):
        return error_response(request, PermissionMissing())
    return page_for_error(request, status=403)


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """No such path."""
    if _is_machine(request):
        return error_response(request, NotFound())
    return page_for_error(request, status=404)


def too_many_requests(request: HttpRequest) -> HttpResponse:
    """A limit of sign-in, of codes or of mails is used up. django-allauth asks for this by the name `handler429`."""
    response = page_for_error(request, status=429)
    response.headers["Retry-After"] = "60"  # all but that of one address's failures are limits of a minute
    return response


def server_error(request: HttpRequest) -> HttpResponse:
    """An error outside of any view; Django has logged it."""
    if _is_machine(request):
        return exception_response(request, RuntimeError("server error outside of a view"))
    return page_for_error(request, status=500)


def _is_machine(request: HttpRequest) -> bool:
    return request.path_info.startswith(MACHINE_PREFIXES)
