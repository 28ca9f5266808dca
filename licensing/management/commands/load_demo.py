"""`manage.py load_demo`: load the demo's catalogue and customers, and write `quickstart.json`."""

import base64
import json
from argparse import ArgumentParser
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from licensing.demo import DemoCustomerSecrets, DemoSecrets, description, load_demo
from licensing.embedded.files import write_private


class Command(BaseCommand):
    """Safe to run again: what exists is left as it is."""

    help = "Load the demo from secrets made beforehand, and write where everything is."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Both files hold secrets: they are read and written with mode 600."""
        parser.add_argument("--secrets-file", required=True, type=Path)
        parser.add_argument("--output", required=True, type=Path)

    def handle(self, *args: Any, **options: Any) -> None:
        """Load, then write the description."""
        secrets = _read(options["secrets_file"])
        load_demo(secrets=secrets, now=datetime.now(UTC))
        write_private(options["output"], json.dumps(description(secrets), indent=2) + "\n")
        self.stdout.write("The demo is loaded.")


def _read(path: Path) -> DemoSecrets:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        return DemoSecrets(
            operator_password=document["operator"]["password"],
            operator_key=document["operator"]["api_key"],
            customers={
                customer_id: DemoCustomerSecrets(
                    api_key=entry["api_key"],
                    build_secret=base64.b64decode(entry["build_secret"]),
                    admin_password=entry["admin_password"],
                )
                for customer_id, entry in document["customers"].items()
            },
        )
    except (OSError, ValueError, KeyError, TypeError) as exc:
        raise CommandError(f"The demo's secrets cannot be read from {path}.") from exc
