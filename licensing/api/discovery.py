"""What anyone may know: the public keys and where things are. The only answers that may be cached."""

from django.conf import settings
from django.http import HttpRequest, HttpResponse

from licensing.core.endpoint import endpoint
from licensing.core.errors import ServiceUnavailable
from licensing.core.problems import json_response
from licensing.models import Certificate, SignedKeySet
from licensing.services.key_lifecycle import AUTHORITY, JWKS_CACHE_SECONDS
from licensing.services.signing_keys import published_jwks
from licensing.services.state import State, decide

_PUBLIC = f"public, max-age={JWKS_CACHE_SECONDS}"


@endpoint("GET", "HEAD")
def jwks(request: HttpRequest) -> HttpResponse:
    """`GET /.well-known/jwks.json`: the token keys (RFC 7517). A lease's keys are in the signed key set alone."""
    return _cacheable(json_response(published_jwks(decide(State.catalogue)), content_type="application/jwk-set+json"))


@endpoint("GET", "HEAD")
def keywright(request: HttpRequest) -> HttpResponse:
    """`GET /.well-known/keywright`: issuer, endpoints, refresh interval."""
    root = settings.PUBLIC_URL
    return _cacheable(
        json_response(
            {
                "issuer": root,
                "jwks_uri": f"{root}/.well-known/jwks.json",
                "key_set_uri": f"{root}/.well-known/keywright-keys",
                "authority_uri": f"{root}/.well-known/keywright-authority",
                "authenticate_endpoint": f"{root}/api/plugins/authenticate",
                "validate_endpoint": f"{root}/api/plugins/validate",
                "refresh_endpoint": f"{root}/api/plugins/refresh",
                "deactivate_endpoint": f"{root}/api/plugins/deactivate",
                "report_endpoint": f"{root}/api/plugins/report",
                "usage_endpoint": f"{root}/api/plugins/usage",
                "registry_endpoint": f"{root}/api/registry/plugins",
                "schema_uri": f"{root}/api/schema",
                "refresh_interval_seconds": settings.REFRESH_INTERVAL_SECONDS,
                "token_lifetime_seconds": settings.TOKEN_TTL_SECONDS,
                "token_signing_alg_values_supported": ["ES256"],
            }
        )
    )


@endpoint("GET", "HEAD")
def keywright_keys(request: HttpRequest) -> HttpResponse:
    """`GET /.well-known/keywright-keys`: the signed key set, one compact JWS."""
    newest = SignedKeySet.objects.order_by("-version").first()
    if newest is None:
        raise ServiceUnavailable(note="no key set has been signed yet")
    return _cacheable(HttpResponse(newest.jws.encode("ascii"), content_type="application/jose"))


@endpoint("GET", "HEAD")
def keywright_authority(request: HttpRequest) -> HttpResponse:
    """`GET /.well-known/keywright-authority`: PluginAuthority's certificate, DER. Kits pin it and never fetch it."""
    der = Certificate.objects.filter(purpose=AUTHORITY, retired_at=None).values_list("der", flat=True).first()
    if der is None:
        raise ServiceUnavailable(note="there is no authority yet")
    return _cacheable(HttpResponse(bytes(der), content_type="application/pkix-cert"))


def _cacheable(response: HttpResponse) -> HttpResponse:
    response.headers["Cache-Control"] = _PUBLIC
    return response
