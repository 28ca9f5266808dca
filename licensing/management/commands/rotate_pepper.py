"""`manage.py rotate_pepper`: store the digest of every API, operator and registry key under the current pepper."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import ProgrammingError

from accounts.services.rotation import repepper
from licensing.core.actor import system
from licensing.core.errors import ConfigurationError
from licensing.management.commands.rotate_kek import not_permitted, say


class Command(BaseCommand):
    """Runs while the server does; can be stopped and run again. docs/operations.md has the steps around it."""

    help = "Recompute the digests of stored keys under the first pepper of API_KEY_PEPPERS."

    def handle(self, *args: Any, **options: Any) -> None:
        """Rewrite, then say what is left under old peppers; exit code 1 if anything is."""
        try:
            report = repepper(actor=system("rotate_pepper"), progress=self._progress)
        except ConfigurationError as exc:
            raise CommandError(str(exc)) from exc
        except ProgrammingError as exc:
            raise CommandError(not_permitted(exc, "web")) from exc
        say(self, report, setting="API_KEY_PEPPERS")

    def _progress(self, column: str, rows: int) -> None:
        self.stdout.write(f"{column}: {rows} rows")
