"""Referring to files in the store, and collecting those that nothing refers to.

A file is put into the store first, outside of any transaction, and referred to later. Between the two the collector
might take it. So whoever refers locks the file's row, and only then looks whether the file is still in the store; the
collector holds the same lock from before it looks for references until after it has deleted.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta

import structlog
from django.db import transaction

from registry.errors import FileGone
from registry.models import Artifact, Release, StoredFile
from registry.storage import ArtifactStore, Stored

log = structlog.get_logger(__name__)

GRACE = timedelta(hours=24)


def refer_to(stored: Stored, *, store: ArtifactStore, now: datetime) -> StoredFile:
    """Lock the row of a file that was just put into the store, so that the present transaction may refer to it.

    Raises:
        FileGone: it was collected meanwhile; put it again.
        StoreUnavailable: the store cannot be asked.
    """
    row = StoredFile(sha256=stored.sha256, size=stored.size, object_version=stored.object_version, put_at=now)
    # Makes the row or finds it, and locks it either way, in one statement.
    StoredFile.objects.bulk_create(
        [row], update_conflicts=True, unique_fields=["sha256"], update_fields=["size", "object_version", "put_at"]
    )
    # One look at the store inside the transaction: it must come after the lock, and before the commit.
    if not store.exists(stored):
        raise FileGone(note="a file was collected between its upload and its release")
    return row


def as_stored(file: StoredFile) -> Stored:
    """What the store knows the file by."""
    return Stored(file.sha256, file.size, file.object_version)


def collect_unreferenced(*, store: ArtifactStore, now: datetime, grace: timedelta = GRACE) -> list[str]:
    """Delete files that nothing refers to and that nobody has put for `grace`; return their digests."""
    adopt_orphans(store.all_files(), before=now - grace)
    candidates = (
        StoredFile.objects.filter(put_at__lt=now - grace)
        .exclude(pk__in=Artifact.objects.values("file"))
        .exclude(pk__in=Release.objects.filter(source__isnull=False).values("source"))
        .values_list("pk", flat=True)
    )
    collected = [sha256 for sha256 in list(candidates) if _collect(sha256, store, now - grace)]
    store.remove_leftovers(before=now - grace)
    return collected


def adopt_orphans(found: Iterable[tuple[Stored, datetime]], *, before: datetime) -> None:
    """Give files that have no row one: an upload that was never referred to is then collected like any other."""
    for stored, put_at in found:
        if put_at < before:
            StoredFile.objects.get_or_create(sha256=stored.sha256, defaults={"size": stored.size, "put_at": put_at})


def _collect(sha256: str, store: ArtifactStore, before: datetime) -> bool:
    with transaction.atomic():
        row = StoredFile.objects.select_for_update().filter(pk=sha256, put_at__lt=before).first()
        if row is None or is_referred_to(sha256):
            return False
        # Deleted under the lock, the store first: dying in between leaves a row whose file is missing and which
        # nothing refers to, and the next upload of these bytes looks for itself.
        store.delete(as_stored(row))
        row.delete()
    log.info("artifact_store.collected", sha256=sha256, size=row.size)
    return True


def is_referred_to(sha256: str) -> bool:
    """Whether any release or artifact, of whatever state, stands on the file."""
    return Artifact.objects.filter(file=sha256).exists() or Release.objects.filter(source=sha256).exists()
