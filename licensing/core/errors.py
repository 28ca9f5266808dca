"""Errors of the domain. Services raise them; one mapper (`licensing.core.problems`) turns them into HTTP."""

from collections.abc import Mapping
from typing import ClassVar


class DomainError(Exception):
    """Something that a caller did, or asked for, cannot be done.

    `code` is public contract (one page under docs/errors/), `status` its HTTP status, `detail` a sentence for the
    caller. `note` is for the log only. Neither may hold a secret.
    """

    code: ClassVar[str] = "BAD_REQUEST"
    status: ClassVar[int] = 400
    title: ClassVar[str] = "Bad request"

    def __init__(
        self,
        detail: str = "",
        *,
        field: str | None = None,
        note: str = "",
        headers: Mapping[str, str] | None = None,
        extra: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(detail or self.title)
        self.detail = detail or self.title
        self.field = field
        self.note = note
        self.headers = dict(headers or {})
        self.extra = dict(extra or {})


class BadRequest(DomainError):
    """The request is not of the documented shape; `field` names what is wrong."""


class InvalidValue(DomainError):
    """A field has the right type and a value that cannot be accepted."""

    code = "INVALID_VALUE"
    title = "A value cannot be accepted"


class AuthenticationRequired(DomainError):
    """No credential, or one that is no good."""

    code = "AUTHENTICATION_REQUIRED"
    status = 401
    title = "A valid credential is required"


class CredentialMissing(AuthenticationRequired):
    """No credential came along: the challenge names no error (RFC 6750, 3.1)."""

    def __init__(self, detail: str = "") -> None:
        super().__init__(detail, headers={"WWW-Authenticate": "Bearer"})


class CredentialRefused(AuthenticationRequired):
    """A credential came along, and is no good."""

    def __init__(self, detail: str = "") -> None:
        super().__init__(detail, headers={"WWW-Authenticate": 'Bearer error="invalid_token"'})


class PermissionMissing(DomainError):
    """The credential is good, and does not allow this."""

    code = "PERMISSION_MISSING"
    status = 403
    title = "This credential does not allow that"


class NotFound(DomainError):
    """There is no such thing, or the caller may not see it: the two are answered alike."""

    code = "NOT_FOUND"
    status = 404
    title = "There is no such thing here"


class MethodNotAllowed(DomainError):
    """The resource exists and does not speak this method."""

    code = "METHOD_NOT_ALLOWED"
    status = 405
    title = "This method is not allowed here"


class Conflict(DomainError):
    """The request is fine by itself and conflicts with what is there now."""

    code = "CONFLICT"
    status = 409
    title = "That conflicts with what is there"


class LengthRequired(DomainError):
    """A body came without a length (RFC 9110, 15.5.12)."""

    code = "LENGTH_REQUIRED"
    status = 411
    title = "The request body needs a Content-Length"


class PreconditionFailed(DomainError):
    """`If-Match` names another state than the present one (RFC 9110, 15.5.13)."""

    code = "PRECONDITION_FAILED"
    status = 412
    title = "The resource has changed since you read it"


class BodyTooLarge(DomainError):
    """The body is over the limit of this endpoint."""

    code = "BODY_TOO_LARGE"
    status = 413
    title = "The request body is too large"


class UnsupportedMediaType(DomainError):
    """The body is not of a content type that this endpoint reads."""

    code = "UNSUPPORTED_MEDIA_TYPE"
    status = 415
    title = "Send the body as application/json"


class Unprocessable(DomainError):
    """The request is well formed and contradicts an earlier one."""

    code = "UNPROCESSABLE"
    status = 422
    title = "The request contradicts an earlier one"


class IdempotencyKeyReused(Unprocessable):
    """The Idempotency-Key was used before, with another request."""

    code = "IDEMPOTENCY_KEY_REUSED"
    title = "The Idempotency-Key belongs to another request"


class IdempotencyKeyInUse(Conflict):
    """The first request with this Idempotency-Key is still being answered."""

    code = "IDEMPOTENCY_KEY_IN_USE"
    title = "The same request is being answered"


class TooManyRequests(DomainError):
    """A rate limit is used up; `Retry-After` says until when."""

    code = "RATE_LIMITED"
    status = 429
    title = "Too many requests"


class ServiceUnavailable(DomainError):
    """We cannot know the answer now, and do not guess."""

    code = "SERVICE_UNAVAILABLE"
    status = 503
    title = "The service cannot answer now"

    def __init__(self, detail: str = "", *, note: str = "", retry_after_seconds: int = 5) -> None:
        super().__init__(detail, note=note, headers={"Retry-After": str(retry_after_seconds)})


class Overloaded(ServiceUnavailable):
    """More is asked than this process can answer now. No fault, so no line in the log for each."""

    code = "OVERLOADED"


class ConfigurationError(Exception):
    """The process was started with settings that cannot work. Never holds a secret's value."""
