"""Anything at all in a body or header: never a 5xx, and every refusal is a problem document."""

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from licensing.core.models import AuditEvent
from licensing.models import Installation
from tests.licensing.api.driver import PluginApi, answer, asked
from tests.licensing.cast import Cast
from tests.licensing.conftest import Clock

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("clock")]

anything = settings(
    max_examples=60,
    deadline=None,
    database=None,
    # The cast and the clock are the same for every example, on purpose.
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=40)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)
MEMBERS = (
    "plugin_name",
    "plugin_version",
    "plugin_signature",
    "customer_id",
    "metadata",
    "installation",
    "nonce",
    "plugin_token",
)
header_text = st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=60)


def _assert_answered(api: PluginApi, endpoint: str, body: bytes, credential: str, headers: dict[str, str]) -> None:
    response = api.post(endpoint, body, credential=credential, headers=headers)
    assert response.status_code < 500, response.content
    said = answer(response)
    if response.status_code >= 400:
        assert response["Content-Type"] == "application/problem+json"
        assert said.keys() >= {"type", "title", "status", "detail", "code", "request_id", "success"}
        assert (said["success"], said["status"]) == (False, response.status_code)


@pytest.fixture
def token(api: PluginApi, cast: Cast, clock: Clock) -> str:
    return api.token(cast.acme)


@pytest.mark.parametrize("endpoint", ["authenticate", "validate", "refresh", "deactivate"])
@given(value=values)
@anything
def test_any_json(api: PluginApi, cast: Cast, token: str, endpoint: str, value: Any) -> None:
    credential = cast.acme.key if endpoint == "authenticate" else token
    _assert_answered(api, endpoint, json.dumps(value).encode("utf-8", "surrogatepass"), credential, {})


@given(changes=st.dictionaries(st.sampled_from(MEMBERS), values, min_size=1, max_size=3))
@anything
def test_any_value_of_any_member(api: PluginApi, cast: Cast, token: str, changes: dict[str, Any]) -> None:
    authenticate = asked(cast.acme) | changes
    _assert_answered(api, "authenticate", json.dumps(authenticate).encode(), cast.acme.key, {})
    validate = {"plugin_name": "console-logger", "plugin_token": token} | changes
    _assert_answered(api, "validate", json.dumps(validate).encode(), token, {})


@given(
    plugin_name=st.from_regex(r"\A[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z"),
    plugin_version=st.from_regex(r"\A[0-9A-Za-z][0-9A-Za-z.+-]{0,63}\Z"),
    fingerprint=st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=8, max_size=128),
    hostname=st.text(max_size=255),
    metadata=st.dictionaries(st.text(max_size=20), st.text(max_size=40), max_size=4),
    signature=st.none() | st.text(max_size=200),
)
@anything
def test_any_request_of_the_right_shape(api: PluginApi, cast: Cast, **members: Any) -> None:
    fingerprint, hostname = members.pop("fingerprint"), members.pop("hostname")
    signature = members.pop("signature")
    body = asked(cast.acme, installation={"fingerprint": fingerprint, "hostname": hostname}, **members)
    if signature is not None:
        body["plugin_signature"] = signature
    _assert_answered(api, "authenticate", json.dumps(body).encode(), cast.acme.key, {})


@given(body=st.binary(max_size=200))
@anything
def test_any_bytes(api: PluginApi, cast: Cast, token: str, body: bytes) -> None:
    _assert_answered(api, "authenticate", body, cast.acme.key, {})
    _assert_answered(api, "refresh", body, token, {})


@given(
    credential=header_text,
    headers=st.dictionaries(
        st.sampled_from(
            [
                "X-API-Key",
                "Content-Type",
                "X-Request-ID",
                "X-Forwarded-For",
                "X-Keywright-Proof",
                "X-Keywright-Timestamp",
                "X-Keywright-Nonce",
                "Transfer-Encoding",
                "Cookie",
                "Accept",
            ]
        ),
        header_text,
        max_size=5,
    ),
)
@anything
def test_any_headers(api: PluginApi, cast: Cast, credential: str, headers: dict[str, str]) -> None:
    body = json.dumps(asked(cast.acme)).encode()
    _assert_answered(api, "authenticate", body, credential, headers)
    _assert_answered(api, "authenticate", body, cast.acme.key, headers)


@given(token=st.from_regex(r"\A[A-Za-z0-9_-]{1,40}\.[A-Za-z0-9_-]{1,40}\.[A-Za-z0-9_-]{1,86}\Z"))
@anything
def test_any_token(api: PluginApi, cast: Cast, token: str) -> None:
    before = Installation.objects.count(), AuditEvent.objects.count()
    validated = api.validate(token)
    assert (validated.status_code, answer(validated)["code"]) == (200, "TOKEN_INVALID")
    assert api.refresh(token).status_code == 401
    assert (Installation.objects.count(), AuditEvent.objects.count()) == before
