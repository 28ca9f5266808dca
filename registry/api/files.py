"""`GET /files/{segment}`: the bytes that a download URL stands for. Served by the `files` process."""

import base64
import time
from pathlib import Path
from urllib.parse import quote

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, StreamingHttpResponse
from django.http.response import HttpResponseBase

from licensing.core.endpoint import endpoint
from licensing.core.errors import DomainError, PreconditionFailed
from licensing.core.request_id import request_id
from licensing.core.source import client_address
from licensing.services.state import decide
from registry.api.byte_ranges import Span, if_match, if_none_match, if_range, parse_ranges
from registry.api.sending import Body, Plan, let_go_of_connections
from registry.errors import DownloadCapReached, IntegrityBroken, RangeNotSatisfiable
from registry.services.integrity import quarantine_damaged
from registry.services.redemptions import Redemption, Sender, record_refusal, redeem, settle, take
from registry.services.stored_files import as_stored
from registry.storage import FileDamaged, VerifiedFile, artifact_store

CONTENT_TYPE = "application/octet-stream"
# Hashing a large file for the first time takes a while; whoever was revoked meanwhile gets nothing.
_DECIDE_AGAIN_AFTER_SECONDS = 0.25


@endpoint("GET", "HEAD")
def download(request: HttpRequest, segment: str) -> HttpResponseBase:
    """Send the file, or the part of it that is asked for."""
    sender = Sender(
        address=client_address(request),
        request_id=request_id(),
        customer_id=request.META.get("HTTP_X_CUSTOMER_ID"),
        plugin=request.META.get("HTTP_X_PLUGIN_NAME"),
    )
    redemption = _redeemed(segment, sender)
    began = time.monotonic()
    file = _opened(redemption)
    try:
        if time.monotonic() - began > _DECIDE_AGAIN_AFTER_SECONDS:
            redemption = _redeemed(segment, sender)
        return _answer(request, redemption, file)
    except DownloadCapReached as exc:
        file.close()
        record_refusal(segment, sender, exc)
        raise
    except BaseException:
        file.close()
        raise


def _redeemed(segment: str, sender: Sender) -> Redemption:
    outcome = decide(lambda state: redeem(segment=segment, sender=sender, state=state, now=time.time()))
    if isinstance(outcome, DomainError):
        record_refusal(segment, sender, outcome)
        raise outcome
    return outcome


def _opened(redemption: Redemption) -> VerifiedFile:
    # Reading a large file through for the first time takes seconds: not with a connection in hand that others wait for.
    let_go_of_connections()
    try:
        return artifact_store().open(as_stored(redemption.artifact.file))
    except FileDamaged as exc:
        _note_damage(redemption, exc.reason)
        raise IntegrityBroken(note=exc.reason) from exc


def _note_damage(redemption: Redemption, reason: str) -> None:
    quarantine_damaged(sha256=redemption.artifact.sha256, reason=reason, actor=redemption.actor, now=redemption.at)


def _answer(request: HttpRequest, redemption: Redemption, file: VerifiedFile) -> HttpResponseBase:
    header = request.META.get
    tag = f'"{redemption.artifact.sha256}"'
    if "HTTP_IF_MATCH" in request.META and not if_match(header("HTTP_IF_MATCH", ""), tag):
        raise PreconditionFailed()
    if "HTTP_IF_NONE_MATCH" in request.META and if_none_match(header("HTTP_IF_NONE_MATCH", ""), tag):
        return _described(_empty(redemption, file, status=304), redemption)
    if request.method == "HEAD":
        response = _empty(redemption, file, status=200)
        response.headers["Content-Length"] = str(file.size)
        return _described(response, redemption)
    return _described(_with_bytes(request, redemption, file, tag), redemption)


