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


def test_secrets_are_hidden_the_longer_first() -> None:
    assert clean(b"a secret-long b secret c", redact=["secret-long", "secret"]) == "a [redacted] b [redacted] c"


@pytest.mark.parametrize("offset", range(30, 70))
def test_no_part_of_a_secret_survives_the_cut(offset: int) -> None:
    log = BoundedLog(100)
    log.add(b"." * offset + b"0123456789ABCDEF" + b"." * 300)
    log.add(b"." * offset + b"0123456789ABCDEF" + b"." * (100 - offset))
    text = log.text(redact=["0123456789ABCDEF"])
    assert not set("ABCDEF") & set(text)
    head, _, rest = text.partition("\n[… ")
    assert set(head.replace("[redacted]", "")) <= {"."}
    assert set(rest.partition(" left out …]\n")[2].replace("[redacted]", "")) <= {"."}
