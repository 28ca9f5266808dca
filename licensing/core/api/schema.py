"""OpenAPI 3.1 for every endpoint: from operations' declarations, and for plain views from what they say of themselves.

drf-spectacular walks the URLs; everything else is read from `Operation`. Shapes become components by msgspec, which
reads requests by the very same declarations.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus
from typing import Any, Final, cast

import msgspec
from django.urls import URLPattern, get_resolver
from drf_spectacular.openapi import AutoSchema

from licensing.core.api.examples import example_of
from licensing.core.api.operations import SAFE_METHODS, Operation
from licensing.core.api.routes import DOCUMENTED
from licensing.core.api.views import ApiView
from licensing.core.errors import DomainError
from licensing.core.problems import PROBLEM_CONTENT_TYPE

_GROUP: Final = re.compile(r"\(\?P<(\w+)>[^)]*\)")
_REF: Final = "#/components/schemas/{name}"
_IDEMPOTENCY: Final = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "Makes a retry safe: the work is done once, and the first answer is given again for 24 hours.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
}
_IF_MATCH: Final = {
    "name": "If-Match",
    "in": "header",
    "required": False,
    "description": "The `ETag` of the state that you mean; another state is 412.",
    "schema": {"type": "string", "maxLength": 512},
}
_IF_NONE_MATCH: Final = {
    "name": "If-None-Match",
    "in": "header",
    "required": False,
    "description": "An `ETag` that you have; the same state is 304.",
    "schema": {"type": "string", "maxLength": 512},
}
SECURITY_SCHEMES: Final = {
    "operatorKey": {"type": "http", "scheme": "bearer", "description": "An operator's key, `kmop_…`."},
    "apiKey": {"type": "http", "scheme": "bearer", "description": "A customer's API key, `km_live_…` or `km_test_…`."},
    "apiKeyHeader": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "A customer's API key."},
    "pluginToken": {"type": "http", "scheme": "bearer", "description": "A plugin token from authenticate or refresh."},
    "portalSession": {"type": "apiKey", "in": "cookie", "name": "session", "description": "A portal session."},
}

_shapes: dict[str, type[msgspec.Struct]] = {}
_plain: dict[str, dict[str, dict[str, Any]]] = {}
_examples: dict[str, dict[str, Any]] = {}
_sentences: dict[str, tuple[str, str]] = {}


class OperationSchema(AutoSchema):
    """Writes the operation object of a view's method from its `Operation`."""

    def get_operation(
        self, path: str, path_regex: str, path_prefix: str, method: str, registry: Any
    ) -> dict[str, Any] | None:
        """The OpenAPI operation object; None for a method that is no operation."""
        view = cast(ApiView, self.view)
        handler = getattr(view, method.lower(), None)
        declared: Operation | None = getattr(handler, "operation", None)
        if declared is None:
            return None
        return operation_object(
            declared,
            method=method,
            path=path,
            path_patterns=view.path_patterns,
            security=view.security,
            identifier=f"{type(view).__name__}_{method.lower()}",
            description=declared.description or (handler.__doc__ or "").strip(),
        )


def operation_object(
    declared: Operation,
    *,
    method: str,
    path: str,
    path_patterns: Mapping[str, str],
    security: Iterable[str],
    identifier: str,
    description: str,
) -> dict[str, Any]:
    """Write one operation object."""
    document: dict[str, Any] = {
        "operationId": identifier,
        "summary": declared.summary,
        "description": " ".join(description.split()),
        "tags": [_tag(path)],
        "security": [{name: []} for name in security],
        "parameters": [
            *_path_parameters(path, path_patterns),
            *_query_parameters(declared.query),
            *_header_parameters(declared, method),
        ],
        "responses": _responses(declared, method, path),
    }
    if declared.asked is not None:
        document["requestBody"] = {
            "required": not declared.asked_may_be_empty,
            "content": {"application/json": _content(declared.asked)},
        }
    return document


def document_view(name: str, method: str, document: dict[str, Any]) -> None:
    """Say what a plain view (one that is no `ApiView`) of the URL `name` does on `method`."""
    _plain.setdefault(name, {})[method.lower()] = document


def document_codes(sentences: Mapping[str, str]) -> None:
    """Say what problems of these codes tell, for their examples."""
    _sentences.update({code: ("", detail) for code, detail in sentences.items()})


def shape_reference(shape: type[msgspec.Struct]) -> dict[str, str]:
    """A reference to a shape's component, which is added to the document."""
    known = _shapes.setdefault(shape.__name__, shape)
    if known is not shape:
        raise ValueError(f"two shapes are called {shape.__name__}")
    return {"$ref": _REF.format(name=shape.__name__)}


