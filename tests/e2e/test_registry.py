"""The registry over HTTP, with the processes that serve it: the documented walk by curl, and revocation in a second."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, LiteralString

import psycopg
import pytest

from tests.e2e.quickstart import Quickstart, authenticate, document
from tests.licensing.embedded.processes import SOURCE_ROOT, wait_for
from tests.load.downloads import SlowReaders
from tests.load.server import GENEROUS_LIMITS

WALK = re.compile(r"^```sh walk\n(.*?)^```$", re.MULTILINE | re.DOTALL)
CUSTOMERS = {"cust_123": "console-logger", "enterprise_456": "custom-compliance-reporter"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Quickstart]:
    quickstart = Quickstart(tmp_path_factory.mktemp("registry") / "data", environment=GENEROUS_LIMITS)
    try:
        yield quickstart.wait_until_answering()
    finally:
        quickstart.close()


@pytest.fixture(scope="module")
def walked(server: Quickstart, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What the walk of docs/registry.md printed, by customer."""
    return {customer: walk(server, customer, tmp_path_factory.mktemp(customer)) for customer in CUSTOMERS}


def walk(server: Quickstart, customer: str, folder: Path) -> str:
    steps = WALK.findall((SOURCE_ROOT / "docs" / "registry.md").read_text())
    assert len(steps) == 4
    told = document(server.data_dir)
    environment = {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "SERVER": told["base_url"],
        "OPERATOR_KEY": told["operator"]["api_key"],
        "KEY": told["customers"][customer]["api_key"],
        "PLUGIN": CUSTOMERS[customer],
    }
    ran = subprocess.run(
        ["bash", "-euc", "\n".join(steps)], cwd=folder, env=environment, capture_output=True, text=True, timeout=180
    )
    assert ran.returncode == 0, ran.stdout[-2000:] + ran.stderr[-2000:]
    return ran.stdout


@pytest.mark.skipif(shutil.which("curl") is None, reason="the walk is curl's")
@pytest.mark.parametrize("customer", CUSTOMERS)
def test_the_documented_walk_works_as_written(walked: dict[str, str], customer: str) -> None:
    assert "received.kmpkg: OK" in walked[customer]
    assert "Verified OK" in walked[customer]
    assert "signer.pem: OK" in walked[customer]


