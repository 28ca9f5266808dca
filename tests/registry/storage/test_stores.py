"""What every store promises, in a folder and in S3."""

import hashlib
import os
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from registry.storage import ArtifactStore, FileDamaged, FileTooLarge, Stored

MIB = 1024 * 1024


def put(store: ArtifactStore, content: bytes, *, max_bytes: int = 64 * MIB) -> Stored:
    pieces = (content[start : start + 65536] for start in range(0, len(content), 65536))
    return store.put_stream(pieces, max_bytes=max_bytes)


def read(store: ArtifactStore, stored: Stored, start: int = 0, length: int | None = None) -> bytes:
    with closing(store.open(stored)) as file:
        return b"".join(file.chunks(start, file.size if length is None else length))


def test_a_file_comes_back_as_it_went_in(store: ArtifactStore) -> None:
    content = os.urandom(3 * MIB + 17)
    stored = put(store, content)
    assert (stored.sha256, stored.size) == (hashlib.sha256(content).hexdigest(), len(content))
    assert store.exists(stored)
    assert read(store, stored) == content
    assert read(store, stored, MIB - 5, 2 * MIB) == content[MIB - 5 : 3 * MIB - 5]
    assert read(store, stored, len(content), 0) == b""
    assert store.digest_of(stored) == stored.sha256


def test_an_empty_file_is_a_file(store: ArtifactStore) -> None:
    stored = put(store, b"")
    assert read(store, stored) == b""


def test_a_file_over_the_limit_leaves_nothing(store: ArtifactStore) -> None:
    with pytest.raises(FileTooLarge):
        put(store, b"x" * 100_001, max_bytes=100_000)
    assert list(store.all_files()) == []


def test_an_upload_that_dies_half_way_leaves_nothing(store: ArtifactStore) -> None:
    def dying() -> Iterator[bytes]:
        yield b"x" * 1000
        raise ConnectionResetError

    with pytest.raises(Exception):  # noqa: B017  each store has its own word for it
        store.put_stream(dying(), max_bytes=MIB)
    assert list(store.all_files()) == []


def test_the_same_bytes_twice_are_one_file(store: ArtifactStore) -> None:
    first, second = put(store, b"same"), put(store, b"same")
    assert first.sha256 == second.sha256
    assert [found.sha256 for found, _ in store.all_files()] == [first.sha256]
    assert read(store, first) == read(store, second) == b"same"


def test_deleting_is_final_and_can_be_repeated(store: ArtifactStore) -> None:
    stored = put(store, b"gone soon")
    store.delete(stored)
    store.delete(stored)
    assert not store.exists(stored)
    with pytest.raises(FileDamaged, match="missing"):
        store.open(stored)
    with pytest.raises(FileDamaged, match="missing"):
        store.digest_of(stored)


def test_files_are_listed_with_the_time_they_were_put(store: ArtifactStore) -> None:
    stored = put(store, b"listed")
    ((found, at),) = store.all_files()
    assert (found.sha256, found.size) == (stored.sha256, 6)
    assert abs(datetime.now(UTC) - at) < timedelta(minutes=1)


@pytest.mark.parametrize("name", ["", "..", "../../etc/passwd", "A" * 64, "0" * 63, "0" * 64 + "/x", "0" * 64 + "\n"])
def test_only_digests_name_files(store: ArtifactStore, name: str) -> None:
    with pytest.raises(ValueError, match="SHA-256"):
        store.open(Stored(name, 0))


def test_another_size_than_recorded_is_damage(store: ArtifactStore) -> None:
    stored = put(store, b"twelve bytes")
    with pytest.raises(FileDamaged, match="size"):
        store.open(Stored(stored.sha256, 13, stored.object_version))
    assert not store.exists(Stored(stored.sha256, 13, stored.object_version))


def test_links_are_given_by_s3_alone(store: ArtifactStore, request: pytest.FixtureRequest) -> None:
    with closing(store.open(put(store, b"linked"))) as file:
        link: Any = file.link(filename="a.kmpkg", seconds=20)
    if request.node.callspec.params["store"] == "folder":
        assert link is None
    else:
        assert "X-Amz-Expires=20" in link
        assert "X-Amz-Signature=" in link
