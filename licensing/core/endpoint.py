"""Plain views of the machine-facing API: method checks and errors in one decorator, without a framework's cost."""

from collections.abc import Callable
from functools import wraps

from django.http import HttpRequest
from django.http.response import HttpResponseBase

from licensing.core.errors import BadRequest, CredentialMissing, CredentialRefused, MethodNotAllowed
from licensing.core.problems import exception_response

View = Callable[..., HttpResponseBase]

_MAX_CREDENTIAL_CHARACTERS = 16 * 1024


def endpoint(*methods: str) -> Callable[[View], View]:
    """Make a function a view that speaks `methods`; everything it raises becomes a problem document."""
    allowed = ", ".join(methods)

    def decorate(view: View) -> View:
        @wraps(view)
        def handle(request: HttpRequest, *args: object, **kwargs: object) -> HttpResponseBase:
            try:
                if request.method not in methods:
                    raise MethodNotAllowed(f"Use {allowed}.", headers={"Allow": allowed})
                return view(request, *args, **kwargs)
            except Exception as exc:  # noqa: BLE001  the one mapper decides what each becomes
                return exception_response(request, exc)

        # Credentials are headers that no browser adds by itself.
        handle.csrf_exempt = True  # type: ignore[attr-defined]
        return handle

    return decorate


def bearer_credential(request: HttpRequest, *, header: str | None = None) -> str:
    """Return the credential of `Authorization: Bearer …`, or of `header` (such as `X-API-Key`) where that is taken.

    Raises:
        CredentialMissing: there is none.
        CredentialRefused: it is longer than any of ours.
        BadRequest: there are two, and they differ.
    """
    scheme, _, value = request.META.get("HTTP_AUTHORIZATION", "").partition(" ")
    bearer = value.strip() if scheme.lower() == "bearer" else ""
    other = request.META.get("HTTP_" + header.upper().replace("-", "_"), "").strip() if header else ""
    if bearer and other and bearer != other:
        raise BadRequest(f"Authorization and {header} hold different credentials; send one.", field=header)
    credential = bearer or other
    if not credential:
        raise CredentialMissing
    if len(credential) > _MAX_CREDENTIAL_CHARACTERS:
        raise CredentialRefused
    return credential
