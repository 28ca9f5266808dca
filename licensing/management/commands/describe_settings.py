"""`manage.py describe_settings [--write docs/configuration.md]`: the table of all settings, from their declarations."""

import os
import runpy
from argparse import ArgumentParser
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from licensing.core.environment import Declared

BEGIN, END = "<!-- settings: begin -->", "<!-- settings: end -->"


class Command(BaseCommand):
    """Prints what the settings module declares, with the defaults of a web process, whatever is set here."""

    help = "Print the reference of all settings as a Markdown table, or write it into a document."
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Where to write it."""
        parser.add_argument("--write", type=Path, help=f"A document with the lines {BEGIN} and {END}.")

    def handle(self, *args: Any, **options: Any) -> None:
        """Print, or replace what is between the two lines."""
        table = settings_table()
        path: Path | None = options["write"]
        if path is None:
            self.stdout.write(table)
        else:
            path.write_text(with_table(path.read_text(encoding="utf-8"), table), encoding="utf-8")


def with_table(document: str, table: str) -> str:
    """The document with its table replaced."""
    before, _, rest = document.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{table}\n{END}{after}"


def settings_table() -> str:
    """Every setting: its name, kind, default and meaning."""
    lines = ["| setting | kind | default | meaning |", "| --- | --- | --- | --- |"]
    lines += [
        f"| `{entry.name}` | {entry.kind} | {_default(entry)} | {entry.help.replace('|', chr(92) + '|')} |"
        for entry in default_declarations().values()
    ]
    return "\n".join(lines) + "\n"


def default_declarations() -> Mapping[str, Declared]:
    """What the settings module declares in an empty environment: some defaults depend on other settings."""
    given = dict(os.environ)
    os.environ.clear()
    try:
        module = runpy.run_path(str(Path(settings.BASE_DIR) / "licensing" / "settings.py"))
    finally:
        os.environ.update(given)
    declared: Mapping[str, Declared] = module["DECLARED_SETTINGS"]
    return declared


def _default(entry: Declared) -> str:
    # A path below the checkout is another one everywhere.
    text = entry.default.replace(str(settings.BASE_DIR), "<project>")
    return f"`{text}`" if text else "—"
