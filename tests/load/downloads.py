"""How fast files are sent: `python -m tests.load.downloads [BYTES]`. Needs nginx and curl.

In one run: nginx sending the plain file, nginx sending it on our word (`X-Accel-Redirect`), the `files` process sending
it by itself. The second and third must reach at least 0.5 and 0.2 of the
first. The first hash of the file is excluded.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from tests.e2e.quickstart import Quickstart, document, free_port

PLUGIN, RUNS = "console-logger", 3
LEAST = {"nginx on our word": 0.5, "files process": 0.2}

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


def main() -> int:
    """Measure, print, and fail if a share is too small."""
    size = int(sys.argv[1]) if len(sys.argv) > 1 else 1024**3
    nginx = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    if nginx is None:
        sys.stderr.write("nginx is needed for this measurement.\n")
        return 2
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "file").write_bytes(os.urandom(1024 * 1024) * (size // 1024**2))
        speeds = _measure(root, nginx, accel=False) | _measure(root, nginx, accel=True)
    plain = speeds["nginx, plain file"]
    for name, speed in speeds.items():
        sys.stdout.write(f"{name:20} {speed / 1e6:8.0f} MB/s   {speed / plain:5.2f} of plain\n")
    return 0 if all(speeds[name] >= share * plain for name, share in LEAST.items()) else 1


def _measure(root: Path, nginx: str, *, accel: bool) -> dict[str, float]:
    environment = {"DOWNLOAD_ACCEL_PREFIX": "/artifacts/"} if accel else {}
    data = root / f"data-{accel}"
    server = Quickstart(data, environment=environment)
    try:
        server.wait_until_answering()
        path = _publish(server, root / "file")
        url: str = _ask(server)["url"]
        origin, _, segment = url.rpartition("/files/")
        port = free_port()
        with _running(nginx, root, port, artifacts=data / "artifacts", files=origin):
            at_nginx = f"http://127.0.0.1:{port}"
            # Fetched once before it is timed: that hashes it, and brings it into the page cache.
            _speed(url if not accel else f"{at_nginx}/files/{segment}")
            if accel:
                return {"nginx on our word": _median(lambda: f"{at_nginx}/files/{_segment(server)}")}
            return {
                "nginx, plain file": _median(lambda: f"{at_nginx}/plain/{path}"),
                "files process": _median(lambda: str(_ask(server)["url"])),
            }
    finally:
        server.close()


def _publish(server: Quickstart, file: Path) -> str:
    told = document(server.data_dir)
    releases = f"{told['base_url']}/api/manage/plugins/{PLUGIN}/releases"
    key: str = told["operator"]["api_key"]
    _curl(key, "-d", '{"version": "9.0.0"}', f"{releases}/")
    sent = _curl(key, "--upload-file", str(file), f"{releases}/9.0.0/files/linux-amd64", kind="octet-stream")
    for _ in range(120):
        answer = _curl(key, "-d", '{"require_installation": false}', f"{releases}/9.0.0/publish")
        if answer.get("state") == "published":
            digest: str = sent["sha256"]
            return f"sha256/{digest[:2]}/{digest[2:4]}/{digest}"
        time.sleep(0.5)
    raise RuntimeError("the file was not signed in a minute")


def _curl(key: str, *arguments: str, kind: str = "json") -> dict[str, Any]:
    command = ["curl", "-sS", "-H", f"Authorization: Bearer {key}", "-H", f"Content-Type: application/{kind}"]
    ran = subprocess.run([*command, *arguments], capture_output=True, check=True)
    found: dict[str, Any] = json.loads(ran.stdout)
    return found


def _ask(server: Quickstart) -> dict[str, Any]:
    told = document(server.data_dir)
    path = f"{told['base_url']}/api/registry/plugins/{PLUGIN}/releases/9.0.0/download"
    return _curl(told["customers"]["cust_123"]["api_key"], "-d", '{"os": "linux", "arch": "amd64"}', path)


def _segment(server: Quickstart) -> str:
    return str(_ask(server)["url"]).rpartition("/")[2]


def _median(url: Any) -> float:
    return statistics.median(_speed(url()) for _ in range(RUNS))


def _speed(url: str) -> float:
    """Bytes a second."""
    command = ["curl", "-fsS", "-o", "/dev/null", "-w", "%{speed_download}", url]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


class _running:  # noqa: N801  reads as a sentence where it is used
    """nginx, for as long as the block lasts."""

    def __init__(self, nginx: str, root: Path, port: int, *, artifacts: Path, files: str) -> None:
        configuration = root / f"nginx-{port}.conf"
        user = "root" if os.geteuid() == 0 else os.environ.get("USER", "nobody")
        text = _NGINX.format(root=root, port=port, artifacts=artifacts, files=files, user=user)
        configuration.write_text(text)
        self._command = [nginx, "-c", str(configuration), "-p", str(root), "-e", str(root / "error.log")]
        self._url = f"http://127.0.0.1:{port}/"

    def __enter__(self) -> None:
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for _ in range(200):
            try:
                urllib.request.urlopen(self._url).close()  # noqa: S310  our own nginx
            except urllib.error.HTTPError as exc:
                exc.close()
                return
            except OSError:
                time.sleep(0.05)

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(10)


if __name__ == "__main__":
    sys.exit(main())
