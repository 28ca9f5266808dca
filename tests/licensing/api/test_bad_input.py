"""Bad input to every POST of the plugin API: the right 4xx problem naming the field, never a 500, never a write."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from django.http import HttpResponse
from pytest_django import DjangoAssertNumQueries

from licensing.core.models import AuditEvent, OutboxEvent
from licensing.crypto.keys import generate_key
from licensing.models import Installation, Plugin
from tests.licensing.api.driver import PluginApi, answer, asked, code_of
from tests.licensing.cast import Cast
from tests.licensing.conftest import Clock

pytestmark = [pytest.mark.django_db]

KIB = 1024


def _rows() -> list[int]:
    return [model.objects.count() for model in (Installation, AuditEvent, OutboxEvent)]


def _assert_problem(response: HttpResponse, status: int, code: str, field: str | None = None) -> None:
    assert (response.status_code, code_of(response)) == (status, code), response.content
    assert response["Content-Type"] == "application/problem+json"
    assert response["Cache-Control"] == "no-store"
    body = answer(response)
    assert (body["success"], body["status"], body["type"]) == (False, status, f"/docs/errors/{code}")
    assert body["detail"]
    assert body["request_id"] == response["X-Request-ID"]
    if field is not None:
        assert body["field"] == field


@pytest.fixture
def credentials(api: PluginApi, cast: Cast, clock: Clock) -> dict[str, str]:
    """For each endpoint a credential that is good, so that the body is what is wrong."""
    token = api.token(cast.acme)
    return {"authenticate": cast.acme.key, "validate": token, "refresh": token, "deactivate": token, "usage": token}


BODIES: dict[str, tuple[bytes, int, str, str | None]] = {
    "cut off": (b'{"x": 1', 400, "BAD_REQUEST", None),
    "a comma too many": (b'{"x": 1,}', 400, "BAD_REQUEST", None),
    "single quotes": (b"{'x': 1}", 400, "BAD_REQUEST", None),
    "a comment": (b'{"x": 1 /* one */}', 400, "BAD_REQUEST", None),
    "two values": (b"{} {}", 400, "BAD_REQUEST", None),
    "white space alone": (b"   ", 400, "BAD_REQUEST", None),
    "a form": (b"x=1&y=2", 400, "BAD_REQUEST", None),
    "a byte order mark": (b"\xef\xbb\xbf{}", 400, "BAD_REQUEST", None),
    "a list": (b"[]", 400, "BAD_REQUEST", None),
    "a list of the right object": (b'[{"x": 1}]', 400, "BAD_REQUEST", None),
    "a string": (b'"x"', 400, "BAD_REQUEST", None),
    "a number": (b"1", 400, "BAD_REQUEST", None),
    "null": (b"null", 400, "BAD_REQUEST", None),
    "true": (b"true", 400, "BAD_REQUEST", None),
    "a member twice": (b'{"x": 1, "x": 1}', 400, "BAD_REQUEST", "x"),
    "a member twice, once escaped": (b'{"x": 1, "\\u0078": 2}', 400, "BAD_REQUEST", "x"),
    "a member twice, deeper": (b'{"m": {"customer_id": 1, "customer_id": 2}}', 400, "BAD_REQUEST", "customer_id"),
    "NaN": (b'{"x": NaN}', 400, "BAD_REQUEST", None),
    "Infinity": (b'{"x": Infinity}', 400, "BAD_REQUEST", None),
    "-Infinity": (b'{"x": [-Infinity]}', 400, "BAD_REQUEST", None),
    "1e400": (b'{"x": 1e400}', 400, "BAD_REQUEST", None),
    "-1e400": (b'{"x": -1e400}', 400, "BAD_REQUEST", None),
    "10 to the 5000th": (b'{"x": 1%s}' % (b"0" * 5000), 400, "BAD_REQUEST", None),
    "10 to the 60000th": (b'{"x": 1%s}' % (b"0" * 60000), 400, "BAD_REQUEST", None),
    "10 to the 4000th": (b'{"x": 1%s}' % (b"0" * 4000), 400, "BAD_REQUEST", "x"),
    "two to the 63rd": (b'{"x": {"y": [9223372036854775808]}}', 400, "BAD_REQUEST", "x.y[0]"),
    "a leading zero": (b'{"x": 01}', 400, "BAD_REQUEST", None),
    "hexadecimal": (b'{"x": 0x10}', 400, "BAD_REQUEST", None),
    "NUL in a string": (b'{"x": "a\\u0000b"}', 400, "BAD_REQUEST", "x"),
    "NUL in a name": (b'{"a\\u0000b": 1}', 400, "BAD_REQUEST", "body"),
    "NUL in a list": (b'{"x": ["a", "\\u0000"]}', 400, "BAD_REQUEST", "x[1]"),
    "a NUL byte in a string": (b'{"x": "a\x00b"}', 400, "BAD_REQUEST", None),
    "a NUL byte outside": (b'{"x": 1}\x00', 400, "BAD_REQUEST", None),
    "a line break in a string": (b'{"x": "a\nb"}', 400, "BAD_REQUEST", None),
    "a lone high surrogate": (b'{"x": "\\ud800"}', 400, "BAD_REQUEST", "x"),
    "a lone low surrogate": (b'{"x": {"y": "\\udc00"}}', 400, "BAD_REQUEST", "x.y"),
    "a lone surrogate in a name": (b'{"\\ud800": 1}', 400, "BAD_REQUEST", "body"),
    "a lone surrogate in a name, twice": (b'{"\\ud800": 1, "\\ud800": 1}', 400, "BAD_REQUEST", "?"),
    "surrogates the wrong way round": (b'{"x": "\\udc00\\ud800"}', 400, "BAD_REQUEST", "x"),
    "a byte that is not UTF-8": (b'{"x": "\xff"}', 400, "BAD_REQUEST", None),
    "UTF-8 that is too long": (b'{"x": "\xc0\xaf"}', 400, "BAD_REQUEST", None),
    "a surrogate in UTF-8": (b'{"x": "\xed\xa0\x80"}', 400, "BAD_REQUEST", None),
    "UTF-8 cut off": (b'{"x": "\xe2\x82"}', 400, "BAD_REQUEST", None),
    "UTF-16": ('{"x": 1}'.encode("utf-16"), 400, "BAD_REQUEST", None),
    "seventeen deep": (b'{"x": %s%s}' % (b"[" * 17, b"]" * 17), 400, "BAD_REQUEST", None),
    "as deep as fits": (b'{"x": ' + b"[" * 32000 + b"]" * 32000 + b"}", 400, "BAD_REQUEST", None),
    "as deep as fits, never closed": (b"[" * 65536, 400, "BAD_REQUEST", None),
    "objects as deep as fits": (b'{"x":' * 10000 + b"1" + b"}" * 10000, 400, "BAD_REQUEST", None),
    "64 KiB and a byte": (b'{"x": "%s"}' % (b"a" * (64 * KIB - 8)), 413, "BODY_TOO_LARGE", None),
    "a megabyte": (b'{"x": "%s"}' % (b"a" * 1024 * KIB), 413, "BODY_TOO_LARGE", None),
    "three megabytes": (b'{"x": "%s"}' % (b"a" * 3072 * KIB), 413, "BODY_TOO_LARGE", None),
}


@pytest.mark.parametrize("name", BODIES)
def test_body(api: PluginApi, credentials: dict[str, str], name: str) -> None:
    body, status, code, field = BODIES[name]
    before = _rows()
    for endpoint, credential in credentials.items():
        _assert_problem(api.post(endpoint, body, credential=credential), status, code, field)
    assert _rows() == before


CONTENT_TYPES = {
    "none": "",
    "text": "text/plain",
    "a form": "application/x-www-form-urlencoded",
    "multipart": "multipart/form-data; boundary=x",
    "XML": "application/xml",
    "another JSON": "application/problem+json",
    "JSON and more": "application/jsonp",
    "Latin-1": "application/json; charset=iso-8859-1",
    "UTF-16": "application/json; charset=utf-16",
    "UTF-7": 'application/json; charset="utf-7"',
    "a charset nobody knows": "application/json; charset=klingon",
    "a charset that is no name": "application/json; charset=\u00e9\u00ff",
    "a charset that is a codec": "application/json; charset=zlib",
    "a charset that is a path": "application/json; charset=../../etc",
    "two charsets": "application/json; charset=latin-1; charset=utf-8",
}


@pytest.mark.parametrize("name", CONTENT_TYPES)
def test_content_type(api: PluginApi, credentials: dict[str, str], name: str) -> None:
    before = _rows()
    for endpoint, credential in credentials.items():
        headers = {"Content-Type": CONTENT_TYPES[name]}
        response = api.post(endpoint, b'{"x": 1}', credential=credential, headers=headers)
        _assert_problem(response, 415, "UNSUPPORTED_MEDIA_TYPE", "Content-Type")
    assert _rows() == before


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json",
        "Application/JSON",
        "application/json;charset=utf-8",
        'application/json; charset="UTF-8"',
        "application/json; charset=utf8; profile=x",
        "application/json ; version=1",
    ],
)
def test_content_types_that_are_json(api: PluginApi, cast: Cast, clock: Clock, content_type: str) -> None:
    response = api.authenticate(cast.acme, headers={"Content-Type": content_type})
    assert response.status_code == 200


def test_a_body_of_exactly_64_kib_is_read(api: PluginApi, cast: Cast, clock: Clock) -> None:
    body = json.dumps(asked(cast.acme, padding="")).encode()
    padded = json.dumps(asked(cast.acme, padding="a" * (64 * KIB - len(body)))).encode()
    assert len(padded) == 64 * KIB
    assert api.post("authenticate", padded, credential=cast.acme.key).status_code == 200
    response = api.post("authenticate", padded.replace(b"aaa", b"aaaa", 1), credential=cast.acme.key)
    _assert_problem(response, 413, "BODY_TOO_LARGE")


def test_sixteen_deep_is_read(api: PluginApi, cast: Cast, clock: Clock) -> None:
    deep: Any = 1
    for _ in range(15):
        deep = [deep]
    assert api.authenticate(cast.acme, unknown=deep).status_code == 200


@pytest.mark.parametrize("number", ["9223372036854775807", "-9223372036854775807", "1e308", "-0.0", "1E-400"])
def test_numbers_that_others_can_read_too(api: PluginApi, cast: Cast, clock: Clock, number: str) -> None:
    body = json.dumps(asked(cast.acme, unknown=0)).replace('"unknown": 0', f'"unknown": {number}').encode()
    assert api.post("authenticate", body, credential=cast.acme.key).status_code == 200


@pytest.mark.parametrize("encoding", ["chunked", "gzip, chunked", "identity"])
def test_a_body_without_a_length_is_not_mistaken_for_none(
    api: PluginApi, credentials: dict[str, str], encoding: str
) -> None:
    before = _rows()
    for endpoint, credential in credentials.items():
        response = api.post(endpoint, b"{}", credential=credential, headers={"Transfer-Encoding": encoding})
        _assert_problem(response, 411, "LENGTH_REQUIRED")
    assert _rows() == before


@pytest.mark.parametrize("length", ["-1", "1.5", "two", "0x10", "1_0", " 2", "²", "9" * 30])
def test_a_length_that_is_none(api: PluginApi, cast: Cast, clock: Clock, length: str) -> None:
    response = api.client.generic(
        "POST",
        "/api/plugins/authenticate",
        b"{}",
        content_type="application/json",
        headers={"Authorization": f"Bearer {cast.acme.key}"},
        CONTENT_LENGTH=length,
    )
    assert response.status_code in (400, 413)
    assert answer(response).get("field", "Content-Length") == "Content-Length"


STR = "a string"
WRONG_TYPES: dict[str, Any] = {"a number": 1, "true": True, "a list": [], "an object": {}, "a fraction": 1.5}
LONG = "a" * 40_000

# Endpoint, member (with dots), wrong value.
FIELDS: list[tuple[str, str, Any]] = [
    *(
        ("authenticate", member, value)
        for member in ("plugin_name", "plugin_version", "customer_id")
        for value in (None, *WRONG_TYPES.values(), "", LONG)
    ),
    *(("authenticate", "plugin_name", value) for value in ("a b", "-a", "a/b", "../a", "a\n", "é", "a'--", "%00")),
    *(("authenticate", "plugin_version", value) for value in ("1 0", "1/0", "1.0.0\n", "-1", "1,0")),
    *(("authenticate", "plugin_signature", value) for value in (*WRONG_TYPES.values(), LONG)),
    *(("authenticate", "metadata", value) for value in (None, 1, True, [], "text", 1.5)),
    *(("authenticate", "metadata.customer_id", value) for value in (None, *WRONG_TYPES.values(), LONG)),
    *(("authenticate", "installation", value) for value in (1, True, [], "text", 1.5)),
    *(("authenticate", "installation.fingerprint", value) for value in (None, *WRONG_TYPES.values(), "", "short")),
    *(
        ("authenticate", "installation.fingerprint", value)
        for value in ("with space", "with\ttab", "with-break\n", "möbel-machine", "anonymous:key_123", LONG)
    ),
    *(("authenticate", f"installation.{member}", value) for member in ("hostname", "os", "arch") for value in (
        None, *WRONG_TYPES.values(), LONG)),
    *(("authenticate", "nonce", value) for value in (*WRONG_TYPES.values(), "", "short", "with space", "with-break\n")),
    *(("validate", "plugin_name", value) for value in (None, *WRONG_TYPES.values(), "", LONG, "a b", "a\n")),
    *(("validate", "plugin_token", value) for value in (None, *WRONG_TYPES.values(), "", LONG, "another.one.then")),
    *(("refresh", "nonce", value) for value in (*WRONG_TYPES.values(), "", "short", LONG, "with space", "a-break-\n")),
]  # fmt: skip


def _good_body(endpoint: str, cast: Cast, token: str) -> dict[str, Any]:
    if endpoint == "authenticate":
        return asked(cast.acme, metadata={}, nonce="0123456789abcdef")
    return {"plugin_name": "console-logger", "plugin_token": token} if endpoint == "validate" else {}


def _put(body: dict[str, Any], member: str, change: Callable[[dict[str, Any], str], object]) -> None:
    *path, name = member.split(".")
    for each in path:
        body = body[each]
    change(body, name)


@pytest.mark.parametrize(("endpoint", "member", "value"), FIELDS, ids=lambda each: repr(each)[:24])
def test_a_wrong_value_is_refused_by_name(
    api: PluginApi, cast: Cast, credentials: dict[str, str], endpoint: str, member: str, value: Any
) -> None:
    body = _good_body(endpoint, cast, credentials["validate"])
    _put(body, member, lambda holder, name: holder.update({name: value}))
    before = _rows()
    response = api.post(endpoint, body, credential=credentials[endpoint])
    _assert_problem(response, 400, "BAD_REQUEST", "metadata" if member.startswith("metadata.") else member)
    assert len(answer(response)["detail"]) < 500
    assert _rows() == before


@pytest.mark.parametrize(
    ("endpoint", "member"),
    [
        ("authenticate", "plugin_name"),
        ("authenticate", "plugin_version"),
        ("authenticate", "customer_id"),
        ("authenticate", "installation.fingerprint"),
        ("validate", "plugin_name"),
        ("validate", "plugin_token"),
    ],
)
def test_a_missing_member_is_named(
    api: PluginApi, cast: Cast, credentials: dict[str, str], endpoint: str, member: str
) -> None:
    body = _good_body(endpoint, cast, credentials["validate"])
    _put(body, member, lambda holder, name: holder.pop(name))
    before = _rows()
    _assert_problem(api.post(endpoint, body, credential=credentials[endpoint]), 400, "BAD_REQUEST", member)
    assert _rows() == before


@pytest.mark.parametrize(
    ("changes", "member"),
    [({"plugin_name": "api-logger"}, "plugin_signature"), ({"installation": None}, "installation")],
)
def test_what_a_plugin_asks_for_is_named(
    api: PluginApi, cast: Cast, clock: Clock, changes: dict[str, Any], member: str
) -> None:
    Plugin.objects.filter(pk="console-logger").update(installation_required=True)
    before = _rows()
    _assert_problem(api.authenticate(cast.acme, **changes), 400, "BAD_REQUEST", member)
    assert _rows() == before


@pytest.mark.parametrize("signature", ["", "zz", "not base64!", "ab", "é", "a" * 4096, "=" * 100])
def test_a_signature_that_is_none_is_an_unknown_build(api: PluginApi, cast: Cast, clock: Clock, signature: str) -> None:
    response = api.authenticate(cast.acme, plugin_name="api-logger", plugin_signature=signature)
    _assert_problem(response, 403, "BUILD_UNKNOWN")


def test_unknown_members_are_ignored(api: PluginApi, cast: Cast, clock: Clock) -> None:
    response = api.authenticate(cast.acme, success=True, customer=None, installation={
        "fingerprint": "machine-0001", "cpu": 8, "tags": [{}]})  # fmt: skip
    assert response.status_code == 200


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW"])
@pytest.mark.parametrize("endpoint", ["authenticate", "validate", "refresh", "deactivate"])
def test_other_methods_are_not_allowed(api: PluginApi, cast: Cast, endpoint: str, method: str) -> None:
    response = api.client.generic(method, f"/api/plugins/{endpoint}", b"{}", content_type="application/json")
    assert (response.status_code, response["Allow"]) == (405, "POST")
    if method != "HEAD":
        _assert_problem(response, 405, "METHOD_NOT_ALLOWED")


class TestCredentials:
    """One credential, in one place, of the right form."""

    @pytest.mark.parametrize(
        "headers",
        [
            {},
            {"Authorization": ""},
            {"Authorization": "Bearer"},
            {"Authorization": "Bearer "},
            {"Authorization": "Basic YTpi"},
            {"X-API-Key": ""},
            {"X-API-Key": "   "},
            {"Authorization": "Bearer " + "x" * 20_000},
        ],
    )
    def test_no_key(self, api: PluginApi, cast: Cast, headers: dict[str, str]) -> None:
        response = api.post("authenticate", asked(cast.acme), headers=headers)
        _assert_problem(response, 401, "API_KEY_INVALID")
        assert response["WWW-Authenticate"].startswith("Bearer")

    @pytest.mark.parametrize("endpoint", ["validate", "refresh", "deactivate"])
    @pytest.mark.parametrize(
        "headers", [{}, {"Authorization": "Bearer "}, {"X-API-Key": "token"}, {"Authorization": "Basic YTpi"}]
    )
    def test_no_token(self, api: PluginApi, cast: Cast, endpoint: str, headers: dict[str, str]) -> None:
        response = api.post(endpoint, {}, headers=headers)
        _assert_problem(response, 401, "AUTHENTICATION_REQUIRED")
        assert response["WWW-Authenticate"] == "Bearer"

    def test_two_keys_that_differ(self, api: PluginApi, cast: Cast, clock: Clock) -> None:
        headers = {"X-API-Key": cast.globex.key}
        before = _rows()
        response = api.authenticate(cast.acme, headers=headers)
        _assert_problem(response, 400, "BAD_REQUEST", "X-API-Key")
        assert _rows() == before

    def test_the_same_key_twice(self, api: PluginApi, cast: Cast, clock: Clock) -> None:
        assert api.authenticate(cast.acme, headers={"X-API-Key": cast.acme.key}).status_code == 200

    def test_another_scheme_leaves_the_other_header(self, api: PluginApi, cast: Cast, clock: Clock) -> None:
        headers = {"Authorization": "Basic YTpi", "X-API-Key": cast.acme.key}
        assert api.post("authenticate", asked(cast.acme), headers=headers).status_code == 200

    @pytest.mark.parametrize(
        "spoil",
        [
            lambda key: key[:-1] + ("a" if key[-1] != "a" else "b"),
            lambda key: key[:10] + ("a" if key[10] != "a" else "b") + key[11:],
            lambda key: key + "0",
            lambda key: key[:-1],
            lambda key: key.upper(),
            lambda key: key.replace("km_live", "km_test"),
            lambda key: key.replace("km_live", "pat"),
            lambda key: key.replace("km_", "xx_"),
            lambda key: key[:12] + "é" + key[13:],
            lambda key: key[:12] + "\x00" + key[13:],
            lambda key: key[:12] + " " + key[13:],
            lambda key: "km_live_customer_api_key",
            lambda key: "' OR '1'='1",
            lambda key: "a" * 16_000,
        ],
    )
    def test_a_key_of_the_wrong_form_is_answered_without_a_query_of_its_own(
        self,
        api: PluginApi,
        cast: Cast,
        clock: Clock,
        django_assert_num_queries: DjangoAssertNumQueries,
        spoil: Callable[[str], str],
    ) -> None:
        with django_assert_num_queries(0):
            response = api.authenticate(cast.acme, key=spoil(cast.acme.key))
        _assert_problem(response, 401, "API_KEY_INVALID")

    def test_an_unknown_key_of_the_right_form(self, api: PluginApi, cast: Cast, clock: Clock) -> None:
        before = _rows()
        _assert_problem(api.authenticate(cast.acme, key=generate_key("km_live")), 401, "API_KEY_INVALID")
        assert _rows() == before


class TestHeaders:
    """Headers that are odd, or lie."""

    @pytest.mark.parametrize(
        "headers",
        [
            {"X-Request-ID": "mine-123"},
            {"X-Request-ID": "a" * 5000},
            {"X-Request-ID": "bad\tone é"},
            {"X-Forwarded-For": "203.0.113.9, not-an-address"},
            {"X-Forwarded-For": "fe80::1%eth0"},
            {"Accept": "text/html"},
            {"Accept-Language": "xx" * 500},
            {"Content-Encoding": "gzip"},
            {"Expect": "100-continue"},
            {"Cookie": "sessionid=\x7f; csrftoken=é"},
            {"If-Match": '"x"'},
            {"Range": "bytes=0-1"},
            {"Host": "evil.example"},
            {"X-HTTP-Method-Override": "DELETE"},
        ],
        ids=lambda each: next(iter(each)),
    )
    def test_are_no_matter(self, api: PluginApi, cast: Cast, clock: Clock, headers: dict[str, str]) -> None:
        response = api.authenticate(cast.acme, headers=headers)
        assert response.status_code == 200
        assert response["X-Request-ID"].startswith("req_")
        assert all(value not in response["X-Request-ID"] for value in headers.values())

    @pytest.mark.parametrize("forwarded", ["fe80::1%eth0", "2001:db8::1", "::ffff:203.0.113.9", "", "x", "1.2.3.4:80"])
    def test_an_address_that_a_trusted_proxy_reports_can_be_stored(
        self, api: PluginApi, cast: Cast, clock: Clock, settings: Any, forwarded: str
    ) -> None:
        settings.TRUSTED_PROXIES = ["127.0.0.1/32"]
        response = api.authenticate(cast.acme, headers={"X-Forwarded-For": forwarded})
        assert response.status_code == 200
        assert AuditEvent.objects.filter(action="plugin.authenticated", source_address__isnull=False).exists()

    @pytest.mark.parametrize("peer", ["", "fe80::1%eth0", "::1", "unix:"])
    def test_any_peer_address_can_be_stored(self, api: PluginApi, cast: Cast, clock: Clock, peer: str) -> None:
        response = api.post("authenticate", asked(cast.acme), credential=cast.acme.key, address=peer)
        assert response.status_code == 200
