"""What the plain views do, for `/api/schema`: the plugin API, discovery, health. Says it beside them, not in them.

The hot path has no framework to be asked. Requests come from the structures that the views read by; a test holds
every URL of the server against the document.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from licensing.core.api.examples import example_of
from licensing.core.api.schema import document_codes, document_view, problem_responses, shape_reference
from licensing.rules import codes
from licensing.services.asked import AuthenticateAsked, RefreshAsked, ValidateAsked
from licensing.services.report import ReportAsked
from licensing.services.usage import UsageAsked

_Codes = Sequence[tuple[int, str]]

_BODY: _Codes = (
    (400, "BAD_REQUEST"),
    (411, "LENGTH_REQUIRED"),
    (413, "BODY_TOO_LARGE"),
    (415, "UNSUPPORTED_MEDIA_TYPE"),
)
_ALWAYS: _Codes = ((429, "RATE_LIMITED"), (503, "SERVICE_UNAVAILABLE"))
_KEY: _Codes = (
    (401, codes.API_KEY_INVALID),
    (401, codes.API_KEY_EXPIRED),
    (401, codes.API_KEY_REVOKED),
    (403, codes.SCOPE_MISSING),
    (403, codes.IP_NOT_ALLOWED),
)
_TOKEN: _Codes = (
    (401, codes.TOKEN_INVALID),
    (401, codes.TOKEN_EXPIRED),
    (401, codes.TOKEN_REVOKED),
    (401, "AUTHENTICATION_REQUIRED"),
)
_PROOF: _Codes = ((403, codes.PROOF_REQUIRED), (403, codes.PROOF_INVALID), (403, codes.PROOF_REPLAYED))
_STATE: _Codes = tuple(
    (403, code)
    for code in (
        codes.LOCKDOWN,
        codes.CUSTOMER_MISMATCH,
        codes.CUSTOMER_SUSPENDED,
        codes.SUBSCRIPTION_NONE,
        codes.SUBSCRIPTION_EXPIRED,
        codes.SUBSCRIPTION_PAUSED,
        codes.PLUGIN_UNKNOWN,
        codes.PLUGIN_QUARANTINED,
        codes.BUILD_UNKNOWN,
        codes.BUILD_QUARANTINED,
        codes.BUILD_EXPIRED,
        codes.VERSION_BLOCKED,
        codes.TIER_TOO_LOW,
        codes.INSTALLATION_QUARANTINED,
        codes.INSTALLATION_LIMIT_REACHED,
    )
)
_PROOF_HEADERS = [
    {"name": name, "in": "header", "required": False, "schema": {"type": "string", "maxLength": 128}}
    for name in ("X-Keywright-Proof", "X-Keywright-Timestamp", "X-Keywright-Nonce")
]

document_codes(codes.DETAILS)

GRANTED: dict[str, Any] = {
    "success": True,
    "token": "eyJhbGciOiJFUzI1NiIs…",
    "token_type": "Bearer",
    "expires_at": "2026-01-31T00:15:00Z",
    "next_refresh": "2026-01-31T00:05:04Z",
    "customer_id": "cust_123",
    "subscription_tier": "Pro",
    "authorized_features": ["console_logging", "api_logging"],
    "plugin_permissions": {"api-logger": {"allowed": True, "rate_limit": 600, "quota": 100000}},
    "rate_limits": {"requests_per_minute": 600, "events_per_day": 100000},
    "installation_id": "inst_01jv0000000000000000000000",
    "grace_until": None,
    "offline_lease": "eyJhbGciOiJFUzI1NiIs…",
    "private_registry": {"enabled": False, "url": None, "allowed_plugins": []},
}
VALIDATED: dict[str, Any] = {
    "valid": True,
    "code": "VALID",
    "detail": "Everything is in order.",
    "customer_id": "cust_123",
    "subscription_active": True,
    "features_active": True,
    "authorized_features": ["console_logging", "api_logging"],
    "next_refresh": "2026-01-31T00:05:04Z",
}
REFUSED: dict[str, Any] = {
    "valid": False,
    "code": "TOKEN_REVOKED",
    "detail": "The token has been revoked.",
    "customer_id": "cust_123",
    "subscription_active": True,
    "features_active": False,
    "authorized_features": [],
    "next_refresh": None,
}


def _plugin_api(
    name: str,
    summary: str,
    *,
    asked: type[msgspec.Struct] | None,
    examples: dict[str, dict[str, Any]],
    security: Sequence[str],
    problems: _Codes,
    body_required: bool = True,
) -> None:
    document: dict[str, Any] = {
        "operationId": name.replace("-", "_"),
        "summary": summary,
        "tags": ["plugins"],
        "security": [{scheme: []} for scheme in security],
        "parameters": _PROOF_HEADERS,
        "responses": {
            "200": _json("OK", {"type": "object"}, examples),
            **problem_responses(sorted({*_BODY, *problems, *_ALWAYS}), success_member=True),
        },
    }
    if asked is not None:
        content = {"schema": shape_reference(asked), "examples": {asked.__name__: {"value": example_of(asked)}}}
    else:
        content = {"schema": {"type": "object"}}
    document["requestBody"] = {"required": body_required, "content": {"application/json": content}}
    document_view(name, "POST", document)


def _public(name: str, summary: str, media_type: str, *, tag: str = "discovery", problems: _Codes = ()) -> None:
    is_json = media_type.endswith("json")
    schema = {"type": "object"} if is_json else {"type": "string"}
    document_view(
        name,
        "GET",
        {
            "operationId": name.replace("-", "_"),
            "summary": summary,
            "tags": [tag],
            "security": [],
            "responses": {
                "200": {"description": "OK", "content": {media_type: {"schema": schema}}},
                **problem_responses([*problems, (503, "SERVICE_UNAVAILABLE")]),
            },
        },
    )


def _json(description: str, schema: dict[str, Any], examples: dict[str, dict[str, Any]]) -> dict[str, Any]:
    content = {"schema": schema, "examples": {name: {"value": value} for name, value in examples.items()}}
    return {"description": description, "content": {"application/json": content}}


_plugin_api(
    "plugin-authenticate",
    "Exchange an API key for a plugin token",
    asked=AuthenticateAsked,
    examples={"granted": GRANTED},
    security=("apiKey", "apiKeyHeader"),
    problems=(*_KEY, *_STATE, *_PROOF),
)
_plugin_api(
    "plugin-validate",
    "Ask what a plugin token is worth now; every verdict is a 200",
    asked=ValidateAsked,
    examples={"valid": VALIDATED, "refused": REFUSED},
    security=("pluginToken",),
    problems=((401, "AUTHENTICATION_REQUIRED"),),
)
_plugin_api(
    "plugin-refresh",
    "Exchange a plugin token for a new one",
    asked=RefreshAsked,
    examples={"granted": GRANTED},
    security=("pluginToken",),
    problems=(*_TOKEN, (401, codes.REAUTHENTICATION_DUE), *_STATE, *_PROOF),
    body_required=False,
)
_plugin_api(
    "plugin-deactivate",
    "Give an installation's place back",
    asked=None,
    examples={"released": {"success": True, "installation_id": GRANTED["installation_id"], "released": True}},
    security=("pluginToken",),
    problems=(*_TOKEN, *_PROOF),
    body_required=False,
)
_plugin_api(
    "plugin-usage",
    "Report events of the plugin's own work",
    asked=UsageAsked,
    examples={"counted": {"success": True}},
    security=("pluginToken",),
    problems=(*_TOKEN, *_STATE, *_PROOF, (403, codes.QUOTA_EXCEEDED), (429, codes.QUOTA_EXCEEDED)),
)
_plugin_api(
    "plugin-report",
    "Report a compromise of one's own plugin",
    asked=ReportAsked,
    examples={
        "contained": {
            "success": True,
            "report_id": "rep_01jv0000000000000000000000",
            "plugin_name": "api-logger",
            "installation_id": GRANTED["installation_id"],
            "quarantine_id": "qua_01jv0000000000000000000000",
            "actions": ["installation_revoked", "installation_quarantined", "alert_sent"],
        }
    },
    security=("pluginToken", "apiKey", "apiKeyHeader"),
    problems=(*_KEY, *_TOKEN, *_PROOF, (403, codes.PLUGIN_MISMATCH), (404, "NOT_FOUND")),
)
_public("jwks", "The public keys of plugin tokens (RFC 7517)", "application/jwk-set+json")
_public("discovery", "Where things are", "application/json")
_public("key-set", "The signed key set, one compact JWS", "application/jose")
_public("authority", "PluginAuthority's certificate, DER", "application/pkix-cert")
_public("schema", "This document", "application/vnd.oai.openapi+json", tag="server")
_public("docs", "This document for people", "text/html", tag="server")
_public("livez", "Whether the process answers", "application/json", tag="server")
document_view(
    "metrics",
    "GET",
    {
        "operationId": "metrics",
        "summary": "Prometheus metrics, for the networks that may read them; 404 for all others",
        "tags": ["server"],
        "security": [],
        "responses": {
            "200": {"description": "OK", "content": {"text/plain": {"schema": {"type": "string"}}}},
            **problem_responses([(404, "NOT_FOUND")]),
        },
    },
)
document_view(
    "private-registry",
    "GET",
    {
        "operationId": "private_registry",
        "summary": "The index of a customer's own registry, as JSON, or as HTML where that is preferred",
        "tags": ["registry"],
        "security": [{"apiKey": []}, {"apiKeyHeader": []}, {"pluginToken": []}],
        "parameters": [{"name": "customer_id", "in": "path", "required": True, "schema": {"type": "string"}}],
        "responses": {
            "200": {
                "description": "OK",
                "content": {
                    "application/json": {"schema": {"type": "object"}},
                    "text/html": {"schema": {"type": "string"}},
                },
            },
            **problem_responses(
                sorted(
                    {
                        (400, "BAD_REQUEST"),
                        (401, "AUTHENTICATION_REQUIRED"),
                        (404, "NOT_FOUND"),
                        *_KEY,
                        *_TOKEN,
                        *_STATE,
                        *_ALWAYS,
                    }
                )
            ),
        },
    },
)
document_view(
    "registry-file",
    "GET",
    {
        "operationId": "registry_file",
        "summary": "The bytes that a download URL stands for; ranges and resume",
        "tags": ["registry"],
        "security": [],
        "parameters": [{"name": "segment", "in": "path", "required": True, "schema": {"type": "string"}}],
        "responses": {
            **{
                status: {
                    "description": description,
                    "content": {"application/octet-stream": {"schema": {"type": "string"}}},
                }
                for status, description in (("200", "OK"), ("206", "Partial Content"))
            },
            "302": {"description": "Where the bytes are, for half a minute."},
            "304": {"description": "You have it already."},
            **problem_responses(
                [
                    (403, "DOWNLOAD_CAP_REACHED"),
                    (403, "DOWNLOAD_URL_EXPIRED"),
                    (403, "DOWNLOAD_URL_REVOKED"),
                    (403, "HEADER_MISMATCH"),
                    (404, "NOT_FOUND"),
                    (409, "INTEGRITY_ERROR"),
                    (412, "PRECONDITION_FAILED"),
                    (416, "RANGE_NOT_SATISFIABLE"),
                    *_ALWAYS,
                ]
            ),
        },
    },
)
document_view(
    "readyz",
    "GET",
    {
        "operationId": "readyz",
        "summary": "Whether the server is ready to decide, and what is not ready",
        "tags": ["server"],
        "security": [],
        "responses": {
            "200": _json("OK", {"type": "object"}, {"ready": {"status": "ok", "not_ready": []}}),
            "503": _json(
                "Service Unavailable", {"type": "object"}, {"not": {"status": "not_ready", "not_ready": ["database"]}}
            ),
        },
    },
)
document_view(
    "docs-asset",
    "GET",
    {
        "operationId": "docs_asset",
        "summary": "A file of the documentation page",
        "tags": ["server"],
        "security": [],
        "parameters": [
            {
                "name": "name",
                "in": "path",
                "required": True,
                "schema": {"enum": ["start.js", "swagger-ui.css", "swagger-ui-bundle.js"]},
            }
        ],
        "responses": {
            "200": {
                "description": "OK",
                "content": {
                    "text/javascript": {"schema": {"type": "string"}},
                    "text/css": {"schema": {"type": "string"}},
                },
            },
            **problem_responses([(404, "NOT_FOUND")]),
        },
    },
)
