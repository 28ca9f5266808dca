"""The connection to Valkey: rate limits, counters, nonces. Everything kept there is a hint that may be lost."""

import threading
import time
from collections.abc import Callable
from typing import TypeVar

import redis
from django.conf import settings

T = TypeVar("T")

_TIMEOUT_SECONDS = 0.25
_PAUSE_SECONDS = 1.0


class ValkeyAway(Exception):
    """Valkey does not answer; the caller says what that means for it."""


class Valkey:
    """One client a process. After a failure nobody waits again for a second: an outage costs no request its time."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._lock = threading.Lock()
        self._client: redis.Redis | None = None
        self._away_until = 0.0

    def run(self, command: Callable[[redis.Redis], T]) -> T:
        """Run a command against Valkey.

        Raises:
            ValkeyAway: not configured, not reachable, or not answering in a quarter of a second.
        """
        if time.monotonic() < self._away_until:
            raise ValkeyAway
        try:
            return command(self._connected())
        except (redis.RedisError, OSError, ValueError) as exc:
            self._away_until = time.monotonic() + _PAUSE_SECONDS
            raise ValkeyAway from exc

    def _connected(self) -> redis.Redis:
        with self._lock:
            if self._client is None:
                if not self._url:
                    raise ValueError("VALKEY_URL is not set")
                self._client = redis.Redis.from_url(
                    self._url, socket_timeout=_TIMEOUT_SECONDS, socket_connect_timeout=_TIMEOUT_SECONDS
                )
            return self._client


_valkey: Valkey | None = None


def valkey() -> Valkey:
    """The process's client."""
    global _valkey
    if _valkey is None or _valkey._url != settings.VALKEY_URL:
        _valkey = Valkey(settings.VALKEY_URL)
    return _valkey
