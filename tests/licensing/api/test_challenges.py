"""What a 401 challenges with (RFC 6750, 3.1): an error where a credential is no good, none where there was none."""

from typing import Any

import pytest
from django.http import HttpResponse

from licensing.crypto.keys import generate_key
from tests.licensing.api.driver import PluginApi, asked
from tests.licensing.cast import Cast

pytestmark = pytest.mark.django_db

PLAIN, WITH_ERROR = "Bearer", 'Bearer error="invalid_token"'
POSTS = ["authenticate", "refresh", "deactivate", "usage", "report"]
READS = ["/api/manage/customers/", "/api/account/customer", "/api/registry/plugins", "/api/builds"]
UNKNOWN = {
    "/api/manage/customers/": "kmop",
    "/api/account/customer": "km_live",
    "/api/registry/plugins": "km_live",
    "/api/builds": "km_live",
}
TOO_LONG = "x" * 20_000


def sent(endpoint: str, cast: Cast) -> dict[str, Any]:
    if endpoint == "usage":
        return {"batch_id": "batch-0001", "events": [{"feature": "api_logging"}]}
    return {"type": "tampering", "plugin_name": "api-logger"} if endpoint == "report" else asked(cast.acme)


def assert_challenge(response: HttpResponse, challenge: str) -> None:
    assert (response.status_code, response["WWW-Authenticate"]) == (401, challenge)


@pytest.mark.parametrize("endpoint", [*POSTS, "validate"])
@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer "}, {"Authorization": "Basic YTpi"}])
def test_the_plugin_api_without_a_credential(
    api: PluginApi, cast: Cast, endpoint: str, headers: dict[str, str]
) -> None:
    assert_challenge(api.post(endpoint, sent(endpoint, cast), headers=headers), PLAIN)


@pytest.mark.parametrize("endpoint", POSTS)
@pytest.mark.parametrize("credential", ["nonsense", "a.b.c", TOO_LONG, generate_key("km_live")], ids=lambda it: it[:8])
def test_the_plugin_api_with_a_bad_one(api: PluginApi, cast: Cast, endpoint: str, credential: str) -> None:
    assert_challenge(api.post(endpoint, sent(endpoint, cast), credential=credential), WITH_ERROR)


@pytest.mark.parametrize("path", READS)
def test_the_other_apis(api: PluginApi, cast: Cast, path: str) -> None:
    assert_challenge(api.client.get(path), PLAIN)
    for credential in ("nonsense", TOO_LONG, generate_key(UNKNOWN[path])):
        assert_challenge(api.client.get(path, headers={"Authorization": f"Bearer {credential}"}), WITH_ERROR)