def problem_responses(codes: Iterable[tuple[int, str]], *, success_member: bool = False) -> dict[str, Any]:
    """Response objects of problem documents, one for each status, with an example for each code."""
    found: dict[str, Any] = {}
    for status, code in codes:
        response = found.setdefault(
            str(status),
            {
                "description": HTTPStatus(status).phrase,
                "content": {PROBLEM_CONTENT_TYPE: {"schema": {"$ref": _REF.format(name="Problem")}, "examples": {}}},
            },
        )
        name = f"{code}_{status}" + ("_plugin_api" if success_member else "")
        _examples[name] = {"value": _problem_example(status, code, success_member=success_member)}
        response["content"][PROBLEM_CONTENT_TYPE]["examples"][code] = {"$ref": f"#/components/examples/{name}"}
    return found


# -- Hooks of drf-spectacular


def documented_paths(endpoints: list[tuple[str, str, str, Callable[..., Any]]]) -> list[Any]:
    """Name each path as it was written, not as its pattern reads."""
    return [(DOCUMENTED.get(regex, path), regex, method, view) for path, regex, method, view in endpoints]


def complete(result: dict[str, Any], generator: Any, request: Any, public: bool) -> dict[str, Any]:
    """Add plain views, components and security schemes."""
    for path, methods in plain_paths().items():
        result["paths"].setdefault(path, {}).update(methods)
    result["paths"] = dict(sorted(result["paths"].items()))
    _, schemas = msgspec.json.schema_components(_shapes.values(), ref_template=_REF)
    schemas["Problem"] = _PROBLEM
    result["components"] = {
        "schemas": dict(sorted(schemas.items())),
        "examples": dict(sorted(_examples.items())),
        "securitySchemes": SECURITY_SCHEMES,
    }
    return result


def plain_paths() -> dict[str, dict[str, Any]]:
    """The documented paths of plain views, from the URL table."""
    found: dict[str, dict[str, Any]] = {}
    for pattern in get_resolver().url_patterns:
        if isinstance(pattern, URLPattern) and pattern.name in _plain:
            regex = str(pattern.pattern)
            found[DOCUMENTED.get(regex, simple_path(regex))] = _plain[pattern.name]
    return found


def simple_path(regex: str) -> str:
    """The path of a pattern, such as `^private/(?P<customer_id>[^/]+)/?$`."""
    named = _GROUP.sub(r"{\1}", regex)
    return "/" + named.removeprefix("^").removesuffix("$").removesuffix(r"\Z").removesuffix("/?").replace("\\", "")


# -- Parts


def _tag(path: str) -> str:
    parts = [part for part in path.split("/") if part and not part.startswith("{")]
    match parts:
        case ["api", "manage", "customers", _, *_] if path.count("{"):
            return f"manage {parts[3]}" if len(parts) > 3 else "manage customers"
        case ["api", area, subject, *_]:
            return f"{area} {subject}"
        case ["api", subject]:
            return subject
    return "server"


def _path_parameters(path: str, patterns: Mapping[str, str]) -> list[dict[str, Any]]:
    names = [part[1:-1] for part in path.split("/") if part.startswith("{")]
    return [
        {
            "name": name,
            "in": "path",
            "required": True,
            "schema": {
                "type": "string",
                "pattern": patterns.get(name, "^[A-Za-z0-9][A-Za-z0-9_.:+-]{0,127}$"),
                "maxLength": 128,
            },
        }
        for name in names
    ]


def _query_parameters(query: type[msgspec.Struct]) -> list[dict[str, Any]]:
    found = []
    for field in msgspec.structs.fields(query):
        schema = msgspec.json.schema(field.type)
        if "anyOf" in schema:
            # A parameter that is left out is simply not there; `null` cannot be written in a query.
            (schema,) = [each for each in schema["anyOf"] if each != {"type": "null"}]
        if field.default not in (msgspec.NODEFAULT, None, ""):
            schema["default"] = field.default
        description = schema.pop("description", None)
        parameter = {"name": field.encode_name, "in": "query", "required": field.required, "schema": schema}
        found.append(parameter | ({"description": description} if description else {}))
    return found


def _header_parameters(declared: Operation, method: str) -> list[dict[str, Any]]:
    if method == "POST":
        return [_IDEMPOTENCY]
    if method in SAFE_METHODS:
        return [] if declared.is_list or 200 not in declared.answers else [_IF_NONE_MATCH]
    return [_IF_MATCH] if declared.is_conditional else []


def _responses(declared: Operation, method: str, path: str) -> dict[str, Any]:
    responses = {
        str(status): _answer(declared, status, shape, method) for status, shape in sorted(declared.answers.items())
    }
    if method in SAFE_METHODS and not declared.is_list and declared.answers.get(200) is not None:
        responses["304"] = {"description": "You have it already."}
    return responses | problem_responses(_problems(declared, method, path))


