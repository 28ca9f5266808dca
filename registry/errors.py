"""What can go wrong with releases and their files, as callers are told of it."""

from licensing.core.errors import Conflict, DomainError, ServiceUnavailable


class VersionExists(Conflict):
    """A version, or a file of it, is there already with other bytes: what was published never changes."""

    code = "VERSION_EXISTS"
    title = "This version exists already, with other contents"


class ReleaseNotReady(Conflict):
    """A release cannot be published as it is."""

    code = "RELEASE_NOT_READY"
    title = "The release cannot be published yet"


class FileGone(ServiceUnavailable):
    """An uploaded file was collected before anything referred to it; upload it again."""

    title = "The uploaded file is gone; upload it again"


class IntegrityBroken(DomainError):
    """A stored file has other bytes than it was published with. It is never sent."""

    code = "INTEGRITY_ERROR"
    status = 409
    title = "The stored file no longer matches its digest, and is not sent"

    def __init__(self, detail: str = "", *, note: str = "") -> None:
        super().__init__(detail, note=note, headers={"X-Integrity-Error": "1"})


class AllowlistViolation(DomainError):
    """The customer's own policy forbids this download."""

    code = "ALLOWLIST_VIOLATION"
    status = 403
    title = "The customer's policy does not allow this"

    def __init__(self, detail: str = "", *, note: str = "") -> None:
        super().__init__(detail, note=note, headers={"X-Allowlist-Violation": "1"})


class HeaderMismatch(DomainError):
    """`X-Customer-ID` or `X-Plugin-Name` names something else than the credential or URL does."""

    code = "HEADER_MISMATCH"
    status = 403
    title = "A header contradicts the credential"


class UrlExpired(DomainError):
    """A download URL has run out; ask for a new one."""

    code = "DOWNLOAD_URL_EXPIRED"
    status = 403
    title = "The download URL has expired; ask for a new one"


class UrlRevoked(DomainError):
    """A download URL is no longer honoured: what it was given for has been withdrawn."""

    code = "DOWNLOAD_URL_REVOKED"
    status = 403
    title = "The download URL is no longer honoured"

    def __init__(self, reason: str = "") -> None:
        super().__init__(note=reason)
        self.reason = reason
        """Why: the code of a verdict, for the audit log. Whoever holds a URL has proven no credential."""


class DownloadCapReached(DomainError):
    """The token's downloads or bytes are used up, or the URL was used too often."""

    code = "DOWNLOAD_CAP_REACHED"
    status = 403
    title = "The allowance for downloads is used up"


class RangeNotSatisfiable(DomainError):
    """No part of the file lies in the range asked for (RFC 9110, 15.5.17)."""

    code = "RANGE_NOT_SATISFIABLE"
    status = 416
    title = "The range lies outside the file"
