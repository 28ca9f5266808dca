"""Statements of the hot path are parsed and planned once a connection; Django's own are not kept in the server."""

import contextlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
from django.db import DatabaseError, DataError, OperationalError, connection, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.test import override_settings

from licensing.core.own_connection import own_connection
from licensing.core.postgresql import prepared
from licensing.core.postgresql.prepared import execute, fetch_row

_SQL = "SELECT %(first)s::int + %(second)s::int"


@pytest.fixture
def fresh_connection(transactional_db: None) -> BaseDatabaseWrapper:
    wrapper = own_connection()
    wrapper.close()
    return wrapper


def in_server() -> list[tuple[str, int]]:
    """What this session has prepared, and how often each was run."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT statement, generic_plans + custom_plans FROM pg_prepared_statements")
        rows: list[tuple[str, int]] = cursor.fetchall()
        return rows


def test_a_statement_is_prepared_once_and_run_many_times(fresh_connection: BaseDatabaseWrapper) -> None:
    for number in range(8):
        assert fetch_row(_SQL, {"first": number, "second": 1}) == (number + 1,)
    # The first run is by the statement's own name, too.
    assert in_server() == [("SELECT $1::int + $2::int", 8)]


def test_nothing_else_is_prepared_however_often_it_is_asked(fresh_connection: BaseDatabaseWrapper) -> None:
    with connection.cursor() as cursor:
        for _ in range(20):
            cursor.execute("SELECT %s::int", [1])
    assert in_server() == []


def test_parameters_may_change_their_type(fresh_connection: BaseDatabaseWrapper) -> None:
    sql = "SELECT %(value)s::text"
    for value, text in ((None, None), ("a", "a"), (5, "5"), (None, None), ("", ""), (2**40, str(2**40))):
        assert fetch_row(sql, {"value": value}) == (text,)


def test_a_new_connection_prepares_for_itself(fresh_connection: BaseDatabaseWrapper) -> None:
    for _ in range(2):
        assert fetch_row(_SQL, {"first": 1, "second": 1}) == (2,)
        assert len(in_server()) == 1
        fresh_connection.close()


def test_threads_that_have_a_connection_in_turn_have_its_statements(
    fresh_connection: BaseDatabaseWrapper, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As those of a process with a pool."""
    monkeypatch.setattr(prepared, "own_connection", lambda: fresh_connection)
    fresh_connection.inc_thread_sharing()
    for number in range(6):
        with ThreadPoolExecutor(1) as thread:
            assert thread.submit(fetch_row, _SQL, {"first": number, "second": 1}).result() == (number + 1,)
    fresh_connection.dec_thread_sharing()
    assert in_server() == [("SELECT $1::int + $2::int", 6)]


def test_a_statement_may_be_run_again_after_it_failed(fresh_connection: BaseDatabaseWrapper) -> None:
    sql = "SELECT 1 / %(divisor)s::int"
    assert fetch_row(sql, {"divisor": 1}) == (1,)
    with pytest.raises(DatabaseError):
        fetch_row(sql, {"divisor": 0})
    assert fetch_row(sql, {"divisor": 1}) == (1,)


@pytest.mark.parametrize("forget", ["DEALLOCATE ALL", "DISCARD ALL"])
def test_a_session_that_forgets_its_statements_prepares_them_again(
    fresh_connection: BaseDatabaseWrapper, forget: str
) -> None:
    assert fetch_row(_SQL, {"first": 1, "second": 1}) == (2,)
    with connection.cursor() as cursor:
        cursor.execute(forget)
    assert fetch_row(_SQL, {"first": 2, "second": 1}) == (3,)


def test_a_statement_that_another_session_prepared_is_run_all_the_same(fresh_connection: BaseDatabaseWrapper) -> None:
    assert fetch_row(_SQL, {"first": 1, "second": 1}) == (2,)
    # As a proxy does that gives the next transaction another session; the driver does not hear of it.
    fresh_connection.connection.pgconn.exec_(b"DEALLOCATE ALL")
    for number in range(3):
        assert fetch_row(_SQL, {"first": number, "second": 1}) == (number + 1,)


