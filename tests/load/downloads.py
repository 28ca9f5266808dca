"""Section `downloads` of `make bench`: how fast files are sent, in how much memory, what slow readers cost who asks.

To run it alone: `python -m tests.load.downloads [BYTES]`. To call it:

    measured = downloads.measure(size=1024**3, seconds=10)   # some three minutes; starts and ends a server of its own
    downloads.print_report(measured)                         # for people
    measured.misses                                          # sentences, one for each promise that was not kept
    measured.as_json()                                       # for machines

All of it in one run and on one server: nginx sending the plain file, nginx sending it on our word (`X-Accel-Redirect`),
and the `files` process sending it, in turns, medians of each; then `/validate` at a steady pace, in turns without and
with slow readers on the `files` process. The file has been hashed before it is timed. Without nginx (Debian's
package; `nginx` in PATH or /usr/sbin) the shares cannot be told, and `nginx` is None.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from licensing.embedded.instance import Instance
from licensing.embedded.port import HOST
from licensing.embedded.server import RECIPES, SOURCE_ROOT, Server
from tests.e2e.quickstart import Quickstart, document, free_port
from tests.load.fleet_program import Fleet, build
from tests.load.population import http_request, write_request
from tests.load.server import children

PLUGIN, VERSION = "console-logger", "9.0.0"
MIB = 1024 * 1024
LEAST_BY_NGINX, LEAST_BY_US = 0.5, 0.2
MOST_EXTRA_MIB = 64.0
MOST_P99_RATIO = 2.0
ROUNDS = 3

_NGINX = """
user {user};
worker_processes 1;
daemon off;
pid {root}/nginx.pid;
error_log {root}/error.log;
events {{ worker_connections 64; }}
http {{
  access_log off;
  sendfile on;
  server {{
    listen 127.0.0.1:{port};
    location /plain/ {{ alias {artifacts}/; }}
    location /files/ {{ proxy_pass {files}; proxy_set_header Host $http_host; }}
    location /artifacts/ {{ internal; alias {artifacts}/; }}
  }}
}}
"""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What came of it: bytes a second, MiB, milliseconds; medians. `misses` are the promises that were not kept."""

    size: int
    nginx: str | None
    bytes_per_second: dict[str, float]
    extra_mib: float
    readers: int
    paced_per_second: float
    p99_alone_ms: float
    p99_with_readers_ms: float
    not_200: int
    misses: list[str] = field(default_factory=list)

    def share(self, name: str) -> float | None:
        """A sender's speed, of nginx sending the plain file; None without nginx."""
        plain = self.bytes_per_second.get("nginx, plain file")
        return self.bytes_per_second[name] / plain if plain and name in self.bytes_per_second else None

    def as_json(self) -> dict[str, Any]:
        """All of it, shares included."""
        shares = {name: self.share(name) for name in self.bytes_per_second}
        return {**asdict(self), "shares": shares, "p99_ratio": self.p99_with_readers_ms / self.p99_alone_ms}


def measure(
    *, size: int = 1024 * MIB, seconds: float = 10.0, readers: int = 200, paced_per_second: float = 500.0
) -> Measured:
    """Publish a file of `size` bytes on a server of its own, and measure (see above).

    `seconds` is how long each measurement of `/validate` lasts. Needs curl and the `embedded` extra; nginx if it is
    there.
    """
    with tempfile.TemporaryDirectory(prefix="keywright-downloads-") as folder:
        root = Path(folder)
        environment = {"RATE_LIMIT_PER_MINUTE": "0", "TOKEN_TTL_SECONDS": "3600"}
        server = Quickstart(root / "data", environment=environment)
        try:
            server.wait_until_answering()
            return _measured(server, root, size, seconds, readers, paced_per_second)
        finally:
            server.close()


