"""Statements of the hot path: prepared in the server, so that it parses and plans them once for each connection.

They are autocommitted outside a transaction, like any of Django's, and are seen by its query log.
"""

import threading
import time
from collections.abc import Mapping
from typing import Any, Final

import psycopg
from django.db.backends.base.base import BaseDatabaseWrapper

from licensing.core.hot_settings import hot_settings
from licensing.core.own_connection import own_connection

# The server refused what was prepared, before it did anything: a migration has changed what a statement returns, or the
# session is not the one that prepared it (a proxy between).
_OUTDATED: Final = (
    psycopg.errors.FeatureNotSupported,
    psycopg.errors.InvalidSqlStatementName,
    psycopg.errors.DuplicatePreparedStatement,
)


class _Kept(threading.local):
    """This thread's cursors on its connection, by statement: one that is used again knows how to write parameters."""

    def __init__(self) -> None:
        self.connection: object = None
        self.cursors: dict[str, psycopg.Cursor[Any]] = {}


_kept = _Kept()


def fetch_row(sql: str, parameters: Mapping[str, Any]) -> tuple[Any, ...] | None:
    """Run a query, one of a few constants, and return its first row, or None for none."""
    row: tuple[Any, ...] | None = _run(sql, parameters).fetchone()
    return row


def execute(sql: str, parameters: Mapping[str, Any]) -> int:
    """Run a statement, one of a few constants, and return how many rows it touched."""
    return _run(sql, parameters).rowcount


def _run(sql: str, parameters: Mapping[str, Any]) -> psycopg.Cursor[Any]:
    wrapper = own_connection()
    wrapper.close_if_health_check_failed()
    wrapper.ensure_connection()
    if wrapper.queries_logged:
        return _run_logged(wrapper, sql, parameters)
    with wrapper.wrap_database_errors:
        return _executed(wrapper, sql, parameters)


def _run_logged(wrapper: BaseDatabaseWrapper, sql: str, parameters: Mapping[str, Any]) -> psycopg.Cursor[Any]:
    started = time.monotonic()
    try:
        with wrapper.wrap_database_errors:
            return _executed(wrapper, sql, parameters)
    finally:
        wrapper.queries_log.append({"sql": sql, "time": f"{time.monotonic() - started:.3f}"})


def _executed(wrapper: BaseDatabaseWrapper, sql: str, parameters: Mapping[str, Any]) -> psycopg.Cursor[Any]:
    try:
        return _cursor(wrapper, sql).execute(sql, parameters, prepare=hot_settings.DATABASE_PREPARED_STATEMENTS)
    except _OUTDATED:
        if wrapper.in_atomic_block:
            raise  # the transaction is lost
        return _cursor(wrapper, sql).execute(sql, parameters, prepare=False)


def _cursor(wrapper: BaseDatabaseWrapper, sql: str) -> psycopg.Cursor[Any]:
    # Not Django's own cursor, which puts parameters into the text: such a statement cannot be prepared.
    if _kept.connection is not wrapper.connection:
        _kept.connection, _kept.cursors = wrapper.connection, {}
    cursor = _kept.cursors.get(sql)
    if cursor is None:
        cursor = _kept.cursors[sql] = psycopg.Cursor(wrapper.connection)
    return cursor