def _answer(declared: Operation, status: int, shape: type[msgspec.Struct] | None, method: str) -> dict[str, Any]:
    response: dict[str, Any] = {"description": HTTPStatus(status).phrase, "headers": _headers(declared, status, method)}
    if declared.is_list and shape is not None:
        response["content"] = {"application/json": _page(shape)}
    elif shape is not None:
        response["content"] = {"application/json": _content(shape)}
    elif status == 200:
        response["content"] = {name: {"schema": {"type": "string"}} for name in declared.media_types}
    return response


def _headers(declared: Operation, status: int, method: str) -> dict[str, Any]:
    headers: dict[str, Any] = {"X-Request-ID": {"schema": {"type": "string"}, "description": "Name it to support."}}
    if status == 201:
        headers["Location"] = {"schema": {"type": "string"}, "description": "Where the thing is."}
    if not declared.is_list and status in (200, 201):
        headers["ETag"] = {"schema": {"type": "string"}, "description": "For If-Match and If-None-Match."}
    if method == "POST":
        headers["Idempotent-Replayed"] = {"schema": {"type": "string"}, "description": "`true` on a repeated answer."}
    return headers


def _page(shape: type[msgspec.Struct]) -> dict[str, Any]:
    return {
        "schema": {
            "type": "object",
            "required": ["results", "next"],
            "properties": {
                "results": {"type": "array", "items": shape_reference(shape)},
                "next": {"type": ["string", "null"], "description": "URL of the next page; null on the last."},
            },
        },
        "examples": {"page": {"value": {"results": [example_of(shape)], "next": None}}},
    }


def _content(shape: type[msgspec.Struct]) -> dict[str, Any]:
    return {"schema": shape_reference(shape), "examples": {shape.__name__: {"value": example_of(shape)}}}


def _problems(declared: Operation, method: str, path: str) -> list[tuple[int, str]]:
    """Everything that any operation of this kind may refuse with, and what this one adds."""
    found = [(400, "BAD_REQUEST"), (401, "AUTHENTICATION_REQUIRED"), (403, "PERMISSION_MISSING")]
    if "/api/account/" in path:
        found += [(401, "API_KEY_INVALID"), (403, "SCOPE_MISSING"), (403, "CUSTOMER_SUSPENDED")]
    if "{" in path:
        found.append((404, "NOT_FOUND"))
    if declared.asked is not None:
        found += [(400, "INVALID_VALUE"), (411, "LENGTH_REQUIRED"), (413, "BODY_TOO_LARGE")]
        found.append((415, "UNSUPPORTED_MEDIA_TYPE"))
    if method not in SAFE_METHODS:
        found.append((409, "CONFLICT"))
    if method == "POST":
        found += [(409, "IDEMPOTENCY_KEY_IN_USE"), (422, "IDEMPOTENCY_KEY_REUSED")]
    if declared.is_conditional:
        found.append((412, "PRECONDITION_FAILED"))
    found += [*declared.problems, (429, "RATE_LIMITED"), (503, "SERVICE_UNAVAILABLE")]
    return sorted(dict.fromkeys(found))


def _problem_example(status: int, code: str, *, success_member: bool) -> dict[str, Any]:
    title, detail = _sentence(code)
    example: dict[str, Any] = {
        "type": f"/docs/errors/{code}",
        "title": title or HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "code": code,
        "request_id": "req_5f2c9e0b7a1d4c3e8f60",
    }
    if code == "BAD_REQUEST":
        errors = [{"field": "name", "detail": "This field is required."}]
        example |= {"detail": "name: This field is required.", "field": "name", "errors": errors}
    elif code == "INVALID_VALUE":
        example |= {"detail": "name: give it a name.", "field": "name"}
    return {"success": False, **example} if success_member else example


def _sentence(code: str) -> tuple[str, str]:
    """The title and sentence that a problem of this code has, unless it says more."""
    if code not in _sentences:
        pending: list[type[DomainError]] = [DomainError]
        while pending:
            kind = pending.pop()
            pending += kind.__subclasses__()
            _sentences.setdefault(kind.code, (kind.title, f"{kind.title}."))
    return _sentences.get(code, ("", "The error has been recorded under the request id."))


_PROBLEM: Final = {
    "title": "Problem",
    "description": "What went wrong (RFC 9457). `code` is stable; each has a page under /docs/errors/.",
    "type": "object",
    "required": ["type", "title", "status", "detail", "code", "request_id"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "code": {"type": "string", "pattern": "^[A-Z_]+$"},
        "request_id": {"type": "string"},
        "success": {"const": False, "description": "On the plugin API alone."},
        "field": {"type": "string", "description": "What is at fault, where one thing is."},
        "server_time": {
            "type": "string",
            "format": "date-time",
            "description": "The server's clock, where the caller's is what is wrong (`PROOF_INVALID`).",
        },
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["field", "detail"],
                "properties": {"field": {"type": "string"}, "detail": {"type": "string"}},
            },
        },
    },
}
