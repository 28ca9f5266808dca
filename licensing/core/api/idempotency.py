"""Idempotency-Key: a POST that is sent again does its work once, and gets the first answer again.

The key is claimed in the transaction of the work, by an advisory lock that twins do not wait for, and the answer is
stored in that transaction too: a process that dies at any point leaves either all of it or nothing. Scope: caller,
method and path. Kept 24 hours.
"""

import hashlib
import json
import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import connection
from django.http import HttpRequest, HttpResponse

from licensing.core.api.principal import Principal
from licensing.core.errors import BadRequest, IdempotencyKeyInUse, IdempotencyKeyReused
from licensing.core.models import RememberedAnswer

LIFETIME = timedelta(hours=24)
HEADER = "Idempotency-Key"
_KEY = re.compile(r"[\x21-\x7e]{1,255}")
_KEPT_HEADERS = ("Content-Type", "Location", "ETag", "Retry-After")


@dataclass(frozen=True, slots=True)
class Claim:
    """A key that this transaction has claimed, for one caller, method and path, and one body."""

    key: str
    digest: bytes
    asked_digest: bytes
    principal: Principal
    now: datetime

    @property
    def identity(self) -> str:
        """What a sealed answer is bound to."""
        return f"remembered_answer:{self.digest.hex()}"


def claim_for(request: HttpRequest, asked: dict[str, Any], *, principal: Principal, now: datetime) -> Claim | None:
    """Read the Idempotency-Key of a POST; None without one. Raises `BadRequest`."""
    key = request.META.get("HTTP_IDEMPOTENCY_KEY")
    if key is None or request.method != "POST":
        return None
    if not _KEY.fullmatch(key):
        raise BadRequest(f"{HEADER}: 1 to 255 visible ASCII characters.", field=HEADER)
    scope = "\0".join((principal.scope, request.method, request.path.rstrip("/"), key))
    body = json.dumps([request.META.get("QUERY_STRING", ""), asked], sort_keys=True)
    return Claim(key, _sha256(scope), _sha256(body), principal, now)


def first_answer(claim: Claim) -> HttpResponse | None:
    """Claim the key until the transaction ends; return the answer that was given before, if there was one.

    Raises:
        IdempotencyKeyInUse: a twin is at work.
        IdempotencyKeyReused: the key came with another body before.
    """
    with connection.cursor() as cursor:
        # Not an INSERT that twins would wait for: each would hold a worker and a connection for as long as the first.
        # The lock outlives the commit's becoming visible, so whoever gets it next sees the stored answer.
        lock = int.from_bytes(claim.digest[:8], "big", signed=True)
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [lock])
        (is_ours,) = cursor.fetchone()
    if not is_ours:
        raise IdempotencyKeyInUse(headers={"Retry-After": "1"})
    row = RememberedAnswer.objects.filter(digest=claim.digest).first()
    if row is None:
        return None
    if row.created_at <= claim.now - LIFETIME:
        row.delete()
        return None
    if bytes(row.asked_digest) != claim.asked_digest:
        raise IdempotencyKeyReused("This Idempotency-Key came with another request before; use a new one.")
    return _replay(row, claim)


def remember(claim: Claim, response: HttpResponse, *, holds_secret: bool) -> None:
    """Store the answer in the transaction of its work."""
    body = response.content
    if holds_secret:
        body = claim.principal.answer_seal.seal(body, idempotency_key=claim.key, identity=claim.identity)
    RememberedAnswer.objects.create(
        digest=claim.digest,
        asked_digest=claim.asked_digest,
        status=response.status_code,
        headers={name: response.headers[name] for name in _KEPT_HEADERS if name in response.headers},
        body=body,
        is_sealed=holds_secret,
        created_at=claim.now,
    )


def forget_old_answers(*, now: datetime, limit: int = 10_000) -> int:
    """Remove answers that are older than a day; return how many."""
    old = RememberedAnswer.objects.filter(created_at__lte=now - LIFETIME).order_by("created_at")
    deleted, _ = RememberedAnswer.objects.filter(pk__in=old.values_list("pk", flat=True)[:limit]).delete()
    return deleted


def _replay(row: RememberedAnswer, claim: Claim) -> HttpResponse:
    body = bytes(row.body)
    if row.is_sealed:
        body = claim.principal.answer_seal.unseal(body, idempotency_key=claim.key, identity=claim.identity)
    response = HttpResponse(body, status=row.status, headers=dict(row.headers))
    response.headers["Cache-Control"] = "no-store"
    response.headers["Idempotent-Replayed"] = "true"
    return response


def _sha256(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
