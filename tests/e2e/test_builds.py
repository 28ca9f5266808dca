"""The demo plugin end to end: a real server and worker, a real compiler and a real plugin process (acceptance)."""

from __future__ import annotations

import base64
import json
import os
import queue
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from build_farm.compile import find_toolchain
from build_farm.compile.go_command import go_environment
from licensing.crypto.build_slot import SlotIdentity, open_secret
from licensing.crypto.keys import key_root
from tests.e2e.quickstart import Quickstart, document
from tests.e2e.tampering import is_refused_whatever_is_changed
from tests.e2e.worker_watch import WorkerWatch
from tests.licensing.embedded.processes import SOURCE_ROOT, wait_for

CUSTOMER = "cust_123"
ARCH = "amd64" if os.uname().machine == "x86_64" else "arm64"
BUILD_SECONDS = 240.0
MESSAGE = '{"jsonrpc":"2.0","id":%d,"method":"tools/call"}\n'


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Quickstart]:
    """A server with a build worker, on the warm cache that all tests of the farm share."""
    cache = Path(tempfile.gettempdir()) / "keywright-test-cache"
    cache.mkdir(mode=0o755, exist_ok=True)
    builds = Path(tempfile.mkdtemp(prefix="keywright-e2e-builds-", dir="/tmp"))
    environment = {"BUILD_CACHE_DIR": str(cache), "BUILD_DIR": str(builds), "BUILD_BASE_UID": str(base_uid())}
    environment["BUILD_LEASE_SECONDS"] = "3"
    running = Quickstart(tmp_path_factory.mktemp("builds") / "data", environment=environment, with_builds=True)
    try:
        yield running.wait_until_answering()
    finally:
        running.close()
        subprocess.run(["rm", "-rf", str(builds)], check=True)


def base_uid() -> int:
    return 70_000 + os.getpid() % 1000 * 20 + 17


