"""Embedded PostgreSQL and Valkey: real servers, whatever the path and whoever the user."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
import redis

from licensing.embedded.errors import AlreadyRunning, EmbeddedError
from licensing.embedded.services import EmbeddedServices, Endpoints
from tests.licensing.embedded.processes import ORDINARY_UID, Holder, processes_of, wait_for


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[EmbeddedServices, Endpoints]]:
    services = EmbeddedServices(tmp_path_factory.mktemp("services"))
    yield services, services.start()
    services.stop()


def ask(url: str, question: str) -> object:
    with psycopg.connect(url) as connection:
        row = connection.execute(question).fetchone()  # type: ignore[call-overload]
    assert row is not None
    return row[0]


def role_of(url: str) -> object:
    return ask(url, "SELECT current_user")


def test_three_roles_log_in_and_the_owner_owns_the_database(running: tuple[EmbeddedServices, Endpoints]) -> None:
    _, endpoints = running

    assert role_of(endpoints.database_owner_url) == "keywright_owner"
    assert role_of(endpoints.database_web_url) == "keywright_web"
    assert role_of(endpoints.database_sign_url) == "keywright_sign"
    owner = "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = current_database()"
    assert ask(endpoints.database_web_url, owner) == "keywright_owner"


def test_no_role_is_a_superuser_or_makes_databases(running: tuple[EmbeddedServices, Endpoints]) -> None:
    _, endpoints = running
    rights = """SELECT bool_or(rolsuper OR rolcreatedb OR rolcreaterole OR rolbypassrls OR rolreplication)
                FROM pg_roles WHERE rolname LIKE 'keywright\\_%' AND rolname <> 'keywright_super'"""

    assert ask(endpoints.database_owner_url, rights) is False


def test_a_wrong_password_is_refused_on_the_socket(running: tuple[EmbeddedServices, Endpoints]) -> None:
    _, endpoints = running
    own = psycopg.conninfo.conninfo_to_dict(endpoints.database_web_url)

    for user in ("keywright_web", "keywright_owner", "keywright_super", "postgres"):
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            psycopg.connect(host=own["host"], dbname="keywright", user=user, password="guess")


def test_what_is_acknowledged_is_on_disk(running: tuple[EmbeddedServices, Endpoints]) -> None:
    _, endpoints = running

    for setting in ("fsync", "synchronous_commit", "full_page_writes"):
        assert ask(endpoints.database_web_url, f"SELECT current_setting('{setting}')") == "on"
    assert ask(endpoints.database_web_url, "SELECT current_setting('data_checksums')") == "on"


def test_nothing_listens_on_tcp(running: tuple[EmbeddedServices, Endpoints]) -> None:
    _, endpoints = running

    assert ask(endpoints.database_web_url, "SELECT current_setting('listen_addresses')") == ""
    with redis.Redis.from_url(endpoints.valkey_url) as valkey:
        assert valkey.config_get("port") == {"port": "0"}
        assert valkey.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}


def test_sockets_and_secrets_are_for_us_alone(running: tuple[EmbeddedServices, Endpoints]) -> None:
    services, _ = running
    instance = services.instance

    assert stat.S_IMODE(instance.sockets.stat().st_mode) == 0o700
    assert stat.S_IMODE(instance.secrets.stat().st_mode) == 0o700
    files = list(instance.secrets.iterdir())
    assert files
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}


def test_passwords_are_neither_in_logs_nor_on_command_lines(running: tuple[EmbeddedServices, Endpoints]) -> None:
    services, endpoints = running
    passwords = [path.read_text() for path in services.instance.secrets.glob("database_*_password")]
    assert len(passwords) == 4
    with psycopg.connect(endpoints.database_owner_url) as connection, pytest.raises(psycopg.Error):
        connection.execute("ALTER ROLE keywright_web PASSWORD 'the-new-one' VALID UNTIL 'never'")
    logs = "".join(path.read_text() for path in services.instance.logs.iterdir())

    shown = logs + "".join(processes_of(services.instance.root))
    assert "postgres" in shown
    assert not [password for password in [*passwords, "the-new-one"] if password in shown]
    assert passwords[0] not in repr(endpoints)


def test_a_second_one_on_the_same_directory_is_told_so(running: tuple[EmbeddedServices, Endpoints]) -> None:
    services, endpoints = running

    with pytest.raises(AlreadyRunning, match="already running on the data directory"):
        EmbeddedServices(services.instance.root).start()
    assert role_of(endpoints.database_web_url) == "keywright_web"


@pytest.mark.parametrize("name", ["x" * 200 + "/" + "y" * 50, 'it\'s a "dir" with ünïcödé, $HOME; and %2F'])
def test_any_path_will_do(tmp_path: Path, name: str) -> None:
    services = EmbeddedServices(tmp_path / name, durable=False)
    try:
        endpoints = services.start()
        assert role_of(endpoints.database_web_url) == "keywright_web"
        with redis.Redis.from_url(endpoints.valkey_url) as valkey:
            assert valkey.ping() is True
    finally:
        services.stop()


def test_two_side_by_side_are_strangers(tmp_path: Path) -> None:
    first = EmbeddedServices(tmp_path / "first", durable=False)
    second = EmbeddedServices(tmp_path / "second", durable=False)
    try:
        one, two = first.start(), second.start()
        with psycopg.connect(one.database_owner_url) as connection:
            connection.execute("CREATE TABLE mine ()")
        assert ask(two.database_owner_url, "SELECT to_regclass('mine') IS NULL") is True
        assert one.valkey_url != two.valkey_url
        first.stop()
        assert role_of(two.database_web_url) == "keywright_web"
    finally:
        first.stop()
        second.stop()


def test_a_stop_leaves_no_process_and_no_socket_and_a_start_finds_the_data(tmp_path: Path) -> None:
    services = EmbeddedServices(tmp_path / "data", durable=False)
    before = services.start()
    with psycopg.connect(before.database_owner_url) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
    sockets = services.instance.sockets
    services.stop()

    assert processes_of(tmp_path / "data") == []
    assert not sockets.exists()
    after = services.start()
    try:
        assert ask(after.database_owner_url, "SELECT answer FROM kept") == 42
        assert after == before
    finally:
        services.stop()


def test_valkey_forgets_on_restart(tmp_path: Path) -> None:
    services = EmbeddedServices(tmp_path / "data", durable=False)
    for _ in range(2):
        endpoints = services.start()
        try:
            with redis.Redis.from_url(endpoints.valkey_url) as valkey:
                assert valkey.get("counted") is None
                valkey.set("counted", "1")
        finally:
            services.stop()


def test_for_tests_the_owner_may_make_databases(tmp_path: Path) -> None:
    services = EmbeddedServices(tmp_path / "data", durable=False)
    endpoints = services.start()
    try:
        with psycopg.connect(endpoints.database_owner_url, autocommit=True) as connection:
            connection.execute("CREATE DATABASE test_keywright")
            connection.execute("DROP DATABASE test_keywright")
        assert ask(endpoints.database_web_url, "SELECT current_setting('fsync')") == "off"
    finally:
        services.stop()


def test_a_database_of_another_major_version_is_named(tmp_path: Path) -> None:
    services = EmbeddedServices(tmp_path / "data", durable=False)
    services.start()
    services.stop()
    (tmp_path / "data" / "postgres" / "PG_VERSION").write_text("17\n")

    with pytest.raises(EmbeddedError, match=r"was made by PostgreSQL 17; this is PostgreSQL 18"):
        services.start()
    assert processes_of(tmp_path / "data") == []


def test_a_database_whose_passwords_are_gone_is_not_given_new_ones(tmp_path: Path) -> None:
    services = EmbeddedServices(tmp_path / "data", durable=False)
    services.start()
    services.stop()
    password = tmp_path / "data" / "secrets" / "database_web_password"
    password.unlink()

    with pytest.raises(EmbeddedError, match="is missing, but its database exists"):
        services.start()
    assert not password.exists()


def test_passwords_of_another_installation_are_noticed(tmp_path: Path) -> None:
    services = EmbeddedServices(tmp_path / "data", durable=False)
    services.start()
    services.stop()
    (tmp_path / "data" / "secrets" / "database_superuser_password").write_text("0" * 64)

    with pytest.raises(EmbeddedError, match="must come from the same backup"):
        services.start()
    assert processes_of(tmp_path / "data") == []


def test_half_made_things_are_swept(tmp_path: Path) -> None:
    data = tmp_path / "data"
    half_made = data / "postgres.new-12345678"
    (half_made / "base").mkdir(parents=True)
    (data / "secrets").mkdir()
    (data / "secrets" / ".kek_auth.1234.new").write_text("half")
    services = EmbeddedServices(data, durable=False)
    services.start()
    services.stop()

    assert not half_made.exists()
    assert not (data / "secrets" / ".kek_auth.1234.new").exists()


def test_somebody_elses_directory_in_the_way_of_the_sockets_is_left_alone(tmp_path: Path) -> None:
    services = EmbeddedServices(tmp_path / "data", durable=False)
    services.start()
    usual = services.instance.sockets
    services.stop()
    usual.mkdir(mode=0o755)
    (usual / "theirs").write_text("")
    try:
        services.start()
        assert services.instance.sockets != usual
        services.stop()
        assert (usual / "theirs").exists()
    finally:
        services.stop()
        (usual / "theirs").unlink()
        usual.rmdir()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
class TestAsRoot:
    """PostgreSQL runs as nobody, whatever folders are in the way, and nobody's folder changes."""

    def test_under_a_folder_that_only_root_can_enter(self, tmp_path: Path) -> None:
        closed = tmp_path / "closed"
        closed.mkdir(mode=0o700)
        services = EmbeddedServices(closed / "data", durable=False)
        try:
            endpoints = services.start()
            assert role_of(endpoints.database_web_url) == "keywright_web"
            assert (closed / "data" / "postgres").stat().st_uid != 0
            assert stat.S_IMODE(closed.stat().st_mode) == 0o700
            assert stat.S_IMODE((closed / "data").stat().st_mode) == 0o700
        finally:
            services.stop()

    def test_postgres_has_one_capability_and_no_groups(self, tmp_path: Path) -> None:
        services = EmbeddedServices(tmp_path / "data", durable=False)
        services.start()
        try:
            pid = int((tmp_path / "data" / "postgres" / "postmaster.pid").read_text().split()[0])
            status = dict(
                line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":\t" in line
            )
            assert "0" not in status["Uid"].split()
            assert status["Groups"].split() == []
            assert int(status["CapPrm"], 16) == int(status["CapEff"], 16) == 1 << 1  # CAP_DAC_OVERRIDE
        finally:
            services.stop()

    @pytest.mark.parametrize("uid", [65534, ORDINARY_UID])
    def test_an_ordinary_user_with_or_without_a_name(
        self, home_of: Callable[[int], Path], hold: Callable[..., Holder], uid: int
    ) -> None:
        home = home_of(uid)
        for _ in range(2):
            holder = hold(home / "data", uid=uid)
            endpoints = holder.wait_until_up()
            assert role_of(endpoints["database_web_url"]) == "keywright_web"
            assert (home / "data" / "postgres").stat().st_uid == uid
            assert holder.stop() == 0
        assert processes_of(home / "data") == []

    def test_a_root_without_roots_rights_is_one_sentence(
        self, home_of: Callable[[int], Path], hold: Callable[..., Holder]
    ) -> None:
        home = home_of(0)
        holder = hold(home / "data", uid=0)

        assert holder.read_line() is None
        assert holder.errors() == (
            "PostgreSQL cannot run as root, and this machine does not let root hand its rights on to another user; "
            "run this as an ordinary user.\n"
        )
        assert processes_of(home / "data") == []

    def test_a_directory_that_is_not_ours_to_write_is_one_sentence(
        self, home_of: Callable[[int], Path], hold: Callable[..., Holder]
    ) -> None:
        home = home_of(0)
        holder = hold(home / "data", uid=ORDINARY_UID)

        assert holder.read_line() is None
        assert holder.errors() == f"Cannot use the data directory {home}/data: permission was denied.\n"


def test_crash_of_one_service_is_seen(tmp_path: Path) -> None:
    """A server that cannot start is an error at once, not after the time-out."""
    services = EmbeddedServices(tmp_path / "data", durable=False)
    services.start()
    services.stop()
    (tmp_path / "data" / "postgres" / "postgresql.conf").write_text("no_such_setting = 1\n")

    with pytest.raises(EmbeddedError, match=r"postgres ended with code 1 .*no_such_setting"):
        services.start()
    wait_for(lambda: processes_of(tmp_path / "data") == [])
