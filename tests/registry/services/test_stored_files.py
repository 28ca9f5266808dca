"""Collecting: what nothing refers to goes, what anything refers to can not, however closely the two race."""

import threading
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection, transaction

from registry.errors import FileGone
from registry.models import Artifact, StoredFile
from registry.services.releases import delete_draft
from registry.services.stored_files import collect_unreferenced, refer_to
from registry.storage import ArtifactStore, Stored
from tests.registry import cast
from tests.registry.cast import ACTOR, PUBLIC, TARGET, Cast, now

pytestmark = pytest.mark.django_db
NO_GRACE = timedelta(seconds=-1)


def digests(store: ArtifactStore) -> set[str]:
    return {stored.sha256 for stored, _ in store.all_files()}


def test_what_nothing_refers_to_is_collected(store: ArtifactStore, loaded: Cast) -> None:
    kept = cast.publish(store, PUBLIC, "1.0.0")
    source = cast.put(store, b"source")
    cast.draft(store, PUBLIC, "1.1.0", source=source, build_targets=[TARGET])
    dropped = cast.draft(store, PUBLIC, "1.2.0")
    gone = cast.add(store, dropped, b"dropped")
    delete_draft(release=dropped, actor=ACTOR)
    orphan = cast.put(store, b"never referred to")
    collected = collect_unreferenced(store=store, now=now(), grace=NO_GRACE)
    assert set(collected) == {gone.sha256, orphan.sha256}
    assert digests(store) == {kept.sha256, source.sha256}
    assert set(StoredFile.objects.values_list("pk", flat=True)) == digests(store)


def test_a_superseded_build_is_still_referred_to(store: ArtifactStore, loaded: Cast) -> None:
    artifact = cast.publish(store, PUBLIC, "1.0.0")
    Artifact.objects.update(superseded_at=now())
    assert collect_unreferenced(store=store, now=now(), grace=NO_GRACE) == []
    assert digests(store) == {artifact.sha256}


def test_a_fresh_upload_is_left_alone(store: ArtifactStore, loaded: Cast) -> None:
    orphan = cast.put(store, b"on its way")
    assert collect_unreferenced(store=store, now=now()) == []
    assert digests(store) == {orphan.sha256}
    assert not StoredFile.objects.exists()


def test_putting_a_file_again_makes_it_young(store: ArtifactStore, loaded: Cast) -> None:
    stored = cast.put(store, b"x")
    with transaction.atomic():
        refer_to(stored, store=store, now=now() - timedelta(days=9))
    with transaction.atomic():
        refer_to(stored, store=store, now=now())
    assert collect_unreferenced(store=store, now=now()) == []


def test_a_file_that_was_collected_cannot_be_referred_to(store: ArtifactStore, loaded: Cast) -> None:
    stored = cast.put(store, b"late")
    collect_unreferenced(store=store, now=now(), grace=NO_GRACE)
    release = cast.draft(store, PUBLIC, "1.0.0")
    with pytest.raises(FileGone), transaction.atomic():
        refer_to(stored, store=store, now=now())
    assert not StoredFile.objects.exists()
    assert cast.add(store, release, b"late").sha256 == stored.sha256


def test_what_dead_uploads_left_is_removed(
    folder_store: ArtifactStore, loaded: Cast, tmp_path: Any, settings: Any
) -> None:
    import os
    from pathlib import Path

    cast.put(folder_store, b"x")
    left = Path(settings.ARTIFACT_DIR) / "incoming" / "0123"
    left.write_bytes(b"half a file")
    os.utime(left, (1, 1))
    call_command("collect_artifacts")
    assert not left.exists()
    assert len(digests(folder_store)) == 1


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("first", ["reference", "collector"])
def test_reference_and_collector_cannot_cross(store: ArtifactStore, first: str) -> None:
    """Each holds the file's row while the other wants it: whoever comes second sees what the first one did."""
    cast.load_cast()
    stored = cast.put(store, b"contended")
    release = cast.draft(store, PUBLIC, "1.0.0")
    with transaction.atomic():
        refer_to(stored, store=store, now=now())
    pausing = PausingStore(store)
    outcome: dict[str, Any] = {}

    def collect() -> None:
        outcome["collected"] = collect_unreferenced(
            store=pausing if first == "collector" else store, now=now(), grace=NO_GRACE
        )
        connection.close()

    def add() -> None:
        try:
            artifact = cast.add_artifact(
                release=release,
                target=TARGET,
                stored=stored,
                filename="x",
                kind=Artifact.Kind.PREBUILT,
                actor=ACTOR,
                now=now() - timedelta(days=1),
                store=pausing if first == "reference" else store,
            )
            outcome["added"] = artifact.sha256
        except FileGone as exc:
            outcome["added"] = exc
        finally:
            connection.close()

    leader, follower = (add, collect) if first == "reference" else (collect, add)
    threads = [threading.Thread(target=leader), threading.Thread(target=follower)]
    threads[0].start()
    assert pausing.is_inside.wait(30)
    threads[1].start()
    wait_until_blocked()
    pausing.may_go_on.set()
    for thread in threads:
        thread.join(60)
    if first == "reference":
        assert outcome == {"added": stored.sha256, "collected": []}
        assert store.exists(stored)
    else:
        assert outcome["collected"] == [stored.sha256]
        assert isinstance(outcome["added"], FileGone)
        assert not Artifact.objects.exists()


class PausingStore:
    """A store that stops inside `exists` and `delete`, where the row's lock is held, until it may go on."""

    def __init__(self, store: ArtifactStore) -> None:
        self._store = store
        self.is_inside, self.may_go_on = threading.Event(), threading.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def exists(self, stored: Stored) -> bool:
        self._pause()
        return self._store.exists(stored)

    def delete(self, stored: Stored) -> None:
        self._pause()
        self._store.delete(stored)

    def _pause(self) -> None:
        self.is_inside.set()
        assert self.may_go_on.wait(60)


def wait_until_blocked() -> None:
    """Wait until another session waits for a lock: the second one has arrived."""
    import time

    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
            if cursor.fetchone()[0]:
                return
        time.sleep(0.02)
    raise AssertionError("nobody waits")
