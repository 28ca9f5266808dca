"""The keys that download URLs are sealed under: those of KEK_TOKENS, which the `web` and `files` processes hold."""

from functools import lru_cache

from django.conf import settings
from django.core.signals import setting_changed

from licensing.core.errors import ConfigurationError
from licensing.crypto.sealing import KeyListInvalid
from licensing.crypto.urls import UrlKeys


@lru_cache(maxsize=1)
def url_keys() -> UrlKeys:
    """Return them.

    Raises:
        ConfigurationError: none are configured, or they cannot be read.
    """
    text = settings.KEY_ENCRYPTION_KEYS["tokens"]
    if not text:
        raise ConfigurationError("KEK_TOKENS is not set: this process cannot make or open download URLs.")
    try:
        return UrlKeys.parse(text)
    except KeyListInvalid as exc:
        raise ConfigurationError(f"KEK_TOKENS: {exc}.") from exc


def forget(**_kwargs: object) -> None:
    """Read the configuration anew when it is next needed."""
    url_keys.cache_clear()


setting_changed.connect(forget, dispatch_uid="registry.url_keys")  # sent by tests that override settings
