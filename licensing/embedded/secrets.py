"""Every secret of an installation, each in a file of its own, made once and never replaced.

All of them are on disk before the database exists, so whatever the database seals or hashes can be opened by what
is beside it. The demo's secrets are made here as well, before the demo is loaded: a crash between the commit and
the writing of `quickstart.json` loses nothing.
"""

from __future__ import annotations

import base64
import json
import os
import secrets
from collections.abc import Callable
from pathlib import Path

from licensing.crypto.keys import generate_key
from licensing.crypto.sealing import new_versioned_key
from licensing.embedded.errors import EmbeddedError, cannot
from licensing.embedded.files import write_private

DEMO_CUSTOMERS = ("cust_123", "enterprise_456")
DEMO = "demo.json"


def _random_text() -> str:
    return secrets.token_urlsafe(48)


INSTALLATION_SECRETS: dict[str, Callable[[], str]] = {
    "DJANGO_SECRET_KEY": _random_text,
    "API_KEY_PEPPERS": new_versioned_key,
    "KEK_AUTH": new_versioned_key,
    "KEK_BUILDS": new_versioned_key,
    "KEK_TOKENS": new_versioned_key,
    "KEK_WEB": new_versioned_key,
    "KEK_ARTIFACTS": new_versioned_key,
}
"""Setting to maker; the file's name is the setting's in lower case."""

DATABASE_ROLES = ("superuser", "owner", "web", "sign")


def secret_path(folder: Path, setting: str) -> Path:
    """The file that holds the secret of a setting."""
    return folder / setting.lower()


def password_path(folder: Path, role: str) -> Path:
    """The file that holds the password of a database role."""
    return folder / f"database_{role}_password"


def ensure_installation_secrets(folder: Path, *, database_exists: bool) -> None:
    """Make the secrets that the application needs; those that exist are left alone.

    Raises:
        EmbeddedError: the disk refuses, or a database exists whose secrets are gone.
    """
    for setting, make in INSTALLATION_SECRETS.items():
        _ensure(secret_path(folder, setting), make, may_be_new=not database_exists)


def ensure_database_passwords(folder: Path, *, database_exists: bool) -> dict[str, str]:
    """Make and read the passwords of the database roles, by the names of `DATABASE_ROLES`.

    Raises:
        EmbeddedError: the disk refuses, or a database exists whose passwords are gone.
    """
    return {
        role: _ensure(password_path(folder, role), lambda: secrets.token_hex(32), may_be_new=not database_exists)
        for role in DATABASE_ROLES
    }


def ensure_demo_secrets(folder: Path) -> Path:
    """Make the secrets of the demo's people and customers; returns the file.

    JSON: `operator {password, api_key}`, `customers {cust_123: {api_key, build_secret, admin_password}, …}`, where
    `build_secret` is 32 bytes in base64.
    """
    path = folder / DEMO
    _ensure(path, _demo_secrets, may_be_new=True)
    return path


def _demo_secrets() -> str:
    prefix = os.environ.get("API_KEY_PREFIX", "km")
    customers = {
        customer: {
            "api_key": generate_key(f"{prefix}_live"),
            "build_secret": base64.b64encode(secrets.token_bytes(32)).decode(),
            "admin_password": secrets.token_urlsafe(18),
        }
        for customer in DEMO_CUSTOMERS
    }
    operator = {"password": secrets.token_urlsafe(18), "api_key": generate_key(f"{prefix}op")}
    return json.dumps({"operator": operator, "customers": customers}, indent=2) + "\n"


def _ensure(path: Path, make: Callable[[], str], *, may_be_new: bool) -> str:
    try:
        if not path.exists():
            if not may_be_new:
                # A new one would open nothing of what the database holds.
                raise EmbeddedError(f"The secret {path} is missing, but its database exists: restore it from a backup.")
            write_private(path, make())
        return path.read_text(encoding="utf-8").strip()
    except OSError as exc:
        raise cannot("keep a secret in", exc, path=path) from exc