def test_a_migration_may_change_what_a_statement_returns(fresh_connection: BaseDatabaseWrapper) -> None:
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE changing (value integer)")
        cursor.execute("INSERT INTO changing VALUES (7)")
        try:
            for _ in range(2):
                assert fetch_row("SELECT value FROM changing WHERE value = %(value)s", {"value": 7}) == (7,)
            # By another way than the driver's, which would forget what it has prepared.
            fresh_connection.connection.pgconn.exec_(b"ALTER TABLE changing ALTER value TYPE bigint")
            for _ in range(3):
                assert fetch_row("SELECT value FROM changing WHERE value = %(value)s", {"value": 7}) == (7,)
            # Run as it is once, and then prepared anew.
            assert sorted(runs for statement, runs in in_server() if "changing" in statement) == [2, 2]
        finally:
            cursor.execute("DROP TABLE changing")


def test_in_a_transaction_a_refusal_is_told(fresh_connection: BaseDatabaseWrapper) -> None:
    assert fetch_row(_SQL, {"first": 1, "second": 1}) == (2,)
    fresh_connection.connection.pgconn.exec_(b"DEALLOCATE ALL")
    with pytest.raises(DatabaseError), transaction.atomic():
        fetch_row(_SQL, {"first": 1, "second": 1})
    assert fetch_row(_SQL, {"first": 1, "second": 1}) == (2,)


@override_settings(DATABASE_PREPARED_STATEMENTS=False)
def test_a_pooling_proxy_is_spared(fresh_connection: BaseDatabaseWrapper) -> None:
    for number in range(8):
        assert fetch_row(_SQL, {"first": number, "second": 1}) == (number + 1,)
    assert in_server() == []


@pytest.mark.parametrize("is_prepared", [True, False])
@pytest.mark.parametrize(
    ("cast", "value", "text"),
    [
        ("text", "Zoë 'quoted' \\ ✓", "Zoë 'quoted' \\ ✓"),
        ("text", "", ""),
        ("integer", -7, "-7"),
        ("bigint", 2**63 - 1, str(2**63 - 1)),
        ("float8", 1796140801.123456, "1796140801.123456"),
        ("float8", 1e300, "1e+300"),
        ("bytea", b"\x00\xff'\\", "\\x00ff275c"),
        ("bytea", b"", "\\x"),
        ("timestamptz", datetime(2026, 12, 1, 15, 48, 32, 123456, tzinfo=UTC), "2026-12-01 15:48:32.123456+00"),
        ("timestamptz", datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC), "9999-12-31 23:59:59+00"),
        ("text", None, None),
        ("bytea", None, None),
    ],
)
def test_what_is_sent_arrives_as_it_was(
    fresh_connection: BaseDatabaseWrapper, settings: Any, cast: str, value: object, text: str | None, is_prepared: bool
) -> None:
    settings.DATABASE_PREPARED_STATEMENTS = is_prepared
    for _ in range(2):
        assert fetch_row(f"SELECT (%(value)s::{cast})::text", {"value": value}) == (text,)


def test_what_comes_back_is_read_by_its_type(fresh_connection: BaseDatabaseWrapper) -> None:
    sql = """SELECT true, false, NULL::boolean, 1::smallint, 2::integer, 3::bigint, 1.5::real, 0.1::float8,
                    'Zoë'::text, ''::varchar(5), NULL::text"""
    assert fetch_row(sql, {}) == (True, False, None, 1, 2, 3, 1.5, 0.1, "Zoë", "", None)


def test_no_row_is_none_and_of_several_the_first_is_given(fresh_connection: BaseDatabaseWrapper) -> None:
    sql = "SELECT n FROM generate_series(1, %(last)s::integer) AS n ORDER BY n DESC"
    assert fetch_row(sql, {"last": 0}) is None
    assert fetch_row(sql, {"last": 3}) == (3,)


