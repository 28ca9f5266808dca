"""The connection to Valkey: rate limits, counters, nonces. Everything kept there is a hint that may be lost."""

import hashlib
import socket
import struct
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import redis

from licensing.core.hot_settings import hot_settings

T = TypeVar("T")

_TIMEOUT_SECONDS = 0.25
_PAUSE_SECONDS = 1.0
_FAILURES = (redis.RedisError, OSError, ValueError)


class ValkeyAway(Exception):
    """Valkey does not answer; the caller says what that means for it."""


class Script:
    """A Lua script: runs atomically, named by its SHA-1 once Valkey knows it."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.sha = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


class Wire:
    """One connection, spoken to in the few words of the protocol that scripts need.

    The client library connects and introduces itself (TLS, password, database); after that its own socket is used
    directly. Whatever raises leaves the connection good only to be closed.
    """

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._sent = self._answered = 0
        self.has_answered = False
        connection.connect()
        self._socket = connection._sock
        # The kernel's own timeouts: Python's would ask before every send and receive whether it may.
        limit = struct.pack("ll", 0, int(_TIMEOUT_SECONDS * 1_000_000))
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
        self._socket.settimeout(None)
        self._received = b""

    def send(self, words: Sequence[str]) -> int:
        """Send one command; return its number, by which its answer is asked for."""
        self._socket.sendall(_written(words))
        self._sent += 1
        return self._sent

    def answer(self, number: int) -> Any:
        """Wait for the answer to a command; those to earlier ones that nobody asked for are passed over.

        What Valkey answers with an error is returned as the library's exception.
        """
        while self._answered < number:
            value = self._read_integers() or self._read_value()
            self._answered += 1
            if self._answered == number:
                self.has_answered = True
                return value
        raise redis.InvalidResponse("the answer was passed over")

    def close(self) -> None:
        """Close it."""
        self._connection.disconnect()

    def _read_integers(self) -> list[int] | None:
        """The answer that most scripts give, where it has arrived whole: integers. None: look closer."""
        if not self._received:
            self._receive()
        count, *numbers = self._received.split(b"\r\n:")
        if count != b"*%d" % len(numbers) or not self._received.endswith(b"\r\n"):
            return None
        try:
            answer = [int(number) for number in numbers]  # the last with its line's end, which `int` passes over
        except ValueError:
            return None  # of another kind, or more than one answer
        self._received = b""
        return answer

    def _read_value(self) -> Any:
        line = self._read_line()
        kind, rest = line[:1], line[1:]
        if kind == b":":
            return int(rest)
        if kind == b"*":
            return [self._read_value() for _ in range(int(rest))]
        if kind == b"$":
            return None if rest == b"-1" else self._read_bytes(int(rest))
        if kind == b"+":
            return rest
        if kind == b"_":
            return None
        if kind == b"-":
            return _as_error(rest.decode("utf-8", "replace"))
        raise redis.InvalidResponse("an answer of a kind that no script of ours gives")

    def _read_line(self) -> bytes:
        while (end := self._received.find(b"\r\n")) < 0:
            self._receive()
        line, self._received = self._received[:end], self._received[end + 2 :]
        return line

    def _read_bytes(self, count: int) -> bytes:
        while len(self._received) < count + 2:
            self._receive()
        value, self._received = self._received[:count], self._received[count + 2 :]
        return value

    def _receive(self) -> None:
        received = self._socket.recv(4096)
        if not received:
            raise redis.ConnectionError("closed by Valkey")
        self._received += received


def _written(words: Sequence[str]) -> bytes:
    """A command as the protocol has it: how many words, and each with its length in bytes."""
    text = "".join([f"*{len(words)}\r\n", *[f"${len(word)}\r\n{word}\r\n" for word in words]])
    if text.isascii():
        return text.encode("ascii")
    parts = [f"*{len(words)}\r\n".encode()]
    for raw in (word.encode() for word in words):
        parts.append(b"$%d\r\n%b\r\n" % (len(raw), raw))
    return b"".join(parts)


def _as_error(text: str) -> redis.ResponseError:
    code, _, message = text.partition(" ")
    if code == "NOSCRIPT":
        return redis.exceptions.NoScriptError(message)
    return redis.ResponseError(text)


class Sent:
    """A script on its way; its answer is read by the thread that sent it."""

    def __init__(self, valkey: "Valkey", script: Script, tail: list[str]) -> None:
        self._valkey = valkey
        self._script = script
        self._tail = tail
        self._wire: Wire | None = None
        self._number = 0

    def send(self) -> None:
        """Send it, on a new connection where Valkey has closed the old one since it was last used.

        Raises:
            ValkeyAway
        """
        try:
            try:
                self._send("EVALSHA", self._script.sha)
            except ConnectionError:
                if not self._valkey.drop_wire():
                    raise
                self._send("EVALSHA", self._script.sha)
        except _FAILURES as exc:
            raise self._fail() from exc

    def result(self) -> Any:
        """Wait for the answer.

        Raises:
            ValkeyAway
        """
        try:
            try:
                answer = self._read()
            except (redis.ConnectionError, ConnectionError):
                # Noticed only now that the connection is an old one's remains. The script may have run: all of ours
                # may run twice.
                if not self._valkey.drop_wire():
                    raise
                self._send("EVALSHA", self._script.sha)
                answer = self._read()
            if isinstance(answer, redis.exceptions.NoScriptError):
                self._send("EVAL", self._script.text)
                answer = self._read()
            if isinstance(answer, redis.ResponseError):
                raise answer
            return answer
        except _FAILURES as exc:
            raise self._fail() from exc

    def _send(self, command: str, script: str) -> None:
        self._wire = self._valkey.wire()
        self._number = self._wire.send([command, script, *self._tail])

    def _read(self) -> Any:
        if self._wire is None:
            raise redis.ConnectionError("never sent")
        return self._wire.answer(self._number)

    def _fail(self) -> ValkeyAway:
        # Whatever went wrong, an answer may still be on its way there.
        self._valkey.drop_wire()
        return self._valkey.failed()


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
        except _FAILURES as exc:
            raise self.failed() from exc

    def run_script(self, script: Script, keys: Sequence[str], arguments: Sequence[str | int]) -> Any:
        """Run a script on this thread's own connection, for the hot path: a fifth of the client library's cost.

        It answers an integer, bytes, None, or a list of such.

        Raises:
            ValkeyAway: as `run`.
        """
        return self.send_script(script, keys, arguments).result()

    def send_script(self, script: Script, keys: Sequence[str], arguments: Sequence[str | int]) -> "Sent":
        """Have a script run while this thread goes on with something else; ask `result()` of what is returned.

        Raises:
            ValkeyAway: as `run`.
        """
        self._require_hope()
        sent = Sent(self, script, [str(len(keys)), *keys, *map(str, arguments)])
        sent.send()
        return sent

    @property
    def is_away(self) -> bool:
        """Whether the last attempt failed so lately that the next is not made yet."""
        return time.monotonic() < self._away_until

    def _require_hope(self) -> None:
        if self.is_away:
            raise ValkeyAway

    def failed(self) -> ValkeyAway:
        """Note that there was no answer; what to raise."""
        self._away_until = time.monotonic() + _PAUSE_SECONDS
        return ValkeyAway()

    def wire(self) -> "Wire":
        """This thread's own connection, made if need be."""
        wire: Wire | None = getattr(self._threads, "wire", None)
        if wire is None:
            wire = self._threads.wire = Wire(self._connected().connection_pool.make_connection())
        return wire

    def drop_wire(self) -> bool:
        """Close this thread's connection; whether it had worked before, and was perhaps closed by a restart."""
        wire: Wire | None = getattr(self._threads, "wire", None)
        self._threads.wire = None
        if wire is not None:
            wire.close()
        return wire is not None and wire.has_answered

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
    if _valkey is None or _valkey.url != hot_settings.VALKEY_URL:
        _valkey = Valkey(hot_settings.VALKEY_URL)
    return _valkey
