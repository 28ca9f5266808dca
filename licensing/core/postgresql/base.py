"""The backend itself: `ENGINE = "licensing.core.postgresql"`."""

from typing import Any

import psycopg
from django.db.backends.postgresql import base

from licensing.core.postgresql.patience import MARGIN_SECONDS, DatabaseAway, PatientConnection, outage, waiting


class DatabaseWrapper(base.DatabaseWrapper):
    """Connections that their thread keeps, looks at before each use, and never waits for without an end.

    `OPTIONS["answer_seconds"]`: how long to wait for the answer to a statement; without it, as long as it takes.
    """

    health_check_done: bool

    def get_connection_params(self) -> dict[str, Any]:
        """What libpq is given."""
        params: dict[str, Any] = super().get_connection_params()
        params.pop("answer_seconds", None)
        return params

    def get_new_connection(self, conn_params: dict[str, Any]) -> psycopg.Connection[Any]:
        """Connect, unless the database failed to answer a moment ago."""
        seconds = self.settings_dict["OPTIONS"].get("answer_seconds")
        if seconds is None:
            made: psycopg.Connection[Any] = super().get_new_connection(conn_params)
            return made
        connection = self._connect_patiently(conn_params, seconds)
        connection.patience_seconds = seconds + MARGIN_SECONDS
        try:
            connection.execute(f"SET statement_timeout = {int(seconds * 1000)}")
        except psycopg.Error:
            connection.close()
            raise
        return connection

    def _connect_patiently(self, conn_params: dict[str, Any], seconds: float) -> PatientConnection:
        self.isolation_level = psycopg.IsolationLevel.READ_COMMITTED
        try:
            allowed = waiting.begin(seconds)
            outage.require_hope(seconds)
            # Connecting again is all that a short wait costs; libpq takes no less than two seconds.
            params = conn_params if allowed == seconds else {**conn_params, "connect_timeout": 2}
            return PatientConnection.connect(**{**params, "autocommit": True})
        except DatabaseAway:
            raise
        except psycopg.OperationalError:
            outage.failed()
            raise
        finally:
            waiting.end()

    def close_if_health_check_failed(self) -> None:
        """Let go of a connection that the server has closed meanwhile: a look at the socket, not a round trip."""
        if self.health_check_done or self.connection is None or self.in_atomic_block:
            return
        if not isinstance(self.connection, PatientConnection):
            super().close_if_health_check_failed()
        elif self.connection.is_cut():
            self.close()
        self.health_check_done = True