def _with_bytes(request: HttpRequest, redemption: Redemption, file: VerifiedFile, tag: str) -> HttpResponseBase:
    asked = request.META.get("HTTP_RANGE", "")
    if asked and "HTTP_IF_RANGE" in request.META and not if_range(request.META["HTTP_IF_RANGE"], tag):
        asked = ""
    try:
        spans = parse_ranges(asked, file.size) if asked else None
    except RangeNotSatisfiable as exc:
        exc.headers["Content-Range"] = f"bytes */{file.size}"
        raise
    plan = Plan(spans or [Span(0, file.size)], file.size, CONTENT_TYPE)
    detail: dict[str, object] = {"range": asked[:200]} if spans else {}
    if settings.DOWNLOAD_ACCEL_PREFIX and file.local_path is not None:
        return _sent_by_proxy(redemption, file, file.local_path, plan, detail)
    if settings.DOWNLOAD_S3_REDIRECT_SECONDS:
        link = file.link(filename=redemption.artifact.filename, seconds=settings.DOWNLOAD_S3_REDIRECT_SECONDS)
        if link is not None:
            return _sent_by_store(redemption, file, link, plan, detail)
    return _sent_by_us(redemption, file, plan, spans, detail)


def _sent_by_us(
    redemption: Redemption, file: VerifiedFile, plan: Plan, spans: list[Span] | None, detail: dict[str, object]
) -> HttpResponseBase:
    length = plan.length
    take(redemption, length=length, detail=detail)
    body = Body(
        file,
        plan,
        ended=lambda sent, outcome: settle(redemption, promised=length, sent=sent, outcome=outcome),
        damaged=lambda reason: _note_damage(redemption, reason),
    )
    response = StreamingHttpResponse(body, status=206 if spans else 200, content_type=CONTENT_TYPE)
    response.headers["Content-Length"] = str(length)
    if plan.boundary:
        response.headers["Content-Type"] = f"multipart/byteranges; boundary={plan.boundary}"
    elif spans:
        response.headers["Content-Range"] = spans[0].content_range(file.size)
    return response


def _sent_by_proxy(
    redemption: Redemption, file: VerifiedFile, path: Path, plan: Plan, detail: dict[str, object]
) -> HttpResponse:
    """Have the proxy send it, ranges included; what was asked for counts as sent."""
    take(redemption, length=plan.length, detail={**detail, "sent_by": "proxy"})
    file.close()
    response = HttpResponse(status=200, content_type=CONTENT_TYPE)
    response.headers["X-Accel-Redirect"] = settings.DOWNLOAD_ACCEL_PREFIX.rstrip("/") + "/" + quote(path.as_posix())
    return response


def _sent_by_store(
    redemption: Redemption, file: VerifiedFile, link: str, plan: Plan, detail: dict[str, object]
) -> HttpResponse:
    """Have the object store send it; all of what was asked for counts as sent when the link is given."""
    take(redemption, length=plan.length, detail={**detail, "sent_by": "store"})
    file.close()
    response = HttpResponseRedirect(link)
    response.headers["Referrer-Policy"] = "no-referrer"
    return response


def _empty(redemption: Redemption, file: VerifiedFile, *, status: int) -> HttpResponse:
    take(redemption, length=0, detail={"status": status})
    file.close()
    response = HttpResponse(status=status, content_type=CONTENT_TYPE)
    if status == 304:
        del response.headers["Content-Type"]
    return response


def _described(response: HttpResponseBase, redemption: Redemption) -> HttpResponseBase:
    artifact = redemption.artifact
    digest = base64.b64encode(bytes.fromhex(artifact.sha256)).decode("ascii")
    response.headers["ETag"] = f'"{artifact.sha256}"'
    response.headers["Repr-Digest"] = f"sha-256=:{digest}:"  # RFC 9530
    response.headers["Accept-Ranges"] = "bytes"
    response.headers["Content-Disposition"] = f'attachment; filename="{artifact.filename}"'
    response.headers["Cache-Control"] = "private, no-store"
    return response
