"""`GET /metrics`, for those who may know."""

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from prometheus_client import CONTENT_TYPE_LATEST

from licensing.core.endpoint import endpoint
from licensing.core.errors import MethodNotAllowed, NotFound
from licensing.core.source import in_networks
from licensing.services.metrics import render_metrics

# A proxy that is not in TRUSTED_PROXIES stands before whoever asks, so the address is the proxy's own.
_FORWARDED = ("HTTP_X_FORWARDED_FOR", "HTTP_FORWARDED", "HTTP_X_REAL_IP", "HTTP_VIA")


@endpoint("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
def metrics(request: HttpRequest) -> HttpResponse:
    """The metrics of all processes of this machine. Whoever may not read them learns of no such path."""
    if not _may_read(request):
        raise NotFound
    if request.method not in ("GET", "HEAD"):
        raise MethodNotAllowed("Use GET.", headers={"Allow": "GET, HEAD"})
    return HttpResponse(render_metrics(), content_type=CONTENT_TYPE_LATEST, headers={"Cache-Control": "no-store"})


def _may_read(request: HttpRequest) -> bool:
    """Whether the request comes straight from one of METRICS_NETWORKS: never through a proxy, not even one of ours.

    A proxy on this machine would otherwise lend its own address to the whole world.
    """
    if any(request.META.get(name) for name in _FORWARDED):
        return False
    return in_networks(request.META.get("REMOTE_ADDR", ""), settings.METRICS_NETWORKS)
