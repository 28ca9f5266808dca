"""The environment of each process of an installation: who gets which secret, always as the name of a file."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from pathlib import Path

from licensing.embedded.files import write_private
from licensing.embedded.instance import Instance
from licensing.embedded.secrets import INSTALLATION_SECRETS, secret_path

# What the caller may have set that would contradict the installation's own, or reach into its programs.
_OWN_SETTINGS = ("DATABASE_URL", "DATABASE_OWNER_URL", "DATABASE_SIGN_URL", "VALKEY_URL", *INSTALLATION_SECRETS)
_FOREIGN_PREFIXES = ("GRANIAN_", "CELERY_")
# libpq's own variables (PGOPTIONS, PGSERVICE, …) are meant for another database than the embedded one.
_LIBPQ_PREFIX = "PG"

ROLES = ("web", "files", "control", "build", "sign", "beat", "owner")
"""What a process is (KEYWRIGHT_ROLE): its database role is the owner's, the signer's, or the web's."""


def database_role(role: str) -> str:
    """Which of the three database roles a process uses."""
    return role if role in ("owner", "sign") else "web"


def url_path(folder: Path, service: str) -> Path:
    """The file that holds a service's address, which has a password in it."""
    return folder / f"{service}_url"


def store_urls(folder: Path, urls: Mapping[str, str]) -> None:
    """Write the addresses to files of mode 600; only those that changed."""
    for service, url in urls.items():
        path = url_path(folder, service)
        if not path.exists() or path.read_text(encoding="utf-8") != url:
            write_private(path, url)


def role_settings(secrets: Path, role: str, *, public_url: str, is_embedded: bool) -> dict[str, str]:
    """The settings of one role.

    Only `sign` is given the key-encryption key of what PluginAuthority certifies, only `owner` the owner's
    database role; `build`, which compiles other people's source, is given no secret but its addresses.
    """
    settings = {
        "KEYWRIGHT_ROLE": role,
        "KEYWRIGHT_EMBEDDED": "true" if is_embedded else "false",
        "PUBLIC_URL": public_url,
        "DATABASE_URL_FILE": str(url_path(secrets, f"database_{database_role(role)}")),
        "VALKEY_URL_FILE": str(url_path(secrets, "valkey")),
    }
    for setting in INSTALLATION_SECRETS:
        if role != "build" and (setting != "KEK_ARTIFACTS" or role == "sign"):
            settings[f"{setting}_FILE"] = str(secret_path(secrets, setting))
    return settings


def process_environment(instance: Instance, settings: Mapping[str, str]) -> dict[str, str]:
    """The whole environment of a process: the caller's, without what would contradict the installation."""
    is_embedded = settings["KEYWRIGHT_EMBEDDED"] == "true"
    prefixes = (*_FOREIGN_PREFIXES, _LIBPQ_PREFIX) if is_embedded else _FOREIGN_PREFIXES
    hidden = {*_OWN_SETTINGS, *(f"{name}_FILE" for name in _OWN_SETTINGS)}
    inherited = {
        name: value for name, value in os.environ.items() if name not in hidden and not name.startswith(prefixes)
    }
    return {
        **inherited,
        **instance.child_environment(),
        "DJANGO_SETTINGS_MODULE": "licensing.settings",
        "PYTHONUNBUFFERED": "1",
        **settings,
    }


def write_shell_file(path: Path, settings: Mapping[str, str]) -> None:
    """Write settings for a shell: `set -a; . FILE; set +a`, then any `manage.py` command."""
    lines = [f"# For a shell: set -a; . {shlex.quote(str(path))}; set +a"]
    lines += [f"{name}={shlex.quote(value)}" for name, value in settings.items()]
    write_private(path, "\n".join(lines) + "\n")
