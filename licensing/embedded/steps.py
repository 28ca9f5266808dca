"""Runs management commands of one database role in one process: `python -m licensing.embedded.steps NAME …`.

Loading Django takes longer than most of these commands, so they share it. A failure is one line on standard error
that begins with `FAILED` and is shown to the person at the terminal; the traceback stays in the log.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Sequence

import django
from django.core.management import CommandError, call_command
from django.db import connection
from django.db.migrations.loader import MigrationLoader

from licensing.core.errors import ConfigurationError
from licensing.embedded.errors import EmbeddedError, known_symptom

FAILED = "FAILED "


def main(arguments: Sequence[str]) -> int:
    """Run commands, separated by `+`, each with its arguments; 0 when all worked."""
    for name, *rest in [["setup"], *_split(arguments)]:
        try:
            _run(name, rest)
        except (EmbeddedError, CommandError, ConfigurationError) as exc:
            return _failed(str(exc))
        except Exception as exc:  # noqa: BLE001 - the edge: everything becomes one sentence
            traceback.print_exc()
            return _failed(f"`{name}` failed: {known_symptom(str(exc)) or _shortened(exc)}.")
    return 0


def _run(name: str, arguments: Sequence[str]) -> None:
    own: dict[str, Callable[[], None]] = {"setup": django.setup, "refuse_newer_schema": refuse_newer_schema}
    if name in own:
        own[name]()
    else:
        call_command(name, *arguments)


def _failed(sentence: str) -> int:
    sys.stdout.flush()
    sys.stderr.write(f"{FAILED}{sentence}\n")
    return 1


def _shortened(exc: Exception) -> str:
    text = " ".join(str(exc).split())[:300].rstrip(".")
    return text or type(exc).__name__


def _split(arguments: Sequence[str]) -> list[list[str]]:
    commands: list[list[str]] = [[]]
    for argument in arguments:
        if argument == "+":
            commands.append([])
        else:
            commands[-1].append(argument)
    return commands


def refuse_newer_schema() -> None:
    """Stop before touching a database that a newer version has migrated.

    Raises:
        EmbeddedError: it has migrations that this version does not know.
    """
    loader = MigrationLoader(connection)
    unknown = sorted(set(loader.applied_migrations) - set(loader.disk_migrations or {}))
    if unknown:
        app, name = unknown[-1]
        raise EmbeddedError(
            f"The database was made by a newer version of Keywright (this one does not know its migration "
            f"{app}.{name}): run that version, or choose another data directory."
        )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
