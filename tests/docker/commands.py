"""Checks a command line against the programs themselves: their own parsers say whether they would take it."""

import importlib.util
import re
import shlex
from pathlib import Path

from celery.bin.beat import beat
from celery.bin.worker import worker
from click import Command
from django.conf import settings
from django.core.management import get_commands, load_command_class
from granian.cli import cli as granian

ROOT = Path(__file__).resolve().parents[2]


def check_command(words: list[str]) -> None:
    """Fail if a command names a program, module, queue, option or management command that does not exist."""
    match words:
        case ["python", "-m", "granian", *arguments]:
            _check_granian(arguments)
        case ["python", "-m", "celery", "-A", application, "worker", *arguments]:
            assert importlib.util.find_spec(f"{application}.celery") is not None
            _check_options(worker, arguments)
            assert arguments[arguments.index("-Q") + 1] in ("control", "build", "sign")
        case ["python", "-m", "celery", "-A", application, "beat", *arguments]:
            assert importlib.util.find_spec(f"{application}.celery") is not None
            _check_options(beat, arguments)
        case ["python", "-m", "celery", "-A", "licensing", "inspect", "ping", "-d", _, "--timeout", _]:
            pass
        case ["python", "manage.py", command, *arguments]:
            _check_management_command(command, arguments)
        case ["sh", "-ec", script]:
            for part in script.split("&&"):
                check_command(shlex.split(part))
        case _:
            raise AssertionError(f"not a command of ours: {words}")


def _check_granian(arguments: list[str]) -> None:
    context = granian.make_context("granian", list(arguments))
    module, _, attribute = context.params["app"].partition(":")
    found = importlib.util.find_spec(module)
    assert found is not None
    assert found.origin is not None
    assert re.search(rf"^{attribute} = ", Path(found.origin).read_text(encoding="utf-8"), re.MULTILINE)
    assert str(context.params["interface"]).lower().endswith("wsgi")


def _check_options(command: Command, arguments: list[str]) -> None:
    known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    assert {word for word in arguments if word.startswith("-")} <= known


def _check_management_command(command: str, arguments: list[str]) -> None:
    app = get_commands()[command]
    loaded = load_command_class(app, command) if isinstance(app, str) else app
    loaded.create_parser("manage.py", command).parse_args(arguments)


def queues_in_use() -> set[str]:
    """The queues that tasks are sent to."""
    return {settings.CELERY_TASK_DEFAULT_QUEUE, *(route["queue"] for route in settings.CELERY_TASK_ROUTES.values())}
