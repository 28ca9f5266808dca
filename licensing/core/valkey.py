"""The connection to Valkey: rate limits, counters, nonces. Everything kept there is a hint that may be lost."""

import hashlib
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import redis
from django.conf import settings

T = TypeVar("T")

_TIMEOUT_SECONDS = 0.25
_PAUSE_SECONDS = 1.0


class ValkeyAway(Exception):
    """Valkey does not answer; the caller says what that means for it."""


class Script:
    """A Lua script: runs atomically, named by its SHA-1 once Valkey knows it."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.sha = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


class Valkey:
    """One client a process. After a failure nobody waits again for a second: an outage costs no request its time."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._lock = threading.Lock()
        self._client: redis.Redis | None = None
        self._threads = threading.local()
        self._away_until = 0.0

    def run(self, command: Callable[[redis.Redis], T]) -> T:
        """Run a command through the client library.

        Raises:
            ValkeyAway: not configured, not reachable, or not answering in a quarter of a second.
        """
        self._require_hope()
        try:
            return command(self._connected())
        except (redis.RedisError, OSError, ValueError) as exc:
            raise self._failed() from exc

    def run_script(self, script: Script, keys: Sequence[str], arguments: Sequence[str | int]) -> Any:
        """Run a script on this thread's own connection, for the hot path: a third of the client's cost.

        Raises:
            ValkeyAway: as `run`.
        """
        self._require_hope()
        try:
            try:
                return self._evaluate("EVALSHA", script.sha, keys, arguments)
            except redis.exceptions.NoScriptError:
                return self._evaluate("EVAL", script.text, keys, arguments)
        except (redis.RedisError, OSError, ValueError) as exc:
            self._drop_connection()
            raise self._failed() from exc

    @property
    def is_away(self) -> bool:
        """Whether the last attempt failed so lately that the next is not made yet."""
        return time.monotonic() < self._away_until

    def _require_hope(self) -> None:
        if self.is_away:
            raise ValkeyAway

    def _failed(self) -> ValkeyAway:
        self._away_until = time.monotonic() + _PAUSE_SECONDS
        return ValkeyAway()

    def _evaluate(self, command: str, script: str, keys: Sequence[str], arguments: Sequence[str | int]) -> Any:
        connection = self._own_connection()
        connection.send_command(command, script, len(keys), *keys, *arguments)
        return connection.read_response()

    def _own_connection(self) -> Any:
        connection = getattr(self._threads, "connection", None)
        if connection is None:
            connection = self._connected().connection_pool.make_connection()
            connection.connect()
            self._threads.connection = connection
        return connection

    def _drop_connection(self) -> None:
        connection = getattr(self._threads, "connection", None)
        self._threads.connection = None
        if connection is not None:
            connection.disconnect()

    def _connected(self) -> redis.Redis:
        with self._lock:
            if self._client is None:
                if not self.url:
                    raise ValueError("VALKEY_URL is not set")
                self._client = redis.Redis.from_url(
                    self.url, socket_timeout=_TIMEOUT_SECONDS, socket_connect_timeout=_TIMEOUT_SECONDS
                )
            return self._client


_valkey: Valkey | None = None


def valkey() -> Valkey:
    """The process's client, made when first needed so that forks share no socket."""
    global _valkey
    if _valkey is None or _valkey.url != settings.VALKEY_URL:
        _valkey = Valkey(settings.VALKEY_URL)
    return _valkey
