"""What a build must leave nowhere: keys, its secret, and anything of the machine that made it."""

from __future__ import annotations

import base64
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from build_farm.compile import find_toolchain
from build_farm.compile.go_command import go_environment
from licensing.crypto.build_slot import SlotIdentity, open_secret
from licensing.crypto.keys import key_root
from tests.e2e.quickstart import Quickstart
from tests.e2e.worker_watch import WorkerWatch
from tests.licensing.embedded.processes import SOURCE_ROOT


class Traces:
    """Of one build, whose package is unpacked in a folder; the secret is opened with the customer's key."""

    def __init__(self, server: Quickstart, place: Path, api_key: str, *other_keys: str) -> None:
        self._server = server
        self._place = place
        self._manifest = json.loads((place / "plugin.manifest").read_text())
        self._sealed, secret = _opened_secret((place / "plugin").read_bytes(), self._manifest, api_key)
        self._hidden = {key.encode() for key in (api_key, *other_keys)} | {secret, secret.hex().encode()}
        self._hidden |= {base64.b64encode(secret), base64.urlsafe_b64encode(secret).rstrip(b"=")}
        self._go = find_toolchain().root

    def are_not_in_the_package(self) -> None:
        """Nor in what `go version -m` tells of the binary."""
        told = subprocess.run(
            [str(self._go / "bin" / "go"), "version", "-m", "plugin"], cwd=self._place, capture_output=True, check=True
        ).stdout
        assert b"keywright.dev/gokit" in told
        paths = [self._server.data_dir, SOURCE_ROOT, sys.prefix, self._go, f"{Path.home()}/"]
        paths += [self._server.environment["BUILD_DIR"], self._server.environment["BUILD_CACHE_DIR"]]
        refused = self._hidden | {str(path).encode() for path in paths}
        files = {path.name: path.read_bytes() for path in self._place.iterdir() if path.name.startswith("plugin")}
        assert len(files) == 8
        for name, content in {**files, "go version -m": told}.items():
            assert not [text for text in refused if text in content], name

    def are_not_in_processes(self, seen: WorkerWatch) -> None:
        """Of the build worker and all below it, while the build was made."""
        assert {b"/go/bin/go"} < seen.programs(), "the compiler was not seen at work"
        assert any(b"/link" in program for program in seen.programs())
        for command, environment in {*seen.seen, (seen.own_command, seen.own_environment)}:
            assert not [text for text in self._hidden | {self._sealed} if text in command], command
            assert not [text for text in self._hidden | {self._sealed} if text in environment], command
        # The compiler is given what the farm says and nothing else; what it gives its own tools is not of the worker's.
        given = {entry.partition(b"=")[0] for entry in seen.variables(program=b"/go/bin/go")}
        assert given - {b"PWD"} == {name.encode() for name in go_environment(self._manifest["target"])}
        own = {entry for entry in seen.own_environment.split(b"\0") if not entry.startswith((b"LC_", b"LANG="))}
        assert not seen.variables() & own - {b""}

    def are_not_in_logs(self, log: str) -> None:
        """Of any process of the server, nor in the build's own."""
        logs = {path.name: path.read_bytes() for path in (self._server.data_dir / "logs").iterdir()}
        assert "worker-build.log" in logs
        for name, content in {**logs, "": log.encode()}.items():
            assert not [text for text in self._hidden | {self._sealed} if text in content], name


def _opened_secret(binary: bytes, manifest: dict[str, Any], api_key: str) -> tuple[bytes, bytes]:
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
