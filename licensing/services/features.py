"""Features of the catalogue: making, changing, removing them."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from django.db import IntegrityError, transaction

from licensing.core.actor import Actor
from licensing.core.errors import Conflict, InvalidValue
from licensing.models import Entitlement, Feature, TierGrant
from licensing.services.catalogue_record import record_catalogue_change

CHANGEABLE: Final = ("name", "description", "value_type")


def create_feature(*, code: str, name: str, description: str, value_type: str, actor: Actor) -> Feature:
    """Make a feature.

    Raises:
        Conflict: there is one of this code.
    """
    row = Feature(code=code, name=name, description=description, value_type=value_type)
    with transaction.atomic():
        try:
            with transaction.atomic():
                row.save(force_insert=True)
        except IntegrityError as exc:
            raise Conflict("There is a feature of this code already.", field="code") from exc
        record_catalogue_change(kind="feature", subject_id=code, change="created", actor=actor)
    return row


def update_feature(*, feature: Feature, changes: Mapping[str, Any], actor: Actor) -> Feature:
    """Change what `changes` names, of CHANGEABLE.

    Raises:
        Conflict: the type of a feature that is granted somewhere cannot change.
    """
    with transaction.atomic():
        row = Feature.objects.select_for_update().get(pk=feature.pk)
        changed = {
            name: changes[name] for name in CHANGEABLE if name in changes and changes[name] != getattr(row, name)
        }
        if not changed:
            return row
        if "value_type" in changed and _is_granted(row):
            raise Conflict("The feature is granted somewhere with a value of its present type.", field="value_type")
        for name, value in changed.items():
            setattr(row, name, value)
        row.save(update_fields=[*changed, "updated_at"])
        record_catalogue_change(kind="feature", subject_id=row.code, change="changed", actor=actor, detail=changed)
    return row


def remove_feature(*, feature: Feature, actor: Actor) -> None:
    """Remove a feature that nothing uses.

    Raises:
        Conflict: a tier grants it, a customer has it, or a plugin lists it.
    """
    with transaction.atomic():
        row = Feature.objects.select_for_update().get(pk=feature.pk)
        if _is_granted(row) or row.plugins.exists():
            raise Conflict("The feature is in use by a tier, a customer or a plugin.")
        record_catalogue_change(kind="feature", subject_id=row.code, change="removed", actor=actor)
        row.delete()


def features_named(codes: Iterable[str], *, field: str) -> list[Feature]:
    """The features of these codes, in their order. Raises `InvalidValue` for unknown ones.

    One that is removed meanwhile is caught by its foreign key at the commit.
    """
    wanted = list(dict.fromkeys(codes))
    rows = {row.code: row for row in Feature.objects.filter(pk__in=wanted)}
    for index, code in enumerate(wanted):
        if code not in rows:
            raise InvalidValue(f"{field}[{index}]: there is no feature {code}.", field=f"{field}[{index}]")
    return [rows[code] for code in wanted]


def _is_granted(row: Feature) -> bool:
    return TierGrant.objects.filter(feature=row).exists() or Entitlement.objects.filter(feature=row).exists()
