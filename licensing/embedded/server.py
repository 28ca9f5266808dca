"""The processes of a server, as data: what runs, as which role, and in which order it stops."""

from __future__ import annotations

import http.client
import os
import shutil
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import licensing
from licensing.embedded.environment import process_environment, role_settings
from licensing.embedded.errors import EmbeddedError
from licensing.embedded.instance import Instance
from licensing.embedded.port import HOST
from licensing.embedded.process import GuardedProcess, Program
from licensing.embedded.supervisor import Child

SOURCE_ROOT = Path(licensing.__file__).resolve().parent.parent

_STOP_WORKERS, _STOP_WEB = 2, 3
_CELERY = ("-m", "celery", "-A", "licensing")
_QUIET_WORKER = ("--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel", "INFO")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One process of the server: arguments to Python, with `{port}` and `{run}` filled in."""

    name: str
    role: str
    arguments: Sequence[str]
    stop_group: int = _STOP_WORKERS
    stop_seconds: float = 15.0


RECIPES = (
    Recipe(
        name="web",
        role="web",
        arguments=(
            *("-m", "granian", "--interface", "wsgi", "licensing.embedded.web:application"),
            *("--host", HOST, "--port", "{port}", "--http", "1", "--no-ws"),
            # Backpressure counts connections, also those that plugins keep open and idle.
            *("--workers", "2", "--blocking-threads", "3", "--backpressure", "8192", "--backlog", "4096"),
            *("--respawn-failed-workers", "--respawn-interval", "0.5", "--workers-kill-timeout", "10"),
        ),
        stop_group=_STOP_WEB,
    ),
    # Sends files, however slowly they are read: a thread each, and none of those that decide.
    Recipe(
        name="files",
        role="files",
        arguments=(
            *("-m", "granian", "--interface", "wsgi", "licensing.embedded.web:application"),
            *("--host", HOST, "--port", "{files_port}", "--http", "1", "--no-ws"),
            *("--workers", "1", "--blocking-threads", "256", "--backpressure", "512"),
            *("--respawn-failed-workers", "--respawn-interval", "0.5", "--workers-kill-timeout", "5"),
        ),
        stop_group=_STOP_WEB,
    ),
    Recipe(
        name="worker-control",
        role="control",
        arguments=(
            *_CELERY,
            *("worker", "-Q", "control", "--pool", "threads", "--concurrency", "2", "-n", "control@%h"),
            *_QUIET_WORKER,
        ),
    ),
    Recipe(
        name="worker-sign",
        role="sign",
        arguments=(*_CELERY, "worker", "-Q", "sign", "--pool", "solo", "-n", "sign@%h", *_QUIET_WORKER),
    ),
    # One build at a time. It stops at once: a build that is broken off is begun again when its lease has run out.
    Recipe(
        name="worker-build",
        role="build",
        arguments=(
            *_CELERY,
            *("worker", "-Q", "build", "--pool", "threads", "--concurrency", "1", "-n", "build@%h"),
            *_QUIET_WORKER,
        ),
        stop_seconds=3.0,
    ),
    Recipe(
        name="beat",
        role="beat",
        arguments=(*_CELERY, "beat", "-s", "{run}/celerybeat-schedule", "--loglevel", "INFO"),
        stop_seconds=5.0,
    ),
)


class Server:
    """Builds the programs of one installation's server."""

    def __init__(
        self, instance: Instance, *, port: int, public_url: str, is_embedded: bool, files_port: int = 0
    ) -> None:
        """`files_port` is where files are sent from; 0: this server sends none."""
        self._instance = instance
        self._port = port
        self._files_port = files_port
        self._public_url = public_url
        self._is_embedded = is_embedded

    def settings(self, role: str) -> dict[str, str]:
        """The settings that a process of this role is given."""
        settings = role_settings(
            self._instance.secrets, role, public_url=self._public_url, is_embedded=self._is_embedded
        )
        # What the caller has set stands: files may be elsewhere, or behind the same proxy.
        settings["ARTIFACT_DIR"] = os.environ.get("ARTIFACT_DIR") or str(self._instance.root / "artifacts")
        settings["BUILD_DIR"] = os.environ.get("BUILD_DIR") or str(self._instance.build_directory())
        if self._files_port:
            settings["FILES_URL"] = os.environ.get("FILES_URL") or f"http://{HOST}:{self._files_port}"
        return settings

    def command(self, name: str, role: str, arguments: Sequence[str], *, to_terminal: bool = False) -> Program:
        """A Python program that does its work and ends."""
        return Program(
            name=name,
            argv=[sys.executable, *arguments],
            env=process_environment(self._instance, self.settings(role)),
            log=None if to_terminal else self._instance.logs / f"{name}.log",
            record=self._instance.run / f"{name}.pid",
            cwd=SOURCE_ROOT,
            stop_steps=((signal.SIGTERM, 5.0),),
        )

    def children(self) -> list[Child]:
        """Everything that runs for as long as the server does."""
        self.empty_metrics()
        return [self._child(recipe) for recipe in RECIPES if recipe.name != "files" or self._files_port]

    def empty_metrics(self) -> None:
        """Begin anew with what processes count together (see `licensing.core.metrics`)."""
        shutil.rmtree(self.metrics, ignore_errors=True)
        self.metrics.mkdir(mode=0o700)

    @property
    def metrics(self) -> Path:
        """The folder where the processes that serve requests count together."""
        return self._instance.run / "metrics"

    def _child(self, recipe: Recipe) -> Child:
        places = {"port": self._port, "files_port": self._files_port, "run": self._instance.run}
        filled = [part.format(**places) for part in recipe.arguments]
        settings = self.settings(recipe.role)
        if recipe.role in ("web", "files"):
            settings["PROMETHEUS_MULTIPROC_DIR"] = str(self.metrics)
        program = Program(
            name=recipe.name,
            argv=[sys.executable, *filled],
            env=process_environment(self._instance, settings),
            log=self._instance.logs / f"{recipe.name}.log",
            record=self._instance.run / f"{recipe.name}.pid",
            cwd=SOURCE_ROOT,
            stop_steps=((signal.SIGTERM, recipe.stop_seconds),),
        )
        is_web = recipe.name == "web"
        ready = {"web": self.answers, "files": self.sends_files}
        return Child(
            program=program,
            is_ready=ready.get(recipe.name),
            stop_group=recipe.stop_group,
            explain=self._why_web_failed if is_web else GuardedProcess.failure,
        )

    def answers(self) -> bool:
        """True once the server says that it is ready."""
        return self._is_ready(self._port)

    def sends_files(self) -> bool:
        """True once the `files` process says that it is ready."""
        return self._is_ready(self._files_port)

    def _is_ready(self, port: int) -> bool:
        connection = http.client.HTTPConnection(HOST, port, timeout=5)
        try:
            connection.request("GET", "/readyz")
            return connection.getresponse().status == http.HTTPStatus.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def _why_web_failed(self, process: GuardedProcess) -> EmbeddedError:
        words = process.last_words()
        if "Address already in use" in words or "Address in use" in words:
            return EmbeddedError(f"Port {self._port} is in use: choose another one with --port.")
        return process.failure()
