"""The plugin API on the wire: a real Granian, the database role `web`, and bytes that no client library would send."""

import http.client
import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from pytest_django import DjangoDbBlocker

from licensing.models import Installation
from tests.licensing.api.driver import asked, signed
from tests.licensing.api.web_server import WebServer, web_server
from tests.licensing.cast import Cast, Member

pytestmark = [pytest.mark.django_db]

PATH = "/api/plugins/authenticate"


@pytest.fixture(scope="module")
def server(
    cast: Cast, django_db_blocker: DjangoDbBlocker, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[WebServer]:
    log = tmp_path_factory.mktemp("web") / "web.log"
    with django_db_blocker.unblock():
        context = web_server(log)
        running = context.__enter__()
    yield running
    context.__exit__(None, None, None)
    assert_no_secret_in(log, cast)


def assert_no_secret_in(log: Path, cast: Cast) -> None:
    written = log.read_text("utf-8", "replace")
    assert PATH in written, "the log has a line for each request"
    assert "Traceback" not in written
    assert "eyJ" not in written, "tokens and leases begin like that"
    for member in (cast.acme, cast.globex, cast.initech):
        for secret in (member.key, member.build.signature.hex(), member.build.secret.hex()):
            assert secret not in written


class Answer:
    """One response, parsed."""

    def __init__(self, raw: bytes) -> None:
        head, _, self.body = raw.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        self.status = int(lines[0].split()[1])
        self.headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:])}

    @property
    def json(self) -> dict[str, Any]:
        """Its body."""
        parsed: dict[str, Any] = json.loads(self.body)
        return parsed


def request(
    member: Member,
    body: bytes | None = None,
    *,
    path: str | bytes = PATH,
    method: bytes = b"POST",
    headers: tuple[bytes, ...] = (),
    length: bool = True,
    version: bytes = b"HTTP/1.1",
    key: bool = True,
    kept: bool = False,
) -> bytes:
    """The bytes of a request that would be granted, but for what is asked for."""
    body = json.dumps(asked(member)).encode() if body is None else body
    lines = [
        b" ".join((method, path.encode() if isinstance(path, str) else path, version)),
        b"Host: testserver",
        *([b"Authorization: Bearer " + member.key.encode()] if key else []),
        *([b"Content-Length: %d" % len(body)] if length else []),
        *(
            ()
            if any(each.lower().startswith(b"content-type") for each in headers)
            else (b"Content-Type: application/json",)
        ),
        *headers,
        *(() if kept else (b"Connection: close",)),
    ]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def chunked(body: bytes) -> bytes:
    return b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)


def assert_refused(raw: bytes, statuses: tuple[int, ...] = (400, 411, 413, 415)) -> None:
    """A 4xx, ours as a problem document or the server's own, or the connection cut; and never a 500."""
    if not raw:
        return
    answer = Answer(raw)
    assert answer.status in statuses, raw[:300]


class TestASeedsDay:
    """Every endpoint, as the database role `web`, through the path that production takes."""

    def test_authenticate_validate_refresh_deactivate(self, server: WebServer, cast: Cast) -> None:
        member = cast.acme
        with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)) as connection:

            def post(endpoint: str, credential: str, body: object = None) -> tuple[int, dict[str, Any]]:
                headers = {"Authorization": f"Bearer {credential}", "Content-Type": "application/json"}
                raw = b"" if body is None else json.dumps(body).encode()
                connection.request("POST", f"/api/plugins/{endpoint}", raw, headers)
                response = connection.getresponse()
                assert response.headers["X-Request-ID"].startswith("req_")
                assert response.headers["Cache-Control"] == "no-store"
                assert response.headers["Content-Length"]
                return response.status, json.loads(response.read())

            status, granted = post("authenticate", member.key, asked(member, **signed(member)))
            assert (status, granted["success"]) == (200, True)
            token = granted["token"]
            body = {"plugin_name": "api-logger", "plugin_token": token}
            assert post("validate", token, body)[1]["code"] == "VALID"
            status, refreshed = post("refresh", token)
            assert (status, refreshed["installation_id"]) == (200, granted["installation_id"])
            assert post("deactivate", refreshed["token"]) == (
                200,
                {"success": True, "installation_id": granted["installation_id"], "released": True},
            )
            assert post("validate", token, body)[1]["code"] == "TOKEN_REVOKED"
            assert post("authenticate", cast.globex.key, asked(member))[1]["code"] == "CUSTOMER_MISMATCH"

    @pytest.mark.parametrize("path", ["/livez", "/readyz", "/.well-known/jwks.json", "/.well-known/keywright-keys"])
    def test_what_anyone_may_ask(self, server: WebServer, path: str) -> None:
        raw = server.exchange(b"GET %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" % path.encode())
        assert Answer(raw).status == 200