class Vendor:
    """What an operator does through the management API, and a customer through the registry's."""

    def __init__(self, server: Quickstart) -> None:
        self.base = f"http://127.0.0.1:{server.port}"
        self.document = document(server.data_dir)

    @property
    def api_key(self) -> str:
        key: str = self.document["customers"][CUSTOMER]["api_key"]
        return key

    def ask(self, method: str, path: str, body: object = None, *, key: str | None = None) -> tuple[int, Any]:
        request = urllib.request.Request(  # noqa: S310
            self.base + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={
                "Authorization": f"Bearer {key or self.document['operator']['api_key']}",
                "Content-Type": "application/json",
            },
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as response:  # noqa: S310
                return response.status, json.load(response)
        except urllib.error.HTTPError as exc:
            return exc.code, json.load(exc)

    def fetch(self, path: str) -> bytes:
        """What anybody may have."""
        with urllib.request.urlopen(self.base + path, timeout=30) as response:  # noqa: S310
            content: bytes = response.read()
            return content

    def set_tier(self, tier: str) -> None:
        status, answer = self.ask("PATCH", f"/api/manage/customers/{CUSTOMER}/subscription", {"tier": tier})
        assert status == 200, answer

    def rotated_key(self) -> str:
        """A successor of the customer's key; the old one lives on for an hour."""
        listed = self.ask("GET", "/api/account/api-keys", key=self.api_key)[1]["results"]
        path = f"/api/account/api-keys/{listed[0]['id']}/rotate"
        status, answer = self.ask("POST", path, {"overlap_seconds": 3600}, key=self.api_key)
        assert status == 201, answer
        key: str = answer["key"]
        return key

    def rebuild(self) -> dict[str, Any]:
        """Have the customer's build made once more, and wait until it is there; the build."""
        asked = {"plugin": "api-logger", "version": "2.1.0", "target": f"linux/{ARCH}", "again": True}
        status, build = self.ask("POST", "/api/builds", asked, key=self.api_key)
        assert status == 202, build

        def is_there() -> bool:
            build.update(self.ask("GET", f"/api/builds/{build['id']}", key=self.api_key)[1])
            assert build["state"] not in ("failed", "cancelled"), build
            return bool(build["state"] == "published")

        wait_for(is_there, seconds=BUILD_SECONDS)
        return dict(build)

    def download(self, folder: Path, *, key: str | None = None) -> Path:
        """Ask until the build is there, fetch it, unpack it."""
        found: dict[str, Any] = {}
        key = key or self.api_key

        def is_there() -> bool:
            path = "/api/registry/plugins/api-logger/releases/2.1.0/download"
            status, answer = self.ask("POST", path, {"os": "linux", "arch": ARCH}, key=key)
            assert status in (200, 202), answer
            assert answer.get("status") != "failed", answer
            if status == 200:
                found.update(answer)
            return status == 200

        wait_for(is_there, seconds=BUILD_SECONDS)
        package: Path = folder / str(found["filename"])
        with urllib.request.urlopen(found["url"], timeout=60) as response:  # noqa: S310
            package.write_bytes(response.read())
        subprocess.run(["tar", "-xzf", package.name], cwd=folder, check=True)
        return package


class Endpoint:
    """Where the plugin's Pro feature sends what it logs."""

    def __init__(self) -> None:
        received: queue.Queue[int] = queue.Queue()

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                received.put(len(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_arguments: object) -> None:
                """Say nothing."""

        self.received = received
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/"

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class Plugin:
    """The plugin as a process that is fed a message now and then; what it writes is read as it comes."""

    def __init__(self, folder: Path, *, api_key: str, url: str, endpoint: str, state: Path) -> None:
        self.lines: list[str] = []
        self.notes: list[str] = []
        self.process = subprocess.Popen(
            [str(folder / "plugin"), "-refresh", "2s"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={
                "KM_API_KEY": api_key,
                "KEYWRIGHT_URL": url,
                "API_LOGGER_ENDPOINT": endpoint,
                "KEYWRIGHT_STATE_DIR": str(state),
            },
        )
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        self._readers = [
            threading.Thread(target=self._read, args=(self.process.stdout, self.lines)),
            threading.Thread(target=self._read, args=(self.process.stderr, self.notes)),
        ]
        for reader in self._readers:
            reader.start()
        self._sent = 0

    @staticmethod
    def _read(stream: Any, lines: list[str]) -> None:
        for line in stream:
            lines.append(line)
        stream.close()

    def send(self) -> None:
        assert self.process.stdin is not None
        self._sent += 1
        self.process.stdin.write(MESSAGE % self._sent)
        self.process.stdin.flush()

    def logs_the_next(self) -> bool:
        """The basic job: each message comes out on standard output."""
        before = len(self.lines)
        self.send()
        wait_for(lambda: len(self.lines) > before, seconds=20)
        return True

    def close(self) -> int:
        assert self.process.stdin is not None
        if not self.process.stdin.closed:
            self.process.stdin.close()
        code = self.process.wait(30)
        for reader in self._readers:
            reader.join()
        return code


def ships(plugin: Plugin, endpoint: Endpoint, *, within: float) -> bool:
    """Whether the Pro feature does its work by some message of the next seconds."""
    while not endpoint.received.empty():
        endpoint.received.get()
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        plugin.send()
        try:
            endpoint.received.get(timeout=0.5)
        except queue.Empty:
            continue
        return True
    return False


def is_quiet(plugin: Plugin, endpoint: Endpoint, *, within: float) -> bool:
    """Whether, within so many seconds, a while passes in which messages are sent and nothing is shipped."""
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        if not ships(plugin, endpoint, within=2.0):
            return True
    return False


def test_the_demo_plugin_from_its_build_to_an_outage(server: Quickstart, tmp_path: Path) -> None:

    def folder_of(name: str) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        return folder

    vendor, endpoint, place = Vendor(server), Endpoint(), folder_of("package")
    started: list[Plugin] = []

    def start(api_key: str, state: str) -> Plugin:
        started.append(Plugin(place, api_key=api_key, url=vendor.base, endpoint=endpoint.url, state=tmp_path / state))
        return started[-1]

    try:
        vendor.download(place)
        shows_nothing_of_keys_and_builder(server, vendor, folder_of("watched"))
        survives_a_killed_worker(server, vendor)
        other = folder_of("other")
        vendor.download(other, key=vendor.document["customers"]["enterprise_456"]["api_key"])
        authority = vendor.fetch("/.well-known/keywright-authority")
        is_refused_whatever_is_changed(place, other, authority, tmp_path / "changed")
        is_verified_with_openssl_and_sha256sum_alone(server, place)
        plugin = start(vendor.api_key, "one")
        follows_its_tier(vendor, plugin, endpoint)
        rotated = start(vendor.rotated_key(), "two")
        assert ships(rotated, endpoint, within=60), rotated.notes
        assert rotated.close() == 0
        assert server.end() == 0
        assert ships(plugin, endpoint, within=20), "the lease does not hold"
        assert plugin.logs_the_next()
        assert plugin.close() == 0
    finally:
        for each in started:
            each.close()
        endpoint.close()
    assert vendor.api_key not in "".join(line for each in started for line in [*each.lines, *each.notes])


def shows_nothing_of_keys_and_builder(server: Quickstart, vendor: Vendor, place: Path) -> None:
    """Neither the package, nor `go version -m`, nor the processes below the worker, nor any log (acceptance)."""
    with WorkerWatch(server.program("worker-build")) as seen:
        build = vendor.rebuild()
    vendor.download(place)
    manifest = json.loads((place / "plugin.manifest").read_text())
    assert manifest["build_id"] == build["id"]
    binary = (place / "plugin").read_bytes()
    sealed, secret = opened_secret(binary, manifest, vendor.api_key)
    keys = {vendor.api_key, vendor.document["operator"]["api_key"]}
    hidden = {text.encode() for text in keys} | {secret, secret.hex().encode(), base64.b64encode(secret)}
    hidden |= {base64.urlsafe_b64encode(secret).rstrip(b"=")}
    machine = {str(server.data_dir), str(SOURCE_ROOT), sys.prefix, server.environment["BUILD_DIR"]}
    machine |= {server.environment["BUILD_CACHE_DIR"], f"{Path.home()}/", str(find_toolchain().root)}
    builder = {text.encode() for text in machine}

    files = {path.name: path.read_bytes() for path in place.iterdir() if path.name.startswith("plugin")}
    assert len(files) == 8
    told = subprocess.run(
        [str(find_toolchain().root / "bin" / "go"), "version", "-m", "plugin"],
        cwd=place,
        capture_output=True,
        check=True,
    ).stdout
    assert b"keywright.dev/gokit" in told
    for name, content in {**files, "go version -m": told}.items():
        assert not [text for text in hidden | builder if text in content], name

    assert {b"/go/bin/go"} < seen.programs(), "the compiler was not seen at work"
    assert any(b"/link" in program for program in seen.programs())
    for command, environment in {*seen.seen, (seen.own_command, seen.own_environment)}:
        assert not [text for text in hidden | {sealed} if text in command], command
        assert not [text for text in hidden | {sealed} if text in environment], command
    # The compiler is given what the farm says and nothing else; what it gives its own tools is not of the worker's.
    given = {entry.partition(b"=")[0] for entry in seen.variables(program=b"/go/bin/go")}
    assert given - {b"PWD"} == {name.encode() for name in go_environment(f"linux/{ARCH}")}
    of_the_worker = {entry for entry in seen.own_environment.split(b"\0") if not entry.startswith((b"LC_", b"LANG="))}
    assert not seen.variables() & of_the_worker - {b""}

    logs = {path.name: path.read_bytes() for path in (server.data_dir / "logs").iterdir()}
    assert "worker-build.log" in logs
    logs["the build's own"] = str(build["log"]).encode()
    for name, content in logs.items():
        assert not [text for text in hidden | {sealed} if text in content], name


def opened_secret(binary: bytes, manifest: dict[str, Any], api_key: str) -> tuple[bytes, bytes]:
    """The build's secret as its binary holds it, and as its API key opens it."""
    (sealed,) = set(re.findall(rb"encrypted:[A-Za-z0-9+/]{80}", binary))  # 12 of nonce, 32 of secret, 16 of tag
    identity = SlotIdentity(
        build_id=manifest["build_id"],
        customer=manifest["customer_id"],
        plugin=manifest["name"],
        version=manifest["version"],
        target=manifest["target"],
    )
    return sealed, open_secret(key_root(api_key), sealed.decode(), identity)


def survives_a_killed_worker(server: Quickstart, vendor: Vendor) -> None:
    """SIGKILL while it compiles: another worker finishes the build, and there is one that is handed out."""
    asked = {"plugin": "api-logger", "version": "2.1.0", "target": f"linux/{ARCH}", "again": True}
    status, build = vendor.ask("POST", "/api/builds", asked, key=vendor.api_key)
    assert status == 202, build

    def state() -> str:
        answer = vendor.ask("GET", f"/api/builds/{build['id']}", key=vendor.api_key)[1]
        assert answer["state"] != "failed", answer
        return str(answer["state"])

    wait_for(lambda: state() != "queued", seconds=BUILD_SECONDS)
    assert state() == "building"
    os.kill(server.program("worker-build"), signal.SIGKILL)
    wait_for(lambda: state() == "published", seconds=BUILD_SECONDS)
    listed = vendor.ask("GET", "/api/builds", key=vendor.api_key)[1]["results"]
    assert sorted(row["state"] for row in listed) == ["published", "superseded", "superseded"]


def is_verified_with_openssl_and_sha256sum_alone(server: Quickstart, place: Path) -> None:
    """By the very lines that the server prints."""
    pasted = [line for line in server.lines if line.startswith(("openssl", "curl")) and "authority" in line]
    pasted += [line for line in server.lines if line.startswith(("sha256sum", "openssl x509"))]
    ran = subprocess.run(["bash", "-e"], input="\n".join(pasted), cwd=place, capture_output=True, text=True, check=True)
    assert ran.stdout.splitlines() == ["plugin.crt: OK", "plugin: OK", "Verified OK"]


def follows_its_tier(vendor: Vendor, plugin: Plugin, endpoint: Endpoint) -> None:
    """Lowered, the Pro feature goes quiet and the free one goes on; raised, it comes back."""
    assert plugin.logs_the_next()
    assert ships(plugin, endpoint, within=30), plugin.notes
    vendor.set_tier("Free")
    assert is_quiet(plugin, endpoint, within=30), plugin.notes
    assert plugin.logs_the_next()
    vendor.set_tier("Pro")
    assert ships(plugin, endpoint, within=30), plugin.notes
