"""`manage.py collect_artifacts`: delete stored files that nothing refers to."""

from datetime import UTC, datetime, timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from registry.services.stored_files import GRACE, collect_unreferenced
from registry.storage import artifact_store


class Command(BaseCommand):
    """Safe at any time: what is being referred to is locked while it is looked at."""

    help = "Delete stored files that no release or artifact refers to, and what dead uploads left behind."

    def add_arguments(self, parser: CommandParser) -> None:
        """How long a file may wait to be referred to."""
        parser.add_argument(
            "--grace-hours",
            type=float,
            default=GRACE.total_seconds() / 3600,
            help="Keep what was uploaded in the last hours, referred to or not (default: %(default)s).",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Collect, and say what was."""
        grace = timedelta(hours=options["grace_hours"])
        for sha256 in collect_unreferenced(store=artifact_store(), now=datetime.now(UTC), grace=grace):
            self.stdout.write(sha256)
