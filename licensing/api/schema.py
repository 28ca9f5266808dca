"""`/api/schema` (OpenAPI 3.1) and `/api/docs`, which renders it with assets of our own server alone."""

import hashlib
from functools import lru_cache
from pathlib import Path

import drf_spectacular_sidecar
import msgspec
from django.http import HttpRequest, HttpResponse
from drf_spectacular.generators import SchemaGenerator

from licensing.api import plain_documents  # noqa: F401  says what the plain views do
from licensing.core.api.etags import is_known_to_client
from licensing.core.endpoint import endpoint
from licensing.core.errors import NotFound

_CACHE = "public, max-age=300"
_ASSETS = Path(drf_spectacular_sidecar.__path__[0]) / "static/drf_spectacular_sidecar/swagger-ui-dist"
_SERVED = {"swagger-ui.css": "text/css; charset=utf-8", "swagger-ui-bundle.js": "text/javascript; charset=utf-8"}
_START = b"""window.addEventListener("load", () => {
  SwaggerUIBundle({ url: "/api/schema", dom_id: "#documentation", deepLinking: true, validatorUrl: null });
});
"""
_PAGE = b"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Keywright API</title>
<link rel="stylesheet" href="/api/docs/assets/swagger-ui.css">
<script src="/api/docs/assets/swagger-ui-bundle.js"></script>
<script src="/api/docs/assets/start.js"></script>
</head>
<body>
<main id="documentation"></main>
<noscript><p>The API is described at <a href="/api/schema">/api/schema</a> (OpenAPI 3.1).</p></noscript>
</body>
</html>
"""
# Swagger UI sets styles on elements, which a policy for style sheets calls inline; scripts are ours alone.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self';"
    " connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


@endpoint("GET", "HEAD")
def schema(request: HttpRequest) -> HttpResponse:
    """`GET /api/schema`: every endpoint of this server."""
    body, tag = schema_document()
    response = HttpResponse(status=304) if is_known_to_client(request, tag) else HttpResponse(body)
    response.headers["Content-Type"] = "application/vnd.oai.openapi+json"
    response.headers["Cache-Control"] = _CACHE
    response.headers["ETag"] = tag
    return response


@endpoint("GET", "HEAD")
def docs(request: HttpRequest) -> HttpResponse:
    """`GET /api/docs`: the schema for people."""
    response = HttpResponse(_PAGE, content_type="text/html; charset=utf-8")
    response.headers["Content-Security-Policy"] = _POLICY
    response.headers["Cache-Control"] = _CACHE
    return response


@endpoint("GET", "HEAD")
def docs_asset(request: HttpRequest, name: str) -> HttpResponse:
    """`GET /api/docs/assets/{name}`: one of the few files that the page needs."""
    if name == "start.js":
        response = HttpResponse(_START, content_type="text/javascript; charset=utf-8")
    elif name in _SERVED:
        response = HttpResponse(_asset(name), content_type=_SERVED[name])
    else:
        raise NotFound()
    response.headers["Cache-Control"] = _CACHE
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response


@lru_cache(maxsize=1)
def schema_document() -> tuple[bytes, str]:
    """The document and its entity tag: the same for the life of the process."""
    document = SchemaGenerator().get_schema(public=True)  # type: ignore[no-untyped-call]
    body = msgspec.json.encode(document)
    return body, f'"{hashlib.sha256(body).hexdigest()[:24]}"'


@lru_cache(maxsize=4)
def _asset(name: str) -> bytes:
    return (_ASSETS / name).read_bytes()
