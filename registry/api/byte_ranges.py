"""Which bytes of a file a request asks for (RFC 9110, 13.1 and 14). Pure."""

import re
from dataclasses import dataclass
from itertools import pairwise

from registry.errors import RangeNotSatisfiable

MAX_RANGES = 16
_SPEC = re.compile(r"([0-9]{0,19})-([0-9]{0,19})")


@dataclass(frozen=True, slots=True)
class Span:
    """A piece of a file: `length` bytes from `start`."""

    start: int
    length: int

    def content_range(self, size: int) -> str:
        """The value of `Content-Range`."""
        return f"bytes {self.start}-{self.start + self.length - 1}/{size}"


def parse_ranges(header: str, size: int) -> list[Span] | None:
    """Read a `Range` header; None where the whole file is to be sent.

    Another unit, bad syntax, and more than 16 or overlapping ranges are answered with the whole file, as the
    specification allows: many small overlapping ranges are an attack rather than a wish (14.2).

    Raises:
        RangeNotSatisfiable: it is well formed, and no byte of the file lies in it.
    """
    unit, _, specs = header.partition("=")
    if unit.strip().lower() != "bytes":
        return None
    listed = [spec.strip() for spec in specs.split(",")]
    if len(listed) > MAX_RANGES:
        return None
    spans: list[Span] = []
    for spec in listed:
        matched = _SPEC.fullmatch(spec)
        if matched is None or spec == "-":
            return None
        first, last = matched.groups()
        if first and last and int(last) < int(first):
            return None
        span = _span(first, last, size)
        if span is not None:
            spans.append(span)
    if not spans:
        raise RangeNotSatisfiable()
    return None if _overlap(spans) else spans


def if_none_match(header: str, tag: str) -> bool:
    """Whether `If-None-Match` names the file that is there (weak comparison, 13.1.2)."""
    return header.strip() == "*" or tag in [_strip_weak(part) for part in _tags(header)]


def if_match(header: str, tag: str) -> bool:
    """Whether `If-Match` names the file that is there (strong comparison, 13.1.1)."""
    return header.strip() == "*" or tag in _tags(header)


def if_range(header: str, tag: str) -> bool:
    """Whether `If-Range` lets the range through: only the very same tag does; we send no dates (13.1.5)."""
    return header.strip() == tag


def _span(first: str, last: str, size: int) -> Span | None:
    if not first:
        length = min(int(last), size)
        return Span(size - length, length) if length else None
    start = int(first)
    if start >= size:
        return None
    return Span(start, min(int(last), size - 1) - start + 1 if last else size - start)


def _overlap(spans: list[Span]) -> bool:
    ordered = sorted(spans, key=lambda span: span.start)
    return any(before.start + before.length > after.start for before, after in pairwise(ordered))


def _tags(header: str) -> list[str]:
    return [part.strip() for part in header.split(",")]


def _strip_weak(tag: str) -> str:
    return tag.removeprefix("W/")
