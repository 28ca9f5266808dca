"""`manage.py bootstrap_keys`: PluginAuthority, the first certificates and keys, the first signed key set."""

from datetime import UTC, datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from licensing.core.actor import system
from licensing.services.key_lifecycle import AuthorityOffline, bootstrap
from licensing.services.proofs import remember_from_the_start


class Command(BaseCommand):
    """Run as `sign`, which alone holds KEK_ARTIFACTS; makes only what is missing."""

    help = "Create PluginAuthority, certificates, signing keys and the signed key set, where they are missing."

    def handle(self, *args: Any, **options: Any) -> None:
        """Bootstrap; safe to run again."""
        try:
            is_first = bootstrap(actor=system("bootstrap"), now=datetime.now(UTC))
        except AuthorityOffline as exc:
            raise CommandError(exc.detail) from exc
        if is_first:
            remember_from_the_start()
        self.stdout.write("Signing keys are in place.")
