"""Statements of the hot path are parsed and planned once a connection; Django's own are not kept in the server."""

from typing import Any

import pytest
from django.db import DatabaseError, connection, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.test import override_settings

from licensing.core.own_connection import own_connection
from licensing.core.postgresql.prepared import fetch_row
from licensing.settings import database_from_url

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
            for _ in range(2):
                assert fetch_row("SELECT value FROM changing WHERE value = %(value)s", {"value": 7}) == (7,)
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


def test_the_settings_let_statements_ask_for_it() -> None:
    options: dict[str, Any] = database_from_url("postgresql://who@where/what")["OPTIONS"]
    assert options["prepare_threshold"] > 1_000_000  # counted out by none but those that ask
