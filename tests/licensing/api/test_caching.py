"""What may be kept by a cache (DESIGN §5): public keys and documents of the server, its assets, and nothing else."""

import pytest
from django.test import Client

from licensing.api.discovery import _PUBLIC
from tests.licensing.cast import Cast

pytestmark = pytest.mark.django_db

DOCUMENTS = [
    "/.well-known/jwks.json",
    "/.well-known/keywright",
    "/.well-known/keywright-keys",
    "/.well-known/keywright-authority",
]
NOT_KEPT = {
    "no such asset": ("GET", "/static/none.css", 404),
    "a post to an asset": ("POST", "/static/portal/portal.css", 405),
    "outside of the assets": ("GET", "/static/../manage.py", 404),
    "no such page": ("GET", "/none", 404),
    "no such path of the API": ("GET", "/api/none", 404),
    "no such document": ("GET", "/.well-known/none", 404),
    "a method that a document has not": ("POST", "/.well-known/jwks.json", 405),
    "a method that the plugin API has not": ("GET", "/api/plugins/authenticate", 405),
    "a page for the signed in": ("GET", "/account", 302),
    "a sign-in page": ("GET", "/account/login", 200),
    "nobody at the management API": ("GET", "/api/manage/customers/", 401),
    "nobody at the account API": ("GET", "/api/account/customer", 401),
    "nobody at the registry": ("GET", "/api/registry/plugins", 401),
    "nobody at a private registry": ("GET", "/private/cust_123/", 401),
    "no such asset of the documentation": ("GET", "/api/docs/assets/none.js", 404),
    "liveness": ("GET", "/livez", 200),
    "metrics for a stranger": ("GET", "/metrics", 404),
}


@pytest.fixture
def client() -> Client:
    return Client(raise_request_exception=False)


@pytest.mark.parametrize("name", NOT_KEPT)
def test_no_cache_keeps(client: Client, cast: Cast, name: str) -> None:
    method, path, status = NOT_KEPT[name]
    response = client.generic(method, path, REMOTE_ADDR="203.0.113.9")
    assert response.status_code == status
    assert "no-store" in response["Cache-Control"]


@pytest.mark.parametrize("path", ["/api/manage/customers/", "/account/login", "/none", "/livez"])
def test_no_cache_keeps_what_came_of_a_foreign_host(client: Client, cast: Cast, path: str) -> None:
    response = client.get(path, headers={"Host": "evil.example"})
    assert response.status_code in (200, 400, 401)
    assert response["Cache-Control"] == "no-store"


@pytest.mark.parametrize("slash", ["", "/"])
@pytest.mark.parametrize("path", DOCUMENTS)
def test_documents_are_kept_under_both_forms_of_their_path(client: Client, cast: Cast, path: str, slash: str) -> None:
    response = client.get(path + slash)
    assert (response.status_code, response["Cache-Control"]) == (200, _PUBLIC)
    assert response.content == client.get(path).content


def test_assets_are_kept(client: Client, db: None) -> None:
    response = client.get("/static/portal/portal.css")
    response.close()
    assert response.status_code == 200
    assert "no-store" not in response["Cache-Control"]
    assert "max-age" in response["Cache-Control"]
