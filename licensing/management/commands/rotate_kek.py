"""`manage.py rotate_kek PURPOSE`: seal everything of one purpose under its current key-encryption key."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import ProgrammingError

from accounts.services.rotation import Rotated, reseal
from licensing.core.actor import system
from licensing.core.errors import ConfigurationError
from licensing.core.role_secrets import KEY_PURPOSES, kek_setting


class Command(BaseCommand):
    """Runs while the server does; can be stopped and run again. docs/operations.md has the steps around it."""

    help = "Re-seal every row of a purpose under the current key of its KEK_… list."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """The purpose, as in KEK_PURPOSE."""
        parser.add_argument("purpose", choices=KEY_PURPOSES)

    def handle(self, *args: Any, **options: Any) -> None:
        """Re-seal, then say what is left under old versions; exit code 1 if anything is."""
        purpose = options["purpose"]
        try:
            report = reseal(purpose=purpose, actor=system("rotate_kek"), progress=self._progress)
        except ConfigurationError as exc:
            raise CommandError(str(exc)) from exc
        except ProgrammingError as exc:
            raise CommandError(not_permitted(exc, "sign" if purpose in ("tokens", "artifacts") else "web")) from exc
        say(self, report, setting=kek_setting(purpose))

    def _progress(self, column: str, rows: int) -> None:
        self.stdout.write(f"{column}: {rows} rows")


def say(command: BaseCommand, report: Rotated, *, setting: str) -> None:
    """Print what a rotation did.

    Raises:
        CommandError: something is left under an old version.
    """
    command.stdout.write(f"{report.rewritten} rows were brought under the current version of {setting}.")
    if report.is_complete:
        command.stdout.write("Nothing is left under another version: the old ones can be taken out.")
        return
    for version, rows in sorted(report.remaining.items()):
        command.stdout.write(f"{rows} rows are still under version {version}.")
    for row in report.unreadable:
        command.stdout.write(f"This row does not open with the keys given: {row}.")
    raise CommandError(f"Keep the old versions of {setting}, and run this again.")


def not_permitted(exc: ProgrammingError, role: str) -> str:
    """One sentence for a database role that may not write what is to be rewritten."""
    if "permission denied" not in str(exc):
        return f"The database refused: {type(exc).__name__}. Is it migrated?"
    return f"This database role may not write these rows: run the command with the environment of role `{role}`."
