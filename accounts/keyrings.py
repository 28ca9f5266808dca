"""The configured sealing keys and peppers, one ring for each purpose (DESIGN §4).

A missing key is an error where it is needed, never a weaker fallback: a web process has no `artifacts` ring, and
asking for it says so.
"""

from functools import lru_cache

from django.conf import settings
from django.core.signals import setting_changed

from licensing.core.errors import ConfigurationError
from licensing.crypto.sealing import KeyListInvalid, KeyRing, Peppers


@lru_cache(maxsize=8)
def ring(purpose: str) -> KeyRing:
    """Return the ring of `auth`, `builds`, `tokens`, `web` or `artifacts`.

    Raises:
        ConfigurationError: this process was not given that key, or it cannot be read.
    """
    name = f"KEK_{purpose.upper()}"
    text = settings.KEY_ENCRYPTION_KEYS[purpose]
    if not text:
        raise ConfigurationError(f"{name} is not set: this process cannot open what is sealed for {purpose}.")
    try:
        return KeyRing.parse(text, purpose=purpose)
    except KeyListInvalid as exc:
        raise ConfigurationError(f"{name}: {exc}.") from exc


@lru_cache(maxsize=1)
def peppers() -> Peppers:
    """Return the peppers of stored keys.

    Raises:
        ConfigurationError: none are configured, or they cannot be read.
    """
    if not settings.API_KEY_PEPPERS:
        raise ConfigurationError("API_KEY_PEPPERS is not set: no key can be looked up or made.")
    try:
        return Peppers.parse(settings.API_KEY_PEPPERS)
    except KeyListInvalid as exc:
        raise ConfigurationError(f"API_KEY_PEPPERS: {exc}.") from exc


def forget(**_kwargs: object) -> None:
    """Read the configuration anew when it is next needed."""
    ring.cache_clear()
    peppers.cache_clear()


setting_changed.connect(forget, dispatch_uid="accounts.keyrings")  # sent by tests that override settings
