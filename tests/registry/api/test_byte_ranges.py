"""Which bytes a Range header means: the table of RFC 9110, 14.1.2, and what is answered with the whole file."""

import pytest

from registry.api.byte_ranges import Span, if_match, if_none_match, if_range, parse_ranges
from registry.errors import RangeNotSatisfiable

SIZE = 1000
TAG = '"abc"'


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("bytes=0-0", [(0, 1)]),
        ("bytes=0-999", [(0, 1000)]),
        ("bytes=0-1000", [(0, 1000)]),
        ("bytes=0-99999999999999", [(0, 1000)]),
        ("bytes=500-", [(500, 500)]),
        ("bytes=999-", [(999, 1)]),
        ("bytes=-1", [(999, 1)]),
        ("bytes=-1000", [(0, 1000)]),
        ("bytes=-5000", [(0, 1000)]),
        ("bytes=0-4,10-14", [(0, 5), (10, 5)]),
        ("bytes=10-14, 0-4", [(10, 5), (0, 5)]),
        ("bytes=0-4,5000-", [(0, 5)]),
        ("BYTES=0-4", [(0, 5)]),
    ],
)
def test_what_a_range_means(header: str, expected: list[tuple[int, int]]) -> None:
    assert parse_ranges(header, SIZE) == [Span(*span) for span in expected]


@pytest.mark.parametrize(
    "header",
    [
        "lines=0-4",
        "bytes",
        "bytes=",
        "bytes=-",
        "bytes=a-b",
        "bytes=4-0",
        "bytes=0-4;5-9",
        "bytes=0-4,,",
        "bytes=--5",
        "bytes=+1-5",
        "bytes=0x1-5",
        "bytes=١-٥",
        "bytes=" + "9" * 20 + "-",
        "bytes=0-9,5-14",
        "bytes=0-,0-,0-",
        "bytes=" + ",".join(f"{start}-{start}" for start in range(17)),
    ],
)
def test_what_gets_the_whole_file(header: str) -> None:
    assert parse_ranges(header, SIZE) is None


@pytest.mark.parametrize("header", ["bytes=1000-", "bytes=5000-6000", "bytes=-0", "bytes=1000-,2000-3000"])
def test_what_cannot_be_satisfied(header: str) -> None:
    with pytest.raises(RangeNotSatisfiable):
        parse_ranges(header, SIZE)


def test_an_empty_file_has_no_ranges() -> None:
    for header in ("bytes=0-", "bytes=-1", "bytes=0-0"):
        with pytest.raises(RangeNotSatisfiable):
            parse_ranges(header, 0)


@pytest.mark.parametrize(
    ("header", "matches"),
    [(TAG, True), (f"W/{TAG}", True), (f'"x", {TAG}', True), ("*", True), ('"x"', False), ("", False)],
)
def test_if_none_match(header: str, matches: bool) -> None:
    assert if_none_match(header, TAG) is matches


@pytest.mark.parametrize(
    ("header", "matches"), [(TAG, True), (f"W/{TAG}", False), (f'"x", {TAG}', True), ("*", True), ('"x"', False)]
)
def test_if_match(header: str, matches: bool) -> None:
    assert if_match(header, TAG) is matches


@pytest.mark.parametrize(
    ("header", "matches"), [(TAG, True), (f"W/{TAG}", False), ("Sun, 06 Nov 1994 08:49:37 GMT", False), ('"x"', False)]
)
def test_if_range(header: str, matches: bool) -> None:
    assert if_range(header, TAG) is matches