def print_report(measured: Measured) -> None:
    """For people."""
    sys.stdout.write(f"a file of {measured.size // MIB} MiB; {measured.nginx or 'no nginx here, so no shares'}\n")
    for name, speed in measured.bytes_per_second.items():
        share = measured.share(name)
        of_plain = "" if share is None else f"   {share:5.2f} of plain"
        sys.stdout.write(f"{name:24} {speed / 1e6:8.0f} MB/s{of_plain}\n")
    sys.stdout.write(f"{'files process, memory':24} {measured.extra_mib:8.1f} MiB more than before the download\n")
    sys.stdout.write(
        f"/validate at {measured.paced_per_second:.0f}/s: p99 {measured.p99_alone_ms:.2f} ms alone,"
        f" {measured.p99_with_readers_ms:.2f} ms with {measured.readers} slow readers"
        f" ({measured.p99_with_readers_ms / measured.p99_alone_ms:.2f} x)\n"
    )
    for miss in measured.misses:
        sys.stdout.write(f"MISSED: {miss}\n")


def _measured(
    server: Quickstart, root: Path, size: int, seconds: float, readers: int, paced_per_second: float
) -> Measured:
    customer = Customer(server)
    path = _publish(server, root, size)
    extra_mib = _extra_mib(server, customer)
    nginx = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    speeds = _speeds(server, root, customer, path, nginx)
    alone, beside, not_200 = _p99s(server, root, customer, seconds, readers, paced_per_second)
    measured = Measured(
        size=size,
        nginx=_version(nginx) if nginx else None,
        bytes_per_second=speeds,
        extra_mib=extra_mib,
        readers=readers,
        paced_per_second=paced_per_second,
        p99_alone_ms=alone,
        p99_with_readers_ms=beside,
        not_200=not_200,
    )
    measured.misses.extend(_misses(measured))
    return measured


def _misses(measured: Measured) -> Iterator[str]:
    for name, least in (("nginx on our word", LEAST_BY_NGINX), ("files process", LEAST_BY_US)):
        share = measured.share(name)
        if share is not None and share < least:
            yield f"{name}: {share:.2f} of nginx sending the plain file, at least {least} is promised"
    if measured.extra_mib >= MOST_EXTRA_MIB:
        yield f"a download took {measured.extra_mib:.1f} MiB, less than {MOST_EXTRA_MIB:.0f} is promised"
    if measured.p99_with_readers_ms > MOST_P99_RATIO * measured.p99_alone_ms:
        yield f"slow readers changed the p99 of /validate by more than {MOST_P99_RATIO:.0f} x"
    if measured.not_200:
        yield f"{measured.not_200} answers of /validate were not 200"


class Customer:
    """`cust_123` of the quickstart: asks for downloads, and for a plugin's token."""

    def __init__(self, server: Quickstart) -> None:
        told = document(server.data_dir)
        self._base: str = told["base_url"]
        self._key: str = told["customers"]["cust_123"]["api_key"]
        self._signature: str = told["customers"]["cust_123"]["plugin_signature"]

    @property
    def address(self) -> str:
        """Host and port of the web processes."""
        return urlsplit(self._base).netloc

    def url(self) -> str:
        """A fresh download URL."""
        path = f"/api/registry/plugins/{PLUGIN}/releases/{VERSION}/download"
        return str(ask(self._base + path, self._key, {"os": "linux", "arch": "amd64"})["url"])

    def token(self) -> str:
        """A plugin token."""
        asked = {
            "plugin_name": "api-logger",
            "plugin_version": "2.1.0",
            "plugin_signature": self._signature,
            "customer_id": "cust_123",
            "installation": {"fingerprint": "load-0001"},
        }
        return str(ask(f"{self._base}/api/plugins/authenticate", self._key, asked)["token"])


def ask(url: str, key: str, body: object, *, method: str = "POST") -> dict[str, Any]:
    """Ask with a credential; the answer's JSON. A file is sent as what it is. Raises `HTTPError`."""
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    if isinstance(body, Path):
        headers |= {"Content-Type": "application/octet-stream", "Content-Length": str(body.stat().st_size)}
    with contextlib.ExitStack() as stack:
        sent = stack.enter_context(body.open("rb")) if isinstance(body, Path) else json.dumps(body).encode()
        request = urllib.request.Request(url, sent, headers, method=method)  # noqa: S310  our own server, on loopback
        with urllib.request.urlopen(request, timeout=600) as answer:  # noqa: S310
            found: dict[str, Any] = json.load(answer)
            return found


