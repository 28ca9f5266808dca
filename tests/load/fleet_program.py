"""Compiles the fleet and runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SOURCE = Path(__file__).resolve().parent / "fleet"


def go_program() -> str:
    """The Go toolchain of the `embedded` extra."""
    return str(Path(sys.executable).parent / "go")


def build(folder: Path) -> Path:
    """Compile the program into a folder; nothing is fetched, since it uses the standard library alone."""
    program = folder / "fleet"
    environment = {**os.environ, "GOFLAGS": "-mod=mod", "GOPROXY": "off", "GOTOOLCHAIN": "local", "CGO_ENABLED": "0"}
    environment |= {"GOWORK": "off", "GOENV": "off"}
    subprocess.run(
        [go_program(), "build", "-trimpath", "-o", str(program), "."], cwd=SOURCE, env=environment, check=True
    )
    return program


@dataclass(frozen=True)
class Fleet:
    """The compiled program and the server it asks."""

    program: Path
    address: str

    def closed(self, requests: Path, *, seconds: float, connections: int = 16, mix: str = "", warmup: float = 1) -> Any:
        """Every connection asks again as soon as it was answered."""
        return self._run("closed", requests, f"-seconds={seconds}", f"-connections={connections}", f"-mix={mix}",
                         f"-warmup={warmup}")  # fmt: skip

    def paced(
        self, requests: Path, *, rate: float, seconds: float, connections: int = 64, mix: str = "", warmup: float = 2
    ) -> Any:
        """Requests at fixed instants; latency from those."""
        return self._run("paced", requests, f"-rate={rate}", f"-seconds={seconds}", f"-connections={connections}",
                         f"-mix={mix}", f"-warmup={warmup}")  # fmt: skip

    def restart(self, requests: Path, *, clients: int, seconds: float, patience_seconds: int = 180) -> Any:
        """Machines that start within some seconds, and obey Retry-After."""
        return self._run("restart", requests, f"-clients={clients}", f"-seconds={seconds}",
                         f"-patience={patience_seconds}s")  # fmt: skip

    def start(self, mode: str, requests: Path, *options: str) -> subprocess.Popen[str]:
        """Start it and leave it running."""
        command = [str(self.program), f"-mode={mode}", f"-address={self.address}", f"-requests={requests}", *options]
        return subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def _run(self, mode: str, requests: Path, *options: str) -> Any:
        process = self.start(mode, requests, *options)
        output, errors = process.communicate()
        if process.returncode != 0:
            raise RuntimeError(errors.strip() or f"the fleet ended with code {process.returncode}")
        return json.loads(output)
