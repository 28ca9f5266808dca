"""The backend itself: `ENGINE = "licensing.core.postgresql.pooled"`, with Django's own `OPTIONS["pool"]`."""

from typing import Any

import psycopg
from django.db.backends.postgresql import base as django_postgresql

from licensing.core.postgresql import base
from licensing.core.postgresql.patience import MARGIN_SECONDS, PatientConnection, outage


class DatabaseWrapper(base.DatabaseWrapper):
    """A thread has a connection from its first statement until it closes it, which gives it back.

    As patient as the backend it extends: `OPTIONS["answer_seconds"]`, and a pool of `PatientConnection`.
    """

    def get_new_connection(self, conn_params: dict[str, Any]) -> psycopg.Connection[Any]:
        """Take one from the pool, waiting for it as long as the pool's `timeout` says."""
        seconds = self._answer_seconds
        if seconds is not None:
            outage.require_hope(seconds)
        taken: psycopg.Connection[Any] = django_postgresql.DatabaseWrapper.get_new_connection(self, conn_params)
        return taken

    def _configure_connection(self, connection: psycopg.Connection[Any]) -> bool:
        """Called by the pool for each connection it makes, before anybody is given it."""
        seconds = self._answer_seconds
        if seconds is not None and isinstance(connection, PatientConnection):
            connection.patience_seconds = seconds + MARGIN_SECONDS
            connection.execute(f"SET statement_timeout = {int(seconds * 1000)}")
        has_begun: bool = super()._configure_connection(connection)  # type: ignore[misc]  # Django's own
        return has_begun

    @property
    def _answer_seconds(self) -> float | None:
        seconds: float | None = self.settings_dict["OPTIONS"].get("answer_seconds")
        return seconds
