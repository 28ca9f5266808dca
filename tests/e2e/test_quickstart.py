"""`manage.py quickstart` as a person meets it: one command, a server that answers, and one sentence when it cannot."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from licensing.embedded.secrets import ensure_installation_secrets
from licensing.embedded.server import RECIPES
from licensing.embedded.services import EmbeddedServices
from tests.e2e.quickstart import START_SECONDS, Quickstart, authenticate, document
from tests.licensing.embedded.processes import (
    ORDINARY_UID,
    SOURCE_ROOT,
    descendants,
    homes,
    processes_of,
    user_environment,
    wait_for,
)

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount")


@pytest.fixture(scope="module")
def start() -> Iterator[Callable[..., Quickstart]]:
    """Start the command; whatever was started is gone in the end."""
    started: list[Quickstart] = []

    def begin(*arguments: Any, **options: Any) -> Quickstart:
        started.append(Quickstart(*arguments, **options))
        return started[-1]

    yield begin
    for quickstart in started:
        quickstart.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, start: Callable[..., Quickstart]) -> Quickstart:
    """A server that runs, in a directory with a name to stumble over."""
    folder = tmp_path_factory.mktemp("quickstart") / 'it\'s a "long" one' / ("x" * 120)
    return start(folder / "data dir").wait_until_answering()


def environment_of(pid: int) -> dict[str, str]:
    entries = Path(f"/proc/{pid}/environ").read_bytes().decode().split("\0")
    return dict(entry.split("=", 1) for entry in entries if "=" in entry)


def secrets_of(data_dir: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in (data_dir / "secrets").iterdir()}


# -- What it gives


def test_the_printed_lines_work_when_pasted(server: Quickstart) -> None:
    if shutil.which("curl") is None:
        pytest.skip("there is no curl here")
    pasted = [line for line in server.lines if "curl" in line and "/api/plugins/" in line]
    assert len(pasted) == 3

    ran = subprocess.run(["bash", "-e"], input="\n".join(pasted), capture_output=True, text=True, check=True)
    validated, refreshed = (json.loads(part) for part in ran.stdout.replace("}{", "}\n{").splitlines())
    assert (validated["valid"], validated["code"]) == (True, "VALID")
    assert refreshed["success"] is True
    assert refreshed["subscription_tier"] == "Pro"


def test_it_shows_progress_with_the_time_that_passed(server: Quickstart) -> None:
    progress = [line for line in server.lines if re.match(r" +\d+\.\d s  ", line)]
    seconds = [float(line.split()[0]) for line in progress]

    assert len(progress) >= 6
    assert seconds == sorted(seconds)


def test_the_description_has_what_it_promises(server: Quickstart) -> None:
    path = server.data_dir / "quickstart.json"
    described = document(server.data_dir)

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert described["base_url"] == f"http://127.0.0.1:{server.port}"
    assert set(described["operator"]) == {"email", "password", "api_key"}
    assert set(described["customers"]) == {"cust_123", "enterprise_456"}
    for customer in described["customers"].values():
        assert set(customer) == {"api_key", "plugin_signature", "build_secret", "admin"}
        assert set(customer["admin"]) == {"email", "password"}


def test_the_shell_file_lets_other_commands_run(server: Quickstart) -> None:
    line = next(line for line in server.lines if "other commands" in line).split("commands", 1)[1]
    script = f'{line}\n"{sys.executable}" manage.py shell --no-imports -c "$1"'
    code = "from accounts.models import Customer; print(sorted(Customer.objects.values_list('pk', flat=True)))"

    ran = subprocess.run(
        ["sh", "-ec", script, "sh", code],
        cwd=SOURCE_ROOT,
        env=user_environment(None),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.strip() == "['cust_123', 'enterprise_456']"


# -- Who gets which secret


def test_only_the_signer_gets_the_artifacts_key_and_no_child_the_owners_address(server: Quickstart) -> None:
    roles: dict[str, dict[str, str]] = {}
    for pid in descendants(server.process.pid):
        environment = environment_of(pid)
        if "KEYWRIGHT_ROLE" in environment:
            roles[environment["KEYWRIGHT_ROLE"]] = environment

    assert set(roles) == {recipe.role for recipe in RECIPES}
    assert {role for role, its in roles.items() if any("KEK_ARTIFACTS" in name for name in its)} == {"sign"}
    for role, environment in roles.items():
        expected = "database_sign_url" if role == "sign" else "database_web_url"
        assert Path(environment["DATABASE_URL_FILE"]).name == expected
        # Secrets are named by file, never given by value.
        assert not [text for text in secrets_of(server.data_dir).values() if text in environment.values()]


def test_no_secret_is_in_a_log_or_on_a_command_line(server: Quickstart) -> None:
    authenticate(server.data_dir, server.port, fingerprint="the-log-test")
    logs = "".join(path.read_text(errors="replace") for path in (server.data_dir / "logs").iterdir())
    shown = logs + "\n".join(processes_of(server.data_dir))
    customer = document(server.data_dir)["customers"]["cust_123"]
    secret = [*secrets_of(server.data_dir).values(), customer["api_key"], customer["build_secret"]]

    assert "granian" in shown
    assert [text for text in secret if text in shown and not text.startswith("unix:")] == []


def test_everything_is_for_its_owner_alone(server: Quickstart) -> None:
    for path in [server.data_dir, *(server.data_dir / name for name in ("secrets", "logs", "run", "postgres"))]:
        assert stat.S_IMODE(path.stat().st_mode) == 0o700, path
    for path in [*(server.data_dir / "secrets").iterdir(), server.data_dir / "env", server.data_dir / "env.sign"]:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path


# -- A second one


def test_a_second_one_on_the_same_directory_is_one_sentence(
    server: Quickstart, start: Callable[..., Quickstart]
) -> None:
    second = start(server.data_dir)

    assert second.wait() == 1
    assert second.lines[-1] == f"Keywright is already running on the data directory {server.data_dir}."
    assert authenticate(server.data_dir, server.port, fingerprint="still-here")["success"] is True


def test_a_port_in_use_is_one_sentence_and_nothing_is_started(
    server: Quickstart, start: Callable[..., Quickstart], tmp_path: Path
) -> None:
    second = start(tmp_path / "data", port=server.port)

    assert second.wait() == 1
    assert f"Port {server.port} is in use: choose another one with --port." in second.lines
    assert "Traceback" not in second.output
    assert not (tmp_path / "data" / "postgres").exists()


def test_check_of_the_running_server_passes_and_leaves_it_running(
    server: Quickstart, start: Callable[..., Quickstart]
) -> None:
    check = start(server.data_dir, "--check")

    assert check.wait() == 0, check.output
    for step in ("authenticate", "validate", "refresh", "tier change", "revoked key"):
        assert any(re.search(rf"ok .*{step}.* \d+ ms", line) for line in check.lines), step
    assert authenticate(server.data_dir, server.port, fingerprint="after-check")["success"] is True


def test_two_side_by_side_and_a_fresh_check(
    server: Quickstart, start: Callable[..., Quickstart], tmp_path: Path
) -> None:
    """Beside the running one: starts, checks itself, leaves no customer and no process, exits with 0."""
    data = tmp_path / "data"
    check = start(data, "--check")

    assert check.wait() == 0, check.output
    assert processes_of(data) == []
    assert customers_in(data) == {"cust_123", "enterprise_456"}
    assert authenticate(server.data_dir, server.port, fingerprint="neighbour")["success"] is True


def customers_in(data_dir: Path) -> set[str]:
    """The customers of a stopped installation."""
    services = EmbeddedServices(data_dir)
    try:
        with psycopg.connect(services.start().database_owner_url) as connection:
            return {row[0] for row in connection.execute("SELECT id FROM customer")}
    finally:
        services.stop()


# -- Stopping and starting again


def test_a_stop_ends_every_child_and_a_second_start_changes_nothing(
    start: Callable[..., Quickstart], tmp_path: Path
) -> None:
    data = tmp_path / "data"
    first = start(data).wait_until_answering()
    installation = authenticate(data, first.port, fingerprint="a-kept-machine")["installation_id"]
    # The addresses name the sockets, the description the port: both are the same again on the same port.
    before = secrets_of(data) | {"quickstart.json": (data / "quickstart.json").read_text()}
    keys = public_keys(first.port)

    assert first.end(signal.SIGINT) == 0, first.output
    assert "Traceback" not in first.output
    assert processes_of(data) == []

    second = start(data, port=first.port).wait_until_answering()
    assert secrets_of(data) | {"quickstart.json": (data / "quickstart.json").read_text()} == before
    assert public_keys(second.port) == keys
    assert authenticate(data, second.port, fingerprint="a-kept-machine")["installation_id"] == installation
    assert second.end(signal.SIGTERM) == 0
    assert processes_of(data) == []


def public_keys(port: int) -> Any:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/.well-known/jwks.json", timeout=10) as response:
        return json.load(response)


def test_a_stop_during_the_start_leaves_nothing(start: Callable[..., Quickstart], tmp_path: Path) -> None:
    early = start(tmp_path / "data")
    wait_for(lambda: "making the database" in early.output, seconds=START_SECONDS)

    assert early.end() == 0
    assert "Traceback" not in early.output
    assert processes_of(tmp_path / "data") == []


# -- What it cannot do, in one sentence


def failed_start(quickstart: Quickstart) -> str:
    """The last line of a start that failed, once it is certain that it was one sentence."""
    assert quickstart.wait() == 1, quickstart.output
    assert "Traceback" not in quickstart.output
    assert processes_of(quickstart.data_dir) == []
    said = [line for line in quickstart.lines if not re.match(r" +\d+\.\d s  |Keywright, data directory", line)]
    assert len(said) == 1, quickstart.output
    assert said[0].endswith((".", ")"))
    return said[0]


def test_a_newer_schema(start: Callable[..., Quickstart], tmp_path: Path) -> None:
    data = tmp_path / "data"
    services = EmbeddedServices(data)
    services.instance.secrets.mkdir(parents=True)
    ensure_installation_secrets(services.instance.secrets, database_exists=False)
    with psycopg.connect(services.start().database_owner_url) as connection:
        connection.execute(
            "CREATE TABLE django_migrations (id bigint PRIMARY KEY GENERATED BY DEFAULT AS IDENTITY,"
            " app varchar(255) NOT NULL, name varchar(255) NOT NULL, applied timestamptz NOT NULL)"
        )
        connection.execute(
            "INSERT INTO django_migrations (app, name, applied) VALUES ('licensing', '9999_from_the_future', now())"
        )
    services.stop()

    said = failed_start(start(data))
    assert "newer version of Keywright" in said
    assert "licensing.9999_from_the_future" in said
    services = EmbeddedServices(data)
    with psycopg.connect(services.start().database_owner_url) as connection:
        tables = connection.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").fetchone()
    services.stop()
    assert tables == (1,)


@needs_root
def test_a_full_disk_at_the_first_start(start: Callable[..., Quickstart], mounted: Callable[[str], Path]) -> None:
    assert "disk is full" in failed_start(start(mounted("size=1m") / "data"))


@needs_root
def test_a_disk_that_filled_up_since(start: Callable[..., Quickstart], mounted: Callable[[str], Path]) -> None:
    disk = mounted("size=400m")
    services = EmbeddedServices(disk / "data")
    services.start()
    services.stop()
    with contextlib.suppress(OSError), (disk / "ballast").open("wb", buffering=0) as ballast:
        while ballast.write(bytes(1 << 20)):
            continue
    assert shutil.disk_usage(disk).free == 0

    before = set(Path(tempfile.gettempdir()).glob("keywright-*"))
    assert "disk is full" in failed_start(start(disk / "data"))
    remembered = (disk / "data" / "run" / "sockets").read_text()
    assert Path(remembered) not in before
    assert not Path(remembered).exists()


@needs_root
def test_a_read_only_disk(start: Callable[..., Quickstart], mounted: Callable[[str], Path]) -> None:
    disk = mounted("size=1m,ro")

    said = failed_start(start(disk / "data"))
    assert said == f"Cannot use the data directory {disk}/data: the file system is read-only."


@needs_root
def test_a_directory_of_somebody_elses(start: Callable[..., Quickstart], home_of: Callable[[int], Path]) -> None:
    data = home_of(0) / "data"

    said = failed_start(start(data, uid=ORDINARY_UID))
    assert said == f"Cannot use the data directory {data}: permission was denied."


@pytest.fixture
def home_of() -> Iterator[Callable[[int], Path]]:
    """A folder that belongs to a user and that this user can reach."""
    with homes() as make:
        yield make


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """A small file system of its own."""
    points: list[Path] = []

    def mount(options: str) -> Path:
        point = tmp_path / f"disk-{len(points)}"
        point.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(point)]
        if subprocess.run(command, capture_output=True, check=False).returncode != 0:
            pytest.skip("mounting is not allowed here")
        points.append(point)
        return point

    yield mount
    for point in points:
        subprocess.run(["umount", str(point)], check=True)


# -- As somebody else, under make, and killed


@needs_root
def test_as_an_ordinary_user(start: Callable[..., Quickstart], home_of: Callable[[int], Path]) -> None:
    data = home_of(ORDINARY_UID) / "data"
    quickstart = start(data, "--check", uid=ORDINARY_UID)

    assert quickstart.wait() == 0, quickstart.output
    assert {path.stat().st_uid for path in data.iterdir()} == {ORDINARY_UID}
    assert processes_of(data) == []


def test_with_a_database_and_a_valkey_from_outside(start: Callable[..., Quickstart], tmp_path: Path) -> None:
    outside = EmbeddedServices(tmp_path / "outside")
    endpoints = outside.start()
    given = {
        "DATABASE_URL": endpoints.database_web_url,
        "DATABASE_OWNER_URL": endpoints.database_owner_url,
        "DATABASE_SIGN_URL": endpoints.database_sign_url,
        "VALKEY_URL": endpoints.valkey_url,
    }
    try:
        quickstart = start(tmp_path / "data", "--check", environment=given)
        assert quickstart.wait() == 0, quickstart.output
    finally:
        outside.stop()

    assert "PostgreSQL runs" not in quickstart.output
    assert not (tmp_path / "data" / "postgres").exists()
    assert processes_of(tmp_path / "data") == []
