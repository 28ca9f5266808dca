"""The ceiling: what a Django view costs that does nothing, on the same server with the same settings of Granian."""

import ctypes
import signal

import django
from django.conf import settings
from django.core.handlers.wsgi import WSGIHandler
from django.http import HttpRequest, HttpResponse
from django.urls import path


def view(request: HttpRequest) -> HttpResponse:
    """Answer a constant."""
    return HttpResponse(b'{"status":"ok"}', content_type="application/json", headers={"Content-Length": "15"})


urlpatterns = [path("", view)]


def _application() -> WSGIHandler:
    settings.configure(
        ALLOWED_HOSTS=["127.0.0.1"], ROOT_URLCONF=__name__, SECRET_KEY="bare", MIDDLEWARE=[], DEBUG=False
    )
    django.setup(set_prefix=False)
    ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)  # ends with its parent, as the quickstart's processes do
    return WSGIHandler()


application = _application()
