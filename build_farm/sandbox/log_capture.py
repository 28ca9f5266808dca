"""Keeps the first and the last of a hostile program's output, and makes it safe to store and show."""

import re
import unicodedata
from collections import deque
from collections.abc import Iterable

_LONGEST_LINE = 2000
_ESCAPE_SEQUENCE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|.)")
_REDACTED = "[redacted]"


class BoundedLog:
    """Takes any amount of bytes, holds at most `limit` of them: the first half and the last."""

    def __init__(self, limit: int) -> None:
        self._half = limit // 2
        self._head = bytearray()
        self._tail: deque[bytes] = deque()
        self._tail_size = 0
        self.dropped = 0

    def add(self, chunk: bytes) -> None:
        """Append `chunk`, forgetting from the middle."""
        room = self._half - len(self._head)
        self._head += chunk[:room]
        rest = chunk[max(room, 0) :]
        if not rest:
            return
        self._tail.append(rest)
        self._tail_size += len(rest)
        while self._tail_size > self._half:
            excess = self._tail_size - self._half
            first = self._tail.popleft()
            if len(first) > excess:
                self._tail.appendleft(first[excess:])
            lost = min(excess, len(first))
            self._tail_size -= lost
            self.dropped += lost

    def text(self, *, redact: Iterable[str] = ()) -> str:
        """What was kept, as printable text without the texts of `redact`."""
        hidden = sorted({text for text in redact if text}, key=len, reverse=True)
        tail = b"".join(self._tail)
        if not self.dropped:
            return clean(bytes(self._head) + tail, redact=hidden)
        # The cut may go through a secret. Whole ones are hidden first, then as much as half a one could be is left out.
        margin = max((len(text.encode()) for text in hidden), default=0)
        first, last = (_hidden(part, hidden) for part in (bytes(self._head), tail))
        head = clean(first[: max(len(first) - margin, 0)], redact=hidden)
        last_text = clean(last[margin:], redact=hidden)
        return f"{head}\n[… {self.dropped + 2 * margin} bytes left out …]\n{last_text}"


def _hidden(raw: bytes, secrets: Iterable[str]) -> bytes:
    for secret in secrets:
        raw = raw.replace(secret.encode(), _REDACTED.encode())
    return raw


def clean(raw: bytes, *, redact: Iterable[str] = ()) -> str:
    """Printable UTF-8 text: no terminal escapes, no control or invisible direction characters, no endless lines."""
    text = _ESCAPE_SEQUENCE.sub("", raw.decode("utf-8", errors="replace"))
    text = "".join(_printable(char) for char in text.replace("\r\n", "\n"))
    for secret in redact:
        text = text.replace(secret, _REDACTED)
    return "\n".join(_shortened(line) for line in text.split("\n"))


def _printable(char: str) -> str:
    if char in "\n\t" or " " <= char <= "~":
        return char
    # Cc, Cf (direction overrides), Cs, Co, Cn and the line and paragraph separators.
    return "\N{REPLACEMENT CHARACTER}" if unicodedata.category(char)[0] in "C" or char in "\u2028\u2029" else char


def _shortened(line: str) -> str:
    if len(line) <= _LONGEST_LINE:
        return line
    return f"{line[:_LONGEST_LINE]}[… {len(line) - _LONGEST_LINE} characters left out]"
