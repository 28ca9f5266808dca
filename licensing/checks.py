"""What `manage.py check --deploy` refuses (DESIGN §1): a production configuration that is not safe.

Each rule reads `django.conf.settings`, names the setting at fault, says what to do, and never shows a value. Errors
are what can be exploited; a warning is what could be better. Django's own deployment checks run beside these.
"""

import ipaddress
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register

from licensing.core.environment import Declared
from licensing.core.role_secrets import API_KEY_PEPPERS, KEY_PURPOSES, forbidden_secrets, kek_setting
from licensing.crypto.sealing import KeyListInvalid, parse_versioned_keys
from licensing.startup import missing_settings

MIN_SECRET_KEY_CHARACTERS = 50
_MIN_DISTINCT_CHARACTERS = 12
_MIN_DISTINCT_BYTES = 12  # 32 random bytes have fewer with a probability below 2^-60
_WIDEST_TRUST_PREFIX = 7  # fc00::/7 is the widest range that is anybody's own


@register(Tags.security, deploy=True)
def check_environment(**_kwargs: Any) -> list[CheckMessage]:
    """The kind of deployment: production, without debugging, without the embedded database."""
    found: list[CheckMessage] = []
    if not settings.IS_PRODUCTION:
        found.append(_error("E001", "KEYWRIGHT_ENV is not `production`.", "Set KEYWRIGHT_ENV=production."))
    if settings.DEBUG:
        found.append(_error("E002", "DEBUG is on: error pages would show settings and code.", "Unset DEBUG."))
    if settings.EMBEDDED:
        hint = "Set DATABASE_URL to a PostgreSQL server with backups, and unset KEYWRIGHT_EMBEDDED."
        found.append(_error("E003", "The database is the embedded one, which is for trying things out.", hint))
    return found


@register(Tags.security, deploy=True)
def check_secrets_present(**_kwargs: Any) -> list[CheckMessage]:
    """Each process has the secrets of its role: all of them, and no other."""
    role = settings.ROLE
    hint = f"Name its file in {{name}}_FILE (docs/configuration.md says what role `{role}` needs)."
    found: list[CheckMessage] = [
        _error("E004", f"{name} is not set, and role `{role}` needs it.", hint.format(name=name))
        for name in missing_settings()
    ]
    declared = settings.DECLARED_SETTINGS
    for name in sorted(forbidden_secrets(role)):
        if declared[name].is_set:
            hint = f"Take {name} away from this process; what it does not hold cannot be stolen from it."
            found.append(_error("E005", f"{name} must not be given to a process of role `{role}`.", hint))
    return found


@register(Tags.security, deploy=True)
def check_secrets_strong(**_kwargs: Any) -> list[CheckMessage]:
    """Secrets are long and random, and every list of keys can be read."""
    found: list[CheckMessage] = []
    key = settings.SECRET_KEY
    is_set = settings.DECLARED_SETTINGS["DJANGO_SECRET_KEY"].is_set
    if is_set and (len(key) < MIN_SECRET_KEY_CHARACTERS or len(set(key)) < _MIN_DISTINCT_CHARACTERS):
        hint = "Make one: python3 -c 'import secrets; print(secrets.token_urlsafe(48))'"
        found.append(_error("E006", "DJANGO_SECRET_KEY is too short or not random.", hint))
    elif key.startswith("development-only-"):
        hint = "Set KEYWRIGHT_ENV=production and DJANGO_SECRET_KEY_FILE."
        found.append(_error("E006", "DJANGO_SECRET_KEY is the default of development.", hint))
    lists = {kek_setting(purpose): settings.KEY_ENCRYPTION_KEYS[purpose] for purpose in KEY_PURPOSES}
    lists[API_KEY_PEPPERS] = settings.API_KEY_PEPPERS
    return found + _check_key_lists({name: text for name, text in sorted(lists.items()) if text})


