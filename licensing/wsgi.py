"""The WSGI application that Granian serves."""

import contextlib
import gc
import os
import resource
import sys
from collections.abc import Callable, Iterable
from typing import Any

from django.core.wsgi import get_wsgi_application

from licensing.startup import or_stop, require_secrets

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "licensing.settings")

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]

# A hundred thousand snapshots take tens of milliseconds to look through, and hold no cycles: the oldest generation is
# looked at seldom. The youngest often: ten thousand new objects at once stop every thread for ten milliseconds.
_GC_THRESHOLDS = (1_000, 100, 500)
# For how long a thread that computes (one that writes what was seen, say) may keep those that answer from going on.
_SWITCH_SECONDS = 0.001


def _load() -> Application:
    handler: Application = get_wsgi_application()
    require_secrets()
    from django.conf import settings

    _allow_many_connections()
    if settings.ROLE == "web":
        handler = _with_lean_paths(handler)
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_GC_THRESHOLDS)
    sys.setswitchinterval(_SWITCH_SECONDS)
    return handler


def _allow_many_connections() -> None:
    """Plugins keep their connections open, and each is a file: take as many as the system lets us have."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _with_lean_paths(handler: Application) -> Application:
    """Serve what installed plugins ask all the time without Django's way to a view (see `licensing.core.lean`)."""
    from django.conf import settings

    from licensing.api import health, plugins
    from licensing.core import overload
    from licensing.core.lean import LeanHandler
    from licensing.core.postgresql.patience import waiting
    from licensing.services.metrics import sampler

    overload.serve_with(threads=settings.WEB_THREADS)
    waiting.limit = max(1, settings.WEB_THREADS - 1)
    sampler.ensure_started()
    views = {
        "authenticate": plugins.authenticate,
        "validate": plugins.validate,
        "refresh": plugins.refresh,
        "usage": plugins.usage,
    }
    paths = {f"/api/plugins/{name}{slash}": view for name, view in views.items() for slash in ("", "/")}
    return LeanHandler(handler, {**paths, "/livez": health.livez, "/livez/": health.livez})


application = or_stop(_load)