def test_a_parameter_may_stand_twice(fresh_connection: BaseDatabaseWrapper) -> None:
    sql = "SELECT %(one)s::integer, %(two)s::integer, %(one)s::integer + %(two)s::integer"
    assert fetch_row(sql, {"two": 2, "one": 1, "unused": 3}) == (1, 2, 3)


def test_what_it_cannot_carry_is_refused_before_anything_is_sent(fresh_connection: BaseDatabaseWrapper) -> None:
    with pytest.raises(DataError):
        fetch_row("SELECT %(value)s::text", {"value": "a\0b"})
    for value in ([1], {}, object()):
        with pytest.raises(TypeError):
            fetch_row("SELECT %(value)s::text", {"value": value})
    with pytest.raises(KeyError):
        fetch_row(_SQL, {"first": 1})
    with pytest.raises(TypeError):
        fetch_row("SELECT '{}'::jsonb", {})
    assert fetch_row(_SQL, {"first": 1, "second": 1}) == (2,)


@contextlib.contextmanager
def numbers(last: int) -> Iterator[None]:
    """A table of the numbers from 1 to `last`, which this session alone knows."""
    with connection.cursor() as cursor:
        cursor.execute("CREATE TEMPORARY TABLE numbers AS SELECT generate_series(1, %s) AS number", [last])
    yield
    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE numbers")


def test_rows_that_were_touched_are_counted(fresh_connection: BaseDatabaseWrapper) -> None:
    with numbers(3):
        assert execute("UPDATE numbers SET number = number + %(by)s::integer", {"by": 1}) == 3
        assert execute("DELETE FROM numbers WHERE number > %(least)s::integer", {"least": 100}) == 0


def test_in_a_transaction_it_is_part_of_it(fresh_connection: BaseDatabaseWrapper) -> None:
    """Even as its first statement, with which the transaction begins."""
    with numbers(1):
        with contextlib.suppress(RuntimeError), transaction.atomic():
            assert execute("UPDATE numbers SET number = %(to)s::integer", {"to": 7}) == 1
            raise RuntimeError
        assert fetch_row("SELECT number FROM numbers", {}) == (1,)
        with transaction.atomic():
            execute("UPDATE numbers SET number = %(to)s::integer", {"to": 8})
        assert fetch_row("SELECT number FROM numbers", {}) == (8,)


def test_a_session_that_was_ended_is_an_outage_and_the_next_one_serves(fresh_connection: BaseDatabaseWrapper) -> None:
    row = fetch_row("SELECT pg_backend_pid()", {})
    assert row is not None
    with psycopg.connect(**fresh_connection.get_connection_params() | {"autocommit": True}) as other:
        other.execute("SELECT pg_terminate_backend(%s, 5000)", row)
    with pytest.raises(OperationalError):
        fetch_row(_SQL, {"first": 1, "second": 1})
    fresh_connection.close_if_unusable_or_obsolete()
    assert fetch_row(_SQL, {"first": 1, "second": 1}) == (2,)


def test_a_name_tells_of_its_statement_alone(fresh_connection: BaseDatabaseWrapper) -> None:
    """Whatever session a proxy gives a thread, no name means another statement there."""

    def name_of(statement: str) -> str:
        with connection.cursor() as cursor:
            cursor.execute("SELECT name FROM pg_prepared_statements WHERE statement = %s", [statement])
            (name,) = cursor.fetchone()
            return str(name)

    fetch_row("SELECT %(value)s::text", {"value": "a"})
    first = name_of("SELECT $1::text")
    fresh_connection.close()
    fetch_row("SELECT %(value)s::int", {"value": 1})
    fetch_row("SELECT %(value)s::text", {"value": "a"})
    assert name_of("SELECT $1::text") == first != name_of("SELECT $1::int")
