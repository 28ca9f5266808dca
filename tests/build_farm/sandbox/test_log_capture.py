"""The log: bounded, printable, without secrets."""

import pytest

from build_farm.sandbox.log_capture import BoundedLog, clean


def test_a_short_log_is_kept_whole() -> None:
    log = BoundedLog(100)
    log.add(b"one\n")
    log.add(b"two\n")
    assert log.text() == "one\ntwo\n"


@pytest.mark.parametrize("piece", [1, 7, 64, 5000])
def test_first_and_last_are_kept_whatever_the_pieces(piece: int) -> None:
    log = BoundedLog(100)
    content = b"BEGIN" + b"." * 5000 + b"END"
    for start in range(0, len(content), piece):
        log.add(content[start : start + piece])
    text = log.text()
    assert text.startswith("BEGIN.")
    assert text.endswith(".END")
    assert f"{len(content) - 100} bytes left out" in text


@pytest.mark.parametrize(
    ("raw", "cleaned"),
    [
        (b"\x1b[31mred\x1b[0m", "red"),
        (b"\x1b]0;title\x07text", "text"),
        (b"bell\x07", "bell\N{REPLACEMENT CHARACTER}"),
        (b"nul\x00", "nul\N{REPLACEMENT CHARACTER}"),
        (b"\xff\xfe", "\N{REPLACEMENT CHARACTER}" * 2),
        ("right\N{RIGHT-TO-LEFT OVERRIDE}left".encode(), "right\N{REPLACEMENT CHARACTER}left"),
        ("line\N{LINE SEPARATOR}".encode(), "line\N{REPLACEMENT CHARACTER}"),
        (b"a\r\nb\tc\n", "a\nb\tc\n"),
        ("Grüße 世界".encode(), "Grüße 世界"),
    ],
)
def test_what_could_fool_a_reader_is_replaced(raw: bytes, cleaned: str) -> None:
    assert clean(raw) == cleaned


SECRET = "0123456789ABCDEF"


@pytest.mark.parametrize(
    ("raw", "cleaned"),
    [
        (f"a {SECRET} b", "a [redacted] b"),
        (f"{SECRET}{SECRET}", "[redacted]"),
        ("quoted 01234567…", "quoted [redacted]…"),
        ("quoted …56789ABCD", "quoted …[redacted]"),
        ("only 0123456", "only 0123456"),
        ("short pin", "[redacted] pin"),
    ],
)
def test_secrets_and_long_pieces_of_them_are_hidden(raw: str, cleaned: str) -> None:
    assert clean(raw.encode(), redact=[SECRET, "short"]) == cleaned


@pytest.mark.parametrize("offset", range(30, 70))
def test_the_cut_leaves_no_more_than_seven_characters_of_a_secret(offset: int) -> None:
    log = BoundedLog(100)
    log.add(b"." * offset + SECRET.encode() + b"." * 300)
    log.add(b"." * offset + SECRET.encode() + b"." * (100 - offset))
    text = log.text(redact=[SECRET])
    assert log.dropped
    assert not any(SECRET[start : start + 8] in text for start in range(9))
