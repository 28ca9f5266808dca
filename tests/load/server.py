"""A server to measure: embedded PostgreSQL and Valkey, and web processes served as the quickstart serves them."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

from licensing.embedded.environment import process_environment, store_urls
from licensing.embedded.instance import Instance
from licensing.embedded.port import HOST
from licensing.embedded.postgres import OWNER, SIGN, WEB
from licensing.embedded.process import GuardedProcess, Program, run_to_end
from licensing.embedded.secrets import ensure_installation_secrets
from licensing.embedded.server import RECIPES, SOURCE_ROOT, Server
from licensing.embedded.services import start_postgres, start_valkey
from licensing.embedded.stopping import NeverStop, Stop, StopRequested
from licensing.embedded.supervisor import Supervisor

_STEP_SECONDS = 600.0
_WEB = next(recipe for recipe in RECIPES if recipe.name == "web")


# Limits that are on and that nobody reaches: for a few machines that ask all the time, where a refusal for asking too
# often would pass for obedience.
GENEROUS_LIMITS = {"RATE_LIMIT_PER_MINUTE": "60000", "RATE_LIMIT_BURST": "60000"}


def free_port() -> int:
    """A port of loopback that nobody uses at this moment."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


class LoadServer:
    """One server under load. `start` brings up the services and the schema, `start_web` the web processes."""

    def __init__(self, *, settings: Mapping[str, str] | None = None) -> None:
        self.root = Path(tempfile.mkdtemp(prefix="keywright-load-"))
        self.instance = Instance(self.root / "data")
        self.port = free_port()
        self._settings = dict(settings or {})
        self._stopping = Stop()
        self._supervisor = Supervisor(stop=self._stopping, announce=lambda _: None)
        self._watcher = threading.Thread(target=self._watch)
        self._web: dict[str, GuardedProcess] = {}
        self._server = Server(self.instance, port=self.port, public_url=f"http://{HOST}:{self.port}", is_embedded=True)

    @property
    def address(self) -> str:
        """Host and port of the web processes."""
        return f"{HOST}:{self.port}"

    def __enter__(self) -> LoadServer:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start PostgreSQL (durable, as in production) and Valkey; bring schema and signing keys up to date."""
        self.instance.open()
        ensure_installation_secrets(self.instance.secrets, database_exists=False)
        valkey = start_valkey(self.instance, self._supervisor, durable=True)
        postgres = start_postgres(self.instance, self._supervisor, stop=NeverStop(), durable=True)
        store_urls(
            self.instance.secrets,
            {
                "database_web": postgres.url(WEB),
                "database_owner": postgres.url(OWNER),
                "database_sign": postgres.url(SIGN),
                "valkey": valkey.url(),
            },
        )
        self.owner_url = postgres.url(OWNER)
        self.web_url = postgres.url(WEB)
        steps = "licensing.embedded.steps"
        self.run("owner", ["-m", steps, "refuse_newer_schema", "+", "migrate", "+", "grant_roles"])
        self.run("sign", ["-m", steps, "bootstrap_keys"])
        self._server.empty_metrics()
        self._watcher.start()

    def stop(self) -> None:
        """End everything that was started and remove what it kept."""
        for name in list(self._web):
            self.stop_web(name)
        self._stopping.request()
        if self._watcher.is_alive():
            self._watcher.join()
        self._supervisor.stop()
        self.instance.close()
        shutil.rmtree(self.root, ignore_errors=True)

    def _watch(self) -> None:
        """Start PostgreSQL and Valkey again when they end, as the quickstart does."""
        with contextlib.suppress(StopRequested):
            self._supervisor.watch()

    def environment(self, role: str, extra: Mapping[str, str] | None = None) -> dict[str, str]:
        """The environment of a process of this server."""
        return process_environment(self.instance, {**self._server.settings(role), **self._settings, **(extra or {})})

    def run(self, role: str, arguments: Sequence[str], *, extra: Mapping[str, str] | None = None) -> str:
        """Run a Python program to its end; what it wrote. Raises `EmbeddedError`."""
        log = self.instance.logs / "step.log"
        log.unlink(missing_ok=True)
        program = self._program("step", role, arguments, log, extra)
        run_to_end(program, stop=NeverStop(), timeout_seconds=_STEP_SECONDS)
        return log.read_text(encoding="utf-8")

    def start_web(
        self,
        *,
        name: str = "web",
        workers: int | None = None,
        application: str | None = None,
        port: int | None = None,
        extra: Mapping[str, str] | None = None,
    ) -> GuardedProcess:
        """Start web processes with the quickstart's own arguments, but for what is given here."""
        arguments = [part.format(port=port or self.port, run=self.instance.run) for part in _WEB.arguments]
        if workers is not None:
            arguments[arguments.index("--workers") + 1] = str(workers)
        if application is not None:
            arguments[arguments.index("licensing.embedded.web:application")] = application
        counted = {"PROMETHEUS_MULTIPROC_DIR": str(self._server.metrics)} if application is None else {}
        program = self._program(
            name, _WEB.role, arguments, self.instance.logs / f"{name}.log", {**counted, **(extra or {})}
        )
        ready_path = "/readyz" if application is None else "/"
        self._web[name] = process = GuardedProcess(program)
        deadline = time.monotonic() + 120
        while not _answers(port or self.port, ready_path):
            if process.poll() is not None or time.monotonic() > deadline:
                raise process.failure()
            time.sleep(0.05)
        return process

    def stop_web(self, name: str = "web") -> None:
        """End the web processes of that name."""
        self._web.pop(name).stop()

    def web_pids(self, name: str = "web") -> list[int]:
        """The processes that serve requests: the children of Granian's own main process."""
        return children(self.program_pid(name))

    def program_pid(self, name: str) -> int:
        """The process id of `web`, `postgres` or `valkey`, as its guard recorded it."""
        record = json.loads((self.instance.run / f"{name}.pid").read_text())
        pid: int = record["program"][0]
        return pid

    def _program(
        self, name: str, role: str, arguments: Sequence[str], log: Path, extra: Mapping[str, str] | None
    ) -> Program:
        return Program(
            name=name,
            argv=[sys.executable, *arguments],
            env=self.environment(role, extra),
            log=log,
            record=self.instance.run / f"{name}.pid",
            cwd=SOURCE_ROOT,
        )


def children(pid: int) -> list[int]:
    """The direct children of a process."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        found += [int(word) for word in (task / "children").read_text().split()]
    return sorted(found)


def tree(pid: int) -> list[int]:
    """A process and all that descend from it."""
    found = [pid]
    for each in found:
        try:
            found += children(each)
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has just ended
    return found


def cpu_seconds(pid: int) -> float:
    """User and system time of a process tree, with what its ended children used."""
    ticks = 0
    for each in tree(pid):
        try:
            fields = Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        ticks += sum(int(fields[place]) for place in range(11, 15))
    return ticks / os.sysconf("SC_CLK_TCK")


def resident_bytes(pid: int) -> int:
    """Resident memory of one process."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def _answers(port: int, path: str) -> bool:
    try:
        with socket.create_connection((HOST, port), timeout=5) as connection:
            connection.sendall(f"GET {path} HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n".encode())
            return connection.recv(64).startswith(b"HTTP/1.1 200")
    except OSError:
        return False
