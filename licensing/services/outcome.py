"""What a decision comes to: a body to answer with, or a verdict that is no."""

from typing import Any

import msgspec

from licensing.core.clock import rfc3339
from licensing.rules import codes
from licensing.rules.codes import Verdict

_UNAUTHENTICATED = frozenset(
    {
        codes.API_KEY_INVALID,
        codes.API_KEY_EXPIRED,
        codes.API_KEY_REVOKED,
        codes.TOKEN_INVALID,
        codes.TOKEN_EXPIRED,
        codes.TOKEN_REVOKED,
        codes.REAUTHENTICATION_DUE,
    }
)


class Granted(msgspec.Struct, frozen=True):
    """Yes, with the answer's body, and headers beside it."""

    body: dict[str, Any]
    headers: dict[str, str] = {}


class Denied(msgspec.Struct, frozen=True):
    """No, with the verdict that says why, headers, and further members of the problem document."""

    verdict: Verdict
    headers: dict[str, str] = {}
    extra: dict[str, Any] = {}

    @property
    def status(self) -> int:
        """401 while the credential itself is no good, else 403."""
        return 401 if self.verdict.code in _UNAUTHENTICATED else 403


Outcome = Granted | Denied


def told_members(verdict: Verdict) -> dict[str, Any]:
    """The members of an answer that only some verdicts have: `server_time`, for a caller to set its clock by."""
    return {} if verdict.server_time is None else {"server_time": rfc3339(verdict.server_time)}
