"""What a process insists on before it takes up its work: one clear sentence at its start, no error an hour later."""

import sys
from collections.abc import Callable
from typing import TypeVar

from django.conf import settings

from accounts.keyrings import peppers, ring
from licensing.core.errors import ConfigurationError
from licensing.core.role_secrets import API_KEY_PEPPERS, KEY_PURPOSES, kek_setting, required_secrets

T = TypeVar("T")

_WITHOUT_DATABASE = frozenset({"beat"})
_WITHOUT_VALKEY = frozenset({"owner"})


def missing_settings() -> list[str]:
    """The names of settings that a process of this role needs and was not given, sorted."""
    needed = set(required_secrets(settings.ROLE))
    if settings.ROLE not in _WITHOUT_DATABASE:
        needed.add("DATABASE_URL")
    if settings.ROLE not in _WITHOUT_VALKEY:
        needed.add("VALKEY_URL")
    declared = settings.DECLARED_SETTINGS
    return sorted(name for name in needed if not declared[name].is_set)


def require_secrets() -> None:
    """Check that this process has the secrets of its role, and that they can be read.

    Raises:
        ConfigurationError: naming what is missing or unreadable, never what it holds.
    """
    missing = missing_settings()
    if missing:
        raise ConfigurationError(
            f"A process of role `{settings.ROLE}` needs {', '.join(missing)}: set each, or name its file in NAME_FILE."
        )
    open_secrets(settings.ROLE)


def open_secrets(role: str) -> None:
    """Read the keys that a role requires.

    Raises:
        ConfigurationError: one is missing or cannot be read.
    """
    required = required_secrets(role)
    for purpose in KEY_PURPOSES:
        if kek_setting(purpose) in required:
            ring(purpose)
    if API_KEY_PEPPERS in required:
        peppers()


def or_stop(start: Callable[[], T]) -> T:
    """Run `start`; an error of configuration ends the process with its sentence and exit code 1."""
    try:
        return start()
    except ConfigurationError as exc:
        sys.stderr.write(f"{exc}\n")
        sys.stderr.flush()
        raise SystemExit(1) from exc