def _publish(server: Quickstart, root: Path, size: int) -> str:
    """Publish a file; where it lies below the folder of artifacts."""
    told = document(server.data_dir)
    releases = f"{told['base_url']}/api/manage/plugins/{PLUGIN}/releases"
    key: str = told["operator"]["api_key"]
    file, piece = root / "file", os.urandom(MIB)
    with file.open("wb") as writing:
        for start in range(0, size, MIB):
            writing.write(piece[: min(MIB, size - start)])
    ask(f"{releases}/", key, {"version": VERSION})
    digest: str = ask(f"{releases}/{VERSION}/files/linux-amd64", key, file, method="PUT")["sha256"]
    file.unlink()
    for _ in range(240):
        with contextlib.suppress(urllib.error.HTTPError):
            ask(f"{releases}/{VERSION}/publish", key, {"require_installation": False})
            return f"sha256/{digest[:2]}/{digest[2:4]}/{digest}"
        time.sleep(0.5)
    raise RuntimeError("the file was not signed in two minutes")


# -- Memory


def _extra_mib(server: Quickstart, customer: Customer) -> float:
    """What the `files` process takes more at its peak while it sends the file."""
    (process,) = children(server.program("files"))
    _received(customer.url(), "-r", "0-0")  # it has its connections and its caches now, and has hashed the file
    before = _memory(process, "VmRSS")
    Path(f"/proc/{process}/clear_refs").write_text("5")  # proc(5): begins the peak anew
    _received(customer.url())
    return (_memory(process, "VmHWM") - before) / MIB


