"""Where browsers report what the Content-Security-Policy and Trusted Types refused: logged, in bounded amounts."""

import json
from typing import Any, Final

import redis
from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt

from accounts.portal.access import public_page
from licensing.core.problems import log
from licensing.core.source import client_address
from licensing.core.valkey import ValkeyAway, valkey

_MAX_BYTES: Final = 16 * 1024
_MAX_A_MINUTE: Final = 60
_KEPT: Final = (
    "document-uri", "documentURL", "violated-directive", "effectiveDirective", "blocked-uri", "blockedURL",
    "source-file", "sourceFile", "line-number", "lineNumber", "script-sample", "sample",
)  # fmt: skip


@csrf_exempt
@public_page
def reports(request: HttpRequest) -> HttpResponse:
    """Take one report (`report-uri`) or several (`report-to`). Browsers send no token with them, and learn nothing."""
    if request.method != "POST" or len(request.body) > _MAX_BYTES or not _has_room(client_address(request)):
        return HttpResponse(status=204)
    try:
        sent = json.loads(request.body)
    except ValueError:
        return HttpResponse(status=204)
    for report in (sent if isinstance(sent, list) else [sent])[:10]:
        if isinstance(report, dict):
            log.warning("browser.policy_violated", **_kept(report))
    return HttpResponse(status=204)


def _kept(report: dict[str, Any]) -> dict[str, str]:
    body = report.get("csp-report") or report.get("body") or {}
    if not isinstance(body, dict):
        return {}
    # Addresses of pages can carry a reset key: the path stays, the rest goes.
    return {
        name.replace("-", "_"): str(body[name]).partition("?")[0][:200] for name in _KEPT if body.get(name) is not None
    }


def _has_room(address: str) -> bool:
    name = f"portal:reports:{address}"

    def count(client: redis.Redis) -> int:
        pipeline = client.pipeline()
        pipeline.incr(name)
        pipeline.expire(name, 60, nx=True)
        return int(pipeline.execute()[0])

    try:
        return valkey().run(count) <= _MAX_A_MINUTE
    except ValkeyAway:
        return False
