"""Receiving an upload."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from build_farm.sources import SourceRefused, store_upload


def test_bytes_digest_and_size_are_those_sent(tmp_path: Path) -> None:
    stored = store_upload(iter([b"one", b"", b"two"]), folder=tmp_path, limit_bytes=6)
    assert stored.path.read_bytes() == b"onetwo"
    assert stored.sha256 == hashlib.sha256(b"onetwo").hexdigest()
    assert stored.size_bytes == 6
    assert stored.path.stat().st_mode & 0o777 == 0o600


def test_an_endless_upload_is_cut_at_the_bound_and_leaves_nothing(tmp_path: Path) -> None:
    taken = 0

    def endless() -> Iterator[bytes]:
        nonlocal taken
        while True:
            taken += 1
            yield bytes(1000)

    with pytest.raises(SourceRefused, match="larger than 10000"):
        store_upload(endless(), folder=tmp_path, limit_bytes=10_000)
    assert taken == 11
    assert list(tmp_path.iterdir()) == []


def test_a_sender_that_breaks_off_leaves_nothing(tmp_path: Path) -> None:
    def broken() -> Iterator[bytes]:
        yield b"half"
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        store_upload(broken(), folder=tmp_path, limit_bytes=100)
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceRefused, match="empty"):
        store_upload(iter([]), folder=tmp_path, limit_bytes=100)
