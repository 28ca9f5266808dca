"""`manage.py grant_roles`: give the database roles `web` and `sign` exactly what each may do. Run after `migrate`."""

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand
from django.db import connection, transaction

from licensing.core.database_roles import grant_statements


class Command(BaseCommand):
    """Run as the owner of the tables; safe to run again."""

    help = "Grant the database roles `web` and `sign` their privileges (run as owner, after migrate)."

    def handle(self, *args: Any, **options: Any) -> None:
        """Grant to the roles that exist, and say which do not."""
        for role, is_sign in ((settings.DATABASE_WEB_ROLE, False), (settings.DATABASE_SIGN_ROLE, True)):
            if _grant(role, is_sign=is_sign):
                self.stdout.write(f"{role}: granted.")
            else:
                self.stdout.write(f"{role}: there is no such role, or it is the owner itself; nothing granted.")


def _grant(role: str, *, is_sign: bool) -> bool:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT 1 FROM pg_roles WHERE rolname = %s AND rolname <> current_user", [role])
        if cursor.fetchone() is None:
            return False
        for statement in grant_statements(connection.introspection.table_names(cursor), role=role, is_sign=is_sign):
            cursor.execute(statement)
    return True
