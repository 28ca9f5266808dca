"""What the database itself refuses the roles `web` and `sign` (DESIGN §4), whatever our code would do."""

from collections.abc import Iterator

import psycopg
import pytest
from django.core.management import call_command
from pytest_django import DjangoDbBlocker

from licensing.core.database_roles import APPEND_ONLY, SIGN_WRITES, sign_privileges, web_privileges
from tests.licensing.api.web_server import database_url
from tests.licensing.cast import Cast

pytestmark = [pytest.mark.django_db]

Connection = psycopg.Connection[tuple[object, ...]]


@pytest.fixture(scope="module")
def granted(cast: Cast, django_db_blocker: DjangoDbBlocker) -> Cast:
    with django_db_blocker.unblock():
        call_command("grant_roles", verbosity=0)
        call_command("grant_roles", verbosity=0)
    return cast


@pytest.fixture
def web(granted: Cast) -> Iterator[Connection]:
    with psycopg.connect(database_url("web"), autocommit=True) as connection:
        yield connection


@pytest.fixture
def sign(granted: Cast) -> Iterator[Connection]:
    with psycopg.connect(database_url("sign"), autocommit=True) as connection:
        yield connection


def refused(connection: Connection, statement: str) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute(statement)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit_event SET code = ''",
        "DELETE FROM audit_event",
        "TRUNCATE audit_event",
        "UPDATE signing_key SET state = 'active'",
        "INSERT INTO signing_key SELECT * FROM signing_key",
        "DELETE FROM signing_key",
        "UPDATE certificate SET retired_at = now()",
        "INSERT INTO certificate SELECT * FROM certificate",
        "DELETE FROM certificate",
        "UPDATE signed_key_set SET jws = ''",
        "INSERT INTO signed_key_set SELECT * FROM signed_key_set",
        "DELETE FROM signed_key_set",
        "TRUNCATE signing_key, certificate, signed_key_set",
        "SELECT * FROM signing_key FOR UPDATE",
        "DELETE FROM django_migrations",
        "ALTER TABLE audit_event DISABLE TRIGGER ALL",
        "DROP TABLE audit_event",
        "CREATE TABLE public.mine (id int)",
        "ALTER TABLE signing_key OWNER TO keywright_web",
        "SET ROLE keywright_owner",
        "SET ROLE keywright_sign",
        "SET session_replication_role = replica",
        "COPY audit_event TO PROGRAM 'cat'",
    ],
)
def test_web_may_not(web: Connection, statement: str) -> None:
    refused(web, statement)


def test_web_may_add_to_the_audit_log_and_read_it(web: Connection) -> None:
    with web.transaction(force_rollback=True):
        web.execute(
            "INSERT INTO audit_event (actor_kind, actor_id, actor_display, action, subject_kind, subject_id,"
            " customer_id, code, request_id, detail) VALUES ('system', 'x', '', 'x', '', '', '', '', '', '{}')"
        )
        assert web.execute("SELECT count(*) FROM audit_event").fetchone() != (0,)


def test_web_may_read_the_keys_it_mints_with(web: Connection) -> None:
    assert web.execute("SELECT count(*) FROM signing_key WHERE state = 'active'").fetchone() == (2,)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit_event SET code = ''",
        "DELETE FROM audit_event",
        "DELETE FROM signing_key",
        "DELETE FROM signed_key_set",
        "TRUNCATE signing_key",
        "SELECT * FROM customer",
        "SELECT * FROM api_key",
        "SELECT * FROM subscription",
        "UPDATE plugin SET is_private = false",
        "INSERT INTO quarantine SELECT * FROM quarantine",
        "SET ROLE keywright_owner",
    ],
)
def test_sign_may_not(sign: Connection, statement: str) -> None:
    refused(sign, statement)


def test_sign_may_write_keys_and_sets(sign: Connection) -> None:
    with sign.transaction(force_rollback=True):
        assert sign.execute("UPDATE signing_key SET activated_at = now()").rowcount == 2
        assert sign.execute("UPDATE certificate SET created_at = now()").rowcount > 0


def test_what_is_granted_is_exactly_what_is_declared(granted: Cast, web: Connection, sign: Connection) -> None:
    tables = [
        str(name)
        for (name,) in web.execute(
            "SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
            " WHERE n.nspname = 'public' AND c.relkind IN ('r', 'p')"
        )
    ]
    assert set(tables) >= APPEND_ONLY | SIGN_WRITES
    for connection, role, declared in (
        (web, "keywright_web", web_privileges),
        (sign, "keywright_sign", sign_privileges),
    ):
        for table in tables:
            held = {
                privilege
                for privilege in ("SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER")
                if connection.execute("SELECT has_table_privilege(%s, %s, %s)", [role, table, privilege]).fetchone()
                == (True,)
            }
            assert held == set(declared(table)), (role, table)
