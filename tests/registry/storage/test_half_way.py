"""A store that fails half-way: nothing is kept of an upload, and a download is cut off and can be gone on with."""

import contextlib
import resource
import select
import socket
import threading
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from pytest_django import Settings

from licensing.core.models import AuditEvent
from licensing.models import Quarantine
from registry.models import DownloadGrant
from registry.storage import ArtifactStore, StoreUnavailable, artifact_store
from tests.registry import cast
from tests.registry.cast import PUBLIC, Cast, Host, body_of, json_of

MIB = 1024 * 1024


class Relay:
    """Passes connections on to a server; once armed, cuts each of them off after so many bytes in one direction."""

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.most_up: int | None = None
        self.most_down: int | None = None
        self._is_closed = threading.Event()
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self) -> None:
        with self._listener:
            while True:
                try:
                    client, _ = self._listener.accept()
                except OSError:
                    return
                thread = threading.Thread(target=self._serve, args=(client,))
                self._threads.append(thread)
                thread.start()

    def _serve(self, client: socket.socket) -> None:
        with client, socket.create_connection(self._target) as server, contextlib.suppress(OSError):
            passed = {client: 0, server: 0}
            while True:
                ready, _, _ = select.select(list(passed), [], [], 0.05)
                if self._is_closed.is_set():
                    return
                for source in ready:
                    piece = source.recv(16384)
                    passed[source] += len(piece)
                    most = self.most_up if source is client else self.most_down
                    if not piece or (most is not None and passed[source] > most):
                        return
                    (server if source is client else client).sendall(piece)

    def close(self) -> None:
        """End it, with all connections."""
        self._is_closed.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(60)


@pytest.fixture
def relay(s3_endpoint: str) -> Iterator[Relay]:
    parts = urlsplit(s3_endpoint)
    relay = Relay(parts.hostname or "", parts.port or 0)
    yield relay
    relay.close()


@pytest.fixture
def relayed_store(s3_store: ArtifactStore, relay: Relay, settings: Settings) -> ArtifactStore:
    """The bucket, reached through the relay."""
    settings.ARTIFACT_S3_ENDPOINT = f"http://127.0.0.1:{relay.port}"
    return artifact_store()


def test_s3_breaks_off_an_upload(relayed_store: ArtifactStore, relay: Relay) -> None:
    relay.most_up = 200_000
    with pytest.raises(StoreUnavailable):
        cast.put(relayed_store, b"x" * MIB)
    relay.most_up = None
    assert list(relayed_store.all_files()) == []
    assert relayed_store.exists(cast.put(relayed_store, b"x" * MIB))


@pytest.mark.django_db
def test_s3_breaks_off_a_download_which_is_gone_on_with(
    relayed_store: ArtifactStore, relay: Relay, loaded: Cast
) -> None:
    content = bytes(range(256)) * 8192
    cast.publish(relayed_store, PUBLIC, "2.1.0", content=content)
    host = Host(loaded.acme.key)
    url = host.url(PUBLIC, "2.1.0")
    relay.most_down = 700_000
    response: Any = host.fetch(url)
    pieces: list[bytes] = []
    with pytest.raises(StoreUnavailable):
        pieces.extend(response)
    received = b"".join(pieces)
    assert 0 < len(received) < len(content)
    ended = AuditEvent.objects.get(action="artifact.download_ended")
    assert (ended.code, ended.detail["bytes_sent"]) == ("STORE_AWAY", len(received))
    # An outage is no damage, and what was not sent is given back.
    assert not Quarantine.objects.exists()
    assert DownloadGrant.objects.get().bytes_taken == len(received)
    relay.most_down = None
    rest = host.fetch(url, Range=f"bytes={len(received)}-", If_Range=response.headers["ETag"])
    assert received + body_of(rest) == content


@contextlib.contextmanager
def a_full_disk(most_bytes: int) -> Iterator[None]:
    """No file of this process can be written beyond so many bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_the_disk_is_full_half_way_through_an_upload(store: ArtifactStore) -> None:
    with a_full_disk(300_000), pytest.raises(StoreUnavailable):
        cast.put(store, b"x" * MIB)
    assert list(store.all_files()) == []
    assert store.exists(cast.put(store, b"x" * MIB))


@pytest.mark.django_db
def test_a_folder_that_cannot_be_read_is_503_and_no_damage(
    folder_store: ArtifactStore, loaded: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    import errno
    import os

    def broken(*_: Any) -> bytes:
        raise OSError(errno.EIO, "the disk is broken")

    cast.publish(folder_store, PUBLIC, "2.1.0")
    host = Host(loaded.acme.key)
    url = host.url(PUBLIC, "2.1.0")
    with monkeypatch.context() as patched:
        patched.setattr(os, "pread", broken)
        response = host.fetch(url)
        assert (response.status_code, json_of(response)["code"]) == (503, "SERVICE_UNAVAILABLE")
    assert not Quarantine.objects.exists()
    assert body_of(host.fetch(url)) == cast.content_of(PUBLIC, "2.1.0")
