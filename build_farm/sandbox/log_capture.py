"""Keeps the first and the last of a hostile program's output, and makes it safe to store and show."""

import re
import unicodedata
from collections import deque
from collections.abc import Iterable

_LONGEST_LINE = 2000
_ESCAPE_SEQUENCE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|.)")
_REDACTED = "[redacted]"
_FRAGMENT = 8


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
        head, tail = bytes(self._head), b"".join(self._tail)
        if not self.dropped:
            return clean(head + tail, redact=redact)
        return f"{clean(head, redact=redact)}\n[… {self.dropped} bytes left out …]\n{clean(tail, redact=redact)}"


def clean(raw: bytes, *, redact: Iterable[str] = ()) -> str:
    """Printable UTF-8 text: no terminal escapes, no control or invisible direction characters, no endless lines.

    Of the texts of `redact` no eight characters in a row are left: compilers shorten what they quote.
    """
    text = _ESCAPE_SEQUENCE.sub("", raw.decode("utf-8", errors="replace"))
    text = "".join(_printable(char) for char in text.replace("\r\n", "\n"))
    text = _hidden(text, [secret for secret in redact if secret])
    return "\n".join(_shortened(line) for line in text.split("\n"))


def _hidden(text: str, secrets: list[str]) -> str:
    fragments = {
        secret[start : start + _FRAGMENT] for secret in secrets for start in range(max(len(secret) - _FRAGMENT, 0) + 1)
    }
    kept: list[str] = []
    position, hidden_to = 0, 0
    lengths = {len(fragment) for fragment in fragments}
    while position < len(text):
        for length in lengths:
            if text[position : position + length] in fragments:
                if position > hidden_to or not hidden_to:
                    kept.append(_REDACTED)
                hidden_to = max(hidden_to, position + length)
        if position >= hidden_to:
            kept.append(text[position])
        position += 1
    return "".join(kept)


def _printable(char: str) -> str:
    if char in "\n\t" or " " <= char <= "~":
        return char
    # Cc, Cf (direction overrides), Cs, Co, Cn and the line and paragraph separators.
    return "\N{REPLACEMENT CHARACTER}" if unicodedata.category(char)[0] in "C" or char in "\u2028\u2029" else char


def _shortened(line: str) -> str:
    if len(line) <= _LONGEST_LINE:
        return line
    return f"{line[:_LONGEST_LINE]}[… {len(line) - _LONGEST_LINE} characters left out]"
