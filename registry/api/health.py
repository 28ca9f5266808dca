"""Is a `files` process ready to send?"""

from collections.abc import Callable

import structlog
from django.http import HttpRequest, HttpResponse

from licensing.core.endpoint import endpoint
from licensing.core.problems import json_response
from licensing.services.state import State, decide
from registry.storage import Stored, artifact_store
from registry.url_keys import url_keys

log = structlog.get_logger(__name__)

_NO_FILE = Stored("0" * 64, 0)


@endpoint("GET", "HEAD")
def readyz(request: HttpRequest) -> HttpResponse:
    """`GET /readyz`: 200, or 503 with the names of what is not ready."""
    not_ready = [name for name, check in _CHECKS.items() if not _passes(check)]
    body = {"status": "not_ready" if not_ready else "ok", "not_ready": not_ready}
    return json_response(body, status=503 if not_ready else 200)


def _passes(check: Callable[[], object]) -> bool:
    try:
        check()
    except Exception as exc:  # noqa: BLE001  whatever it is, it is not ready; the name is all that may be told
        log.warning("files.not_ready", error_type=type(exc).__name__)
        return False
    return True


_CHECKS: dict[str, Callable[[], object]] = {
    "database": lambda: decide(State.catalogue),
    "secrets": url_keys,
    "artifact_store": lambda: artifact_store().exists(_NO_FILE),
}