class TestBodies:
    """Chunks and lengths."""

    @pytest.mark.parametrize("endpoint", ["authenticate", "validate", "refresh", "deactivate", "usage"])
    def test_a_chunked_body_is_never_an_empty_one(self, server: WebServer, cast: Cast, endpoint: str) -> None:
        headers = (b"Transfer-Encoding: chunked",)
        raw = server.exchange(
            request(cast.acme, chunked(b"{}"), path=f"/api/plugins/{endpoint}", headers=headers, length=False)
        )
        answer = Answer(raw)
        assert (answer.status, answer.json["code"]) == (411, "LENGTH_REQUIRED")

    def test_the_connection_is_in_step_after_a_chunked_body(self, server: WebServer, cast: Cast) -> None:
        """What stood in the refused body is not taken for the next request."""
        smuggled = b"GET /.well-known/jwks.json HTTP/1.1\r\nHost: testserver\r\n\r\n"
        first = request(cast.acme, chunked(smuggled), headers=(b"Transfer-Encoding: chunked",), length=False, kept=True)
        second = b"GET /livez HTTP/1.1\r\nHost: testserver\r\nConnection: close\r\n\r\n"
        raw = server.exchange(first + second)
        assert raw.count(b"HTTP/1.1 ") <= 2
        assert b"HTTP/1.1 411" in raw
        assert b'"keys"' not in raw

    def test_the_connection_is_in_step_after_a_body_that_is_too_large(self, server: WebServer, cast: Cast) -> None:
        body = b"GET /.well-known/jwks.json HTTP/1.1\r\nHost: testserver\r\n\r\n" * 2000
        raw = server.exchange(
            request(cast.acme, body, kept=True) + b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        )
        assert Answer(raw).status == 413
        assert b'"keys"' not in raw

    def test_a_length_and_chunks_at_once(self, server: WebServer, cast: Cast) -> None:
        headers = (b"Transfer-Encoding: chunked", b"Content-Length: 3")
        assert_refused(server.exchange(request(cast.acme, chunked(b"{}"), headers=headers, length=False)))

    @pytest.mark.parametrize("length", [b"2, 3", b"-1", b"+2", b"0x2", b"two", b"99999999999999999999", b""])
    def test_a_length_that_is_none(self, server: WebServer, cast: Cast, length: bytes) -> None:
        raw = server.exchange(
            request(cast.acme, b"{}", headers=(b"Content-Length: " + length,), length=False), half_close=True
        )
        assert_refused(raw)

    def test_two_lengths_that_differ(self, server: WebServer, cast: Cast) -> None:
        headers = (b"Content-Length: 2", b"Content-Length: 3")
        assert_refused(server.exchange(request(cast.acme, b"{} ", headers=headers, length=False)))

    def test_a_body_shorter_than_its_length(self, server: WebServer, cast: Cast) -> None:
        raw = server.exchange(
            request(cast.acme, b"{}", headers=(b"Content-Length: 200",), length=False), half_close=True
        )
        assert_refused(raw)

    def test_no_length_and_no_body(self, server: WebServer, cast: Cast) -> None:
        answer = Answer(server.exchange(request(cast.acme, b"", length=False)))
        assert (answer.status, answer.json["code"]) == (400, "BAD_REQUEST")

    def test_a_body_asked_for_first(self, server: WebServer, cast: Cast) -> None:
        raw = server.exchange(request(cast.acme, headers=(b"Expect: 100-continue",)))
        assert b" 200 OK" in raw

    def test_64_kib_and_more(self, server: WebServer, cast: Cast) -> None:
        body = json.dumps(asked(cast.acme, padding="")).encode()
        fits = json.dumps(asked(cast.acme, padding="a" * (65536 - len(body)))).encode()
        assert Answer(server.exchange(request(cast.acme, fits))).status == 200
        answer = Answer(server.exchange(request(cast.acme, fits + b" ")))
        assert (answer.status, answer.json["code"]) == (413, "BODY_TOO_LARGE")


