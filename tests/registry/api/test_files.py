"""What a download URL answers: ranges, conditions, and URLs that are edited, expired, shared or used up."""

import email
from typing import Any

import pytest
from django.test import Client

from licensing.core.models import AuditEvent
from licensing.crypto import base64url
from licensing.crypto.sealing import new_versioned_key
from registry.models import Artifact, DownloadGrant
from registry.services.redemptions import SPARE_BYTES, TIMES
from registry.storage import ArtifactStore
from tests.registry import cast
from tests.registry.cast import PUBLIC, Cast, Host, body_of, content_of, cut, json_of

pytestmark = pytest.mark.django_db
VERSION = "2.1.0"


@pytest.fixture
def artifact(store: ArtifactStore, loaded: Cast) -> Artifact:
    return cast.publish(store, PUBLIC, VERSION)


@pytest.fixture
def host(artifact: Artifact, loaded: Cast) -> Host:
    return Host(loaded.acme.key)


@pytest.fixture
def url(host: Host) -> str:
    return host.url(PUBLIC, VERSION)


CONTENT = content_of(PUBLIC, VERSION)


def test_a_part_is_sent_as_it_was_asked_for(host: Host, url: str) -> None:
    response = host.fetch(url, Range="bytes=1000-1999")
    assert response.status_code == 206
    assert body_of(response) == CONTENT[1000:2000]
    assert response.headers["Content-Range"] == f"bytes 1000-1999/{len(CONTENT)}"
    assert response.headers["Content-Length"] == "1000"
    assert response.headers["ETag"] == f'"{cast.sha256(CONTENT)}"'


def test_a_cut_download_goes_on_where_it_ended(host: Host, url: str) -> None:
    first = host.fetch(url)
    received = cut(first)[:40_000]
    rest = host.fetch(url, Range=f"bytes={len(received)}-", If_Range=first.headers["ETag"])
    assert rest.status_code == 206
    assert received + body_of(rest) == CONTENT


def test_the_end_can_be_asked_for(host: Host, url: str) -> None:
    response = host.fetch(url, Range="bytes=-7")
    assert (response.status_code, body_of(response)) == (206, CONTENT[-7:])


def test_several_parts_come_as_multipart(host: Host, url: str) -> None:
    response = host.fetch(url, Range="bytes=0-4,100-109")
    content = body_of(response)
    assert response.status_code == 206
    assert response.headers["Content-Length"] == str(len(content))
    message = email.message_from_bytes(
        b"Content-Type: " + response.headers["Content-Type"].encode() + b"\r\n\r\n" + content
    )
    parts: list[Any] = list(message.get_payload())
    assert [part["Content-Range"] for part in parts] == [f"bytes 0-4/{len(CONTENT)}", f"bytes 100-109/{len(CONTENT)}"]
    assert [part.get_payload(decode=True) for part in parts] == [CONTENT[:5], CONTENT[100:110]]


def test_a_part_outside_the_file_is_refused_with_its_size(host: Host, url: str) -> None:
    response = host.fetch(url, Range=f"bytes={len(CONTENT)}-")
    assert response.status_code == 416
    assert response.headers["Content-Range"] == f"bytes */{len(CONTENT)}"
    assert json_of(response)["code"] == "RANGE_NOT_SATISFIABLE"


def test_head_says_everything_and_sends_nothing(host: Host, url: str) -> None:
    response = host.send("HEAD", url)
    assert (response.status_code, response.headers["Content-Length"]) == (200, str(len(CONTENT)))
    assert response.headers["Repr-Digest"].startswith("sha-256=:")
    assert DownloadGrant.objects.get().bytes_taken == 0


def test_a_known_file_is_not_sent_again(host: Host, url: str) -> None:
    response = host.fetch(url, If_None_Match=f'"{cast.sha256(CONTENT)}"')
    assert (response.status_code, body_of(response)) == (304, b"")
    assert body_of(host.fetch(url, If_None_Match='"another"')) == CONTENT


def test_if_match_of_another_file_is_412(host: Host, url: str) -> None:
    assert host.fetch(url, If_Match='"another"').status_code == 412


def test_a_range_of_another_file_gets_all_of_this_one(host: Host, url: str) -> None:
    response = host.fetch(url, Range="bytes=0-4", If_Range='"another"')
    assert (response.status_code, body_of(response)) == (200, CONTENT)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_files_are_only_read(host: Host, url: str, method: str) -> None:
    response = host.send(method, url)
    assert response.status_code == 405
    assert response.headers["Allow"] == "GET, HEAD"


def test_every_download_is_written_down_with_what_became_of_it(host: Host, url: str) -> None:
    body_of(host.fetch(url, Range="bytes=0-99"))
    cut(host.fetch(url))
    started = AuditEvent.objects.filter(action="artifact.download_started").order_by("id")
    ended = AuditEvent.objects.filter(action="artifact.download_ended").order_by("id")
    assert [row.detail["bytes"] for row in started] == [100, len(CONTENT)]
    assert [(row.code, row.detail["bytes_sent"]) for row in ended] == [("COMPLETE", 100), ("CUT", 65536)]
    assert {row.customer_id for row in (*started, *ended)} == {"cust_123"}


def test_what_was_not_sent_is_given_back(host: Host, url: str) -> None:
    response = host.fetch(url)
    assert DownloadGrant.objects.get().bytes_taken == len(CONTENT)
    cut(response)
    assert DownloadGrant.objects.get().bytes_taken == 65536


