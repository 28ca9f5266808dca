"""Is the process alive, and is it ready to decide?"""

from collections.abc import Callable

import redis
from django.conf import settings
from django.db import connection
from django.http import HttpRequest, HttpResponse

from licensing.core.endpoint import endpoint
from licensing.core.problems import json_response
from licensing.core.valkey import valkey
from licensing.services.signing_keys import minting_key
from licensing.services.state import State, decide
from licensing.startup import open_secrets


@endpoint("GET", "HEAD")
def livez(request: HttpRequest) -> HttpResponse:
    """`GET /livez`: the process answers. Touches no pool, so that an outage elsewhere restarts nothing."""
    return json_response({"status": "ok"})


@endpoint("GET", "HEAD")
def readyz(request: HttpRequest) -> HttpResponse:
    """`GET /readyz`: 200, or 503 with the names of what is not ready. Valkey's absence is told, and tolerated."""
    checks = {name: _passes(check) for name, check in _CHECKS.items()}
    not_ready = [name for name, passed in checks.items() if not passed]
    required = [name for name in not_ready if name != "valkey"]
    status = 503 if required else 200
    return json_response({"status": "not_ready" if required else "ok", "not_ready": not_ready}, status=status)


def _passes(check: Callable[[], object]) -> bool:
    try:
        check()
    except Exception:  # noqa: BLE001  whatever it is, it is not ready; the name is all that may be told
        return False
    return True


def _database() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")


def _ping(client: redis.Redis) -> object:
    return client.ping()


def _valkey() -> None:
    valkey().run(_ping)


def _secrets() -> None:
    # Asked of anything but `files`, this is about what a web process needs.
    open_secrets("files" if settings.ROLE == "files" else "web")


def _signing_keys() -> None:
    catalogue = decide(State.catalogue)
    minting_key(catalogue, "token")
    minting_key(catalogue, "lease")


_CHECKS: dict[str, Callable[[], object]] = {
    "database": _database,
    "valkey": _valkey,
    "secrets": _secrets,
    "signing_keys": _signing_keys,
}
