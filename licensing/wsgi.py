"""The WSGI application that Granian serves."""

import os

from django.core.handlers.wsgi import WSGIHandler
from django.core.wsgi import get_wsgi_application

from licensing.startup import or_stop, require_secrets

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "licensing.settings")


def _load() -> WSGIHandler:
    handler = get_wsgi_application()
    require_secrets()
    return handler


application = or_stop(_load)
