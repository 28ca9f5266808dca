"""Reading the whole store through, and holding every file against its digest."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from licensing.core.actor import Actor
from registry.models import StoredFile
from registry.services.integrity import quarantine_damaged
from registry.services.stored_files import as_stored
from registry.storage import ArtifactStore, FileDamaged


@dataclass(frozen=True, slots=True)
class Verified:
    """One file that was read through; `problem` is a word for what is wrong with it, or None."""

    sha256: str
    size: int
    problem: str | None


def verify_files(*, store: ArtifactStore, actor: Actor) -> Iterator[Verified]:
    """Yield every file as it is verified, the longest unverified first. What is damaged goes into quarantine.

    Raises:
        StoreUnavailable: the store went away; what was verified stays so.
    """
    rows = StoredFile.objects.order_by("verified_at", "sha256").values_list("sha256", flat=True)
    for sha256 in list(rows):
        row = StoredFile.objects.filter(pk=sha256).first()
        if row is None:
            continue  # collected meanwhile
        problem = _problem(row, store)
        now = datetime.now(UTC)
        if problem is None:
            StoredFile.objects.filter(pk=sha256).update(verified_at=now)
        elif StoredFile.objects.filter(pk=sha256).exists():
            quarantine_damaged(sha256=sha256, reason=problem, actor=actor, now=now)
        yield Verified(sha256, row.size, problem)


def _problem(row: StoredFile, store: ArtifactStore) -> str | None:
    try:
        store.open(as_stored(row)).close()
        return None if store.digest_of(as_stored(row)) == row.sha256 else "digest"
    except FileDamaged as exc:
        return exc.reason
