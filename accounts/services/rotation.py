"""Bringing stored secrets under new keys while the server runs: key-encryption keys and peppers (DESIGN §4).

Both work alike. Rows are taken in batches, in order of primary key, locked, and written by compare-and-set on the old
bytes, so a writer beside them loses nothing. Each batch is a transaction of its own: a run that is killed is taken up
by the next, since a row itself tells what was done to it. Two runs at once do the work between them.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from django.apps import apps
from django.db import transaction
from django.db.models import Model, QuerySet

from accounts.keyrings import peppers, ring
from accounts.sealed_columns import SealedColumn, declared_columns
from licensing.core import audit
from licensing.core.actor import Actor
from licensing.crypto.sealing import KeyRing, Peppers, SealError

BATCH_ROWS = 200

Row = dict[str, Any]
Progress = Callable[[str, int], None]


@dataclass(slots=True)
class Rotated:
    """What a run did, and what it left."""

    rewritten: int = 0
    unreadable: list[str] = field(default_factory=list)
    """Rows that this process's keys do not open, such as `api_key.sealed_root key_123`."""
    remaining: Counter[int] = field(default_factory=Counter)
    """Rows that are not under the current version, by the version they are under."""

    @property
    def is_complete(self) -> bool:
        """Whether the old versions can be taken out of the configuration."""
        return not self.remaining and not self.unreadable


@dataclass(frozen=True, slots=True)
class _Rewrite:
    """One column's rows that are out of date, and how one of them is renewed."""

    name: str
    outdated: QuerySet[Model]
    fields: tuple[str, ...]
    renewed: Callable[[Row], Row]


def reseal(*, purpose: str, actor: Actor, progress: Progress | None = None) -> Rotated:
    """Bring everything sealed under `purpose` under its ring's current key.

    `progress` is told a column's name and how many of its rows were rewritten so far.

    Raises:
        ConfigurationError: this process does not hold the purpose's keys.
    """
    keys = ring(purpose)
    columns = declared_columns(purpose)
    _record(actor, "kek.rotation_started", purpose, {"version": keys.current})
    report = _run((_resealing(column, keys) for column in columns), progress)
    for column in columns:
        report.remaining.update(sealed_versions(column, keys))
    _record(actor, "kek.rotation_ended", purpose, {"version": keys.current, **_counts(report)})
    return report


def repepper(*, actor: Actor, progress: Progress | None = None) -> Rotated:
    """Bring every stored key's digest under the current pepper, computed from its sealed fingerprint.

    Raises:
        ConfigurationError: this process holds no peppers, or not the `auth` keys.
    """
    current, keys = peppers(), ring("auth")
    columns = peppered_columns()
    _record(actor, "pepper.rotation_started", "api_keys", {"version": current.current})
    report = _run((_repeppering(column, keys, current) for column in columns), progress)
    for column in columns:
        versions = _under_other_pepper(column, current).values_list("pepper_version", flat=True)
        report.remaining.update(versions.iterator())
    _record(actor, "pepper.rotation_ended", "api_keys", {"version": current.current, **_counts(report)})
    return report


def peppered_columns() -> list[SealedColumn]:
    """The sealed fingerprint of every model whose rows are found by a peppered digest.

    Raises:
        KeyError: a model has a digest and no declared fingerprint to compute a new one from.
    """
    fingerprints = {column.model: column for column in declared_columns() if column.column == "sealed_fingerprint"}
    return [
        fingerprints[model]
        for model in apps.get_models()
        if any(column.name == "pepper_version" for column in model._meta.get_fields())
    ]


def sealed_versions(column: SealedColumn, keys: KeyRing) -> Counter[int]:
    """How many rows are under each version that is not the ring's current one."""
    heads = _sealed_under_other(column, keys).values_list("sealed_head", flat=True)
    return Counter(int.from_bytes(column.as_bytes(head)[1:], "big") for head in heads.iterator())


def _run(rewrites: Iterable[_Rewrite], progress: Progress | None) -> Rotated:
    report = Rotated()
    for rewrite in rewrites:
        done, last = 0, None
        while (batch := _rewrite_batch(rewrite, last, report)) is not None:
            rewritten, last = batch
            done += rewritten
            if progress is not None:
                progress(rewrite.name, done)
        report.rewritten += done
    return report


def _rewrite_batch(rewrite: _Rewrite, after: Any, report: Rotated) -> tuple[int, Any] | None:
    """Rewrite the next rows; how many, and the last one's key. None when there are no more."""
    with transaction.atomic():
        waiting = rewrite.outdated.order_by("pk").select_for_update()
        if after is not None:
            waiting = waiting.filter(pk__gt=after)
        rows = list(waiting.values("pk", *rewrite.fields)[:BATCH_ROWS])
        if not rows:
            return None
        return sum(_rewrite_row(rewrite, row, report) for row in rows), rows[-1]["pk"]


def _rewrite_row(rewrite: _Rewrite, row: Row, report: Rotated) -> int:
    try:
        renewed = rewrite.renewed(row)
    except SealError:
        # One row that does not open must not keep all others under an old key.
        report.unreadable.append(f"{rewrite.name} {row['pk']}")
        return 0
    unchanged = {name: row[name] for name in renewed}
    return rewrite.outdated.model._default_manager.filter(pk=row["pk"], **unchanged).update(**renewed)


def _resealing(column: SealedColumn, keys: KeyRing) -> _Rewrite:
    def renewed(row: Row) -> Row:
        held = row[column.column]
        sealed = keys.reseal(column.sealed_in(held), identity=column.identity(str(row["pk"])))
        return {column.column: column.with_sealed(held, sealed)}

    return _Rewrite(str(column), _sealed_under_other(column, keys), (column.column,), renewed)


def _repeppering(column: SealedColumn, keys: KeyRing, current: Peppers) -> _Rewrite:
    def renewed(row: Row) -> Row:
        sealed = bytes(row[column.column])
        version, digest = current.digest(keys.unseal(sealed, identity=column.identity(str(row["pk"]))))
        return {"digest": digest, "pepper_version": version}

    name = f"{column.model._meta.db_table}.digest"
    return _Rewrite(name, _under_other_pepper(column, current), ("digest", "pepper_version", column.column), renewed)


def _sealed_under_other(column: SealedColumn, keys: KeyRing) -> QuerySet[Model]:
    """Rows sealed under another key than the current one, which the first bytes tell (`licensing.crypto.sealing`)."""
    rows: QuerySet[Model] = (
        column.model._default_manager.annotate(sealed_head=column.head())
        .filter(sealed_head__isnull=False)
        .exclude(sealed_head=column.as_stored(b""))  # nothing is sealed: a retired key's private half
        .exclude(sealed_head=column.as_stored(keys.head))
    )
    return rows


def _under_other_pepper(column: SealedColumn, current: Peppers) -> QuerySet[Model]:
    return column.model._default_manager.exclude(pepper_version=current.current)


def _counts(report: Rotated) -> dict[str, int]:
    return {
        "rewritten": report.rewritten,
        "remaining": report.remaining.total(),
        "unreadable": len(report.unreadable),
    }


def _record(actor: Actor, action: str, subject_id: str, detail: dict[str, int]) -> None:
    # At both ends: a run that is killed between them has its row as well.
    audit.record(
        actor=actor, action=action, subject_kind=action.partition(".")[0], subject_id=subject_id, detail=detail
    )
