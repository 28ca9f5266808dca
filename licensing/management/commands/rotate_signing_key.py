"""`manage.py rotate_signing_key [--purpose token|lease] [--emergency]`: a new key for tokens, leases, or both."""

from argparse import ArgumentParser
from datetime import UTC, datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from licensing.core.actor import system
from licensing.core.errors import ServiceUnavailable
from licensing.models import SigningKey
from licensing.services.rotation import hand_to_sign, rotate_signing_key


class Command(BaseCommand):
    """From any process: only `sign` can make keys, so elsewhere the order goes to its queue."""

    help = "Publish a new signing key, which takes over after the lead; --emergency: at once, and the old one is out."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """What to rotate, and how urgently."""
        parser.add_argument("--purpose", choices=SigningKey.Purpose.values, help="Both, if not given.")
        parser.add_argument(
            "--emergency",
            action="store_true",
            help="The key is out: refuse what it signed from now on. Plugins authenticate anew.",
        )
        parser.add_argument("--timeout", type=float, default=30.0, help="Seconds to wait for the `sign` worker.")

    def handle(self, *args: Any, **options: Any) -> None:
        """Rotate, and say which key is the new one and when it signs."""
        for purpose in [options["purpose"]] if options["purpose"] else SigningKey.Purpose.values:
            try:
                kid = rotate_signing_key(
                    purpose=purpose,
                    emergency=options["emergency"],
                    actor=system("rotate_signing_key"),
                    now=datetime.now(UTC),
                    hand=hand_to_sign,
                    timeout_seconds=options["timeout"],
                )
            except ServiceUnavailable as exc:
                raise CommandError(exc.detail) from exc
            signs = "signs from now on" if options["emergency"] else "is published, and signs in about ten minutes"
            self.stdout.write(f"The {purpose} key {kid} {signs}.")
