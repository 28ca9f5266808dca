"""The demo plugin end to end: a real server and worker, a real compiler and a real plugin process (acceptance)."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.build_traces import Traces
from tests.e2e.impostor import Impostor
from tests.e2e.quickstart import Quickstart, document
from tests.e2e.tampering import is_refused_whatever_is_changed
from tests.e2e.worker_watch import WorkerWatch
from tests.licensing.embedded.processes import wait_for

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

    def rotated_key(self) -> str:
        """A successor of the customer's key; the old one lives on for an hour."""
        listed = self.ask("GET", "/api/account/api-keys", key=self.api_key)[1]["results"]
        path = f"/api/account/api-keys/{listed[0]['id']}/rotate"
        status, answer = self.ask("POST", path, {"overlap_seconds": 3600}, key=self.api_key)
        assert status == 201, answer
        key: str = answer["key"]
        return key

    def rebuild(self, *, meanwhile: Callable[[], object] = lambda: None) -> dict[str, Any]:
        """Have the customer's build made once more, and wait until it is there; the build."""
        asked = {"plugin": "api-logger", "version": "2.1.0", "target": f"linux/{ARCH}", "again": True}
        status, build = self.ask("POST", "/api/builds", asked, key=self.api_key)
        assert status == 202, build
        meanwhile()

        def is_there() -> bool:
            status, answer = self.ask("GET", f"/api/builds/{build['id']}", key=self.api_key)
            build.update(answer if status == 200 else {})
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

    def start(api_key: str, state: str, url: str = vendor.base) -> Plugin:
        started.append(Plugin(place, api_key=api_key, url=url, endpoint=endpoint.url, state=tmp_path / state))
        return started[-1]

    try:
        vendor.download(place)
        shows_nothing_of_keys_and_builder(server, vendor, folder_of("watched"))
        survives_a_killed_worker(server, vendor)
        survives_a_killed_broker(server, vendor)
        other = folder_of("other")
        vendor.download(other, key=vendor.document["customers"]["enterprise_456"]["api_key"])
        authority = vendor.fetch("/.well-known/keywright-authority")
        is_refused_whatever_is_changed(place, other, authority, tmp_path / "changed")
        is_verified_with_openssl_and_sha256sum_alone(server, place)
        believes_no_other_server(vendor, start)
        plugin = start(vendor.api_key, "one")
        follows_its_tier(server, plugin, endpoint)
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
    assert json.loads((place / "plugin.manifest").read_text())["build_id"] == build["id"]
    traces = Traces(server, place, vendor.api_key, vendor.document["operator"]["api_key"])
    traces.are_not_in_the_package()
    traces.are_not_in_processes(seen)
    traces.are_not_in_logs(build["log"])


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
    assert handed_out(vendor) == [build["id"]]


def survives_a_killed_broker(server: Quickstart, vendor: Vendor) -> None:
    """SIGKILL of Valkey with a build under way: every message is lost, the build is not."""
    before = server.program("valkey")
    build = vendor.rebuild(meanwhile=lambda: os.kill(before, signal.SIGKILL))
    assert handed_out(vendor) == [build["id"]]
    assert server.program("valkey") != before


def handed_out(vendor: Vendor) -> list[str]:
    """The customer's builds that are published; all others have a successor."""
    listed = vendor.ask("GET", "/api/builds", key=vendor.api_key)[1]["results"]
    assert {row["state"] for row in listed} <= {"published", "superseded"}, listed
    return [row["id"] for row in listed if row["state"] == "published"]


def is_verified_with_openssl_and_sha256sum_alone(server: Quickstart, place: Path) -> None:
    """By the very lines that the server prints."""
    pasted = [line for line in server.lines if line.startswith(("openssl", "curl")) and "authority" in line]
    pasted += [line for line in server.lines if line.startswith(("sha256sum", "openssl x509"))]
    ran = subprocess.run(["bash", "-e"], input="\n".join(pasted), cwd=place, capture_output=True, text=True, check=True)
    assert ran.stdout.splitlines() == ["plugin.crt: OK", "plugin: OK", "Verified OK"]


def believes_no_other_server(vendor: Vendor, start: Callable[..., Plugin]) -> None:
    """A server that says yes with keys of its own: the Pro feature stays quiet, and the reason is told."""
    impostor = Impostor(issuer=vendor.base)
    try:
        deceived = start(vendor.api_key, "deceived", impostor.url)
        wait_for(lambda: any("CERTIFICATE_FOREIGN" in note for note in deceived.notes), seconds=60)
        assert deceived.logs_the_next()
        assert not any("api_logging" in note for note in deceived.notes), deceived.notes
        assert deceived.close() == 0
    finally:
        impostor.close()


def follows_its_tier(server: Quickstart, plugin: Plugin, endpoint: Endpoint) -> None:
    """Lowered, the Pro feature goes quiet and the free one goes on; raised, it comes back. By the printed lines."""

    def set_tier(name: str) -> None:
        pasted = [
            line for line in server.lines if line.startswith(("OPERATOR_KEY=", "tier() ")) or line == f"tier {name}"
        ]
        assert len(pasted) == 3
        ran = subprocess.run(["bash", "-e"], input="\n".join(pasted), capture_output=True, text=True, check=True)
        assert json.loads(ran.stdout)["tier"] == name

    assert plugin.logs_the_next()
    assert ships(plugin, endpoint, within=30), plugin.notes
    set_tier("Free")
    assert is_quiet(plugin, endpoint, within=30), plugin.notes
    assert plugin.logs_the_next()
    set_tier("Pro")
    assert ships(plugin, endpoint, within=30), plugin.notes
