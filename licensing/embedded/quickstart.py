"""`manage.py quickstart`: from an empty directory to a server that answers, in one command.

Order matters only where it says so: secrets before the database that depends on them, the schema before the keys,
the keys before the web server that signs with them.
"""

from __future__ import annotations

import os
import shutil
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from licensing.embedded.environment import store_urls, write_shell_file
from licensing.embedded.errors import AlreadyRunning, EmbeddedError, cannot
from licensing.embedded.files import write_private
from licensing.embedded.instance import Instance
from licensing.embedded.port import HOST, reserve
from licensing.embedded.postgres import OWNER, SIGN, WEB
from licensing.embedded.process import run_to_end
from licensing.embedded.secrets import ensure_demo_secrets, ensure_installation_secrets
from licensing.embedded.server import SOURCE_ROOT, Server
from licensing.embedded.services import start_postgres, start_valkey
from licensing.embedded.steps import FAILED
from licensing.embedded.stopping import Stop, StopRequested
from licensing.embedded.summary import summary
from licensing.embedded.supervisor import Supervisor, rotate_log

_STEP_TIMEOUT_SECONDS = 600.0
_CHECK_TIMEOUT_SECONDS = 300.0
# What a start needs on a disk: a new database with its journal, and room to breathe.
_LEAST_FREE_BYTES = 200 * 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class Options:
    """What was asked for on the command line."""

    data_dir: Path
    port: int = 8000
    with_demo: bool = True
    build_demo: bool = True
    check: bool = False
    stop_with: int | None = None
    """The id of a process to end with."""