def call(server: Quickstart, method: str, path: str, key: str, body: str = "{}") -> dict[str, Any]:
    base: str = document(server.data_dir)["base_url"]
    request = urllib.request.Request(  # noqa: S310  this test's own server, here and below
        base + path,
        method=method,
        data=None if method == "GET" else body.encode(),
        headers={"Authorization": f"Bearer {key}", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
        found: dict[str, Any] = json.load(answer)
        return found


def status_of(url: str) -> int:
    request = urllib.request.Request(url, headers={"Range": "bytes=0-9"})  # noqa: S310
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
            answer.read()
            return int(answer.status)
    except urllib.error.HTTPError as exc:
        exc.close()
        return exc.code


@dataclass(frozen=True)
class Change:
    """What takes a download away, for good or until it is taken back; paths with the id of what was made."""

    who: str
    """`customer` asks with a key of `cust_123`, `token` with one of its registry's, `host` with a plugin token."""
    path: str
    body: str = "{}"
    undo: tuple[str, str] | None = None
    arch: str = "amd64"


def quarantine(scope: str, target: str, *, arch: str = "amd64") -> Change:
    body = json.dumps({"scope": scope, "target": target, "reason": "test"})
    back = ("DELETE", "/api/plugins/quarantine/{plugin}/{done}")
    return Change("customer" if arch == "amd64" else "own build", "/api/plugins/quarantine/{plugin}", body, back, arch)


CHANGES = {
    "key": Change("customer", "/api/manage/customers/{customer}/api-keys/{credential}/revoke"),
    "registry token": Change("token", "/api/manage/customers/{customer}/registry-tokens/{credential}/revoke"),
    "plugin token": Change("host", "/api/manage/customers/{customer}/api-keys/{credential}/revoke"),
    "customer": Change(
        "customer",
        "/api/manage/customers/{customer}/suspend",
        undo=("POST", "/api/manage/customers/{customer}/resume"),
    ),
    "plugin": quarantine("plugin", ""),
    "version": quarantine("version", "9.0.0"),
    "build": quarantine("build", "bld_of_this_test", arch="arm64"),
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_revocation_kills_urls_within_a_second(server: Quickstart, walked: dict[str, str], what: str) -> None:
    operator: str = document(server.data_dir)["operator"]["api_key"]
    change = CHANGES[what]
    customer = "enterprise_456" if change.who in ("token", "host") else "cust_123"
    credential_id, credential = credential_for(server, operator, change.who, customer)
    if change.who == "own build":
        make_own_build(server)
    path = f"/api/registry/plugins/{CUSTOMERS[customer]}/releases/9.0.0/download"
    asked = json.dumps({"os": "linux", "arch": change.arch})
    urls = [call(server, "POST", path, credential, asked)["url"] for _ in range(3)]
    # Asked before, so that the process that sends has all it needs in its cache.
    assert [status_of(url) for url in urls] == [206] * 3
    names = {"customer": customer, "credential": credential_id, "plugin": CUSTOMERS[customer]}
    done = call(server, "POST", change.path.format(**names), operator, change.body)
    committed = time.monotonic()
    try:
        late = []
        while (began := time.monotonic() - committed) < 1.5 or len(late) < 3:
            statuses = [status_of(url) for url in urls]
            if began > 1.0:
                late += statuses
        assert set(late) == {403}
    finally:
        if change.undo is not None:
            method, back = change.undo
            undo(server, method, back.format(**names, done=done["id"]), operator)


def credential_for(server: Quickstart, operator: str, who: str, customer: str) -> tuple[str, str]:
    """A credential made for one test, and the id by which it is revoked: of a plugin token, its key's."""
    if who == "token":
        ends = datetime.now(UTC) + timedelta(hours=1)
        body = json.dumps({"name": "short-lived", "expires_at": ends.isoformat()})
        made = call(server, "POST", f"/api/manage/customers/{customer}/registry-tokens/", operator, body)
        return made["id"], made["token"]
    scopes = ["registry:download", "plugins:authenticate"]
    body = json.dumps({"name": "short-lived", "scopes": scopes})
    made = call(server, "POST", f"/api/manage/customers/{customer}/api-keys/", operator, body)
    if who != "host":
        return made["id"], made["key"]
    asked = {
        "plugin_name": CUSTOMERS[customer],
        "plugin_version": "9.0.0",
        "customer_id": customer,
        "installation": {"fingerprint": "machine-0001"},
    }
    return made["id"], call(server, "POST", "/api/plugins/authenticate", made["key"], json.dumps(asked))["token"]


_OWN_BUILD = """
from datetime import UTC, datetime
import django
django.setup()
from accounts.models import Customer
from licensing.core.actor import system
from licensing.models import BuildCredential
from registry.models import Artifact, Release
from registry.services.artifacts import add_artifact
from registry.storage import artifact_store

release = Release.objects.get(plugin="console-logger", version="9.0.0")
customer, store = Customer.objects.get(pk="cust_123"), artifact_store()
add_artifact(
    release=release, target="linux/arm64", stored=store.put_stream([b"a build " * 1000], max_bytes=10_000),
    filename="build.kmpkg", kind=Artifact.Kind.FARM, customer=customer, build_id="bld_of_this_test",
    signature=b"s" * 384, certificate=bytes(Artifact.objects.filter(release=release).first().certificate),
    actor=system("tests"), now=datetime.now(UTC), store=store,
)
BuildCredential.objects.create(
    id="bld_of_this_test", customer=customer, plugin=release.plugin, version="9.0.0", target="linux/arm64",
    signature_digest=b"d" * 32, sealed_secret=b"sealed",
)
"""


def make_own_build(server: Quickstart) -> None:
    """What the build farm would add, as the database's owner: nobody else may add all of it."""
    inherited = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG")}
    environment = {**inherited, "DJANGO_SETTINGS_MODULE": "licensing.settings", **settings_of(server, "env")}
    environment["DATABASE_URL_FILE"] = str(server.data_dir / "secrets" / "database_owner_url")
    ran = subprocess.run(
        [sys.executable, "-c", _OWN_BUILD],
        cwd=SOURCE_ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr


def settings_of(server: Quickstart, name: str) -> dict[str, str]:
    """What a file for the shell sets."""
    words = shlex.split((server.data_dir / name).read_text(), comments=True)
    return dict(word.split("=", 1) for word in words)


def undo(server: Quickstart, method: str, path: str, operator: str) -> None:
    base: str = document(server.data_dir)["base_url"]
    request = urllib.request.Request(  # noqa: S310
        base + path, method=method, headers={"Authorization": f"Bearer {operator}"}, data=b""
    )
    with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
        assert answer.status in (200, 204)


READERS = 50
POOL_SIZE = 16


def test_slow_readers_hold_up_no_decision_and_no_connection(server: Quickstart, walked: dict[str, str]) -> None:
    """There are more of them than the process has connections to the database, and each is being sent its file."""
    key: str = document(server.data_dir)["customers"]["cust_123"]["api_key"]
    token = authenticate(server.data_dir, server.port, fingerprint="machine-0002")["token"]
    path = "/api/registry/plugins/console-logger/releases/9.0.0/download"
    asked = '{"os": "linux", "arch": "amd64"}'
    urls = [call(server, "POST", path, key, asked)["url"] for _ in range(READERS)]
    with psycopg.connect(web_database(server), autocommit=True) as database:
        earlier = newest_event(database)
        with SlowReaders(urls) as reading:
            assert under_way(database, since=earlier) == READERS
            assert 1 <= connections_of_files(database) <= POOL_SIZE
            validate = json.dumps({"plugin_name": "api-logger", "plugin_token": token})
            verdicts = [call(server, "POST", "/api/plugins/validate", token, validate)["valid"] for _ in range(100)]
            assert verdicts == [True] * 100
            # And the process that sends to them answers others.
            assert status_of(call(server, "POST", path, key, asked)["url"]) == 206
            wait_for(lambda: under_way(database, since=earlier) == READERS, seconds=60)
            reading.require_open()
        wait_for(lambda: under_way(database, since=earlier) == 0, seconds=60)
        assert connections_of_files(database) <= POOL_SIZE


def web_database(server: Quickstart) -> str:
    return Path(settings_of(server, "env")["DATABASE_URL_FILE"]).read_text()


def connections_of_files(database: psycopg.Connection[Any]) -> int:
    return number(database, "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'keywright files'")


def newest_event(database: psycopg.Connection[Any]) -> int:
    return number(database, "SELECT coalesce(max(id), 0) FROM audit_event")


def under_way(database: psycopg.Connection[Any], *, since: int) -> int:
    """URLs whose downloads have begun and not ended."""
    asked: LiteralString = """
        SELECT count(*) FROM (
            SELECT FROM audit_event
            WHERE id > %s AND action IN ('artifact.download_started', 'artifact.download_ended')
            GROUP BY detail->>'grant_id'
            HAVING count(*) FILTER (WHERE action = 'artifact.download_started')
                > count(*) FILTER (WHERE action = 'artifact.download_ended')
        ) AS begun
    """
    return number(database, asked, since)


def number(database: psycopg.Connection[Any], asked: LiteralString, *parameters: int) -> int:
    row = database.execute(asked, parameters).fetchone()
    assert row is not None
    return int(row[0])


def test_the_deciding_process_sends_no_files(server: Quickstart, walked: dict[str, str]) -> None:
    told = document(server.data_dir)
    key: str = told["customers"]["cust_123"]["api_key"]
    path = "/api/registry/plugins/console-logger/releases/9.0.0/download"
    url: str = call(server, "POST", path, key, '{"os": "linux", "arch": "amd64"}')["url"]
    segment = url.rpartition("/")[2]
    assert status_of(f"{told['base_url']}/files/{segment}") == 404
    assert status_of(url.replace(f"/files/{segment}", "/api/registry/plugins")) == 404


def test_no_url_is_in_any_log(server: Quickstart, walked: dict[str, str]) -> None:
    segments = re.findall(r"/files/[A-Za-z0-9_-]{20,}", "\n".join(walked.values()))
    logs = [path.read_text(errors="replace") for path in (server.data_dir / "logs").glob("*.log")]
    assert logs
    assert not any(re.search(r"/files/[A-Za-z0-9_-]{20,}", log) for log in logs)
    assert not any(segment in log for segment in segments for log in logs)