def _check_key_lists(lists: dict[str, str]) -> list[CheckMessage]:
    found: list[CheckMessage] = []
    holders: dict[bytes, str] = {}
    hint = "Write VERSION:BASE64 of 32 random bytes, the current version first; docs/operations.md makes them."
    for name, text in lists.items():
        try:
            keys = parse_versioned_keys(text)
        except KeyListInvalid as exc:
            found.append(_error("E007", f"{name} cannot be read: {exc}.", hint))
            continue
        for version, key in keys.items():
            if len(key) != 32 or len(set(key)) < _MIN_DISTINCT_BYTES:
                found.append(_error("E007", f"{name}: version {version} is not 32 random bytes.", hint))
            elif key in holders:
                found.append(_error("E007", f"{name} and {holders[key]} share a key.", "Give each purpose its own."))
            else:
                holders[key] = name
    return found


@register(Tags.security, deploy=True)
def check_public_url(**_kwargs: Any) -> list[CheckMessage]:
    """Clients come by HTTPS, to names that were chosen."""
    found: list[CheckMessage] = []
    if urlsplit(settings.PUBLIC_URL).scheme != "https":
        hint = "Set PUBLIC_URL to the https:// address that clients use; the proxy in front speaks TLS."
        found.append(_error("E008", "PUBLIC_URL is plain HTTP: API keys and tokens would travel in the clear.", hint))
    if any(name in ("*", ".") for name in settings.ALLOWED_HOSTS):
        hint = "List the host names; the one of PUBLIC_URL is there by itself."
        found.append(_error("E009", "ALLOWED_HOSTS allows any Host header.", hint))
    return found


@register(Tags.security, deploy=True)
def check_proxies(**_kwargs: Any) -> list[CheckMessage]:
    """Behind the proxy that speaks TLS, callers' addresses are its word: it has to be named, and nobody else."""
    if not settings.TRUSTED_PROXIES:
        hint = "Set TRUSTED_PROXIES to the addresses (CIDR) of the proxies in front of this server."
        return [_error("E010", "TRUSTED_PROXIES is empty: every caller would have the proxy's address.", hint)]
    found: list[CheckMessage] = []
    for place, text in enumerate(settings.TRUSTED_PROXIES, start=1):
        network = ipaddress.ip_network(text, strict=False)  # settings take nothing else
        if network.prefixlen < _WIDEST_TRUST_PREFIX:
            hint = "Name the proxies alone: whoever is trusted can pretend to call from anywhere."
            found.append(_error("E011", f"TRUSTED_PROXIES, entry {place}: trusts half the world.", hint))
    return found


@register(Tags.security, deploy=True)
def check_secret_files(**_kwargs: Any) -> list[CheckMessage]:
    """Secrets come from files that only their process can read."""
    secrets: Sequence[Declared] = [entry for entry in settings.DECLARED_SETTINGS.values() if entry.is_secret]
    found: list[CheckMessage] = []
    for entry in secrets:
        if entry.file is not None and _is_readable_by_others(Path(entry.file)):
            hint = f"chmod 400 the file that {entry.name}_FILE names, and give it to the user this process runs as."
            found.append(_error("E012", f"The file of {entry.name} can be read by other users.", hint))
    in_environment = [entry.name for entry in secrets if entry.is_set and entry.file is None and _is_secret(entry)]
    if in_environment:
        hint = "Use NAME_FILE: an environment is inherited by child processes and shown by inspection tools."
        names = ", ".join(sorted(in_environment))
        found.append(Warning(f"Secrets are given through the environment: {names}.", hint=hint, id="keywright.W001"))
    return found


def _is_secret(entry: Declared) -> bool:
    """An address is a secret if there is a password in it; everything else that is declared one always is."""
    if not entry.name.endswith("_URL"):
        return True
    address = str(getattr(settings, entry.name, ""))
    return "password=" in address or urlsplit(address).password is not None


def _is_readable_by_others(path: Path) -> bool:
    try:
        return bool(path.stat().st_mode & 0o077)
    except OSError:
        return False  # it was read at the start, and is gone or out of sight since


def _error(number: str, message: str, hint: str) -> Error:
    return Error(message, hint=hint, id=f"keywright.{number}")