class Quickstart:
    """One run of the command."""

    def __init__(self, options: Options, *, say: Callable[[str], None]) -> None:
        self._options = options
        self._say = say
        self._began = time.monotonic()
        self._instance = Instance(options.data_dir)
        self._base_url = f"http://{HOST}:{options.port}"

    def run(self) -> int:
        """Start, serve until asked to stop, stop; the exit code."""
        os.umask(0o077)
        with Stop() as stop:
            if self._options.stop_with is not None:
                stop.follow(self._options.stop_with)
            try:
                return self._run(stop)
            except StopRequested:
                return 0
            except EmbeddedError as exc:
                sys.stderr.write(f"{exc}\n")
                return 1
            except OSError as exc:
                sys.stderr.write(f"{cannot('write', exc, path=exc.filename or self._instance.root)}\n")
                return 1

    def _run(self, stop: Stop) -> int:
        self._say(f"Keywright, data directory {self._instance.root}")
        try:
            self._instance.open()
        except AlreadyRunning:
            if self._options.check:
                return self._check_running(stop)
            raise
        supervisor = Supervisor(stop=stop, announce=self._progress)
        ports: list[socket.socket] = []
        try:
            ports.append(reserve(self._options.port))
            ports.append(reserve(0))  # any free one: files are only ever fetched from a URL that names it
            server = self._start(supervisor, stop, files_port=ports[1].getsockname()[1])
            if self._options.check:
                return self._check(server, self._base_url, stop)
            self._say(summary(self._instance, self._base_url, with_demo=self._options.with_demo))
            supervisor.watch()
        except StopRequested:
            self._progress("stopping")
            raise
        finally:
            supervisor.stop()
            for port in ports:
                port.close()
            self._instance.close()
            self._progress("stopped; the data is kept")
        return 0

    def _progress(self, what: str) -> None:
        self._say(f"{time.monotonic() - self._began:6.1f} s  {what}")

    def _start(self, supervisor: Supervisor, stop: Stop, *, files_port: int) -> Server:
        self._require_space()
        is_embedded = given_url("DATABASE_URL") is None
        secrets = self._instance.secrets
        ensure_installation_secrets(secrets, database_exists=is_embedded and self._instance.postgres.exists())
        store_urls(secrets, self._start_services(supervisor, stop, is_embedded=is_embedded))
        public_url = os.environ.get("PUBLIC_URL") or self._base_url
        server = Server(
            self._instance,
            port=self._options.port,
            files_port=files_port,
            public_url=public_url,
            is_embedded=is_embedded,
        )
        write_private(self._instance.run / "base_url", self._base_url)
        write_shell_file(self._instance.root / "env", server.settings("web"))
        write_shell_file(self._instance.root / "env.sign", server.settings("sign"))
        self._prepare_database(server, stop)
        self._progress("starting web, workers and beat")
        supervisor.start(*server.children())
        self._progress(f"answering at {self._base_url}")
        return server

    def _require_space(self) -> None:
        """Refuse a first start that would fill the disk half-way through."""
        if self._instance.postgres.exists():
            return
        free = shutil.disk_usage(self._instance.root).free
        if free < _LEAST_FREE_BYTES:
            raise EmbeddedError(
                f"The disk is full: {self._instance.root} has {free // 2**20} MiB left, "
                f"and a new installation needs {_LEAST_FREE_BYTES // 2**20} MiB."
            )

    def _start_services(self, supervisor: Supervisor, stop: Stop, *, is_embedded: bool) -> dict[str, str]:
        """Start what is not given from outside; the addresses, by the names of their files."""
        valkey_url = given_url("VALKEY_URL")
        if valkey_url is None:
            valkey_url = start_valkey(self._instance, supervisor, durable=True).url()
            self._progress("Valkey runs")
        if not is_embedded:
            web = given_url("DATABASE_URL") or ""
            owner, sign = given_url("DATABASE_OWNER_URL") or web, given_url("DATABASE_SIGN_URL") or web
        else:
            if not self._instance.postgres.exists():
                self._progress("making the database")
            postgres = start_postgres(self._instance, supervisor, stop=stop, durable=True)
            web, owner, sign = postgres.url(WEB), postgres.url(OWNER), postgres.url(SIGN)
            self._progress("PostgreSQL runs")
        return {"database_web": web, "database_owner": owner, "database_sign": sign, "valkey": valkey_url}

    def _prepare_database(self, server: Server, stop: Stop) -> None:
        """Bring the schema, the roles' rights, the keys and the demo up to date; all of it can be repeated."""
        rotate_log(self._instance.logs / "setup.log")
        self._step(server, stop, "migrating the database", "owner", "refuse_newer_schema + migrate + grant_roles")
        self._step(server, stop, "making signing keys and certificates", "sign", "bootstrap_keys")
        if self._options.with_demo:
            secrets = ensure_demo_secrets(self._instance.secrets)
            output = self._instance.root / "quickstart.json"
            self._progress("loading the demo")
            load = ["load_demo", "--secrets-file", str(secrets), "--output", str(output)]
            publish = ["publish_demo"] if self._options.build_demo else ["publish_demo", "--no-builds"]
            self._run_steps(server, stop, "web", [*load, "+", *publish])

    def _step(self, server: Server, stop: Stop, title: str, role: str, commands: str) -> None:
        self._progress(title)
        self._run_steps(server, stop, role, commands.split())

    def _run_steps(self, server: Server, stop: Stop, role: str, commands: list[str]) -> None:
        program = server.command("setup", role, ["-m", "licensing.embedded.steps", *commands])
        try:
            run_to_end(program, stop=stop, timeout_seconds=_STEP_TIMEOUT_SECONDS)
        except EmbeddedError as exc:
            raise self._said_by_step(exc) from exc

    def _said_by_step(self, exc: EmbeddedError) -> EmbeddedError:
        log = self._instance.logs / "setup.log"
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
        sentences = [line.removeprefix(FAILED) for line in lines[-1:] if line.startswith(FAILED)]
        return EmbeddedError(f"{sentences[0]} (log: {log})") if sentences else exc

    def _check_running(self, stop: Stop) -> int:
        """`--check` against the server that runs on this data directory already."""
        try:
            base_url = (self._instance.run / "base_url").read_text(encoding="utf-8")
        except FileNotFoundError:
            raise EmbeddedError(
                f"The server on {self._instance.root} is still starting for the first time; try again in a moment."
            ) from None
        server = Server(
            self._instance,
            port=self._options.port,
            public_url=os.environ.get("PUBLIC_URL") or base_url,
            is_embedded=given_url("DATABASE_URL") is None,
        )
        self._progress(f"already running at {base_url}; checking that")
        return self._check(server, base_url, stop)

    def _check(self, server: Server, base_url: str, stop: Stop) -> int:
        arguments = [str(SOURCE_ROOT / "manage.py"), "self_check", "--base-url", base_url]
        program = server.command("self_check", "owner", arguments, to_terminal=True)
        try:
            run_to_end(program, stop=stop, timeout_seconds=_CHECK_TIMEOUT_SECONDS)
        except EmbeddedError as exc:
            sys.stderr.write(f"The check failed: {exc}\n")
            return 1
        self._progress("the check passed")
        return 0


def given_url(name: str) -> str | None:
    """An address from the environment, or from the file that `NAME_FILE` names.

    Raises:
        EmbeddedError: the file cannot be read.
    """
    file_name = os.environ.get(f"{name}_FILE")
    if not file_name:
        return os.environ.get(name) or None
    try:
        return Path(file_name).read_text(encoding="utf-8").strip() or None
    except OSError as exc:
        raise cannot(f"read {name}_FILE", exc, path=file_name) from exc