def test_a_url_is_not_good_for_passing_around(host: Host, url: str) -> None:
    DownloadGrant.objects.update(bytes_taken=TIMES * len(CONTENT) + SPARE_BYTES - len(CONTENT))
    assert body_of(host.fetch(url)) == CONTENT
    response = host.fetch(url)
    assert (response.status_code, json_of(response)["code"]) == (403, "DOWNLOAD_CAP_REACHED")
    assert host.ask(PUBLIC, VERSION).status_code == 200


def test_an_edited_url_is_no_url(host: Host, url: str) -> None:
    segment = url.removeprefix("/files/")
    missing = host.fetch("/files/" + "A" * len(segment))
    raw = base64url.decode(segment)
    for place in (0, 1, 2, 18, 40, len(raw) - 1):
        altered = bytearray(raw)
        altered[place] ^= 1
        response = host.fetch("/files/" + base64url.encode(bytes(altered)))
        assert response.status_code == 404
        assert {**json_of(response), "request_id": ""} == {**json_of(missing), "request_id": ""}


@pytest.mark.parametrize(
    "path", ["/files/", "/files/../etc/passwd", "/files/%2e%2e/x", "/files/a/b", "/files/" + "A" * 3000, "/files/%00"]
)
def test_other_paths_are_nothing(host: Host, path: str) -> None:
    assert host.fetch(path).status_code == 404


def test_a_url_of_another_server_is_no_url(host: Host, url: str, settings: Any) -> None:
    settings.KEY_ENCRYPTION_KEYS = settings.KEY_ENCRYPTION_KEYS | {"tokens": new_versioned_key(1)}
    assert host.fetch(url).status_code == 404


def test_url_keys_rotate_without_breaking_what_is_out(host: Host, url: str, settings: Any) -> None:
    old = settings.KEY_ENCRYPTION_KEYS["tokens"]
    settings.KEY_ENCRYPTION_KEYS = settings.KEY_ENCRYPTION_KEYS | {"tokens": f"{new_versioned_key(2)},{old}"}
    assert body_of(host.fetch(url)) == CONTENT
    assert body_of(host.fetch(host.url(PUBLIC, VERSION))) == CONTENT


def test_an_expired_url_says_so(host: Host, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import time
    from types import SimpleNamespace

    from registry.api import files

    now = time.time() + 300
    monkeypatch.setattr(files, "time", SimpleNamespace(time=lambda: now, monotonic=time.monotonic))
    response = host.fetch(url)
    assert (response.status_code, json_of(response)["code"]) == (403, "DOWNLOAD_URL_EXPIRED")


@pytest.mark.parametrize("seconds", [1, 60, 300])
def test_a_url_lives_as_long_as_is_set(host: Host, settings: Any, seconds: int) -> None:
    from datetime import UTC, datetime

    settings.DOWNLOAD_URL_SECONDS = seconds
    ends = datetime.fromisoformat(json_of(host.ask(PUBLIC, VERSION))["expires_at"])
    assert seconds - 5 <= (ends - datetime.now(UTC)).total_seconds() <= seconds


def test_headers_must_agree_with_the_url(host: Host, url: str) -> None:
    for headers in ({"X_Customer_ID": "enterprise_456"}, {"X_Plugin_Name": "compliance"}):
        response = host.fetch(url, **headers)
        assert (response.status_code, json_of(response)["code"]) == (403, "HEADER_MISMATCH")
    assert body_of(host.fetch(url, X_Customer_ID="cust_123", X_Plugin_Name=PUBLIC)) == CONTENT


def test_a_url_holds_no_credential(url: str, loaded: Cast) -> None:
    raw = base64url.decode(url.removeprefix("/files/"))
    for secret in (loaded.acme.key, loaded.acme.api_key.id, "cust_123", PUBLIC):
        assert secret not in url
        assert secret.encode() not in raw


def test_the_proxy_is_told_what_to_send(folder_store: ArtifactStore, loaded: Cast, settings: Any) -> None:
    settings.DOWNLOAD_ACCEL_PREFIX = "/artifacts/"
    artifact = cast.publish(folder_store, PUBLIC, VERSION)
    host = Host(loaded.acme.key)
    response = host.fetch(host.url(PUBLIC, VERSION), Range="bytes=0-9")
    digest = artifact.sha256
    assert response.headers["X-Accel-Redirect"] == f"/artifacts/sha256/{digest[:2]}/{digest[2:4]}/{digest}"
    assert (response.status_code, body_of(response)) == (200, b"")
    assert DownloadGrant.objects.get().bytes_taken == 10
    assert AuditEvent.objects.get(action="artifact.download_started").detail["sent_by"] == "proxy"


def test_s3_sends_by_a_short_lived_link(s3_store: ArtifactStore, loaded: Cast, settings: Any) -> None:
    import urllib.request

    settings.DOWNLOAD_S3_REDIRECT_SECONDS = 30
    cast.publish(s3_store, PUBLIC, VERSION)
    host = Host(loaded.acme.key)
    response = host.fetch(host.url(PUBLIC, VERSION))
    assert response.status_code == 302
    assert "X-Amz-Expires=30" in response.headers["Location"]
    assert "versionId=" in response.headers["Location"]
    with urllib.request.urlopen(response.headers["Location"]) as answer:  # noqa: S310  the S3 server of this test
        assert answer.read() == CONTENT
    assert DownloadGrant.objects.get().bytes_taken == len(CONTENT)


def test_nothing_else_of_a_client_is_needed(url: str) -> None:
    assert body_of(Client().get(url)) == CONTENT  # type: ignore[arg-type]
