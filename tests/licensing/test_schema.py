"""`/api/schema`: every endpoint is in it, every example is what its schema says, every code has a page."""

import json
import re
from pathlib import Path

import msgspec
import pytest
from django.test import Client
from django.urls import URLResolver, get_resolver

from licensing.core.api import schema as core_schema
from licensing.core.api.examples import example_of
from licensing.core.api.routes import DOCUMENTED
from licensing.core.api.shapes import convert
from licensing.core.errors import DomainError
from licensing.rules import codes

ROOT = Path(__file__).resolve().parents[2]
PAGES = ROOT / "docs" / "errors"


@pytest.fixture(scope="module")
def document() -> dict:
    return json.loads(Client().get("/api/schema").content)


def test_it_is_openapi_3_1_and_public_and_cached(document):
    response = Client().get("/api/schema/")
    assert (response.status_code, response["Content-Type"]) == (200, "application/vnd.oai.openapi+json")
    assert document["openapi"].startswith("3.1")
    assert Client().get("/api/schema", headers={"If-None-Match": response["ETag"]}).status_code == 304


def test_every_endpoint_of_the_server_is_in_it(document):
    missing = []
    for pattern in get_resolver().url_patterns:
        if isinstance(pattern, URLResolver):
            continue
        regex = str(pattern.pattern)
        path = DOCUMENTED.get(regex, core_schema.simple_path(regex))
        if path.startswith(("/api", "/.well-known", "/livez", "/readyz", "/metrics", "/private")):
            missing += [path] if path not in document["paths"] else []
    assert missing == []


def test_every_operation_says_what_it_refuses(document):
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            where = f"{method.upper()} {path}"
            assert operation["summary"], where
            assert operation["operationId"], where
            responses = operation["responses"]
            if operation["security"]:
                assert "401" in responses, where
            if "requestBody" in operation:
                assert {"400", "413"} <= responses.keys(), where
            for status, response in responses.items():
                if int(status) >= 400 and path != "/readyz":
                    assert "application/problem+json" in response["content"], where


def test_operation_ids_are_unique(document):
    ids = [operation["operationId"] for methods in document["paths"].values() for operation in methods.values()]
    assert len(ids) == len(set(ids))


def test_every_reference_leads_somewhere(document):
    text = json.dumps(document)
    for kind, name in set(re.findall(r'"#/components/(\w+)/([^"]+)"', text)):
        assert name in document["components"][kind]


def test_every_example_is_accepted_by_its_shape(document):
    shapes = dict(core_schema._shapes)
    assert len(shapes) > 40
    for name, shape in shapes.items():
        if shape.__module__.startswith(("licensing", "accounts")):
            assert json.loads(msgspec.json.encode(convert(example_of(shape), shape))) is not None, name


def test_every_code_has_a_page_and_every_page_a_code(document):
    pending, known = [DomainError], set(codes.DETAILS) - {codes.VALID}
    while pending:
        kind = pending.pop()
        pending += kind.__subclasses__()
        if kind.__module__.split(".")[0] in ("licensing", "accounts", "registry", "build_farm"):
            known.add(kind.code)
    known |= set(re.findall(r'"code": "([A-Z_]+)"', json.dumps(document["components"]["examples"])))
    known.add("INTERNAL_ERROR")
    pages = {page.stem for page in PAGES.glob("*.md")} - {"README"}
    assert known - pages == set()
    assert pages - known == set()
    for page in PAGES.glob("*.md"):
        assert page.read_text(encoding="utf-8").startswith("# ")


def test_the_page_loads_nothing_from_elsewhere_and_runs_no_inline_script():
    response = Client().get("/api/docs")
    page = response.content.decode()
    assert "script-src 'self'" in response["Content-Security-Policy"]
    assert not re.search(r"<script(?![^>]*src=)", page)
    assets = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert assets
    for asset in assets:
        assert asset.startswith("/"), asset
        assert Client().get(asset).status_code == 200
    assert Client().get("/api/docs/assets/..%2f..%2fLICENSE").status_code == 404
