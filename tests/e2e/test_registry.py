"""The registry over HTTP, with the processes that serve it: the documented walk by curl, and revocation in a second."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.quickstart import Quickstart, document
from tests.licensing.embedded.processes import SOURCE_ROOT

WALK = re.compile(r"^```sh walk\n(.*?)^```$", re.MULTILINE | re.DOTALL)
CUSTOMERS = {"cust_123": "console-logger", "enterprise_456": "custom-compliance-reporter"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Quickstart]:
    quickstart = Quickstart(tmp_path_factory.mktemp("registry") / "data")
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
    import json

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


def new_key(server: Quickstart, operator: str) -> dict[str, Any]:
    body = '{"name": "short-lived", "scopes": ["registry:download"]}'
    return call(server, "POST", "/api/manage/customers/cust_123/api-keys/", operator, body)


REVOCATIONS: dict[str, Callable[[str], tuple[str, str, str]]] = {
    "key": lambda key_id: ("POST", f"/api/manage/customers/cust_123/api-keys/{key_id}/revoke", "{}"),
    "version": lambda _: (
        "POST",
        "/api/plugins/quarantine/console-logger",
        '{"scope": "version", "target": "9.0.0", "reason": "test"}',
    ),
    "customer": lambda _: ("POST", "/api/manage/customers/cust_123/suspend", "{}"),
}


@pytest.mark.parametrize("what", REVOCATIONS)
def test_a_revocation_kills_urls_within_a_second(server: Quickstart, walked: dict[str, str], what: str) -> None:
    operator: str = document(server.data_dir)["operator"]["api_key"]
    key = new_key(server, operator)
    path = "/api/registry/plugins/console-logger/releases/9.0.0/download"
    urls = [call(server, "POST", path, key["key"], '{"os": "linux", "arch": "amd64"}')["url"] for _ in range(3)]
    # Asked before, so that the process that sends has all it needs in its cache.
    assert [status_of(url) for url in urls] == [206] * 3
    method, revocation, body = REVOCATIONS[what](key["id"])
    done = call(server, method, revocation, operator, body)
    committed = time.monotonic()
    try:
        late = []
        while (asked := time.monotonic() - committed) < 1.5:
            statuses = [status_of(url) for url in urls]
            if asked > 1.0:
                late += statuses
        assert late
        assert set(late) == {403}
    finally:
        if what == "version":
            undo(server, "DELETE", f"/api/plugins/quarantine/console-logger/{done['id']}", operator)
        if what == "customer":
            undo(server, "POST", "/api/manage/customers/cust_123/resume", operator)


def undo(server: Quickstart, method: str, path: str, operator: str) -> None:
    base: str = document(server.data_dir)["base_url"]
    request = urllib.request.Request(  # noqa: S310
        base + path, method=method, headers={"Authorization": f"Bearer {operator}"}, data=b""
    )
    with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
        assert answer.status in (200, 204)


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