def _memory(process: int, name: str) -> int:
    """Bytes."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    (line,) = (line for line in lines if line.startswith(f"{name}:"))
    return int(line.split()[1]) * 1024


# -- Speed


def _speeds(server: Quickstart, root: Path, customer: Customer, path: str, nginx: str | None) -> dict[str, float]:
    """Bytes a second of each way, in turns."""
    if nginx is None:
        return {"files process": _median(lambda: _received(customer.url()))}
    artifacts = server.data_dir / "artifacts"
    with _files_behind_proxy(server) as files, _running(nginx, root, artifacts=artifacts, files=files) as proxy:
        ways: dict[str, Callable[[], str]] = {
            "nginx, plain file": lambda: f"{proxy}/plain/{path}",
            "nginx on our word": lambda: f"{proxy}/files/{customer.url().rpartition('/')[2]}",
            "files process": customer.url,
        }
        for way in ways.values():
            _received(way())
        rounds = [{name: _received(way()) for name, way in ways.items()} for _ in range(ROUNDS)]
    return {name: statistics.median(each[name] for each in rounds) for name in ways}


def _median(run: Callable[[], float]) -> float:
    run()
    return statistics.median(run() for _ in range(ROUNDS))


def _received(url: str, *options: str) -> float:
    """Fetch; bytes a second."""
    command = ["curl", "-fsS", "-o", "/dev/null", "-w", "%{speed_download}", *options, url]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def _version(nginx: str) -> str:
    return subprocess.run([nginx, "-v"], capture_output=True, text=True, check=True).stderr.strip()


@contextlib.contextmanager
def _files_behind_proxy(server: Quickstart) -> Iterator[str]:
    """A second `files` process of the same server, which has its proxy send; its address."""
    port = free_port()
    recipe = next(recipe for recipe in RECIPES if recipe.name == "files")
    told = document(server.data_dir)
    instance = Instance(server.data_dir)
    settings = Server(
        instance, port=server.port, public_url=told["base_url"], is_embedded=True, files_port=port
    ).settings("files")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    environment |= {"DJANGO_SETTINGS_MODULE": "licensing.settings", **settings, "DOWNLOAD_ACCEL_PREFIX": "/artifacts/"}
    arguments = [part.format(files_port=port, run=instance.run) for part in recipe.arguments]
    with (instance.logs / "files-behind-proxy.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, *arguments], env=environment, cwd=SOURCE_ROOT, stdout=log, stderr=log
        )
        try:
            _wait_for(f"http://{HOST}:{port}/readyz", process)
            yield f"http://{HOST}:{port}"
        finally:
            process.terminate()
            process.wait(60)


@contextlib.contextmanager
def _running(nginx: str, root: Path, *, artifacts: Path, files: str) -> Iterator[str]:
    """nginx; its address."""
    port = free_port()
    configuration = root / "nginx.conf"
    user = "root" if os.geteuid() == 0 else os.environ.get("USER", "nobody")
    configuration.write_text(_NGINX.format(root=root, port=port, artifacts=artifacts, files=files, user=user))
    command = [nginx, "-c", str(configuration), "-p", str(root), "-e", str(root / "error.log")]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _wait_for(f"http://{HOST}:{port}/", process)
        yield f"http://{HOST}:{port}"
    finally:
        process.terminate()
        process.wait(60)


def _wait_for(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        try:
            urllib.request.urlopen(url, timeout=5).close()  # noqa: S310  our own, on loopback
        except urllib.error.HTTPError as exc:
            exc.close()
            if exc.code != 503:
                return
        except OSError:
            pass
        else:
            return
        time.sleep(0.05)
    raise RuntimeError(f"nothing answers at {url}")


# -- Slow readers


def _p99s(
    server: Quickstart, root: Path, customer: Customer, seconds: float, readers: int, rate: float
) -> tuple[float, float, int]:
    """The p99 of `/validate` without and with slow readers, medians of some turns; and answers that were not 200."""
    requests = root / "requests"
    token = customer.token()
    with requests.open("wb") as file:
        body = {"plugin_name": "api-logger", "plugin_token": token}
        write_request(file, "validate", http_request(customer.address, "/api/plugins/validate", token, body))
    fleet = Fleet(build(root), customer.address)

    def paced() -> Any:
        return fleet.paced(requests, rate=rate, seconds=seconds, connections=16)["all"]

    alone, beside = [], []
    for _ in range(ROUNDS):
        alone.append(paced())
        with SlowReaders([customer.url() for _ in range(readers)]) as reading:
            beside.append(paced())
            reading.require_open()
    not_200 = sum(result["count"] - result["statuses"].get("200", 0) for result in (*alone, *beside))
    return (
        statistics.median(result["p99_ms"] for result in alone),
        statistics.median(result["p99_ms"] for result in beside),
        not_200,
    )


class SlowReaders:
    """Readers who take a few kilobytes a second each, and stay: one for each URL."""

    def __init__(self, urls: Iterable[str], *, bytes_per_second: int = 8192) -> None:
        self._urls = [urlsplit(url) for url in urls]
        self._piece = max(1, bytes_per_second // 4)
        self._selector = selectors.DefaultSelector()
        self._received: dict[socket.socket, int] = {}
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._read)
        self._failures: list[str] = []

    def __enter__(self) -> SlowReaders:
        for url in self._urls:
            reader = socket.socket()
            # Small, or the kernel would take in megabytes that nobody has read.
            reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            reader.settimeout(60)
            reader.connect((url.hostname or HOST, url.port or 80))
            reader.sendall(f"GET {url.path} HTTP/1.1\r\nHost: {url.netloc}\r\n\r\n".encode("ascii"))
            self._received[reader] = 0
        for reader in self._received:
            head = reader.recv(self._piece)
            if not head.startswith(b"HTTP/1.1 200"):
                self._failures.append(head[:40].decode("ascii", "replace"))
            reader.setblocking(False)
            self._selector.register(reader, selectors.EVENT_READ)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()
        self._selector.close()
        for reader in self._received:
            reader.close()

    def require_open(self) -> None:
        """Raise `RuntimeError` unless each of them is still being sent its file."""
        if self._failures:
            raise RuntimeError(f"{len(self._failures)} slow readers were not sent a file: {self._failures[0]}")

    @property
    def received(self) -> int:
        """Bytes, of all of them."""
        return sum(self._received.values())

    def _read(self) -> None:
        while not self._is_over.wait(0.25):
            for key, _ in self._selector.select(0):
                reader = key.fileobj
                assert isinstance(reader, socket.socket)
                try:
                    piece = reader.recv(self._piece)
                except OSError as exc:
                    piece = b""
                    self._failures.append(type(exc).__name__)
                if not piece:
                    self._failures.append("the answer ended")
                    self._selector.unregister(reader)
                self._received[reader] += len(piece)


def main() -> int:
    """Measure, print, and fail if a promise is not kept."""
    measured = measure(size=int(sys.argv[1]) if len(sys.argv) > 1 else 1024 * MIB)
    print_report(measured)
    return 1 if measured.misses else 0


if __name__ == "__main__":
    sys.exit(main())
