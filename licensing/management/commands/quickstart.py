"""`manage.py quickstart`: the whole server on this machine, from nothing, in one command."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from licensing.embedded.quickstart import Options, Quickstart


class Command(BaseCommand):
    """Start PostgreSQL, Valkey, web, workers and beat with demo data, and run until Ctrl-C."""

    help = __doc__ or ""
    # It starts what the checks would need.
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the options."""
        parser.add_argument("--data-dir", type=Path, default=Path(".keywright"), help="Where everything is kept.")
        parser.add_argument("--port", type=_port, default=8000, help="The TCP port on 127.0.0.1.")
        parser.add_argument("--no-demo", action="store_true", help="Load no demo catalogue and customers.")
        parser.add_argument("--no-builds", action="store_true", help="Build the demo plugin when somebody asks for it.")
        parser.add_argument("--check", action="store_true", help="Try the running server out, then stop it.")
        parser.add_argument("--stop-with", type=int, metavar="PID", help="Stop when that process ends.")

    def handle(self, *args: Any, **options: Any) -> None:
        """Run until asked to stop; exit with 1 and one sentence if it cannot start."""
        wanted = Options(
            data_dir=options["data_dir"],
            port=options["port"],
            with_demo=not options["no_demo"],
            build_demo=not options["no_builds"],
            check=options["check"],
            stop_with=options["stop_with"],
        )
        sys.exit(Quickstart(wanted, say=_say).run())


def _say(line: str) -> None:
    """Print a line; a reader that went away (`| head`) is no reason to stop."""
    try:
        print(line, flush=True)
    except BrokenPipeError:
        sys.stdout = sys.stderr


def _port(text: str) -> int:
    number = int(text)
    if not 1 <= number <= 65535:
        raise ValueError
    return number
