"""What is shown to be copied does what it says, in a real shell against a real server."""

from __future__ import annotations

import json
import os
import subprocess
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import pytest
from django.core.wsgi import get_wsgi_application
from django.db import connections

from registry.models import CustomerPolicy
from registry.portal import clients
from registry.storage import ArtifactStore
from tests.registry import cast
from tests.registry.cast import PRIVATE, Cast


@pytest.fixture
def served(transactional_db: None, loaded: Cast, folder_store: ArtifactStore, settings: Any) -> Iterator[Cast]:
    """The cast behind a real port, with a release of a private plugin.

    A server of its own: what is asked of it is over before the database is taken away.
    """
    server = make_server("127.0.0.1", 0, get_wsgi_application(), handler_class=_Quiet)
    settings.PUBLIC_URL = settings.FILES_URL = f"http://127.0.0.1:{server.server_port}"
    settings.ALLOWED_HOSTS = ["127.0.0.1"]
    cast.publish(folder_store, PRIVATE, "1.2.0")
    thread = threading.Thread(target=_serve, args=(server,), daemon=True)
    thread.start()
    yield loaded
    server.shutdown()
    thread.join()
    server.server_close()


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Write nothing to the tests' output."""


def _serve(server: WSGIServer) -> None:
    try:
        server.serve_forever(poll_interval=0.02)
    finally:
        connections.close_all()


def _run(text: str, *, token: str, place: Path) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], clients.VARIABLE: token}
    command = ["bash", "-e", "-c", text]
    return subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, timeout=60, check=False)


def test_the_lines_list_and_fetch_a_private_plugin(served: Cast, tmp_path: Path) -> None:
    listed = _run(clients.list_command(served.globex.id), token=served.globex.pat, place=tmp_path)
    assert listed.returncode == 0, listed.stderr
    assert [each["name"] for each in json.loads(listed.stdout)["plugins"]] == [PRIVATE]
    fetched = _run(clients.download_commands(PRIVATE, "1.2.0"), token=served.globex.pat, place=tmp_path)
    assert fetched.returncode == 0, fetched.stderr
    assert (tmp_path / f"{PRIVATE}-1.2.0.kmpkg").read_bytes() == cast.content_of(PRIVATE, "1.2.0")


def test_the_lines_fail_for_a_token_that_is_no_good(served: Cast, tmp_path: Path) -> None:
    bad = f"pat_{'0' * 36}"
    assert _run(clients.list_command(served.globex.id), token=bad, place=tmp_path).returncode != 0
    assert _run(clients.download_commands(PRIVATE, "1.2.0"), token=bad, place=tmp_path).returncode != 0


def test_the_export_line_is_what_the_others_read(tmp_path: Path) -> None:
    line = clients.export_line("pat_x") + f"\nprintenv {clients.VARIABLE}"
    assert _run(line, token="", place=tmp_path).stdout == "pat_x\n"


def test_a_hosts_configuration_keeps_hostile_sources_within_their_quotes() -> None:
    hostile = 'https://x.example/"\nsandbox_enabled: false'
    row = CustomerPolicy(customer_id="c", allowed_sources=[hostile], updated_at=datetime.now(UTC), auto_update=True)
    text = clients.host_configuration(row)
    (line,) = [line for line in text.splitlines() if "allowed_sources" in line]
    assert json.loads(line.partition(": ")[2]) == [hostile]
    assert "auto_update: true" in text
    assert "plugin_verification: strict" in text
