"""`manage.py verify_storage`: read every stored file through and hold it against its digest."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db.models import Count, Sum

from licensing.core.actor import system
from registry.models import StoredFile
from registry.services.verification import verify_files
from registry.storage import artifact_store


class Command(BaseCommand):
    """Believes nothing that was remembered; quarantines what is damaged, and fails if anything was."""

    help = "Re-hash every stored artifact; damaged ones are quarantined and reported."

    def add_arguments(self, parser: CommandParser) -> None:
        """Progress can be left out, for logs."""
        parser.add_argument("--no-progress", action="store_true", help="Print the result alone.")

    def handle(self, *args: Any, **options: Any) -> None:
        """Verify; exit code 1 if anything is damaged."""
        totals = StoredFile.objects.aggregate(files=Count("pk"), size=Sum("size"))
        count, size = totals["files"], totals["size"] or 0
        done, done_bytes, damaged = 0, 0, 0
        for verified in verify_files(store=artifact_store(), actor=system("verify_storage")):
            done, done_bytes = done + 1, done_bytes + verified.size
            if verified.problem is not None:
                damaged += 1
                self.stderr.write(f"DAMAGED {verified.sha256} ({verified.problem})")
            if not options["no_progress"]:
                share = 100 * done_bytes // size if size else 100
                self.stdout.write(f"{done}/{count} files, {done_bytes}/{size} bytes ({share} %)")
        if damaged:
            raise CommandError(f"{damaged} of {done} stored files are damaged and were quarantined.")
        self.stdout.write(f"{done} stored files, {done_bytes} bytes: all of them are what they were.")