class TestHeaders:
    """Header bytes of every kind."""

    @pytest.mark.parametrize(
        ("header", "status"),
        [
            (b"Content-Type: application/json; charset=\xe9\xff", 415),
            (b"Content-Type: \xff\xfe", 415),
            (b"Content-Type: application/json; charset=" + b"a" * 4000, 415),
            (b"X-Request-ID: \xe9\xff", 200),
            (b"X-Forwarded-For: \xff, fe80::1%eth0", 200),
            (b"Cookie: \xff=\xfe; a", 200),
            (b"X-Keywright-Proof: \xe9", 403),
            (b"Accept-Encoding: \xff", 200),
        ],
    )
    def test_bytes_beyond_ascii(self, server: WebServer, cast: Cast, header: bytes, status: int) -> None:
        assert Answer(server.exchange(request(cast.acme, headers=(header,)))).status == status

    @pytest.mark.parametrize(
        "header",
        [
            b"X-A: a\x00b",
            b"X A: 1",
            b": 1",
            b"X-A\x00: 1",
            b"no colon",
            b" folded",
            b"X-A : 1",
        ],
        ids=lambda header: repr(header[:12]),
    )
    def test_what_is_no_header(self, server: WebServer, cast: Cast, header: bytes) -> None:
        assert_refused(server.exchange(request(cast.acme, headers=(header,))), (400, 431))

    @pytest.mark.parametrize("name", [b"Authorization", b"X-API-Key"])
    def test_two_keys_are_none(self, server: WebServer, cast: Cast, name: bytes) -> None:
        bearer = b"Bearer " if name == b"Authorization" else b""
        headers = tuple(name + b": " + bearer + key.encode() for key in (cast.acme.key, cast.globex.key))
        answer = Answer(server.exchange(request(cast.acme, headers=headers, key=False)))
        assert answer.status in (400, 401)
        assert answer.json["success"] is False

    def test_a_key_beyond_ascii(self, server: WebServer, cast: Cast) -> None:
        headers = (b"Authorization: Bearer \xe9\xff",)
        answer = Answer(server.exchange(request(cast.acme, headers=headers, key=False)))
        assert (answer.status, answer.json["code"]) == (401, "API_KEY_INVALID")

    def test_names_in_any_letters(self, server: WebServer, cast: Cast) -> None:
        headers = (b"aUtHoRiZaTiOn: bearer " + cast.acme.key.encode(),)
        assert Answer(server.exchange(request(cast.acme, headers=headers, key=False))).status == 200


class TestTargets:
    """Request lines."""

    @pytest.mark.parametrize(
        "path",
        [
            "//api/plugins/authenticate",
            "/api/plugins/authenticate//",
            "/api/plugins/authenticate%00",
            "/api/plugins/authenticate%0a",
            "/API/plugins/authenticate",
            "/api/plugins/../plugins/authenticate",
            "/api/plugins/auth%FFenticate",
            "/api/plugins/" + "a" * 5000,
        ],
        ids=lambda path: path[:30],
    )
    def test_other_paths_are_other_things(self, server: WebServer, cast: Cast, path: str) -> None:
        assert Answer(server.exchange(request(cast.acme, path=path))).status == 404

    @pytest.mark.parametrize("path", [f"{PATH}/", f"{PATH}?x=1&y=%FF", "/api/plugins/%61uthenticate"])
    def test_the_same_path_written_otherwise(self, server: WebServer, cast: Cast, path: str) -> None:
        assert Answer(server.exchange(request(cast.acme, path=path))).status == 200

    @pytest.mark.parametrize("method", [b"GET", b"HEAD", b"PUT", b"DELETE", b"OPTIONS", b"TRACE", b"BREW", b"PRI"])
    def test_other_methods(self, server: WebServer, cast: Cast, method: bytes) -> None:
        answer = Answer(server.exchange(request(cast.acme, method=method)))
        assert answer.status in (405, 400)
        if answer.status == 405:
            assert answer.headers["allow"] == "POST"

    @pytest.mark.parametrize(
        "line", [b"POST", b"POST /", b"POST / HTTP/9.9", b"\x16\x03\x01\x02\x00\x01\x00", b"\x00" * 64]
    )
    def test_what_is_no_request(self, server: WebServer, line: bytes) -> None:
        raw = server.exchange(line + b"\r\n\r\n", half_close=True)
        assert_refused(raw, (400, 404, 405, 505))

    def test_http_1_0_without_a_host(self, server: WebServer, cast: Cast) -> None:
        raw = request(cast.acme, version=b"HTTP/1.0").replace(b"Host: testserver\r\n", b"")
        assert Answer(server.exchange(raw)).status == 200


def test_nothing_that_was_refused_left_a_trace(server: WebServer, cast: Cast) -> None:
    before = Installation.objects.count()
    for body in (b"{", b"[]", b'{"plugin_name": "console-logger"}', b"\xff", b"\x00"):
        assert Answer(server.exchange(request(cast.acme, body))).status == 400
    assert Installation.objects.count() == before


def test_missing_and_hidden_are_the_same_bytes(server: WebServer, cast: Cast) -> None:
    def seen(plugin: str) -> bytes:
        raw = server.exchange(request(cast.acme, json.dumps(asked(cast.acme, plugin_name=plugin)).encode()))
        answer = Answer(raw)
        assert answer.json["code"] == "PLUGIN_UNKNOWN"
        for own in (answer.headers["x-request-id"], answer.headers["date"]):
            raw = raw.replace(own.encode(), b"-")
        return raw

    assert seen("custom-compliance-reporter") == seen("custom-compliance-inventor")
